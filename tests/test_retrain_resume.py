"""--resume through tools/retrain.py: goes on where a run of the same kind ended, and only there."""

from __future__ import annotations

import shutil
from pathlib import Path

import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call

from poets_tfr.label.labeller import Labeller


@pytest.fixture
def places(trained: tuple[Places, Ended], tmp_path: Path) -> Places:
    """Records and features of a finished run, and its first 60 steps trained anew."""
    places = Places(tmp_path)
    for folder in 'records', 'bottlenecks':
        shutil.copytree(trained[0].root / folder, tmp_path / folder)
    return places


def retrain(places: Places, model_dir: Path, *flags: object, steps: int = 60) -> Ended:
    return call(
        'retrain', *places.flags(), f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', f'--how_many_training_steps={steps}', *flags,
    )  # fmt: skip


def test_more_steps_go_on_to_the_same_bits(
    places: Places, model_dir: Path, trained: tuple[Places, Ended]
) -> None:
    assert retrain(places, model_dir, '--resume').status == 0, 'nothing there yet: it begins'
    short = places.graph.read_bytes()
    ended = retrain(places, model_dir, '--resume', steps=200)
    assert ended.status == 0, ended.err
    assert f'Resuming at step 60, from {places.checkpoints / "head"}.' in ended.out
    assert ': Step 50: ' not in ended.out
    assert short != places.graph.read_bytes() == trained[0].graph.read_bytes()
    again = retrain(places, model_dir, '--resume', steps=200)
    assert 'Resuming at step 200' in again.out
    assert places.graph.read_bytes() == trained[0].graph.read_bytes()
    ended = retrain(places, model_dir, '--resume', steps=100)
    assert ended.status == 1
    assert 'has 200 steps' in ended.err


def test_without_resume_nothing_is_read(places: Places, model_dir: Path) -> None:
    assert retrain(places, model_dir, '--learning_rate=0.5').status == 0
    assert retrain(places, model_dir).status == 0
    fresh = places.graph.read_bytes()
    shutil.rmtree(places.checkpoints)
    assert retrain(places, model_dir).status == 0
    assert places.graph.read_bytes() == fresh


@pytest.mark.parametrize(
    ('flag', 'says'),
    [
        ('--optimizer=adam', '--optimizer "sgd" there, "adam" here'),
        ('--seed=9', '--seed 0 there, 9 here'),
        ('--early_stopping_patience=5', '--early_stopping_patience 0 there, 5 here'),
    ],
)
def test_another_runs_checkpoint_is_refused_and_stays(
    places: Places, model_dir: Path, flag: str, says: str
) -> None:
    assert retrain(places, model_dir).status == 0
    before = {path.name: path.read_bytes() for path in (places.checkpoints / 'head').iterdir()}
    ended = retrain(places, model_dir, '--resume', flag)
    assert ended.status == 1
    assert says in ended.err
    assert 'null' not in ended.err, 'a setting that one of them has not'
    after = {path.name: path.read_bytes() for path in (places.checkpoints / 'head').iterdir()}
    assert after == before


def test_other_pictures_are_refused(places: Places, model_dir: Path, colours_dir: Path) -> None:
    assert retrain(places, model_dir).status == 0
    flags = f'--image_dir={colours_dir}', '--classes=Red_Roses,bluebells', '--num_shards=2'
    ended = retrain(places, model_dir, '--resume', *flags)
    assert ended.status == 1
    assert 'labels ["green grass", "red roses", "bluebells"] there' in ended.err
    assert 'pictures "' in ended.err


def test_a_folder_in_use_does_not_stop_a_run_that_did_not_ask(
    places: Places, model_dir: Path
) -> None:
    from poets_tfr import locks

    with locks.only_writer(str(places.checkpoints / 'head')):
        ended = retrain(places, model_dir)
        assert ended.status == 0
        assert 'This run keeps no checkpoints.' in ended.err
        assert retrain(places, model_dir, '--resume').status == 1


def test_folders_that_tensorflow_takes_for_patterns(
    trained: tuple[Places, Ended], model_dir: Path, colours_dir: Path, tmp_path: Path
) -> None:
    odd = Places(tmp_path / r'a [1] b* c?\d')
    for folder in 'records', 'bottlenecks':
        shutil.copytree(trained[0].root / folder, odd.root / folder)
    saved = f'--saved_model_dir={odd.root / "saved"}'
    assert retrain(odd, model_dir, saved).status == 0
    ended = retrain(odd, model_dir, saved, '--resume', steps=80)
    assert f'Resuming at step 60, from {odd.checkpoints / "head"}.' in ended.out, ended.err
    warm = retrain(odd, model_dir, f'--warm_start={odd.checkpoints}', steps=0)
    assert warm.status == 0, warm.err
    picture = (colours_dir / 'bluebells/001.jpg').read_bytes()
    by_graph, by_model = (
        Labeller(str(path)).scores(picture) for path in (odd.graph, odd.root / 'saved')
    )
    np.testing.assert_allclose(by_model, by_graph, atol=1e-6)
