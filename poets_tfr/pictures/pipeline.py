"""Shards -> batches of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr.parallel import decoding_threads
from poets_tfr.pictures import distort, preprocess
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records import schema
from poets_tfr.records.codecs import StoredPicture

_SHARDS_READ_AT_ONCE = 2
_READ_BUFFER_BYTES = 1 << 20
_STEPS_AHEAD = 2


def one_pass(
    shards: Sequence[str],
    records_per_shard: Sequence[int],
    wanted: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
) -> Any:
    """Every wanted record once, in batches of one static shape.

    Args:
      shards: paths of the shards; their records are rows 0, 1, 2 ... in this order.
      records_per_shard: how many records each shard holds.
      wanted: bool [rows]; what is not wanted is read past, not decoded.
      preprocessing: size and range of the pictures.
      batch_size: the last batch is padded to it.

    Returns:
      A tf.data.Dataset of (int64 [batch_size] rows, float32 [batch_size, size, size, 3] pictures);
      padding is black, with row -1. The order is the same in every run.
    """
    import tensorflow as tf

    @as_written
    def load(row: Any, record: Any) -> Any:
        return row, preprocess.from_encoded(_encoded(record), preprocessing)

    black = tf.io.encode_jpeg(np.zeros([1, 1, 3], np.uint8)).numpy()
    record = schema.encode_example(StoredPicture(black, 'JPEG', 1, 1, 'as is'), b'', 0, '', '')
    dataset = _records(shards, records_per_shard, wanted)
    return _batches(dataset, int(wanted.sum()), (np.int64(-1), record), load, batch_size)


def one_pass_distorted(
    shards: Sequence[str],
    records_per_shard: Sequence[int],
    wanted: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    distortions: Distortions,
    picture_seeds: np.ndarray,
) -> Any:
    """As `one_pass`, every wanted distorted copy once; a picture is decoded once for all of its.

    Args:
      wanted: bool [rows, copies].
      distortions: what is done to the pictures.
      picture_seeds: int64 [rows], see `SplitRecords.seeds`.

    Returns:
      As `one_pass`; copy c of the picture in row r has the number r * copies + c.
    """
    import tensorflow as tf

    copies = wanted.shape[1]
    is_wanted, seeds = tf.constant(wanted), tf.constant(picture_seeds)

    @as_written
    def decode(row: Any, record: Any) -> Any:
        return row, preprocess.decode(_encoded(record))

    @as_written
    def copies_of(row: Any, pixels: Any) -> Any:
        chosen = tf.data.Dataset.from_tensor_slices(tf.where(is_wanted[row])[:, 0])
        return chosen.map(lambda copy: (row, copy, pixels))

    @as_written
    def load(row: Any, copy: Any, pixels: Any) -> Any:
        distortion = distort.draw(distortions, preprocessing.size, seeds[row], copy)
        return row * copies + copy, distort.apply(distortion, pixels, preprocessing)

    dataset = _records(shards, records_per_shard, wanted.any(axis=1))
    dataset = dataset.map(decode, num_parallel_calls=decoding_threads()).flat_map(copies_of)
    padding = np.int64(-1), np.int64(copies - 1), np.zeros([1, 1, 3], np.uint8)  # numbered -1
    return _batches(dataset, int(wanted.sum()), padding, load, batch_size)


def distorted_steps(
    read: Callable[[int], bytes],
    draw: Callable[[Any], Any],
    padded: int,
    first_step: int,
    preprocessing: Preprocessing,
    distortions: Distortions,
    picture_seeds: np.ndarray,
) -> Any:
    """The distorted pictures of a step's draws, step after step, without end.

    Args:
      read: row -> its serialised record; called in several threads.
      draw: step (int64 scalar tensor) -> int32 [draws] rows.
      padded: how many pictures a step gives; those behind the draws say nothing.
      first_step: where to begin.
      preprocessing: size and range of the pictures.
      distortions: what is done to them: draw d of step s is copy s * draws + d of its picture.
      picture_seeds: int64 [rows], see `SplitRecords.seeds`.

    Returns:
      A tf.data.Dataset of float32 [padded, size, size, 3].
    """
    import tensorflow as tf

    seeds = tf.constant(picture_seeds)

    @as_written
    def draws_of(step: Any) -> Any:
        rows = tf.cast(draw(step), tf.int64)
        draws = tf.size(rows, tf.int64)
        copies = step * draws + tf.range(padded, dtype=tf.int64)
        rows = tf.pad(rows, [[0, padded - draws]])
        return tf.data.Dataset.from_tensor_slices((rows, copies))

    @as_written
    def load(row: Any, copy: Any) -> Any:
        record = tf.ensure_shape(tf.numpy_function(read, [row], tf.string), [])
        distortion = distort.draw(distortions, preprocessing.size, seeds[row], copy)
        return distort.apply(distortion, preprocess.decode(_encoded(record)), preprocessing)

    dataset = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max).flat_map(draws_of)
    dataset = dataset.map(load, num_parallel_calls=decoding_threads())
    dataset = dataset.batch(padded, drop_remainder=True).prefetch(_STEPS_AHEAD)
    options = _options()
    # Threads of its own: who waits for the pictures may hold one of TensorFlow's.
    options.threading.private_threadpool_size = decoding_threads() + 2
    return dataset.with_options(options)


def _records(shards: Sequence[str], records_per_shard: Sequence[int], wanted: np.ndarray) -> Any:
    """(int64 row, serialised record) of each wanted row, in an order that is the same for all.

    Shards are read side by side in fixed groups, so that groups without a wanted row can stay
    closed and the order of the others does not change.
    """
    import tensorflow as tf

    bounds = np.cumsum([0, *records_per_shard], dtype=np.int64)
    groups = [
        range(first, min(first + _SHARDS_READ_AT_ONCE, len(shards)))
        for first in range(0, len(shards), _SHARDS_READ_AT_ONCE)
    ]
    opened = [g for g in groups if wanted[bounds[g.start] : bounds[g.stop]].any()]
    spans = tf.constant([(g.start, g.stop) for g in opened], tf.int64, [len(opened), 2])
    paths, first_rows = tf.constant(shards, tf.string), tf.constant(bounds[:-1])

    def read(number: Any) -> Any:
        records = tf.data.TFRecordDataset(paths[number], buffer_size=_READ_BUFFER_BYTES)
        return records.enumerate(first_rows[number])

    @as_written
    def read_group(span: Any) -> Any:
        return tf.data.Dataset.range(span[0], span[1]).interleave(
            read,
            cycle_length=_SHARDS_READ_AT_ONCE,
            num_parallel_calls=_SHARDS_READ_AT_ONCE,
            deterministic=True,
        )

    dataset = tf.data.Dataset.from_tensor_slices(spans).flat_map(read_group)
    if not wanted.all():
        is_wanted = tf.constant(wanted)
        dataset = dataset.filter(as_written(lambda row, _: is_wanted[row]))
    return dataset


def as_written(function: Callable[..., Any]) -> Any:
    """Not rewritten by AutoGraph: that takes a third of a second for all these, and leaves a file
    for each in the temporary folder when the process is told to stop."""
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


def _encoded(record: Any) -> Any:
    return schema.parse_encoded(record[None])[0]


def _batches(
    dataset: Any, count: int, padding: tuple[Any, ...], load: Callable[..., Any], batch_size: int
) -> Any:
    """Batches of one static shape of what `load` makes of the `count` elements of a data set.

    The padding is loaded too: where nothing stands between `map` and `batch`, tf.data makes one
    step of them, in which a picture is copied into its batch while it is still in a core's cache.
    """
    import tensorflow as tf

    dataset = dataset.concatenate(tf.data.Dataset.from_tensors(padding).repeat(-count % batch_size))
    dataset = dataset.map(load, num_parallel_calls=decoding_threads())
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2)
    return dataset.with_options(_options())


def _options() -> Any:
    """In order, and without the thread that tunes what is fixed here: the end of every other pass
    waited seconds for it."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return options
