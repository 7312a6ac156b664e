"""A trained model -> its figures, its exports, and the proof that they are its own."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr import progress, self_test
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.export import frozen_graph
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.export.tflite import CALIBRATION_PICTURES
from poets_tfr.export.writing import Export, write_exports
from poets_tfr.features import SplitFeatures
from poets_tfr.records.manifest import load_indexes
from poets_tfr.records.reading import read_pictures
from poets_tfr.retrain.training import Trained
from poets_tfr.retrain.work import Work
from poets_tfr.self_test import SelfTest
from poets_tfr.training.evaluation import Predictions, predict
from poets_tfr.training.head import Head

log = logging.getLogger('poets_tfr')


def trial_export(work: Work, backbone: Backbone) -> FrozenGraph:
    """Builds, serialises and reads back the graph with an empty head: no run dies saving."""
    import tensorflow as tf

    labels = work.manifest.labels
    graph = FrozenGraph(
        backbone, labels, work.config.output.final_tensor_name, work.manifest.store_max_side
    )
    shape = backbone.feature_width, len(labels)
    empty = graph.with_head(np.zeros(shape, np.float32), np.zeros(shape[1], np.float32))
    tf.compat.v1.GraphDef.FromString(frozen_graph.serialized(empty))
    return graph


def evaluate(work: Work, splits: dict[str, SplitFeatures], head: Head) -> dict[str, Predictions]:
    """Every validation picture, and the test as it was asked for."""
    config = work.config
    predictions = {}
    if 'validation' in splits:
        predictions['validation'] = predict(head, splits['validation'])
    if 'test' not in splits:
        log.info('No test pictures (--testing_percentage=0): no final test accuracy.')
        return predictions
    tested = predict(head, splits['test'], config.head.test_batch_size, config.head)
    log.info('Final test accuracy = %.1f%% (N=%d)', tested.accuracy * 100, len(tested))
    if config.output.print_misclassified_test_images:
        _log_misclassified(tested, config.conversion.image_dir, work.manifest.labels)
    return {**predictions, 'test': tested}


def export(work: Work, graph: FrozenGraph, trained: Trained) -> list[Export]:
    """Writes all that was asked for."""
    calibration = functools.partial(_calibration, work)
    return write_exports(
        work.config.output,
        trained.backbone,
        graph,
        trained.head,
        calibration,
        trained.keras_network,
    )


def begin_proof(
    test: SelfTest | None, work: Work, exports: Sequence[Export], trained: Trained
) -> Callable[[], dict[str, Any] | None]:
    """Begins the self-test; what is given back waits for its verdicts, for the report, or None."""
    if test is None:
        return lambda: None
    config = work.config
    pictures = self_test.choose(trained.splits, trained.head, config.output.self_test_pictures)
    verdicts = test.begin(exports, pictures, work.records_dir, config.conversion.image_dir)

    def prove() -> dict[str, Any]:
        result = verdicts()
        self_test.log_result(result)
        return result

    return prove


def _log_misclassified(tested: Predictions, image_dir: str, labels: list[str]) -> None:
    """The original's lines, word for word."""
    log.info('=== MISCLASSIFIED TEST IMAGES ===')
    predicted = tested.predicted
    for row in np.flatnonzero(predicted != tested.labels):
        path = os.path.join(image_dir, tested.paths[row])
        log.info('%70s  %s', progress.printable(path), labels[predicted[row]])


def _calibration(work: Work) -> list[bytes]:
    """Training pictures, spread evenly, as the records hold them."""
    paths = [
        entry.path
        for index in load_indexes(work.records_dir, work.manifest, 'train')
        for entry in index.entries
        if entry.is_record
    ]
    chosen = paths[:: -(-len(paths) // CALIBRATION_PICTURES)]
    return list(read_pictures(work.records_dir, work.manifest, 'train', chosen).values())
