"""--onnx_output: what ONNX Runtime makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call, start

from poets_tfr.errors import InputError
from poets_tfr.export import frozen_graph, inference_graph, onnx_model
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing


@pytest.fixture(scope='module')
def model(trained: tuple[Places, Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the graph that was trained."""
    for needed in 'onnx', 'onnxruntime', 'tf2onnx':
        pytest.importorskip(needed)
    graph_def, description = frozen_graph.load(str(trained[0].graph))
    assert description
    path = tmp_path_factory.mktemp('onnx') / 'model.onnx'
    onnx_model.save(str(path), inference_graph.of(graph_def, description), description)
    return path


def test_it_scores_as_the_graph_does(model: Path, trained: tuple[Places, Ended]) -> None:
    ours, graph = Labeller(str(model)), Labeller(str(trained[0].graph))
    assert ours.labels == colours.LABELS
    rng = np.random.default_rng(6)
    encoded = [colours.encoded(colours.draw(folder, rng)) for folder in colours.COLOURS]
    wanted = np.stack([graph.scores(each) for each in encoded])
    assert wanted.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(ours.scores_of_stored(encoded), wanted, atol=1e-4)


def test_a_stranger_runs_it(model: Path, trained: tuple[Places, Ended]) -> None:
    """By its metadata and names alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=['CPUExecutionProvider'])
    (takes,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (takes.name, takes.shape) == ('input', ['n', 128, 128, 3])
    assert (gives.name, gives.shape) == ('final_result', ['n', 3])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata['labels'].splitlines() == colours.LABELS
    wants = json.loads(metadata['poets_tfr.json'])['preprocessing']
    encoded = colours.encoded(colours.draw('Red_Roses', np.random.default_rng(7)), 'PNG')
    pixels = preprocess.from_encoded(encoded, Preprocessing(wants['size'], 0, 1))[None].numpy()
    (scores,) = session.run(None, {'input': (pixels - wants['mean']) / wants['std']})
    wanted = Labeller(str(trained[0].graph)).scores(encoded)
    np.testing.assert_allclose(scores[0], wanted, atol=1e-4)


def test_what_is_damaged_is_said(model: Path, tmp_path: Path) -> None:
    content, path = model.read_bytes(), tmp_path / 'm.onnx'
    for at in range(3, len(content), len(content) // 60):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(InputError, match=f'^graph: {path} '):
            Labeller(str(path))
    path.write_bytes(b'')
    with pytest.raises(InputError, match='was not written by this program'):
        Labeller(str(path))


@pytest.mark.slow
def test_a_run_writes_it(
    model: Path, trained: tuple[Places, Ended], colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    """And the self-test tries it; label_image gives the labels."""
    places = Places(tmp_path)
    ended = call(
        'retrain', f'--image_dir={colours_dir}', f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', *places.flags(), '--how_many_training_steps=100',
        f'--bottleneck_dir={trained[0].bottlenecks}', f'--onnx_output={tmp_path / "m.onnx"}',
        '--self_test_pictures=4',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith('WARNING: 10 test images are too few'), 'none of the converter'
    assert 'Self-test of onnx_output: 4 stored and 4 original images' in ended.out
    labelled = call(
        'label_image', f'--graph={tmp_path / "m.onnx"}', colours_dir / 'bluebells/001.jpg'
    )
    assert labelled.out.startswith('bluebells (score = ')


def test_without_the_extra_it_is_refused_early(colours_dir: Path, tmp_path: Path) -> None:
    """A process that does not find tf2onnx, as one has it that installed the package alone."""
    (tmp_path / 'm.onnx').write_bytes(b'')
    script = tmp_path / 'retrain.py'
    script.write_text(
        'import sys\n'
        "sys.modules.update(dict.fromkeys(['tf2onnx', 'onnxruntime']))  # Python's word for none\n"
        'from poets_tfr.cli import label_image, retrain\n'
        'command = label_image if "--graph" in sys.argv[1] else retrain\n'
        'sys.exit(command.main(sys.argv))\n'
    )
    install = "pip install tf2onnx 'onnx<1.19' onnxruntime (the extra onnx)."
    flags = f'--image_dir={colours_dir}', '--onnx_output=m.onnx', *Places(tmp_path).flags()
    ended = start(script, *flags)
    assert ended.status == 1
    assert 'error: --onnx_output needs tf2onnx, ' in ended.err
    assert ended.err.endswith(f': {install}\n')
    ended = start(script, f'--graph={tmp_path / "m.onnx"}', 'a.jpg')
    assert 'm.onnx needs ' in ended.err
    assert ended.err.endswith(f': {install}\n')


def test_another_name(colours_dir: Path) -> None:
    ended = call('retrain', f'--image_dir={colours_dir}', '--onnx_output=m.pb')
    assert "--onnx_output='m.pb' must be a file whose name ends in .onnx" in ended.err
