"""The best head so far, by the whole validation split, and how long nothing better has come."""

from __future__ import annotations

from typing import Any, NamedTuple

from poets_tfr.training.head import Head, Scores, better


class Best(NamedTuple):
    """head, scores: those of evaluation step `step`; -1: none yet. waited: evaluations since."""

    head: Head
    scores: Scores
    step: Any
    waited: Any


def start(head: Head) -> Best:
    import tensorflow as tf

    nothing = Scores(tf.constant(-1.0), tf.constant(float('inf')))
    return Best(head, nothing, tf.constant(-1), tf.constant(0))


def update(best: Best, head: Head, scores: Scores, step: Any) -> Best:
    """scores: of `head`, over the whole validation split."""
    import tensorflow as tf

    is_better = better(scores, best.scores)
    new, old = Best(head, scores, step, tf.constant(0)), best._replace(waited=best.waited + 1)
    return tf.nest.map_structure(lambda a, b: tf.where(is_better, a, b), new, old)
