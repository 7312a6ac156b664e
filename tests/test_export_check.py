"""The exports in a fresh process: they pass as they are written, and fail once one is changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call

from poets_tfr import export_check
from poets_tfr.errors import InputError
from poets_tfr.export import frozen_graph
from poets_tfr.export.writing import Export
from poets_tfr.export_check import Pictures
from poets_tfr.label.labeller import Labeller
from poets_tfr.records.reading import Records
from poets_tfr.training.predictions import Predictions

WEIGHTS = 'final_training_ops/weights/final_weights'


@pytest.fixture(scope='module')
def pictures(trained: tuple[Places, Ended]) -> Pictures:
    """All test pictures, and what the frozen graph says of them."""
    records = Records.open(str(trained[0].records))['test']
    stored = records.read_each(range(len(records)))
    scores = Labeller(str(trained[0].graph)).scores_of_stored(stored)
    return Pictures('test', Predictions(tuple(records.paths), records.labels, scores))


def run(
    trained: tuple[Places, Ended], pictures: Pictures, image_dir: Path, *exports: Export
) -> dict[str, Any]:
    with export_check.started(1) as test:
        assert test
        return test.begin(exports, pictures, str(trained[0].records), str(image_dir))()


def test_what_was_written_passes_and_what_was_changed_fails(
    trained: tuple[Places, Ended], colours_dir: Path, pictures: Pictures, tmp_path: Path
) -> None:
    """One process for all of them: a good graph, a SavedModel, and a graph with another head."""
    places = trained[0]
    graph_def, _ = frozen_graph.load(str(places.graph))
    (node,) = (node for node in graph_def.node if node.name == WEIGHTS)
    tensor = node.attr['value'].tensor
    values = np.frombuffer(tensor.tensor_content, np.float32) * np.float32(1.05)
    tensor.tensor_content = values.tobytes()
    changed = tmp_path / 'changed.pb'
    changed.write_bytes(frozen_graph.serialized(graph_def))
    originals = shutil.copytree(colours_dir, tmp_path / 'originals')
    count = len(pictures.wanted)
    gone, other = (originals / path for path in pictures.wanted.paths[:2])
    gone.unlink()
    other.write_bytes(next(originals.rglob('*.png')).read_bytes())  # no longer what was converted

    result = run(
        trained, pictures, originals,
        Export('output_graph', str(places.graph), str(places.labels)),
        Export('saved_model_dir', str(places.root / 'saved_model/1')),
        Export('tflite_output', str(changed)),
    )  # fmt: skip
    assert (result['passed'], result['pictures'], result['split']) == (False, count, 'test')
    verdicts = result['exports']
    for flag in 'output_graph', 'saved_model_dir':
        assert verdicts[flag]['passed'], verdicts[flag]
        assert verdicts[flag]['stored']['pictures'] == count
        assert verdicts[flag]['files']['pictures'] == count - 2
        for source in 'stored', 'files':
            assert verdicts[flag][source]['largest_difference'] < 1e-4
            assert verdicts[flag][source]['top_1_agreement'] == 1
    assert not verdicts['tflite_output']['passed']
    with pytest.raises(InputError, match=f'tflite_output: {changed}: of .* Do not use this file'):
        export_check.check(result)


def test_an_export_that_is_gone(
    trained: tuple[Places, Ended], colours_dir: Path, pictures: Pictures, tmp_path: Path
) -> None:
    result = run(trained, pictures, colours_dir, Export('output_graph', f'{tmp_path}/gone.pb'))
    assert (result['passed'], result['exports']) == (False, {})
    with pytest.raises(InputError, match=f'Self-test failed: graph: {tmp_path}/gone.pb not'):
        export_check.check(result)


def test_a_run_that_fails_meanwhile_does_not_wait_for_it(
    trained: tuple[Places, Ended], colours_dir: Path, pictures: Pictures
) -> None:
    """The figures are drawn while the process labels: their error ends both at once."""
    graph = Export('output_graph', str(trained[0].graph), str(trained[0].labels))
    with export_check.started(1) as test:
        assert test
        result = test.begin([graph], pictures, str(trained[0].records), str(colours_dir))
        # Left before it can have answered, as an error would leave.
    ended = result()  # there at once, for the process is gone
    assert not ended['passed']
    assert ended['fault'].startswith('its process ended early')


def verdict(export: Export, pictures: Pictures, scores: np.ndarray) -> dict[str, Any]:
    found = dict(zip(pictures.wanted.paths, scores.tolist(), strict=True))
    return export_check._verdict(export, {'stored': found, 'files': {}}, pictures.wanted)


def test_verdicts() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40, 3))
    scores = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    paths = tuple(f'{i}.jpg' for i in range(40))
    pictures = Pictures('test', Predictions(paths, np.zeros(40, np.int32), scores))
    float32 = Export('output_graph', 'g.pb')
    int8 = Export('tflite_output', 'm', None, 0.1, 'mean', 0.95, False)

    assert verdict(float32, pictures, scores)['passed']
    assert verdict(float32, pictures, scores + np.float32(5e-5))['passed']
    one_off = scores.copy()
    one_off[7, 1] += 2e-4
    assert not verdict(float32, pictures, one_off)['passed']
    assert verdict(int8, pictures, one_off)['passed']
    no_number = scores.copy()
    no_number[3] = np.nan
    assert not verdict(float32, pictures, no_number)['passed']

    turned = scores.copy()
    turned[:4] = np.roll(scores[:4], 1, axis=1)  # 10 % get another label
    found = verdict(int8, pictures, turned)
    assert found['passed']
    assert found['stored']['top_1_agreement'] == pytest.approx(0.9)
    assert '90.0% get the label that the trained model gives, 95% are wanted' in found['warning']
    float16 = Export('tflite_output', 'm', None, 0.1, 'mean', 0.99)
    assert not verdict(float16, pictures, turned)['passed']


def test_a_run_with_every_export(
    colours_dir: Path, model_dir: Path, tmp_path: Path, trained: tuple[Places, Ended]
) -> None:
    """The real thing, from the flags to the last line."""
    places = Places(tmp_path)
    ended = call(
        'retrain', f'--image_dir={colours_dir}', f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', '--how_many_training_steps=200', '--testing_percentage=25',
        f'--saved_model_dir={tmp_path / "saved"}', f'--tflite_output={tmp_path / "m.tflite"}',
        '--tflite_quantization=float16', f'--inference_graph={tmp_path / "i.pb"}',
        *places.flags(), '--self_test_pictures=12',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    lines = [line for line in ended.out.splitlines() if line.startswith('Self-test of ')]
    flags = ['output_graph', 'inference_graph', 'saved_model_dir', 'tflite_output']
    assert [line.split()[2] for line in lines] == [f'{flag}:' for flag in flags]
    assert all(': 12 stored and 12 original images, ' in line for line in lines)
    assert (tmp_path / 'saved/1/saved_model.pb').is_file()
    assert Labeller(str(tmp_path / 'm.tflite')).labels == colours.LABELS
