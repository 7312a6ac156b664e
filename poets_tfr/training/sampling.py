"""Which rows a step sees: a pure function of seed, step and stream, so a run can be repeated."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from poets_tfr.training.settings import Sampling

TRAIN_STREAM, VALIDATION_STREAM, TEST_STREAM = range(3)
_STREAMS = 3
_RANGE = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws rows of one split.

    rows_by_class: int32 [n], row numbers, the rows of class 0 first.
    starts, counts: int32 [classes], where each class begins in it, and its length.
    batch_size: how many rows a draw gives; -1: every row, in order.
    """

    rows_by_class: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    batch_size: int
    sampling: Sampling
    seed: int
    stream: int

    @classmethod
    def of(
        cls,
        labels: np.ndarray,
        classes: int,
        batch_size: int,
        sampling: Sampling,
        seed: int,
        stream: int,
    ) -> Sampler:
        """Every class must have a row: conversion saw to it."""
        counts = np.bincount(labels, minlength=classes).astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(counts[:-1])]).astype(np.int32)
        rows_by_class = np.argsort(labels, kind='stable').astype(np.int32)
        return cls(rows_by_class, starts, counts, batch_size, sampling, seed, stream)

    @property
    def draws(self) -> int:
        """How many rows a draw gives."""
        return len(self.rows_by_class) if self.batch_size < 0 else self.batch_size

    def draw(self, step: Any) -> Any:
        """int32 [draws] row numbers for a step (int scalar, may be a tensor).

        'class_uniform' is the original's: a class, each as likely, then a picture of it, with
        replacement. 'natural': a picture, each as likely, with replacement.
        """
        import tensorflow as tf

        total = len(self.rows_by_class)
        if self.batch_size < 0:
            return tf.range(total)
        numbers = tf.random.stateless_uniform(
            [2, self.batch_size],
            seed=[self.seed, tf.cast(step, tf.int32) * _STREAMS + self.stream],
            maxval=_RANGE,
            dtype=tf.int32,
        )
        if self.sampling == 'natural':
            return numbers[0] % total
        chosen = numbers[0] % len(self.counts)
        within = numbers[1] % tf.gather(self.counts, chosen)
        return tf.gather(self.rows_by_class, tf.gather(self.starts, chosen) + within)
