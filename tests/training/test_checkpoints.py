"""Checkpoints: only their own run gets them back, and nothing of others is touched."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poets_tfr.errors import InputError
from poets_tfr.training import checkpoints
from poets_tfr.training.checkpoints import Checkpoints

SETTINGS = {'labels': ['a', 'b'], 'learning_rate': 0.1, 'pictures': 'ab12'}


def variable(value: float) -> Any:
    import tensorflow as tf

    return tf.Variable([value, 0.5], dtype=tf.float32)


def kept(directory: Path, value: Any, seconds: float = 1e9, **settings: Any) -> Checkpoints:
    return Checkpoints(str(directory), {**SETTINGS, **settings}, seconds, head=[value])


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name != '.lock'}


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    value = variable(1)
    with kept(tmp_path, value) as first:
        assert not first.restore()
        value.assign([2, 3])
    fresh = variable(0)
    with kept(tmp_path, fresh) as second:
        assert second.restore()
        np.testing.assert_array_equal(fresh.numpy(), [2, 3])
    assert checkpoints.saved_settings(str(tmp_path)) == SETTINGS


def test_only_the_newest_stays_and_nothing_of_others_goes(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('mine')
    (tmp_path / 'training-99.mine').write_text('mine too')
    with kept(tmp_path, variable(1), seconds=0) as first:
        for _ in range(3):
            first.save_if_due()
    (index,) = tmp_path.glob('*.index')
    assert names(tmp_path) == {
        'checkpoint', 'notes.txt', 'training-99.mine',
        index.name, index.name.replace('.index', '.data-00000-of-00001'),
    }  # fmt: skip


def test_it_saves_when_it_is_due(tmp_path: Path) -> None:
    with kept(tmp_path, variable(1), seconds=1e9) as patient:
        patient.save_if_due()
        assert names(tmp_path) == set()
        patient.save()
        assert 'checkpoint' in names(tmp_path)


@pytest.mark.parametrize(
    ('stopped', 'saved'), [(SystemExit(143), True), (KeyboardInterrupt(), True), (OSError(), False)]
)
def test_a_process_told_to_stop_saves(tmp_path: Path, stopped: BaseException, saved: bool) -> None:
    with pytest.raises(type(stopped)), kept(tmp_path, variable(1)):
        raise stopped
    assert ('checkpoint' in names(tmp_path)) == saved


def test_another_runs_checkpoint_is_refused_and_says_why(tmp_path: Path) -> None:
    with kept(tmp_path, variable(1)):
        pass
    other = kept(tmp_path, variable(1), learning_rate=0.5, labels=['a', 'c'])
    says = re.escape(
        'labels ["a", "b"] there, ["a", "c"] here; learning_rate 0.1 there, 0.5 here'
    )  # fmt: skip
    with other, pytest.raises(InputError, match=f'^resume: .* is of another run: {says}'):
        other.restore()


def test_a_setting_that_is_newer_than_the_checkpoint_was_at_its_default(tmp_path: Path) -> None:
    with kept(tmp_path, variable(1)):
        pass
    checkpoints.check_settings(str(tmp_path), {**SETTINGS, '--weight_decay': 0.0})
    with pytest.raises(InputError, match='is of another run: weight_decay 0.1 here'):
        checkpoints.check_settings(str(tmp_path), {**SETTINGS, '--weight_decay': 0.1})


@pytest.mark.parametrize(
    ('there', 'here', 'says'),
    [
        ({'decay': 'b', 'steps': 3}, {'decay': 'a'}, 'decay "b" there, "a" here; steps 3 there'),
        ({'decay': 'a'}, {'decay': 'b', 'steps': 3}, 'decay "a" there, "b" here; steps 3 here'),
        ({}, {'new': 5}, 'new 5 here'),
    ],
)
def test_a_setting_of_one_side_is_told_of_that_side_alone(
    tmp_path: Path, there: dict[str, Any], here: dict[str, Any], says: str
) -> None:
    with kept(tmp_path, variable(1), **there):
        pass
    with pytest.raises(InputError, match=f'is of another run: {says}\\. Give what that run'):
        checkpoints.check_settings(str(tmp_path), {**SETTINGS, **here})


def test_without_resume_a_former_run_is_replaced_at_the_first_save(tmp_path: Path) -> None:
    with kept(tmp_path, variable(1), learning_rate=0.5):
        pass
    with kept(tmp_path, variable(2)) as second:
        former = checkpoints.saved_settings(str(tmp_path))
        assert former
        assert former['learning_rate'] == 0.5
        second.save()
        assert checkpoints.saved_settings(str(tmp_path)) == SETTINGS
    assert len(list(tmp_path.glob('*.index'))) == 1


def test_others_checkpoints_are_left_alone(tmp_path: Path) -> None:
    import tensorflow as tf

    theirs = tf.train.Checkpoint(weights=tf.Variable(1.0))
    tf.train.CheckpointManager(theirs, str(tmp_path), max_to_keep=1).save()
    before = names(tmp_path)
    with (
        pytest.raises(InputError, match='did not write, or a damaged one'),
        kept(tmp_path, variable(1)),
    ):
        pass
    assert names(tmp_path) == before


@pytest.mark.parametrize('what', ['index', 'data'])
def test_a_damaged_one_is_named(tmp_path: Path, what: str) -> None:
    with kept(tmp_path, variable(1)):
        pass
    (path,) = tmp_path.glob(f'training-*.{what}*')
    path.write_bytes(path.read_bytes()[:7])
    with pytest.raises(InputError, match=r'training-1 is damaged'):
        checkpoints.check_settings(str(tmp_path), SETTINGS)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with kept(tmp_path, variable(1)), pytest.raises(InputError, match='is being written by'):
        with kept(tmp_path, variable(1)):
            pass


@pytest.mark.parametrize('folder', ['a[1]', 'b*', 'c?', 'd\\e'])
def test_a_folder_that_tensorflow_takes_for_a_pattern(tmp_path: Path, folder: str) -> None:
    directory, value = tmp_path / folder, variable(3)
    with kept(directory, value):
        pass
    value.assign([0, 0])
    with kept(directory, value) as again:
        assert again.restore()
        np.testing.assert_array_equal(value.numpy(), [3, 0.5])
    assert checkpoints.saved_settings(str(directory)) == SETTINGS
    newest = checkpoints.newest(str(directory))
    assert newest == str(directory / 'training-2')
    assert names(tmp_path) == {folder}


def test_a_fault_of_saving_names_the_folder(tmp_path: Path) -> None:
    directory = tmp_path / 'checkpoint'
    with kept(directory, variable(1)) as gone:
        shutil.rmtree(directory)
        directory.touch()
        with pytest.raises(OSError) as raised:  # noqa: PT011  what TensorFlow says of it is its own
            gone.save()
        assert raised.value.filename == str(directory)
        directory.unlink()
