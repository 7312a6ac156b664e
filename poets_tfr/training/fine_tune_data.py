"""The pictures that fine-tuning trains on, step after step, for every device of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from poets_tfr.pictures import pipeline
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records.reading import SplitRecords
from poets_tfr.training.sampling import Sampler


def distorted_batches(
    pictures: SplitRecords,
    sampler: Sampler,
    first_step: int,
    preprocessing: Preprocessing,
    distortions: Distortions,
    strategy: Any,
) -> Iterator[Any]:
    """(float32 [n, size, size, 3], int32 [n]) of each replica, from a step on, without end.

    strategy: the tf.distribute.Strategy whose replicas share the sampler's draws evenly.
    """
    import tensorflow as tf

    replicas, labels = strategy.num_replicas_in_sync, tf.constant(pictures.labels)

    def batches_of(context: Any) -> Any:
        share = sampler.draws // context.num_input_pipelines
        begin = share * context.input_pipeline_id

        def draw(step: Any) -> Any:
            return sampler.draw(step)[begin : begin + share]

        images = pipeline.distorted_steps(
            pictures.record, draw, share, first_step, preprocessing, distortions, pictures.seeds
        )
        steps = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
        truth = steps.map(pipeline.as_written(lambda step: tf.gather(labels, draw(step))))
        batches = tf.data.Dataset.zip((images, truth))
        if replicas == context.num_input_pipelines:
            return batches
        return batches.unbatch().batch(sampler.draws // replicas, drop_remainder=True)

    return iter(strategy.distribute_datasets_from_function(batches_of))
