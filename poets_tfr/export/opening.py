"""An export of any kind, opened: encoded pictures -> scores."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.export import frozen_graph, keras_model, onnx_model, saved_model, tflite
from poets_tfr.export.description import Description
from poets_tfr.export.foreign_graph import Feeding, ForeignGraph
from poets_tfr.export.settings import KERAS_SUFFIX, ONNX_SUFFIX
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing

log = logging.getLogger('poets_tfr')

Scores = Callable[[Sequence[bytes]], np.ndarray]
ScoresAndFeatures = Callable[[Sequence[bytes]], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class OpenExport:
    """scores: the bytes of n stored pictures (upright JPEG or PNG) -> float32 [n, classes].

    description: None of a graph that another program wrote.
    scores_and_features: the same, and features float32 [n, width]; None where no likeness is known.
    """

    path: str
    scores: Scores
    description: Description | None
    scores_and_features: ScoresAndFeatures | None = None


def open_export(path: str, feeding: Feeding | None = None) -> OpenExport:
    """A frozen graph, a SavedModel folder (its highest version), a TFLite, Keras or ONNX file.

    Args:
      path: of the file or folder; what it is is seen from its content.
      feeding: for graphs that do not say how they want their pictures.

    Raises:
      InputError: there is no such export, it is damaged, or it cannot be told how to feed it.
    """
    feeding = feeding or Feeding()
    both = None
    if not files.exists(path):
        raise InputError(f'--graph: {path} not found. Training writes it.')
    if os.path.isdir(path):
        scores, description = saved_model.load(path)
    elif path.endswith(KERAS_SUFFIX):
        scores, description = keras_model.load(path)
    elif path.endswith(ONNX_SUFFIX):
        scores, description = onnx_model.load(path)
    elif tflite.is_tflite(content := frozen_graph.read(path)):
        scores, description = tflite.load(content, path)
    else:
        graph_def, found = frozen_graph.parse(content, path)
        if found is None or _asks_for_another_node(feeding, found):
            feeding = _completed(feeding, found) if found else feeding
            # Both are of our own node's scores.
            said = found and dataclasses.replace(found, min_score=0.0, likeness=None)
            return OpenExport(path, _one_by_one(ForeignGraph(path, graph_def, feeding)), said)
        scored, description = _graph_scores(path, graph_def, found), found
        scores, both = _scores_of(scored), scored if found.likeness else None
    _warn_of_overrides(path, description.preprocessing, feeding)
    return OpenExport(path, scores, description, both)


def _scores_of(both: ScoresAndFeatures) -> Scores:
    return lambda encoded: both(encoded)[0]


def _one_by_one(graph: ForeignGraph) -> Scores:
    return lambda encoded: np.stack([graph.score_one(each) for each in encoded])


def _asks_for_another_node(feeding: Feeding, description: Description) -> bool:
    inputs = frozen_graph.CONTENTS_TENSOR, frozen_graph.INPUT_TENSOR
    asked = (feeding.input_layer, inputs), (feeding.output_layer, (description.output_tensor,))
    return any(
        name is not None and name not in (*ours, *(each.removesuffix(':0') for each in ours))
        for name, ours in asked
    )


def _completed(feeding: Feeding, description: Description) -> Feeding:
    wants = description.preprocessing
    return dataclasses.replace(
        feeding,
        input_height=wants.size,
        input_width=wants.size,
        input_mean=wants.mean,
        input_std=wants.std,
    )


def _warn_of_overrides(path: str, wants: Preprocessing, feeding: Feeding) -> None:
    """A size, mean or std that is not the export's own is never used: it would be wrong."""
    own = {
        'input_height': wants.size,
        'input_width': wants.size,
        'input_mean': wants.mean,
        'input_std': wants.std,
    }
    for name, value in own.items():
        given = getattr(feeding, name)
        if given is not None and given != value:
            log.warning(
                'WARNING: --%s=%s is not used: %s says itself how it wants its images '
                '(there: %s).', name, given, path, value,
            )  # fmt: skip


def _graph_scores(path: str, graph_def: Any, description: Description) -> ScoresAndFeatures:
    """Where no likeness is known, the scores stand in the features' place: those cost time.

    Raises InputError where the graph does not fit together: those of 0.1 have no digest.
    """
    import tensorflow as tf

    def score(encoded: Any) -> Any:
        pictures = preprocess.batch_from_encoded(encoded, description.preprocessing)
        wanted = [description.output_tensor]
        if description.likeness:
            wanted.append(frozen_graph.features_tensor(graph_def))
        return tf.graph_util.import_graph_def(
            graph_def,
            input_map={frozen_graph.INPUT_TENSOR: pictures},
            return_elements=wanted,
        )

    traced = tf.function(score, [tf.TensorSpec([None], tf.string)], autograph=False)
    try:
        compiled = traced.get_concrete_function()
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f'--graph: {path} does not load: {reason}') from None

    def both(encoded: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        found = compiled(tf.constant(list(encoded)))
        return found[0].numpy(), found[-1].numpy()

    return both
