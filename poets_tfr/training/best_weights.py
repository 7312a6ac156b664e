"""The weights as they were at the best evaluation of fine-tuning so far, and how that was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.training.head import Scores, better


class Notes(NamedTuple):
    """Scores are those of the whole validation split.

    steps: done at the last evaluation, -1: none yet. last, best: what it gave, and the best one.
    waited: evaluations since the best.
    """

    steps: Any
    last: Scores
    best: Scores
    waited: Any


class BestWeights:
    """variables: those that are trained; a copy of the best is kept in the CPU's memory."""

    def __init__(self, variables: Sequence[Any]):
        import tensorflow as tf

        self._variables = variables
        with tf.device('CPU'):
            self.kept = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
            # The numbers of Notes, in its order: in one variable, as checkpoints have them.
            self.noted = tf.Variable([-1.0, 0.0, 0.0, 0.0, np.inf, 0.0], dtype=tf.float64)
        number, both = tf.TensorSpec([], tf.float64), tf.TensorSpec([2], tf.float64)
        self._note = tf.function(self._take_note, [number, both], autograph=False)

    @property
    def notes(self) -> Notes:
        steps, *scores, waited = self.noted.numpy().tolist()
        return Notes(int(steps), Scores(*scores[:2]), Scores(*scores[2:]), int(waited))

    def note(self, steps: int, scores: np.ndarray) -> None:
        """scores: float64 [2], accuracy and cross entropy of the weights as they are now.

        In one piece: a process that is stopped has noted all or nothing.
        """
        self._note(float(steps), scores)

    def restore(self) -> None:
        """Gives the variables the best values."""
        for variable, value in zip(self._variables, self.kept, strict=True):
            variable.assign(value)

    def _take_note(self, steps: Any, scores: Any) -> None:
        import tensorflow as tf

        _, _, _, best_accuracy, best_entropy, waited = tf.unstack(self.noted)
        last, best = Scores(*tf.unstack(scores)), Scores(best_accuracy, best_entropy)

        def keep() -> Any:
            for kept, variable in zip(self.kept, self._variables, strict=True):
                kept.assign(variable)
            return tf.stack([*last, 0.0])

        def go_on() -> Any:
            return tf.stack([*best, waited + 1.0])

        noted = tf.cond(better(last, best), keep, go_on)
        self.noted.assign(tf.concat([[steps, *last], noted], axis=0))
