"""The head's training, kept from time to time, so that a stopped one goes on to the same bits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.training import checkpoints
from poets_tfr.training.checkpoints import Checkpoints
from poets_tfr.training.head import Head
from poets_tfr.training.loop import State, Training
from poets_tfr.training.settings import CheckpointConfig, HeadConfig

log = logging.getLogger('poets_tfr')

_FOLDER = 'head'  # below checkpoint_path


def settings_of(
    configs: tuple[HeadConfig, DistortionConfig], labels: list[str], pictures: str, backbone: str
) -> dict[str, Any]:
    """What a head's training is made of: checkpoints of other settings are refused.

    Args:
      configs: all that shape it.
      labels: of the classes.
      pictures: a digest of those to train on and to validate with.
      backbone: names the features.
    """
    head, _ = configs
    flags = {name: value for config in configs for name, value in vars(config).items()}
    del flags['test_batch_size']  # has no part in the training
    if head.learning_rate_schedule == 'constant' and not head.early_stopping_patience:
        del flags['how_many_training_steps']  # more steps begin with just the same ones
    named = {f'--{name}': value for name, value in flags.items()}
    return {'labels': labels, 'pictures': pictures, 'features': backbone, **named}


class HeadCheckpoints:
    """The checkpoints of one `Training`. `state` is where it stands: on entry, where it goes on.

    Beside the state each holds the head that training would give if it ended there.
    """

    def __init__(
        self,
        training: Training,
        start: State,
        settings: Mapping[str, Any],
        config: CheckpointConfig,
    ):
        import tensorflow as tf

        self.state = start
        self._training, self._config = training, config
        self._parts = [tf.Variable(part, trainable=False) for part in tf.nest.flatten(start)]
        self._trained = Head(*[tf.Variable(part) for part in training.trained(start)])
        self._checkpoints: Checkpoints | None = Checkpoints(
            directory_of(config.checkpoint_path),
            settings,
            config.save_checkpoints_secs,
            self._refresh,
            state=self._parts,
            **self._trained._asdict(),
        )

    def __enter__(self) -> HeadCheckpoints:
        """Raises InputError: the checkpoint to resume from cannot be read, or is of another run."""
        assert self._checkpoints
        try:
            self._checkpoints.__enter__()
        except InputError as error:
            if self._config.resume:
                raise
            log.warning('%s This run keeps no checkpoints.', error)
            self._checkpoints = None
            return self
        if self._config.resume:
            self._restore(self._checkpoints)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._checkpoints:
            self._checkpoints.__exit__(kind, error, trace)

    def keep(self, state: State) -> None:
        """Notes where training stands, and saves it when it is time."""
        self.state = state
        if self._checkpoints:
            self._checkpoints.save_if_due()

    def _restore(self, from_: Checkpoints) -> None:
        import tensorflow as tf

        directory = directory_of(self._config.checkpoint_path)
        try:
            restored = from_.restore()
            if restored and int(self._parts[0].read_value()) > self._training.steps:
                raise InputError(
                    f'--resume: the checkpoint in {directory} has {int(self._parts[0])} steps, '
                    f'--how_many_training_steps is {self._training.steps}: it cannot go back.'
                )
        except InputError as error:
            from_.__exit__(type(error), error, None)
            raise
        if not restored:
            log.info('No checkpoint in %s: training begins.', directory)
            return
        values = [part.read_value() for part in self._parts]
        self.state = tf.nest.pack_sequence_as(self.state, values)
        log.info('Resuming at step %d, from %s.', int(self.state.step), directory)

    def _refresh(self) -> None:
        import tensorflow as tf

        for part, value in zip(self._parts, tf.nest.flatten(self.state), strict=True):
            part.assign(value)
        for part, value in zip(self._trained, self._training.trained(self.state), strict=True):
            part.assign(value)


def directory_of(checkpoint_path: str) -> str:
    return files.join(checkpoint_path, _FOLDER)


def check(settings: Mapping[str, Any], config: CheckpointConfig) -> None:
    """Before any long work: raises InputError where `HeadCheckpoints` could not do its."""
    directory = directory_of(config.checkpoint_path)
    checkpoints.check_ours(directory)
    if config.resume:
        checkpoints.check_settings(directory, settings)
