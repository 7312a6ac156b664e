"""--calibrate, --target_precision, --refuse_unlike; a fifth of one class has a wrong label."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call
from werkzeug.test import Client

import poets_tfr
from poets_tfr.export import frozen_graph, likeness
from poets_tfr.export.foreign_graph import Feeding
from poets_tfr.label.labeller import Labeller
from poets_tfr.label.serve import Application
from poets_tfr.label.settings import ServeConfig
from poets_tfr.records.reading import Records
from poets_tfr.run.result import Run

SPLITS = '--validation_percentage=40', '--testing_percentage=20'


@pytest.fixture(scope='module')
def mixed_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every five bluebells one is red, as a rose is: no head can be right about all of them."""
    directory = colours.write(tmp_path_factory.mktemp('mixed') / 'colours', per_class=60)
    for path in sorted((directory / 'bluebells').iterdir())[::5]:
        pixels = colours.draw('Red_Roses', np.random.default_rng(int(path.stem)))
        path.write_bytes(colours.encoded(pixels, 'PNG' if path.suffix == '.png' else 'JPEG'))
    return directory


def retrain(places: Places, model_dir: Path, *flags: object, steps: int = 100) -> Ended:
    ended = call(
        'retrain', *places.flags(), f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', f'--how_many_training_steps={steps}', *flags,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return ended


@pytest.fixture(scope='module')
def plain(
    mixed_dir: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Places, Ended]:
    places = Places(tmp_path_factory.mktemp('plain'))
    return places, retrain(places, model_dir, f'--image_dir={mixed_dir}', *SPLITS)


def beside(plain: tuple[Places, Ended], root: Path) -> Places:
    """Places of a run that has records and features already."""
    for folder in 'records', 'bottlenecks':
        shutil.copytree(plain[0].root / folder, root / folder)
    return Places(root)


@pytest.fixture(scope='module')
def calibrated(
    plain: tuple[Places, Ended], model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Places, Ended]:
    """With every export, each tried in a fresh process; and with intermediate graphs."""
    places = beside(plain, tmp_path_factory.mktemp('calibrated'))
    root = places.root
    return places, retrain(
        places, model_dir, '--calibrate', f'--inference_graph={root / "inference.pb"}',
        f'--saved_model_dir={root / "saved"}', f'--tflite_output={root / "model.tflite"}',
        '--self_test_pictures=8', '--intermediate_store_frequency=50',
        f'--intermediate_output_graphs_dir={root / "intermediate"}',
    )  # fmt: skip


def scores_of(export: Path, places: Places, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(float64 scores of a split's images, their labels)."""
    records = Records.open(str(places.records))[split]
    stored = records.read_each(range(len(records)))
    return Labeller(str(export)).scores_of_stored(stored).astype(np.float64), records.labels


def cooled(scores: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of the logits behind these scores, divided by the temperature."""
    powers = scores ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(scores[np.arange(len(labels)), labels]).mean())


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    bins = np.ceil(confidence * 10)
    return sum(
        abs(right[bins == each].mean() - confidence[bins == each].mean()) * (bins == each).mean()
        for each in np.unique(bins)
    )


def found_in(places: Places, what: str = 'calibration') -> dict[str, Any]:
    return json.loads((places.summaries / 'report.json').read_text())['confidence'][what]


def test_the_temperature_is_the_best_one_and_in_every_export(
    plain: tuple[Places, Ended], calibrated: tuple[Places, Ended]
) -> None:
    places, _ = calibrated
    found = found_in(places)
    temperature = found['temperature']
    before, labels = scores_of(plain[0].graph, places, 'validation')
    entropy_at = [cross_entropy(cooled(before, temperature * f), labels) for f in (0.98, 1, 1.02)]
    assert entropy_at[1] == min(entropy_at)
    assert abs(np.log(temperature)) > 0.2, 'else this test would show nothing'
    wanted = cooled(before, temperature)
    root = places.root
    for export in places.graph, root / 'inference.pb', root / 'saved', root / 'model.tflite':
        after, _ = scores_of(export, places, 'validation')
        np.testing.assert_allclose(after, wanted, atol=1e-4)
        np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    _, description = frozen_graph.load(str(places.graph))
    assert description
    assert description.temperature == temperature


def test_it_is_told_in_the_log_and_the_reports(
    plain: tuple[Places, Ended], calibrated: tuple[Places, Ended]
) -> None:
    places, ended = calibrated
    found = found_in(places)
    low, high = found['temperature_range']
    assert (
        f'Temperature: {found["temperature"]:.3f} (95 % range {low:.2f} to {high:.2f}), by '
        f'{found["pictures"]} validation images.\n' in ended.out
    )
    assert low < found['temperature'] < high
    page = ' '.join((places.summaries / 'report.html').read_text().split())
    assert f'divided by a temperature of {found["temperature"]:.3f}' in page
    for split in 'validation', 'test':
        pair = [scores_of(run[0].graph, places, split) for run in (plain, calibrated)]
        errors = found['splits'][split]['calibration_error']
        assert errors == pytest.approx([calibration_error(*each) for each in pair], abs=1e-4)
        entropies = found['splits'][split]['cross_entropy']
        assert entropies == pytest.approx([cross_entropy(*each) for each in pair], abs=1e-4)
        told = f'{100 * errors[0]:.1f}% before, {100 * errors[1]:.1f}% after.'
        assert f'{split.capitalize()} calibration error: {told}\n' in ended.out
        assert f'<td>{100 * errors[0]:.1f} %</td><td>{100 * errors[1]:.1f} %</td>' in page
    before, after = found['splits']['validation']['cross_entropy']
    assert after < before
    assert Run.open(str(places.summaries)).confidence == {'calibration': found}
    accuracy = re.search('Final test accuracy = .*', ended.out)
    assert accuracy
    assert accuracy[0] in plain[1].out, 'no label changes'


def test_without_it_nothing_is_said(plain: tuple[Places, Ended]) -> None:
    places, ended = plain
    assert 'emperature' not in ended.out
    assert 'alibration error:' not in ended.out
    content = places.graph.read_bytes()
    assert b'"labels"' in content
    assert b'temperature' not in content, 'the same bits as ever'
    assert Run.open(str(places.summaries)).confidence == {}


def test_intermediate_graphs_are_as_trained(calibrated: tuple[Places, Ended]) -> None:
    places, _ = calibrated
    step = places.root / 'intermediate/intermediate_50.pb'
    assert b'"temperature"' not in step.read_bytes()
    assert b'"temperature"' in places.graph.read_bytes()


@pytest.mark.parametrize('source', ['graph', 'checkpoint', 'resume'])
def test_going_on_folds_it_in_once(
    plain: tuple[Places, Ended],
    calibrated: tuple[Places, Ended],
    model_dir: Path,
    tmp_path: Path,
    source: str,
) -> None:
    former = calibrated[0]
    places = beside(plain, tmp_path)
    shutil.copytree(former.checkpoints, places.checkpoints)
    if source == 'resume':
        retrain(places, model_dir, '--calibrate', '--resume')
        assert places.graph.read_bytes() == former.graph.read_bytes()
        return
    start = former.graph if source == 'graph' else former.checkpoints
    retrain(places, model_dir, '--calibrate', f'--warm_start={start}', steps=0)
    assert found_in(places)['temperature'] == pytest.approx(found_in(former)['temperature'], 1e-4)
    for split in 'validation', 'test':
        again, _ = scores_of(places.graph, places, split)
        np.testing.assert_allclose(again, scores_of(former.graph, places, split)[0], atol=1e-4)


def test_too_few_images_to_say(
    mixed_dir: Path, colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    few, none = Places(tmp_path / 'few'), Places(tmp_path / 'none')
    ended = retrain(few, model_dir, f'--image_dir={mixed_dir}', '--calibrate')
    (told,) = (line for line in ended.err.splitlines() if '--calibrate' in line)
    low, high = found_in(few)['temperature_range']
    assert high > 2 * low
    assert told == (
        f'WARNING: --calibrate: {found_in(few)["pictures"]} validation images are too few to say '
        f'the temperature: anything from {low:.2f} to {high:.2f} is likely. Add images, or raise '
        '--validation_percentage.'
    )
    ended = retrain(none, model_dir, f'--image_dir={colours_dir}', '--calibrate')
    (told,) = (line for line in ended.err.splitlines() if '--calibrate' in line)
    assert re.match(
        r'WARNING: --calibrate: all \d+ validation images are classified correctly, which does not '
        'say how far scores are too high or too low: they stay as they are',
        told,
    )
    assert found_in(none)['temperature'] is None
    assert 'Not calibrated' in (none.summaries / 'report.html').read_text()
    assert b'"temperature"' not in none.graph.read_bytes()


def test_no_validation_images(mixed_dir: Path, model_dir: Path, tmp_path: Path) -> None:
    ended = call(
        'retrain', *Places(tmp_path).flags(), f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', f'--image_dir={mixed_dir}', '--validation_percentage=0',
        '--calibrate',
    )  # fmt: skip
    assert ended.status == 1
    assert ended.err == (
        'retrain.py: error: --calibrate chooses by validation images, and there are none: give '
        '--validation_percentage.\n'
    )


TARGET = 0.94


@pytest.fixture(scope='module', params=['plain', 'calibrated'])
def sure(
    plain: tuple[Places, Ended],
    model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> tuple[Places, Ended]:
    """With a threshold that some images of either label stay below."""
    places = beside(plain, tmp_path_factory.mktemp('sure'))
    root = places.root
    return places, retrain(
        places, model_dir, f'--target_precision={TARGET}', f'--inference_graph={root / "i.pb"}',
        f'--saved_model_dir={root / "saved"}', f'--tflite_output={root / "m.tflite"}',
        *(['--calibrate'] if request.param == 'calibrated' else []),
    )  # fmt: skip


def test_the_threshold_is_the_lowest_that_is_precise_enough(sure: tuple[Places, Ended]) -> None:
    places, ended = sure
    found = found_in(places, 'threshold')
    scores, labels = scores_of(places.graph, places, 'validation')
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    precise = [s for s in confidence if right[confidence >= s].mean() >= TARGET]
    assert max(confidence[confidence < min(precise)]) < found['min_score'] <= min(precise)
    assert found['target_precision'] == TARGET
    assert f'Threshold: a score of {found["min_score"]:.4f} (--target_precision={TARGET}).\n' in (
        ended.out
    )
    page = ' '.join((places.summaries / 'report.html').read_text().split())
    assert f'below a score of {found["min_score"]:.4f} an image is unsure' in page
    for split in 'validation', 'test':
        scores, labels = scores_of(places.graph, places, split)
        accepted = scores.max(axis=1) >= found['min_score']
        right = accepted & (scores.argmax(axis=1) == labels)
        assert found['splits'][split] == {
            'pictures': len(labels),
            'accepted': accepted.sum(),
            'right': right.sum(),
            'precision': pytest.approx(right.sum() / accepted.sum()),
            'coverage': pytest.approx(accepted.mean()),
        }
        assert (
            f'{split.capitalize()}: {accepted.sum()} of {len(labels)} images accepted '
            f'({accepted.mean():.1%}), of which {right.sum() / accepted.sum():.1%} are right.\n'
        ) in ended.out
        assert f'<td>{100 * accepted.mean():.1f} %</td>' in page
    for export in 'output_graph.pb', 'i.pb', 'saved', 'm.tflite':
        assert Labeller(str(places.root / export)).min_score == found['min_score'], export


def test_label_image_goes_by_it_unless_told_otherwise(
    sure: tuple[Places, Ended], mixed_dir: Path
) -> None:
    places, _ = sure
    min_score = found_in(places, 'threshold')['min_score']
    images = sorted((mixed_dir / 'bluebells').iterdir())

    def labelled(*flags: str) -> tuple[list[dict[str, Any]], str]:
        ended = call('label_image', f'--graph={places.graph}', '--format=json', *flags, *images)
        return [json.loads(line) for line in ended.out.splitlines()], ended.err

    found, told = labelled()
    unsure = [each['unsure'] for each in found]
    assert unsure == [each['score'] < min_score for each in found]
    assert any(unsure)
    assert not all(unsure)
    assert told == (
        f'NOTE: labels below a score of {min_score:.4f} are left out, as {places.graph} says '
        '(--target_precision); --min_score=0 gives all.\n'
    )
    off, told = labelled('--min_score=0')
    assert [each['score'] for each in off] == [each['score'] for each in found]
    assert not any(each['unsure'] for each in off)
    assert {len(each['labels']) for each in off} == {3}
    assert told == ''
    other, _ = labelled('--min_score=1')
    assert [each['unsure'] for each in other] == [each['score'] < 1 for each in other]


def test_sorting_goes_by_both(
    sure: tuple[Places, Ended], choosy: tuple[Places, Ended], mixed_dir: Path, tmp_path: Path
) -> None:
    images = tmp_path / 'images'
    shutil.copytree(mixed_dir / 'bluebells', images)
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    (images / 'noise.png').write_bytes(colours.encoded(noise, 'PNG'))
    for number, places in enumerate([sure[0], choosy[0]]):
        into = tmp_path / str(number)
        graph, sort = f'--graph={places.graph}', f'--sort_into={into}'
        ended = call('label_image', graph, sort, '--format=json', images)
        unsure = {Path(each['path']).name for each in map(json.loads, ended.out.splitlines())
                  if each['unsure']}  # fmt: skip
        assert {path.name for path in (into / 'unsure').iterdir()} == unsure
        assert len(unsure) < 61
        predicted = poets_tfr.load(places.graph).predict(images)
        assert {Path(each.path).name for each in predicted if each.unsure} == unsure
        if number:
            assert 'noise.png' in unsure


def test_the_page_goes_by_it_unless_told_otherwise(sure: tuple[Places, Ended]) -> None:
    places, _ = sure
    min_score = found_in(places, 'threshold')['min_score']
    labeller = Labeller(str(places.graph))
    records = Records.open(str(places.records))['validation']
    images = records.read_each(range(len(records)))
    least = min(images, key=lambda image: labeller.scores(image).max())
    for asked, wanted in (None, min_score), (0.0, 0.0), (1.0, 1.0):
        client = Client(Application(labeller, 'model', ServeConfig(min_score=asked)))
        assert client.get('/model').get_json()['min_score'] == wanted
        answer = client.post('/label', data=least).get_json()
        assert answer['unsure'] == (wanted > 0)


@pytest.mark.parametrize(
    ('target', 'says'),
    [
        (1, r'WARNING: --target_precision=1.0: no score reaches it with at least 20 of the (\d+) '
            r'validation images \(the best: \d+ of \d+\): no threshold is stored.'),
        (0.5, r'--target_precision=0.5: no threshold is needed: of all (\d+) validation images '
              r'\d\d\.\d% are classified correctly.'),
    ],
)  # fmt: skip
def test_no_threshold(
    plain: tuple[Places, Ended], model_dir: Path, tmp_path: Path, target: float, says: str
) -> None:
    """Without training nothing is known."""
    places = beside(plain, tmp_path)
    steps = 0 if target == 1 else 100
    ended = retrain(places, model_dir, f'--target_precision={target}', steps=steps)
    (told,) = (each for each in (ended.out + ended.err).splitlines() if 'target_precision' in each)
    assert re.fullmatch(says, told)
    assert b'"min_score"' not in places.graph.read_bytes()
    assert found_in(places, 'threshold')['min_score'] == (None if target == 1 else 0)


def test_too_few_validation_images_for_a_threshold(
    colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    places, flag = Places(tmp_path), '--target_precision=0.9'
    ended = retrain(places, model_dir, f'--image_dir={colours_dir}', flag)
    (told,) = (line for line in ended.err.splitlines() if flag in line)
    assert re.match(f'WARNING: {flag}: \\d+ validation images are too few, at least 20 are', told)
    assert b'"min_score"' not in places.graph.read_bytes()


@pytest.mark.parametrize('value', ['95', '-0.1', 'nan'])
def test_a_precision_is_a_share_of_1(value: str) -> None:
    ended = call('retrain', 'nowhere', f'--target_precision={value}')
    assert ended.status == 1
    assert ended.err.startswith(
        f'retrain.py: error: --target_precision={float(value)} must be 0 (no threshold) to 1.'
    )


def test_it_is_of_our_own_scores(sure: tuple[Places, Ended]) -> None:
    """Of another node's it says nothing."""
    add = 'final_training_ops/Wx_plus_b/add'
    labeller = Labeller(str(sure[0].graph), feeding=Feeding(output_layer=add))
    assert labeller.min_score == 0


SHARE = 0.1


@pytest.fixture(scope='module')
def choosy(
    plain: tuple[Places, Ended], model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Places, Ended]:
    """Refuses what is unlike the training images; with a graph and with a SavedModel."""
    places = beside(plain, tmp_path_factory.mktemp('choosy'))
    return places, retrain(
        places, model_dir, f'--refuse_unlike={SHARE}', f'--saved_model_dir={places.root / "saved"}',
        f'--inference_graph={places.root / "inference.pb"}',
    )  # fmt: skip


def distances(places: Places, model_dir: Path) -> dict[str, np.ndarray]:
    """Split -> how far each image is from the nearest mean of a class, from the features alone."""
    splits = poets_tfr.features(
        str(places.records),
        bottleneck_dir=str(places.bottlenecks),
        architecture=graphs.MOBILENET,
        model_dir=str(model_dir),
    )
    train = splits['train']
    means = [train.features[train.labels == each].mean(axis=0) for each in range(3)]
    return {
        name: np.min([np.linalg.norm(split.features - mean, axis=1) for mean in means], axis=0)
        for name, split in splits.items()
    }


def test_what_is_unlike_is_found_by_the_features(
    choosy: tuple[Places, Ended], model_dir: Path
) -> None:
    places, ended = choosy
    found = found_in(places, 'unlike')
    wanted = distances(places, model_dir)
    farthest = np.quantile(wanted['validation'], 1 - SHARE)
    assert found['farthest'] == pytest.approx(farthest, rel=1e-4)
    assert found['refuse_unlike'] == SHARE
    page = ' '.join((places.summaries / 'report.html').read_text().split())
    for split in 'validation', 'test':
        refused, count = int((wanted[split] > farthest).sum()), len(wanted[split])
        assert found['splits'][split] == {'pictures': count, 'refused': refused}
        assert (
            f'{split.capitalize()}: {refused} of {count} images are unlike the training images '
            f'(--refuse_unlike={SHARE}).\n' in ended.out
        )
        assert f'{refused} of {count} {split} images' in page
    assert found['splits']['validation']['refused'] > 0


@pytest.mark.parametrize('export', ['output_graph.pb', 'inference.pb', 'saved'])
def test_what_is_unlike_is_unsure(
    choosy: tuple[Places, Ended], mixed_dir: Path, tmp_path: Path, export: str
) -> None:
    """Noise and checks, of which a head of three colours is sure all the same."""
    places, _ = choosy
    rng = np.random.default_rng(0)
    images = [mixed_dir / path for path in Records.open(str(places.records))['validation'].paths]
    noise = rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    checks = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((8, 8))) * 255
    odd = {'noise': noise, 'checks': np.repeat(checks[..., None], 3, 2).astype(np.uint8)}
    for name, pixels in odd.items():
        images.append(tmp_path / f'{name}.png')
        images[-1].write_bytes(colours.encoded(pixels, 'PNG'))

    def unsure(*flags: str) -> tuple[list[bool], str]:
        graph = f'--graph={places.root / export}'
        ended = call('label_image', graph, '--format=json', *flags, *images)
        return [json.loads(line)['unsure'] for line in ended.out.splitlines()], ended.err

    found, told = unsure()
    if export == 'saved':
        assert not any(found)
        assert told.startswith(f'NOTE: {places.root / export} gives no features, so that images')
        return
    assert sum(found[:-2]) == found_in(places, 'unlike')['splits']['validation']['refused']
    assert found[-2:] == [True, True]
    assert told == ''
    assert not any(unsure('--min_score=0')[0])


def test_the_page_is_unsure_of_it(choosy: tuple[Places, Ended]) -> None:
    labeller = Labeller(str(choosy[0].graph))
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    for asked, wanted in (None, True), (0.0, False):
        client = Client(Application(labeller, 'model', ServeConfig(min_score=asked)))
        answer = client.post('/label', data=colours.encoded(noise, 'PNG')).get_json()
        assert (answer['unsure'], answer['label'] is None) == (wanted, wanted)


def test_no_distance_is_stored(
    plain: tuple[Places, Ended], model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many classes; and of too few images one that is rough."""
    places = beside(plain, tmp_path)
    ended = retrain(places, model_dir, '--refuse_unlike=0.001', steps=1)
    assert 'WARNING: --refuse_unlike=0.001: ' in ended.err
    assert 'validation images are too few to say how far one in 1000 is.' in ended.err
    assert b'"likeness"' in places.graph.read_bytes()
    monkeypatch.setattr(likeness, 'MOST_VALUES', 100)
    ended = retrain(places, model_dir, f'--refuse_unlike={SHARE}', steps=1)
    (told,) = (line for line in ended.err.splitlines() if 'refuse_unlike' in line)
    assert re.search(r'are \d+ numbers, at most 100 go into an export: no distance is', told)
    assert b'"likeness"' not in places.graph.read_bytes()
    assert found_in(places, 'unlike') == {
        'refuse_unlike': SHARE, 'farthest': None, 'splits': {},
    }  # fmt: skip
