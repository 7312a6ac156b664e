"""The trained model as one file: a frozen GraphDef that takes JPEG bytes or normalised pictures.

DecodeJpeg/contents:0  string, one JPEG or PNG
  -> decode, resize, normalise (pictures.preprocess)
  -> input:0           float32 [n, size, size, 3], normalised; may be fed instead
  -> the backbone      -> the head
  -> final_result:0    float32 [n, classes]: softmax scores
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import InputError
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing

CONTENTS_TENSOR = 'DecodeJpeg/contents:0'
INPUT_TENSOR = 'input:0'
FORMAT = 'poets_tfr graph 1'
_DESCRIPTION_NODE = 'poets_tfr/description'
_WEIGHTS_NODE = 'final_training_ops/weights/final_weights'
_BIASES_NODE = 'final_training_ops/biases/final_biases'


@dataclasses.dataclass(frozen=True)
class Description:
    """What whoever uses the graph needs to know; it travels inside the graph."""

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    output_tensor: str
    architecture: str
    weights_digest: str

    def to_json(self) -> str:
        return json.dumps({'format': FORMAT, **dataclasses.asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        value = json.loads(text)
        if value.pop('format') != FORMAT:
            raise ValueError(f'not {FORMAT}')
        preprocessing = Preprocessing.from_json(value.pop('preprocessing'))
        labels = tuple(value.pop('labels'))
        return cls(labels=labels, preprocessing=preprocessing, **value)


class FrozenGraph:
    """The whole graph, built once; each trained head is put in as two constants."""

    def __init__(self, backbone: Backbone, labels: Sequence[str], final_tensor_name: str):
        self.description = Description(
            labels=tuple(labels),
            preprocessing=backbone.preprocessing,
            output_tensor=f'{final_tensor_name}:0',
            architecture=backbone.name,
            weights_digest=backbone.digest,
        )
        self._graph_def = _build(backbone, self.description, final_tensor_name)

    def with_head(self, weights: np.ndarray, biases: np.ndarray) -> Any:
        """The GraphDef with float32 [feature_width, classes] weights and [classes] biases."""
        import tensorflow as tf

        constants = {_WEIGHTS_NODE: weights, _BIASES_NODE: biases}
        for node in self._graph_def.node:
            if node.name in constants:
                tensor = tf.make_tensor_proto(constants[node.name], dtype=tf.float32)
                node.attr['value'].tensor.CopyFrom(tensor)
        return self._graph_def

    def save(self, path: str, weights: np.ndarray, biases: np.ndarray) -> None:
        """Atomic, and the same bytes for the same head."""
        files.write_bytes(path, serialized(self.with_head(weights, biases)))


def serialized(graph_def: Any) -> bytes:
    return graph_def.SerializeToString(deterministic=True)


def load(path: str) -> tuple[Any, Description]:
    """(GraphDef, description) of a saved graph.

    Raises:
      InputError: there is no such file, or it is not a graph of ours.
    """
    import tensorflow as tf

    try:
        graph_def = tf.compat.v1.GraphDef.FromString(files.read_bytes(path))
    except FileNotFoundError:
        raise InputError(f'--graph: {path} not found. tools/retrain.py writes it.') from None
    except Exception as error:  # protobuf's DecodeError has no public name
        raise InputError(f'--graph: {path} is not a TensorFlow graph ({error}).') from None
    for node in graph_def.node:
        if node.name == _DESCRIPTION_NODE:
            try:
                (text,) = node.attr['value'].tensor.string_val
                return graph_def, Description.from_json(text)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f'--graph: {path} was written by another version of this program, or is '
                    f'damaged ({error!r}): train again.'
                ) from None
    raise InputError(f'--graph: {path} was not written by this program: it has no description.')


def _build(backbone: Backbone, description: Description, final_tensor_name: str) -> Any:
    import tensorflow as tf

    size = backbone.preprocessing.size
    classes = len(description.labels)
    with tf.Graph().as_default() as graph:
        contents = tf.compat.v1.placeholder(tf.string, [], name=CONTENTS_TENSOR.removesuffix(':0'))
        pixels = preprocess.decode(contents)
        picture = preprocess.resize_and_normalise(pixels[None], backbone.preprocessing)
        pictures = tf.compat.v1.placeholder_with_default(
            picture, [None, size, size, 3], name=INPUT_TENSOR.removesuffix(':0')
        )
        features = forward.apply(backbone, pictures, name='')
        tf.constant(description.to_json(), name=_DESCRIPTION_NODE)
        weights = tf.constant(
            np.zeros([backbone.feature_width, classes], np.float32), name=_WEIGHTS_NODE
        )
        biases = tf.constant(np.zeros([classes], np.float32), name=_BIASES_NODE)
        product = tf.matmul(features, weights, name='final_training_ops/Wx_plus_b/MatMul')
        logits = tf.add(product, biases, name='final_training_ops/Wx_plus_b/add')
        scores = tf.nn.softmax(logits, name=final_tensor_name)
        if scores.name != description.output_tensor:
            raise InputError(
                f'--final_tensor_name={final_tensor_name!r} is the name of another node of the '
                'graph: choose another.'
            )
        return graph.as_graph_def()
