"""The graph that is tried before training, and the files that are written after it."""

from __future__ import annotations

import functools

import numpy as np

from poets_tfr.backbones.frozen import Backbone
from poets_tfr.export import frozen_graph
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.export.tflite import CALIBRATION_PICTURES
from poets_tfr.export.writing import Export, write_exports
from poets_tfr.records.reading import Records
from poets_tfr.run.training import Trained
from poets_tfr.run.work import Work


def trial_export(work: Work, backbone: Backbone) -> FrozenGraph:
    """Builds, serialises and reads back the graph with an empty head: no run dies saving."""
    import tensorflow as tf

    labels = work.records.labels
    name = work.config.export.final_tensor_name
    graph = FrozenGraph(backbone, labels, name, work.records.manifest.store_max_side)
    shape = backbone.feature_width, len(labels)
    empty = graph.with_head(np.zeros(shape, np.float32), np.zeros(shape[1], np.float32))
    tf.compat.v1.GraphDef.FromString(frozen_graph.serialized(empty))
    return graph


def export(work: Work, graph: FrozenGraph, trained: Trained) -> list[Export]:
    """Writes all that was asked for."""
    calibration = functools.partial(_calibration, work.records)
    return write_exports(
        work.config.export,
        trained.backbone,
        graph,
        trained.head,
        calibration,
        trained.keras_network,
    )


def _calibration(records: Records) -> list[bytes]:
    """Training images, spread evenly, as the records hold them."""
    train = records['train']
    return train.read_each(range(0, len(train), -(-len(train) // CALIBRATION_PICTURES)))
