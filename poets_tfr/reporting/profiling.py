"""A profile of some training steps, for TensorBoard's profile page."""

from __future__ import annotations

import logging

from poets_tfr import files

log = logging.getLogger('poets_tfr')


class Profile:
    """Records the steps from the first to the last of `steps`, both included; None: nothing."""

    def __init__(self, summaries_dir: str, steps: tuple[int, int] | None):
        self._dir = files.join(summaries_dir, 'train')
        self._steps = steps
        self._running = False

    @property
    def pauses(self) -> tuple[int, ...]:
        """Steps before which the training has to call `before`."""
        return () if self._steps is None else (self._steps[0], self._steps[1] + 1)

    def before(self, step: int) -> None:
        """Starts or ends the recording, if `step` is the one to do so."""
        import tensorflow as tf

        if self._steps is None:
            return
        first, last = self._steps
        if not self._running and first <= step <= last:
            tf.profiler.experimental.start(self._dir)
            self._running = True
        elif self._running and step > last:
            self._stop()

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:
            self._stop()

    def _stop(self) -> None:
        import tensorflow as tf

        tf.profiler.experimental.stop()
        self._running = False
        log.info('Profile: %s', files.join(self._dir, 'plugins', 'profile'))
