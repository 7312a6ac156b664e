"""--calibrate through the real commands, on images of which some have a wrong label."""

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

from poets_tfr.export import frozen_graph
from poets_tfr.label.labeller import Labeller
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


def found_in(places: Places) -> dict[str, Any]:
    return json.loads((places.summaries / 'report.json').read_text())['confidence']['calibration']


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
        'retrain.py: error: --calibrate chooses by validation pictures, and there are none: give '
        '--validation_percentage.\n'
    )
