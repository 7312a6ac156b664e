"""The Python interface, as a script or a notebook uses it, on small real images."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
from command_line import start
from PIL import Image

import poets_tfr
from poets_tfr.run import summary
from poets_tfr.run.settings import RunConfig

QUICK: dict[str, Any] = {
    'architecture': graphs.MOBILENET,
    'how_many_training_steps': 200,
    'testing_percentage': 25,
    'self_test_pictures': 0,  # a process of its own, which tests/test_export_check.py drives
    'num_shards': 2,
}


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Iterator[Path]:
    """The current folder of all these tests, with a cache that has the network already."""
    folder = tmp_path_factory.mktemp('home')
    (folder / 'cache/poets_tfr').mkdir(parents=True)
    (folder / 'cache/poets_tfr/models').symlink_to(model_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(folder / 'cache'))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope='module')
def colours_dir(home: Path) -> Path:
    """As the common one, but some bluebells are red: mistakes are wanted."""
    directory = colours.write(home / 'images/colours', per_class=24)
    for path in sorted((directory / 'bluebells').glob('*.jpg'))[::2]:
        path.write_bytes(colours.encoded(a_picture('Red_Roses', seed=int(path.stem))))
    return directory


@pytest.fixture(scope='module')
def run(home: Path, colours_dir: Path) -> poets_tfr.Run:
    """Nobody may change it."""
    run = poets_tfr.train(
        colours_dir,
        **QUICK,
        saved_model_dir='exports/saved_model',
        tflite_output='exports/model.tflite',
        intermediate_output_graphs_dir='',
    )
    assert run is not None
    return run


@pytest.fixture(scope='module')
def records(home: Path, colours_dir: Path) -> poets_tfr.Records:
    return poets_tfr.convert(colours_dir, records_dir='records', num_shards=2)


@pytest.fixture(scope='module')
def classifier(run: poets_tfr.Run) -> poets_tfr.Classifier:
    return poets_tfr.load(run)


def a_picture(folder: str = 'bluebells', seed: int = 0) -> np.ndarray:
    return colours.draw(folder, np.random.default_rng(seed))


# The package


def test_importing_it_imports_no_tensorflow_and_neither_do_errors(tmp_path: Path) -> None:
    code = (
        'import sys, poets_tfr\n'
        'assert "numpy" not in sys.modules, "the package alone imports nothing"\n'
        'assert set(poets_tfr.__all__) <= set(dir(poets_tfr))\n'
        'for name in poets_tfr.__all__:\n'
        '    assert getattr(poets_tfr, name).__doc__, name\n'
        'from poets_tfr import *\n'
        'assert train is poets_tfr.train\n'
        'try:\n'
        '    train("missing")\n'
        'except InputError as error:\n'
        '    print(error, file=sys.stderr)\n'
        'assert not {"tensorflow", "keras"} & set(sys.modules)\n'
    )
    ended = start('-c', code, cwd=tmp_path)
    assert ended.status == 0, ended.err
    assert ended.err.startswith("image_dir: image directory 'missing' not found")
    assert not list(tmp_path.iterdir()), 'no folder is left of a run that could not begin'
    with pytest.raises(AttributeError, match=r"module 'poets_tfr' has no attribute 'retrain'"):
        poets_tfr.retrain  # noqa: B018


def test_an_input_error_is_a_value_error_without_dashes(colours_dir: Path, home: Path) -> None:
    with pytest.raises(ValueError, match='^learning_rate=-1.0 must be') as raised:
        poets_tfr.train(colours_dir, learning_rate=-1)
    assert isinstance(raised.value, poets_tfr.InputError)
    with pytest.raises(poets_tfr.InputError, match='there is no setting lr .did you mean learning'):
        poets_tfr.train(colours_dir, lr=1)
    for call in poets_tfr.convert, poets_tfr.features, poets_tfr.load:
        with pytest.raises(poets_tfr.InputError, match='there is no setting epochs'):
            call(colours_dir if call is poets_tfr.convert else 'records', epochs=3)
    with pytest.raises(poets_tfr.InputError, match='there is no setting seed'):
        poets_tfr.evaluate('graph.pb', colours_dir, seed=3)


# What a run is


def test_a_run_says_how_good_it_is(run: poets_tfr.Run, colours_dir: Path) -> None:
    tested = run.metrics['test']
    assert run.accuracy == tested.accuracy
    assert 0.5 < run.accuracy < 1
    low, high = run.accuracy_interval or (0, 0)
    assert low < run.accuracy <= high <= 1
    assert set(run.metrics) == {'test', 'validation'}
    assert tested.pictures == tested.confusion.sum() == sum(run.images['test'].values())
    assert run.labels == colours.LABELS
    wrong = tested.pictures - int(tested.confusion.trace())
    assert len(run.mistakes) == min(wrong, 100)
    assert run.settings['how_many_training_steps'] == 200
    assert run.settings['image_dir'] == str(colours_dir)
    assert run.timings['training'] > 0
    assert run.left_out['skipped'] == 0
    assert Path(run.folder) == Path('runs/colours/1')
    for path in (run.report, *run.exports.values()):
        assert os.path.exists(path), path
    assert repr(run).splitlines() == [
        f'<Run colours with {graphs.MOBILENET}, 3 classes',
        f'  test accuracy {run.accuracy:.1%} ({low:.1%} to {high:.1%}, N={tested.pictures})',
        repr(run).splitlines()[2],
        '  report runs/colours/1/report.html>',
    ]
    assert run in {run, poets_tfr.Run.open(run.folder)}


def test_what_a_notebook_shows_is_escaped(run: poets_tfr.Run, tmp_path: Path) -> None:
    hostile = tmp_path / 'a<b>&"'
    shutil.copytree(run.folder, hostile)
    report = json.loads((hostile / 'report.json').read_text())
    report['title'] = '<script>alert(1)</script>'
    mistake = {'path': 'x\udcff<i>.jpg', 'label': '<b>', 'predicted': 'a & b', 'score': 0.9}
    report['mistakes'] = [mistake] * 7
    (hostile / 'report.json').write_text(json.dumps(report))
    shown = poets_tfr.Run.open(str(hostile))._repr_html_()
    assert shown.startswith('<b>&lt;script&gt;alert(1)&lt;/script&gt;</b><table>')
    assert shown.count('<li>x\\udcff&lt;i&gt;.jpg: &lt;b&gt;, classified as a &amp; b (90%)') == 6
    assert 'a&lt;b&gt;&amp;&quot;/report.html' in shown
    assert '<script>' not in shown
    assert '<i>' not in shown
    shown.encode()


def test_a_run_without_a_test_says_so(run: poets_tfr.Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / 'run')
    report = json.loads((tmp_path / 'run/report.json').read_text())
    del report['test']
    (tmp_path / 'run/report.json').write_text(json.dumps(report))
    opened = poets_tfr.Run.open(str(tmp_path / 'run'))
    assert (opened.accuracy, opened.accuracy_interval) == (None, None)
    assert 'test accuracy' not in repr(opened)
    assert 'validation accuracy' in repr(opened)
    (tmp_path / 'run/report.json').write_text('{"title": "x"}')
    with pytest.raises(
        poets_tfr.InputError, match=r'report.json is damaged, or no report of a run'
    ):
        poets_tfr.Run.open(str(tmp_path / 'run'))


# Where runs are


def numbers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_runs_are_numbered_and_the_newest_unfinished_is_resumed(
    home: Path, records: poets_tfr.Records
) -> None:
    def train(**settings: object) -> str:
        run = poets_tfr.train(records, run_dir=Path('mine'), **quick, **settings)
        assert run is not None
        return run.folder

    # Made of records, whose percentages and shards are what they are.
    quick = {n: v for n, v in QUICK.items() if n not in ('testing_percentage', 'num_shards')}
    quick['how_many_training_steps'] = 1
    assert train() == 'mine/1'
    assert numbers(home / 'mine') == ['1', 'latest']
    with pytest.raises(poets_tfr.InputError, match='warm_start: nowhere not found'):
        train(warm_start='nowhere')
    assert numbers(home / 'mine') == ['1', 'latest'], 'no empty number is left behind'
    shutil.copytree('mine/1/checkpoint', 'mine/2/checkpoint')  # as a killed run leaves it
    assert train(resume=True) == 'mine/2'
    assert train(resume=True) == 'mine/3', 'what has ended is not gone on with'
    assert (home / 'mine/latest').read_text() == '3\n'
    assert [run.folder for run in poets_tfr.runs('mine')] == ['mine/1', 'mine/2', 'mine/3']
    assert poets_tfr.runs('nowhere') == []


# A trained model


def test_everything_that_a_run_leaves_can_be_loaded(run: poets_tfr.Run, home: Path) -> None:
    wanted = poets_tfr.load(run).predict(a_picture())
    assert wanted.label == 'bluebells'
    assert poets_tfr.load(run).path == str(home / 'runs/colours/1/output_graph.pb')
    for model in (
        'runs/colours/1',
        Path('runs/colours'),
        'runs',
        'runs/colours/latest',
        'runs/colours/1/output_graph.pb',
        'exports/saved_model',
        'exports/saved_model/1',
        'exports/model.tflite',
    ):
        found = poets_tfr.load(model).predict(a_picture())
        assert found.label == wanted.label, model
        assert found.score == pytest.approx(wanted.score, abs=1e-3), model
    assert poets_tfr.load(graph='runs/colours').labels == run.labels


def test_a_run_that_was_moved_is_loaded_from_where_it_is(
    run: poets_tfr.Run, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / 'moved')
    report = (tmp_path / 'moved/report.json').read_text()
    gone = report.replace(f'{Path(run.folder).absolute()}', '/gone/runs/colours/1')
    (tmp_path / 'moved/report.json').write_text(gone)
    opened = poets_tfr.Run.open(str(tmp_path / 'moved'))
    assert opened.exports['output_graph'] == str(tmp_path / 'moved/output_graph.pb')
    assert opened.exports['tflite_output'] == run.exports['tflite_output']
    assert poets_tfr.load(opened).labels == run.labels


def test_what_is_no_model_is_told(home: Path, run: poets_tfr.Run, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    for model, says in (
        ('nowhere', 'graph: nowhere not found'),
        (tmp_path / 'empty', 'graph: '),
        (run.report, 'graph: '),
    ):
        with pytest.raises(poets_tfr.InputError, match=f'^{says}'):
            poets_tfr.load(model)


def test_one_image_of_any_kind_gives_one_prediction(
    classifier: poets_tfr.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = a_picture()
    path = tmp_path / 'tom.png'
    Image.fromarray(pixels).save(path)
    wanted = classifier.predict(str(path))
    assert (wanted.label, wanted.path, wanted.reason) == ('bluebells', str(path), '')
    assert list(wanted.scores)[0] == wanted.label
    assert list(wanted.scores.values()) == sorted(wanted.scores.values(), reverse=True)
    assert sum(wanted.scores.values()) == pytest.approx(1)
    assert wanted.score == wanted.scores['bluebells'] > 0.5
    assert repr(wanted).startswith("Prediction(label='bluebells', score=0.")
    content = path.read_bytes()
    with_alpha = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for image in (
        path, content, bytearray(content), memoryview(content), pixels, with_alpha,
        Image.fromarray(pixels), Image.open(path),
    ):  # fmt: skip
        assert classifier.predict(image).scores == wanted.scores, type(image)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert classifier.predict('~/tom.png') == classifier.predict(Path('~/tom.png'))
    assert [each.label for each in classifier.predict(Path('~'))] == ['bluebells']
    grey = pixels.mean(axis=2).astype(np.uint8)
    of_grey = classifier.predict(np.dstack([grey] * 3)).scores
    for image in grey, grey[..., None], Image.fromarray(grey):
        assert classifier.predict(image).scores == of_grey


@pytest.mark.parametrize('mode', ['CMYK', 'YCbCr', 'P', '1', 'LA', 'HSV'])
def test_pil_images_of_every_mode_are_taken(classifier: poets_tfr.Classifier, mode: str) -> None:
    image = Image.fromarray(a_picture())
    converted = image.convert('L').convert(mode) if mode == 'LA' else image.convert(mode)
    found = classifier.predict(converted)
    assert found.label in colours.LABELS
    if mode in ('CMYK', 'YCbCr', 'P', 'HSV'):
        assert found.label == 'bluebells'


@pytest.mark.parametrize('mode', ['I', 'F'])
def test_pixels_without_a_range_are_refused(classifier: poets_tfr.Classifier, mode: str) -> None:
    """Clipped at 255 they would give a wrong answer without a word."""
    with pytest.raises(poets_tfr.InputError, match=f'mode {mode} has no range'):
        classifier.predict(Image.fromarray(a_picture()).convert(mode))


def test_a_pil_image_is_turned_upright_as_its_file_is(classifier: poets_tfr.Classifier) -> None:
    pixels = np.concatenate([a_picture('Red_Roses')[:40, :40], a_picture()[:40, :40]])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    lying = io.BytesIO()
    Image.fromarray(pixels).save(lying, 'PNG', exif=exif)
    found = classifier.predict(Image.open(lying))
    assert found.scores == classifier.predict(lying.getvalue()).scores
    assert found.scores == classifier.predict(np.rot90(pixels, -1)).scores
    assert found.scores != classifier.predict(pixels).scores


def test_a_list_or_a_folder_gives_a_list_with_reasons(
    classifier: poets_tfr.Classifier, tmp_path: Path
) -> None:
    whole = colours.encoded(a_picture('Red_Roses'))
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/whole.jpg').write_bytes(whole)
    (tmp_path / 'broken.jpg').write_bytes(whole[:300])
    (tmp_path / 'notes.txt').write_text('not looked at')
    found = classifier.predict(tmp_path)
    assert [each.path for each in found] == [
        str(tmp_path / 'a/whole.jpg'), str(tmp_path / 'broken.jpg')
    ]  # fmt: skip
    assert [each.label for each in found] == ['red roses', None]
    cut = Image.open(io.BytesIO(whole[:-200]))  # Pillow reads on only when pixels are wanted
    images = [whole, b'', tmp_path / 'missing.jpg', whole[:300], a_picture(), cut] * 7
    found = classifier.predict(tuple(images))
    assert len(found) == len(images) > 32, 'more than go through the network at a time'
    assert [each.label for each in found[:6]] == ['red roses', None, None, None, 'bluebells', None]
    assert found[6:12] == found[:6]
    assert [bool(each.reason) for each in found] == [each.label is None for each in found]
    assert found[2].reason == 'No such file or directory'
    assert found[1].scores == {}
    assert classifier.predict([]) == []


def test_a_single_image_that_is_none_is_an_error(
    classifier: poets_tfr.Classifier, tmp_path: Path
) -> None:
    (tmp_path / 'empty').mkdir()
    whole = colours.encoded(a_picture())
    (tmp_path / 'broken.jpg').write_bytes(whole[:300])
    for image, says in (
        (tmp_path / 'broken.jpg', rf'^{tmp_path}/broken.jpg: '),
        ('missing.jpg', '^missing.jpg: No such file or directory'),
        (b'no image', '^the image: '),
        (tmp_path / 'empty', 'empty. has no '),
        (Image.open(io.BytesIO(whole[:-200])), '^the image: .*truncated'),
        (5, '^int is no image: give a path'),
        (None, '^NoneType is no image'),
        (a_picture().astype(np.float32), r'^an array of float32 \[\d+, \d+, 3\] is no image'),
        (np.zeros([4, 8, 8, 3], np.uint8), r'^an array of uint8 \[4, 8, 8, 3\] is no image'),
        (np.zeros([8, 8, 2], np.uint8), 'is no image'),
        (np.zeros([0, 8, 3], np.uint8), 'is no image'),
        (np.zeros([8], np.uint8), 'is no image'),
    ):
        with pytest.raises(poets_tfr.InputError, match=says):
            classifier.predict(image)


def test_a_classifier_says_what_it_is(classifier: poets_tfr.Classifier, home: Path) -> None:
    assert repr(classifier) == (
        f'<Classifier {home}/runs/colours/1/output_graph.pb: 3 labels '
        '(green grass, red roses, bluebells)>'
    )


# Records, features, evaluation


def test_records_are_columns(records: poets_tfr.Records, colours_dir: Path) -> None:
    assert records.labels == colours.LABELS
    assert sum(records.splits.values()) == 72
    train = records['train']
    assert len(train) == records.splits['train'] == len(train.paths)
    assert (train.labels.dtype, train.labels.shape) == (np.int32, (len(train),))
    for row in range(5):
        folder = train.paths[row].split('/')[0]
        assert records.labels[train.labels[row]] == folder.replace('_', ' ').lower()
        assert train.read(row) == (colours_dir / train.paths[row]).read_bytes()
    assert repr(records).startswith('<Records of colours: 3 classes, ')
    assert repr(train) == f'<SplitRecords: {len(train)} images in 2 shards>'
    with pytest.raises(KeyError):
        records['val']
    again = poets_tfr.convert(str(colours_dir), records_dir='records', num_shards=2)
    assert again.manifest == records.manifest


def test_a_dataset_gives_every_image_once(records: poets_tfr.Records) -> None:
    train = records['train']
    dataset = records.dataset('train', size=16, batch_size=32)
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    rest = len(train) % 32
    assert [len(batch) for batch in images] == [32] * (len(train) // 32) + [rest] * (rest > 0)
    assert images[0].shape == (32, 16, 16, 3)
    assert (images[0].dtype, labels[0].dtype) == (np.float32, np.int32)
    assert len(images[-1]) == len(labels[-1]) < 32
    assert np.concatenate(labels).tolist() == train.labels.tolist(), "the records' order"
    pixels = np.concatenate(images)
    assert 0 <= pixels.min() < 64
    assert 192 < pixels.max() <= 255
    for row in 0, len(train) - 1:
        with Image.open(io.BytesIO(train.read(row))) as image:
            wanted = np.asarray(image.convert('RGB'), np.float32).mean(axis=(0, 1))
        assert pixels[row].mean(axis=(0, 1)) == pytest.approx(wanted, abs=4)
    assert dataset.element_spec[0].shape.as_list() == [None, 16, 16, 3]


def test_features_are_kept_where_train_keeps_them(
    run: poets_tfr.Run, colours_dir: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    same = poets_tfr.Records.open(run.settings['records_dir'])
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        found = poets_tfr.features(same, architecture=graphs.MOBILENET)
    assert 'Features: all 72 are in ' in caplog.text, 'train has computed them'
    assert f'{home}/cache/poets_tfr/features/' in caplog.text
    assert {name: len(split) for name, split in found.items()} == same.splits
    train = found['train']
    assert (train.features.dtype, train.features.shape) == (np.float32, (len(train), 1001))
    assert train.labels.tolist() == same['train'].labels.tolist()
    assert list(train.paths) == list(same['train'].paths)
    computed = poets_tfr.features(
        same.records_dir, architecture=graphs.MOBILENET, bottleneck_dir='elsewhere'
    )
    np.testing.assert_array_equal(computed['train'].features, train.features)
    with pytest.raises(poets_tfr.InputError, match='^bottleneck_dir'):
        poets_tfr.features(same, architecture=graphs.MOBILENET, bottleneck_dir=run.report)
    on_disk = poets_tfr.features(
        same, architecture=graphs.MOBILENET, features_in_memory='off', feature_batch_size=7
    )
    np.testing.assert_array_equal(on_disk['train'].features[np.arange(3)], train.features[:3])


def test_a_model_is_tried_on_a_folder_and_on_records(
    run: poets_tfr.Run, classifier: poets_tfr.Classifier, colours_dir: Path, tmp_path: Path
) -> None:
    same = poets_tfr.Records.open(run.settings['records_dir'])
    for model in run, run.folder, classifier, {'graph': run.folder}:
        assert poets_tfr.evaluate(model, same).accuracy == run.accuracy, type(model)
    colours.write(tmp_path / 'more', per_class=2, seed=7)
    (tmp_path / 'more/bluebells/broken.jpg').write_bytes(b'\xff\xd8\xff')
    shutil.copytree(colours_dir, tmp_path / 'in_splits/train')
    shutil.copytree(tmp_path / 'more', tmp_path / 'in_splits/Test')
    of_test = poets_tfr.evaluate(run, tmp_path / 'in_splits')
    found = poets_tfr.evaluate(run, tmp_path / 'more', report_dir=tmp_path / 'report')
    assert of_test.accuracy == found.accuracy
    assert list(of_test.predictions.paths) == [f'Test/{path}' for path in found.predictions.paths]
    assert (found.figures.pictures, found.bad) == (6, 1)
    low, high = found.accuracy_interval or (0, 0)
    assert low < found.accuracy <= high
    assert (
        repr(found) == f'<Evaluated accuracy {found.accuracy:.1%} ({low:.1%} to {high:.1%}, N=6)>'
    )
    with pytest.raises(poets_tfr.InputError, match='no finished run there'):
        poets_tfr.load(tmp_path / 'report')
    with pytest.raises(poets_tfr.InputError, match='^Must set flag image_dir'):
        poets_tfr.evaluate(run)


# What is said


@pytest.mark.parametrize('level', [None, 'INFO', 'WARNING'])
def test_the_log_is_shown_once_however_logging_is_set_up(
    records: poets_tfr.Records,
    colours_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    level: str | None,
) -> None:
    """A plain script has set nothing up; a notebook's host may have, for warnings only."""
    monkeypatch.setattr(logging.root, 'handlers', [])
    monkeypatch.setattr(logging.root, 'level', logging.WARNING)
    if level:
        logging.basicConfig(level=level, stream=sys.stdout, format='mine: %(message)s')
    for _ in range(2):
        poets_tfr.convert(colours_dir, records_dir='records', num_shards=2)
        said = [line for line in capsys.readouterr().out.splitlines() if 'Looking' in line]
        mine = 'mine: ' if level == 'INFO' else ''
        wanted = 'Green Grass', 'Red_Roses', 'bluebells'
        assert said == [f"{mine}Looking for images in '{folder}'" for folder in wanted]


