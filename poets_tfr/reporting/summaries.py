"""TensorBoard event files: runs `train` and `validation` below summaries_dir.

Written as what they are, TFRecords of Event protos: one compact event a step, in batches, a
hundredth of the cost of a summary op per step.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from types import TracebackType
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.config import InputError
from poets_tfr.training.loop import Measurements

log = logging.getLogger('poets_tfr')

ACCURACY, CROSS_ENTROPY = 'accuracy_1', 'cross_entropy_1'  # the original's tags, suffix and all
_WRITTEN = '.poets_tfr_event_files.json'
_STEPS_BETWEEN_HISTOGRAMS = 500
_HISTOGRAM_BUCKETS = 30


class Summaries:
    """The event files of one run. Those that a former run of ours wrote there are replaced."""

    def __init__(self, summaries_dir: str, runs: tuple[str, ...] = ('train', 'validation')):
        self._dir, self._runs = summaries_dir, runs
        self._next_histogram = 0

    def __enter__(self) -> Summaries:
        import tensorflow as tf

        remove_former(self._dir)
        name = f'events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}'
        paths = {run: f'{run}/{name}' for run in self._runs}
        # The list comes first: a run killed from here on leaves nothing that is not on it.
        files.write_json(files.join(self._dir, _WRITTEN), sorted(paths.values()))
        self._writers = {}
        for run, path in paths.items():
            files.make_dirs(files.join(self._dir, run))
            self._writers[run] = tf.io.TFRecordWriter(files.join(self._dir, path))
            self._write(run, 0, file_version='brain.Event:2')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def add(self, measured: Measurements) -> None:
        """Every step to `train`, every evaluation to `validation`, histograms now and then."""
        scores = zip(measured.accuracies.tolist(), measured.cross_entropies.tolist(), strict=True)
        for step, (accuracy, cross_entropy) in enumerate(scores, measured.first_step):
            self._write_scores('train', step, accuracy, cross_entropy)
        for evaluation in measured.evaluations:
            accuracy = evaluation.validation_accuracy
            cross_entropy = evaluation.validation_cross_entropy
            if accuracy is not None and cross_entropy is not None:
                self._write_scores('validation', evaluation.step, accuracy, cross_entropy)
        if measured.last_step >= self._next_histogram:
            self._next_histogram = measured.last_step + _STEPS_BETWEEN_HISTOGRAMS
            self._write_histograms(measured)
        for writer in self._writers.values():
            writer.flush()

    def _write_scores(self, run: str, step: int, accuracy: float, cross_entropy: float) -> None:
        import tensorflow as tf

        value = tf.compat.v1.Summary.Value
        both = (
            value(tag=ACCURACY, simple_value=accuracy),
            value(tag=CROSS_ENTROPY, simple_value=cross_entropy),
        )
        self._write(run, step, summary=tf.compat.v1.Summary(value=both))

    def _write_histograms(self, measured: Measurements) -> None:
        import tensorflow as tf

        for name, value in measured.head._asdict().items():
            tag = f'final_training_ops/{name}/summaries/histogram'
            histogram = tf.compat.v1.Summary.Value(tag=tag, histo=_histogram(value.numpy()))
            summary = tf.compat.v1.Summary(value=[histogram])
            self._write('train', measured.last_step, summary=summary)

    def _write(self, run: str, step: int, **what: Any) -> None:
        import tensorflow as tf

        event = tf.compat.v1.Event(wall_time=time.time(), step=step, **what)
        self._writers[run].write(event.SerializeToString())


def _histogram(values: np.ndarray) -> Any:
    import tensorflow as tf

    counts, edges = np.histogram(values, bins=_HISTOGRAM_BUCKETS)
    return tf.compat.v1.HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )


def remove_former(summaries_dir: str) -> None:
    """Removes the event files that an earlier run listed as its own, and nothing else."""
    path = files.join(summaries_dir, _WRITTEN)
    if not files.exists(path):
        return
    try:
        listed = [name for name in files.read_json(path) if _is_ours(summaries_dir, name)]
    except (InputError, TypeError):
        log.warning('%s is damaged: the event files of earlier runs stay where they are.', path)
        return
    for name in listed:
        files.remove(files.join(summaries_dir, name))


def _is_ours(summaries_dir: str, name: object) -> bool:
    """Whether a listed name is one that we could have written, and leads nowhere else."""
    if not isinstance(name, str):
        return False
    match = re.fullmatch(r'([\w-]+)/events\.out\.tfevents\.[^/]+', name)
    return match is not None and not os.path.islink(files.join(summaries_dir, match[1]))
