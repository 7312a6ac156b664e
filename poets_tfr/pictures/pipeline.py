"""Shards -> batches of pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records import schema

_SHARDS_READ_AT_ONCE = 2
_READ_BUFFER_BYTES = 1 << 20


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
      padding has row -1. The order is the same in every run.
    """
    import tensorflow as tf

    first_rows = np.cumsum([0, *records_per_shard[:-1]], dtype=np.int64)

    def read(shard: Any, first_row: Any) -> Any:
        return tf.data.TFRecordDataset(shard, buffer_size=_READ_BUFFER_BYTES).enumerate(first_row)

    def load(row: Any, record: Any) -> Any:
        encoded = schema.parse_encoded(record[None])[0]
        return row, preprocess.from_encoded(encoded, preprocessing)

    files = tf.data.Dataset.from_tensor_slices((list(shards), first_rows))
    dataset = files.interleave(
        read, cycle_length=_SHARDS_READ_AT_ONCE, num_parallel_calls=_SHARDS_READ_AT_ONCE
    )
    if not wanted.all():
        is_wanted = tf.constant(wanted)
        dataset = dataset.filter(lambda row, _: is_wanted[row])
    # Not AUTOTUNE: it begins with one thread and is still learning when a small data set ends.
    dataset = dataset.map(load, num_parallel_calls=(os.cpu_count() or 1) + 1)
    size = preprocessing.size
    padding = tf.data.Dataset.from_tensors((np.int64(-1), np.zeros([size, size, 3], np.float32)))
    dataset = dataset.concatenate(padding.repeat(-int(wanted.sum()) % batch_size))
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2)
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options)
