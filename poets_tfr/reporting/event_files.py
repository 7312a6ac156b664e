"""TensorBoard event files, written as what they are: TFRecords of Event protos.

One compact event a step, in batches: a hundredth of the cost of a summary op per step. Not by
`tf.compat.v1.summary.FileWriter`, which is no faster: it chooses the file's name by itself, so that
a killed run could leave a file that no list names, and two runs of one second the same one.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError

log = logging.getLogger('poets_tfr')

_WRITTEN = '.poets_tfr_event_files.json'
_HISTOGRAM_BUCKETS = 30
_OURS = re.compile(r'(?:([\w-]+)/)?events\.out\.tfevents\.[^/]+')


class EventFiles:
    """One event file for each run (a sub-folder of summaries_dir; '' is summaries_dir itself).

    Those that a former run of ours wrote there are replaced, unless `resume`: then they stay, and
    what they hold from the first resumed step on is superseded.
    """

    def __init__(self, summaries_dir: str, runs: Sequence[str], resume: bool = False):
        self.dir, self._runs, self._resume = summaries_dir, tuple(runs), resume
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> EventFiles:
        import tensorflow as tf

        kept = listed(self.dir) if self._resume else []
        if not self._resume:
            remove_former(self.dir)
        name = f'events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}'
        paths = {run: f'{run}/{name}' if run else name for run in self._runs}
        # The list comes first: a run killed from here on leaves nothing that is not on it.
        files.write_json(files.join(self.dir, _WRITTEN), sorted({*kept, *paths.values()}))
        for run, path in paths.items():
            files.make_dirs(files.join(self.dir, run) if run else self.dir)
            self._writers[run] = tf.io.TFRecordWriter(files.join(self.dir, path))
            self.write(run, 0, file_version='brain.Event:2')
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def write(self, run: str, step: int, **what: Any) -> None:
        """One Event: `summary=`, `graph_def=` ..., with the time of now."""
        import tensorflow as tf

        event = tf.compat.v1.Event(wall_time=time.time(), step=step, **what)
        self._writers[run].write(event.SerializeToString())

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        import tensorflow as tf

        value = tf.compat.v1.Summary.Value
        both = [value(tag=tag, simple_value=number) for tag, number in values.items()]
        self.write(run, step, summary=tf.compat.v1.Summary(value=both))

    def histogram(self, run: str, step: int, tag: str, values: np.ndarray) -> None:
        import tensorflow as tf

        value = tf.compat.v1.Summary.Value(tag=tag, histo=_histogram(values))
        self.write(run, step, summary=tf.compat.v1.Summary(value=[value]))

    def picture(self, run: str, step: int, tag: str, encoded: bytes, size: tuple[int, int]) -> None:
        """A PNG or JPEG of `size` (width, height)."""
        import tensorflow as tf

        summary = tf.compat.v1.Summary
        width, height = size
        image = summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=encoded
        )
        self.write(run, step, summary=summary(value=[summary.Value(tag=tag, image=image)]))

    def plugin(self, run: str, step: int, summary: Any) -> None:
        """A Summary that one of TensorBoard's plugins made; its class may be TensorBoard's."""
        import tensorflow as tf

        own = tf.compat.v1.Summary.FromString(summary.SerializeToString())
        self.write(run, step, summary=own)

    def supersede(self, step: int) -> None:
        """From `step` on, what a resumed run's former files hold no longer counts."""
        import tensorflow as tf

        started = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        for run in self._runs:
            self.write(run, step, session_log=started)


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


def listed(summaries_dir: str) -> list[str]:
    """The event files that an earlier run listed as its own, as far as the list is sound."""
    path = files.join(summaries_dir, _WRITTEN)
    if not files.exists(path):
        return []
    try:
        return [name for name in files.read_json(path) if _is_ours(summaries_dir, name)]
    except (InputError, TypeError):
        log.warning('%s is damaged: the event files of earlier runs stay where they are.', path)
        return []


def remove_former(summaries_dir: str) -> None:
    """Removes the event files that an earlier run listed as its own, and nothing else."""
    for name in listed(summaries_dir):
        files.remove(files.join(summaries_dir, name))


def _is_ours(summaries_dir: str, name: object) -> bool:
    """Whether a listed name is one that we could have written, and leads nowhere else."""
    if not isinstance(name, str):
        return False
    match = _OURS.fullmatch(name)
    if match is None:
        return False
    return match[1] is None or not os.path.islink(files.join(summaries_dir, match[1]))
