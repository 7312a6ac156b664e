"""What now? Each finding where it applies and nowhere else, and commands that can be typed."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import os
import shlex
import shutil
import urllib.parse
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call

from poets_tfr import files
from poets_tfr.reporting import metrics, report, verdict
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.report import Report
from poets_tfr.training.loop import Evaluation
from poets_tfr.training.predictions import Predictions


def measured(right: int, wrong: int, classes: int = 2) -> Metrics:
    """Of images that are of one class after the other."""
    count = right + wrong
    truth = (np.arange(count) % classes).astype(np.int32)
    given = np.where(np.arange(count) < right, truth, (truth + 1) % classes)
    scores = np.full((count, classes), 0.1, np.float32)
    scores[np.arange(count), given] = 0.9
    return metrics.measure(Predictions(tuple(map(str, range(count))), truth, scores))


def evaluations(train_accuracy: float) -> list[Evaluation]:
    return [Evaluation(step, train_accuracy, 0.1, None, None, 0) for step in range(20)]


GOOD = Report(
    title='good', labels=['a', 'b'], mistakes=(), versions={}, timings={}, digests={},
    metrics={'validation': measured(356, 44), 'test': measured(356, 44)},
    pictures={'train': [300, 290], 'validation': [50, 50], 'test': [50, 50]},
    settings={'image_dir': '/p', 'weights': 'imagenet', 'fine_tune_from': '', 'sampling': 'natural',
              'class_weights': 'none', 'testing_percentage': 10},
    left_out={'found': 5, 'skipped': 0, 'ignored': 1, 'skip_reasons': {}},
    evaluations=evaluations(0.95),
    duplicates={'copies': 0, 'across_splits': 0, 'across_classes': 0},
    again='retrain', examine='examine', splits_are_drawn=True,
)  # fmt: skip


def kinds(**changes: Any) -> dict[str, verdict.Finding]:
    found = verdict.findings(dataclasses.replace(GOOD, **changes))
    return {finding.kind: finding for finding in found}


def with_settings(**changes: Any) -> dict[str, Any]:
    return {'settings': {**GOOD.settings, **changes}}


def test_nothing_is_said_of_a_good_run() -> None:
    assert verdict.findings(GOOD) == []
    assert GOOD.to_json()['verdict'] == verdict.NO_FAULT


@pytest.mark.parametrize(
    ('kind', 'changes', 'said', 'command'),
    [
        ('self_test_failed', {'self_test': {'passed': False}}, 'Do not use the files', ''),
        ('untrained', with_settings(weights='random'), 'Its weights are random',
         'retrain --weights=imagenet'),
        ('untested', {'metrics': {'validation': measured(356, 44)}}, 'No images were set', ''),
        ('no_better_than_guessing', {'metrics': {'test': measured(210, 190)}, 'evaluations': ()},
         'Always guessing the commonest class would be right for 50 %', 'examine'),
        ('few_test_images', {'metrics': {'test': measured(18, 2)}},
         '20 test images tell only that the accuracy is likely between 70 % and 97 %',
         'retrain --testing_percentage=20'),
        ('overfits', {'evaluations': evaluations(1.0)},
         '100 % of the training images are classified correctly, and 89 % of images',
         f'retrain {verdict._REGULARISED}'),
        ('left_out', {'left_out': {'found': 9, 'skipped': 3, 'ignored': 1,
                                   'skip_reasons': {'too large': 1, 'empty file': 2}}},
         '3 of 8 images were left out: 2 empty file; 1 too large. skipped.tsv names each', ''),
        ('duplicates', {'duplicates': {'copies': 4, 'across_splits': 2, 'across_classes': 1}},
         'another: 4 images, which count twice. In more than one split: 2; there the test asks '
         'what training has taught. In more than one class: 1;', 'retrain --on_duplicate=drop'),
        ('small_classes', {'pictures': {'train': [190, 30], 'test': [50, 19]}},
         '1 of 2 classes have fewer than 50 images: b (49). Add images of these first', 'examine'),
        ('imbalance', {'pictures': {'train': [500, 100], 'test': [50, 10]}},
         'a has 550 images, 5.0 times as many as b (110)', 'retrain --class_weights=auto'),
        ('imbalance', {'pictures': {'train': [500, 100], 'test': [50, 10]},
                       **with_settings(sampling='class_uniform')},
         'Training weighs the classes', ''),
    ],
)  # fmt: skip
def test_each_finding_by_its_figures(
    kind: str, changes: dict[str, Any], said: str, command: str
) -> None:
    found = kinds(**changes)
    assert list(found) == [kind]
    assert said in found[kind].said
    assert found[kind].command == command


def test_they_are_not_said_just_short_of_it() -> None:
    assert not kinds(**with_settings(weights='random', fine_tune_from='all'))
    assert not kinds(evaluations=evaluations(0.98))
    assert not kinds(pictures={'train': [199, 40], 'test': [50, 10]})
    assert not kinds(metrics={'test': measured(90, 10)}, evaluations=())
    # The figures of an evaluation of other images are those of a test.
    assert list(kinds(metrics={'given': measured(9, 1)}, pictures={})) == ['few_test_images']


def test_no_command_that_would_do_nothing() -> None:
    few = {'metrics': {'test': measured(18, 2)}}
    copies = {'duplicates': {'copies': 4, 'across_splits': 0, 'across_classes': 0}}
    assert kinds(**few, splits_are_drawn=False)['few_test_images'].command == ''
    assert kinds(**few, **with_settings(testing_percentage=20))['few_test_images'].command == ''
    assert kinds(**copies, **with_settings(image_dir=''))['duplicates'].command == ''
    assert kinds(**copies, again='')['duplicates'].command == ''


def test_advice_that_would_be_refused_is_not_given() -> None:
    few = {'metrics': {'test': measured(18, 2)}}
    said = kinds(**few, splits_are_drawn=False)['few_test_images'].said
    assert said.endswith(' to within 5 points: add test images.')
    drawn = kinds(**few)['few_test_images'].said
    assert drawn.endswith(' to within 5 points: add images, or raise --testing_percentage.')
    wanted = {'found': 9, 'ignored': 1, 'skip_reasons': {'left out by --corrections': 2}}
    assert kinds(left_out=wanted)['left_out'].said.endswith('. skipped.tsv names each.')


def test_so_many_test_images_are_enough() -> None:
    wanted = verdict._wanted(measured(18, 2))
    low, high = metrics.wilson_interval(round(0.9 * wanted), wanted)
    assert high - low <= 0.1
    low, high = metrics.wilson_interval(round(0.9 * wanted * 0.8), round(wanted * 0.8))
    assert high - low > 0.1


def test_the_verdict_is_one_sentence() -> None:
    found = verdict.findings(
        dataclasses.replace(GOOD, evaluations=evaluations(1.0), pictures={'train': [300, 49]})
    )
    assert verdict.verdict(found) == (
        'It overfits; some classes are small; the classes are unbalanced.'
    )


class Links(html.parser.HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ''
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == 'a':
            self.found.append(str(dict(attrs)['href']))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_links_lead_to_the_files(tmp_path: Path) -> None:
    odd = tmp_path / 'a "#?%41 <b>\n.pb'
    odd.write_bytes(b'')
    made = dataclasses.replace(
        GOOD, outputs={'output_graph': str(odd), 'tflite_output': str(tmp_path / 'gone')}
    )
    report.save(str(tmp_path / 'runs/1'), made)
    found = Links((tmp_path / 'runs/1/report.html').read_text()).found
    assert len(found) == 1
    assert (tmp_path / 'runs/1' / urllib.parse.unquote(found[0])).resolve() == odd


def test_a_bin_that_is_all_wrong_is_unlike_an_empty_one(tmp_path: Path) -> None:
    report.save(str(tmp_path), dataclasses.replace(GOOD, metrics={'test': measured(0, 40)}))
    page = (tmp_path / 'report.html').read_text()
    assert page.count('class="bar none"') == page.count('<rect') == 1
    assert '<title>40 images, 0.0 % right</title>' in page


def test_examples_are_the_surest_of_the_classes_concerned() -> None:
    scores = np.array(
        [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.1, 0.9, 0], [0, 0, 1]], np.float32
    )
    labels = np.array([1, 1, 0, 1, 2], np.int32)
    predictions = Predictions(tuple('abcde'), labels, scores)
    assert metrics.right_beside(predictions, [0], 12).tolist() == [2, 3]
    assert metrics.right_beside(predictions, [0], 1).tolist() == [2]
    assert metrics.right_beside(predictions, [], 12).tolist() == []


@pytest.fixture(scope='module')
def faulty(
    tmp_path_factory: pytest.TempPathFactory, colours_dir: Path, model_dir: Path
) -> tuple[Places, Ended, list[object]]:
    """A run of images with a broken one, three copies, and a class of four."""
    root = tmp_path_factory.mktemp('faulty')
    images = root / "the 'images'"
    shutil.copytree(colours_dir, images)
    first, second, third = sorted(path for path in images.iterdir() if path.is_dir())
    pictures = sorted(first.iterdir())
    for number in range(2):
        shutil.copy(pictures[number], first / f'copy_{number}.png')
    shutil.copy(pictures[2], second / 'copy_2.png')
    for path in sorted(third.iterdir())[4:]:
        path.unlink()
    (second / 'broken.jpg').write_bytes(b'\xff\xd8\xff\xe0 no image')
    (second / 'notes.txt').write_text('no image')
    places = Places(root)
    flags: list[object] = [
        f'--image_dir={images}', f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}',
        '--how_many_training_steps=30', '--testing_percentage=25', '--self_test_pictures=0',
        *places.flags(),
    ]  # fmt: skip
    ended = call('retrain', *flags)
    assert ended.status == 0, ended.err
    return places, ended, flags


def test_a_run_says_what_now(faulty: tuple[Places, Ended, list[object]]) -> None:
    places, _, _ = faulty
    value = files.read_json(str(places.summaries / 'report.json'))
    found = {finding['kind']: finding for finding in value['findings']}
    assert {'few_test_images', 'left_out', 'duplicates', 'small_classes', 'imbalance'} <= set(found)
    assert found['left_out']['said'].startswith('1 of 56 images were left out: 1 ')
    assert value['duplicates']['copies'] == 3
    assert value['duplicates']['across_classes'] == 1
    assert 'another: 3 images' in found['duplicates']['said']
    assert '6.5 times as many as' in found['imbalance']['said']
    parsed = Links((places.summaries / 'report.html').read_text())
    assert value['verdict'] in parsed.text
    assert '1 other files are no images' in parsed.text
    for finding in value['findings']:
        assert finding['said'] in ' '.join(parsed.text.split())
    there = {(places.summaries / urllib.parse.unquote(link)).resolve() for link in parsed.found}
    assert there == {
        places.graph, places.labels, places.summaries, places.records / 'skipped.tsv',
        places.records / 'duplicates.tsv',
    }  # fmt: skip
    assert {each['label'] for each in value['examples']} <= set(value['labels'])


@pytest.mark.slow
def test_its_commands_can_be_typed(
    faulty: tuple[Places, Ended, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, _, _ = faulty
    value = files.read_json(str(places.summaries / 'report.json'))
    found = {finding['kind']: finding for finding in value['findings']}
    monkeypatch.chdir(tmp_path)
    tool, *flags = shlex.split(value['examine'])
    assert os.path.basename(tool) == 'poets-examine'
    ended = call('examine', *flags)
    assert ended.status == 0, ended.err
    assert 'Creating' not in ended.out, 'the features are there'
    assert (tmp_path / 'examination/examine.html').exists()
    tool, *flags = shlex.split(found['duplicates']['command'])
    assert os.path.basename(tool) == 'poets-retrain'
    ended = call('retrain', *flags)
    assert ended.status == 0, ended.err
    value = json.loads((places.summaries / 'report.json').read_bytes())
    assert value['duplicates'] == {'copies': 0, 'across_splits': 0, 'across_classes': 0}
    assert 'duplicates' not in [finding['kind'] for finding in value['findings']]
    assert value['labels'] == colours.LABELS
