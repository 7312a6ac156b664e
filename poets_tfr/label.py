"""An exported graph + pictures -> labels and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.config import InputError
from poets_tfr.export import frozen_graph
from poets_tfr.pictures import preprocess
from poets_tfr.records import codecs


class Labeller:
    """A graph that retrain wrote, ready to label.

    labels: in the order of the scores.
    """

    def __init__(self, graph: str, labels: str):
        """Reads both files.

        Raises:
          InputError: one is missing, or they do not belong together.
        """
        graph_def, description = frozen_graph.load(graph)
        self.labels = _read_labels(labels)
        if len(self.labels) != len(description.labels):
            raise InputError(
                f'--labels: {labels} names {len(self.labels)} labels, but {graph} scores '
                f'{len(description.labels)}: they are of different runs.'
            )
        both = zip(self.labels, description.labels, strict=True)
        for line, (found, wanted) in enumerate(both, 1):
            if found != wanted:
                raise InputError(
                    f'--labels: {labels} has {found!r} in line {line}, but {graph} was trained '
                    f'with {wanted!r} there: they are of different runs.'
                )
        self._preprocessing = description.preprocessing
        self._score = _compile(graph_def, description)

    def scores(self, content: bytes) -> np.ndarray:
        """float32 [classes], summing to 1, for the bytes of one picture file.

        The picture is first settled just as conversion does it.

        Raises:
          codecs.BadPictureError: it is no picture, or damaged.
        """
        with codecs.pillow_silenced():
            stored = codecs.store(content)
        picture = preprocess.from_encoded(stored.encoded, self._preprocessing)
        return self._score(picture[None]).numpy()[0]

    def best_first(self, scores: Sequence[float] | np.ndarray) -> list[tuple[str, float]]:
        """(label, score) of every class, the highest score first."""
        order = np.argsort(-np.asarray(scores), kind='stable')
        return [(self.labels[i], float(scores[i])) for i in order]


def _read_labels(path: str) -> list[str]:
    """One label a line; an editor may have left out the last line's end, or made it CR LF."""
    try:
        text = files.read_bytes(path).decode('utf-8', 'surrogateescape').replace('\r\n', '\n')
        return text.removesuffix('\n').split('\n') if text else []
    except FileNotFoundError:
        raise InputError(f'--labels: {path} not found. tools/retrain.py writes it.') from None


def _compile(graph_def: Any, description: frozen_graph.Description) -> Any:
    import tensorflow as tf

    size = description.preprocessing.size

    def score(pictures: Any) -> Any:
        (scores,) = tf.graph_util.import_graph_def(
            graph_def,
            input_map={frozen_graph.INPUT_TENSOR: pictures},
            return_elements=[description.output_tensor],
        )
        return scores

    pictures = tf.TensorSpec([None, size, size, 3], tf.float32)
    return tf.function(score, [pictures], autograph=False)
