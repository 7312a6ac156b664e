"""The flagfile that a run leaves repeats it, wherever it is started."""

from __future__ import annotations

import shutil
from pathlib import Path

import graphs
import pytest
from command_line import Ended, Places, call

from poets_tfr.run.settings import RunConfig, is_path

PATHS = {
    'image_dir', 'records_dir', 'model_dir', 'bottleneck_dir', 'output_graph', 'output_labels',
    'saved_model_dir', 'summaries_dir', 'intermediate_output_graphs_dir', 'checkpoint_path',
    'warm_start', 'tflite_output', 'keras_output', 'run_dir', 'inference_graph', 'onnx_output',
    'labels_file', 'image_tfrecords', 'image_parquet', 'label_names', 'near_duplicates',
    'corrections',
}  # fmt: skip
MAYBE_PATHS = {'tfhub_module', 'weights'}


def test_paths_are_known_as_such() -> None:
    """They are written as absolute ones; what may be a path is, where it exists."""
    for name in RunConfig().values:
        assert is_path(RunConfig, name, 'nothing of this name') == (name in PATHS), name
        assert is_path(RunConfig, name, __file__) == (name in PATHS | MAYBE_PATHS), name


def test_it_repeats_the_run_from_another_folder(
    trained: tuple[Places, Ended],
    colours_dir: Path,
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / 'D').symlink_to(colours_dir)
    (tmp_path / 'M').symlink_to(model_dir)
    shutil.copytree(trained[0].bottlenecks, tmp_path / 'B')
    monkeypatch.chdir(tmp_path)
    ended = call(
        'retrain', '--image_dir=D', '--records_dir=R', '--bottleneck_dir=B', '--model_dir=M',
        '--output_graph=G', '--output_labels=L', '--summaries_dir=S', '--checkpoint_path=C',
        f'--architecture={graphs.MOBILENET}', '--how_many_training_steps=20', '--seed=3',
        '--split_by=given_path', '--classes=Red_Roses,bluebells', '--optimizer=adam',
        '--standardize_features', '--print_misclassified_test_images', '--resume',
        '--self_test_pictures=0',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    stored = tmp_path / 'S/retrain.flags'
    assert stored.read_text().startswith(
        f'# Repeats this run:  python tools/retrain.py --flagfile={stored}\n'
    )
    wanted = (tmp_path / 'G').read_bytes()
    records = {path.name: path.read_bytes() for path in (tmp_path / 'R').glob('*tfrecord*')}
    for place in 'G', 'L':
        (tmp_path / place).unlink()
    shutil.rmtree(tmp_path / 'R')
    monkeypatch.chdir('/')
    said = stored.read_bytes()
    again = call('retrain', f'--flagfile={stored}')
    assert again.status == 0, again.err
    assert (tmp_path / 'G').read_bytes() == wanted
    assert {p.name: p.read_bytes() for p in (tmp_path / 'R').glob('*tfrecord*')} == records
    assert '=== MISCLASSIFIED TEST IMAGES ===' in again.out
    assert stored.read_bytes() == said


def test_of_records_alone_and_a_file_of_the_users_stays(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    """The records were made with --testing_percentage=25: the file must not insist on 10."""
    places = Places(tmp_path)
    for folder in 'records', 'bottlenecks':
        shutil.copytree(trained[0].root / folder, tmp_path / folder)
    flags = (
        *places.flags(), f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}',
        '--how_many_training_steps=5',
    )  # fmt: skip
    assert call('retrain', *flags).status == 0
    wanted = places.graph.read_bytes()
    stored = places.summaries / 'retrain.flags'
    again = call('retrain', f'--flagfile={stored}')
    assert again.status == 0, again.err
    assert places.graph.read_bytes() == wanted
    stored.write_text('# mine\n')
    ended = call('retrain', *flags)
    assert ended.status == 0
    assert f'{stored} was not written by this program' in ended.err
    assert stored.read_text() == '# mine\n'