@pytest.mark.parametrize(
    ('splits_are_drawn', 'advice'),
    [(True, ' Add images, or raise --testing_percentage.'), (False, ' Add test images.')],
)
def test_too_few_test_images_are_warned_of_with_advice_that_works(
    run: poets_tfr.Run, caplog: pytest.LogCaptureFixture, splits_are_drawn: bool, advice: str
) -> None:
    config = RunConfig.of(image_dir='/a/colours', run_dir='runs/colours')
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        summary.log_summary(run, config, splits_are_drawn)
    (warning,) = (line for line in caplog.messages if ' test images are too few ' in line)
    assert warning.endswith(advice)


@pytest.mark.parametrize(
    ('program', 'under_make', 'first'),
    [
        ('/my/analysis.py', False, "poets_tfr.load('runs/colours').predict('my.jpg')"),
        ('/my/analysis.py', True, "poets_tfr.load('runs/colours').predict('my.jpg')"),
        ('', False, "poets_tfr.load('runs/colours').predict('my.jpg')"),
        ('/usr/bin/poets-retrain', True, 'poets-label --graph=runs/colours my.jpg'),
        ('tools/retrain.py', False, 'tools/label_image.py --graph=runs/colours my.jpg'),
        ('tools/retrain.py', True, 'make label PICTURE=my.jpg RUN=runs/colours'),
    ],
)
def test_what_to_do_next_is_said_in_the_words_of_whoever_asks(
    run: poets_tfr.Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str,
    under_make: bool,
    first: str,
) -> None:
    root = Path(__file__).resolve().parents[1]
    monkeypatch.setattr(sys, 'argv', [str(root / program) if 'tools/' in program else program])
    monkeypatch.delenv('MAKELEVEL', raising=False)
    if under_make:
        monkeypatch.setenv('MAKELEVEL', '1')
    config = RunConfig.of(image_dir='/a/colours', run_dir='runs/colours')
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        summary.log_summary(run, config)
    lines = caplog.text.split('Next:')[1].splitlines()[1:]
    assert first in lines[0]
    assert len(lines) == 3
    assert all(
        ('poets_tfr.' in line) == ('analysis' in program or not program) for line in lines[:2]
    )
