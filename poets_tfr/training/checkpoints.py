"""Training that goes on after a kill: TensorFlow's own checkpoints, each with what it belongs to.

    with Checkpoints(directory, settings, seconds, head=variables) as checkpoints:
        resumed = checkpoints.restore() if resume else False
        ...                        # after each piece of training, the variables being up to date
        checkpoints.save_if_due()

A checkpoint is read on request only, and only by the run that it belongs to: `settings` say which
(data, network, flags), and travel inside it. Only the newest is kept. A process that is told to
stop (SIGTERM, ^C) saves what it has before it goes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from poets_tfr import files, locks
from poets_tfr.errors import InputError
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.settings import default_of, names_of
from poets_tfr.training.settings import FineTuneConfig, HeadConfig

log = logging.getLogger('poets_tfr')

FORMAT = 'poets_tfr checkpoint 1'
_STATE_FILE = 'checkpoint'  # TensorFlow's own name for the list of what a folder holds
_TRAINING, _SETTINGS = 'training', 'settings'


class Checkpoints:
    """The checkpoints of one run in a folder that holds nothing else.

    Args:
      directory: local or remote. Where a checkpoint of a former run of ours lies, the first save
        replaces it.
      settings: what the run is made of, as JSON can hold it: a checkpoint of other settings is
        refused.
      seconds: between two saves; what a killed run loses at most.
      refresh: called before each save, to bring the trackables up to date.
      trackables: what is saved: tf.Variables, lists of them, models, optimizers.
    """

    def __init__(
        self,
        directory: str,
        settings: Mapping[str, Any],
        seconds: float,
        refresh: Callable[[], None] | None = None,
        **trackables: Any,
    ):
        import tensorflow as tf

        self._directory, self._settings, self._seconds = directory, settings, seconds
        self._refresh = refresh
        with tf.device('CPU'):
            text = tf.Variable(json.dumps({'format': FORMAT, **settings}, sort_keys=True))
        self._checkpoint = tf.train.Checkpoint(**trackables, **{_SETTINGS: text})
        self._manager: Any = None
        self._stack = contextlib.ExitStack()
        self._saved_at = time.monotonic()

    def __enter__(self) -> Checkpoints:
        """Raises InputError: others' checkpoints lie in the folder, or a run writes into it."""
        import tensorflow as tf

        check_ours(self._directory)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locks.only_writer(self._directory))
            readable = stack.enter_context(files.without_patterns(self._directory))
            self._manager = tf.train.CheckpointManager(
                self._checkpoint, readable, max_to_keep=1, checkpoint_name=_TRAINING
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        with self._stack:
            if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
                self.save()

    def restore(self) -> bool:
        """Puts the newest checkpoint into the trackables; False where there is none.

        Raises:
          InputError: it belongs to a run of other settings (the message says which), or is damaged.
        """
        path = self._manager.latest_checkpoint
        if path is None:
            return False
        check_settings(self._directory, self._settings)
        try:
            self._checkpoint.restore(path).assert_consumed()
        except _unreadable() as error:
            raise _damaged(newest(self._directory) or path, error) from None
        return True

    def save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= self._seconds:
            self.save()

    def save(self) -> None:
        if self._refresh:
            self._refresh()
        with files.os_errors(self._directory):  # TensorFlow's own of a full disk names no file
            self._manager.save()
        self._saved_at = time.monotonic()


def saved_settings(directory: str) -> dict[str, Any] | None:
    """The settings in the newest checkpoint; None where there is no checkpoint.

    Raises:
      InputError: it is damaged, or not one of ours.
    """
    path = newest(directory)
    if path is None:
        return None
    try:
        settings = json.loads(read(path, _SETTINGS))
        if settings.pop('format') != FORMAT:
            raise ValueError(f'it is not a {FORMAT}')
    except _unreadable() as error:
        raise _damaged(path, error) from None
    return settings


def read(path: str, name: str) -> Any:
    """The value of a variable in the checkpoint at `path`, by the name it was saved under."""
    import tensorflow as tf

    directory, checkpoint = os.path.split(path)
    with files.without_patterns(directory) as readable:
        reader = tf.train.load_checkpoint(files.join(readable, checkpoint))
        return reader.get_tensor(f'{name}/.ATTRIBUTES/VARIABLE_VALUE')


def newest(directory: str) -> str | None:
    """Where the newest checkpoint of a folder lies; None where there is none."""
    import tensorflow as tf

    if not files.exists(files.join(directory, _STATE_FILE)):
        return None
    with files.without_patterns(directory) as readable:
        found = tf.train.latest_checkpoint(readable)
    return found and found.replace(readable, directory, 1)


def check_ours(directory: str) -> None:
    """Raises InputError unless the folder is free, or holds a checkpoint of ours."""
    try:
        saved_settings(directory)
    except InputError:
        raise InputError(
            f'--checkpoint_path: {directory} holds a checkpoint that this program did not write, '
            'or a damaged one, and the next would replace it: delete it or name another folder.'
        ) from None


def check_settings(directory: str, settings: Mapping[str, Any]) -> None:
    """Raises InputError, saying what differs, when the checkpoint there is of other settings."""
    saved = saved_settings(directory)
    if saved is None:
        return
    wanted = json.loads(json.dumps(settings))
    differing = [
        f'{name} {", ".join(_sides(name, there=saved, here=wanted))}'
        for name in sorted({*saved, *wanted})
        if saved.get(name) != wanted.get(name)
        and (name in saved or not _is_default(name, wanted[name]))
    ]
    if differing:
        raise InputError(
            f'--resume: the checkpoint in {directory} is of another run: {"; ".join(differing)}. '
            'Give what that run was given, or leave --resume out to begin anew.'
        )


def _is_default(name: str, value: Any) -> bool:
    """So it was in effect in a version that did not have the setting yet."""
    name = name.removeprefix('--')
    return any(
        value == default_of(kind, name)
        for kind in (HeadConfig, FineTuneConfig, DistortionConfig)
        if name in names_of(kind)
    )


def _sides(name: str, **sides: Mapping[str, Any]) -> list[str]:
    """A setting's value on each side that has it: a run leaves out what does not matter to it."""
    return [f'{_brief(of[name])} {side}' for side, of in sides.items() if name in of]


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _unreadable() -> tuple[type[Exception], ...]:
    """What TensorFlow and JSON raise on what is not a checkpoint of ours, or not whole."""
    import tensorflow as tf

    return tf.errors.OpError, AssertionError, ValueError, LookupError, TypeError


def _damaged(path: str, error: Exception) -> InputError:
    first_line = str(error).partition('\n')[0]
    return InputError(
        f'--checkpoint_path: {path} is damaged, or of another version of this program '
        f'({first_line}): leave --resume out to begin anew.'
    )
