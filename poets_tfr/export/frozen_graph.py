"""The trained model as one file: a frozen GraphDef that takes JPEG bytes or normalised pictures.

DecodeJpeg/contents:0  string, one JPEG or PNG
  -> decode, resize, normalise (pictures.preprocess)
  -> input:0           float32 [n, size, size, 3], normalised; may be fed instead
  -> the backbone      -> the head
  -> final_result:0    float32 [n, classes]: softmax scores
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.errors import InputError
from poets_tfr.export.description import Description
from poets_tfr.pictures import preprocess

CONTENTS_TENSOR = 'DecodeJpeg/contents:0'
INPUT_TENSOR = 'input:0'
_DESCRIPTION_NODE = 'poets_tfr/description'
_WEIGHTS_NODE = 'final_training_ops/weights/final_weights'
_BIASES_NODE = 'final_training_ops/biases/final_biases'


class FrozenGraph:
    """The whole graph, built once; each trained head is put in as two constants."""

    def __init__(
        self,
        backbone: Backbone,
        labels: Sequence[str],
        final_tensor_name: str,
        store_max_side: int = 0,
    ):
        self.description = Description.of(backbone, labels, final_tensor_name, store_max_side)
        self._graph_def = _build(backbone, self.description, final_tensor_name)

    @property
    def graph_def(self) -> Any:
        """The GraphDef, whatever head was put in last."""
        return self._graph_def

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


def head_of(graph_def: Any) -> tuple[np.ndarray, np.ndarray]:
    """(weights float32 [feature_width, classes], biases [classes]) of a graph of ours."""
    import tensorflow as tf

    tensors = {node.name: node.attr['value'].tensor for node in graph_def.node}
    return tf.make_ndarray(tensors[_WEIGHTS_NODE]), tf.make_ndarray(tensors[_BIASES_NODE])


def serialized(graph_def: Any) -> bytes:
    return graph_def.SerializeToString(deterministic=True)


def load(path: str) -> tuple[Any, Description | None]:
    """(GraphDef, description) of a saved graph; None where another program wrote it.

    Raises:
      InputError: there is no such file, or it is not a graph.
    """
    try:
        return parse(files.read_bytes(path), path)
    except FileNotFoundError:
        raise InputError(f'--graph: {path} not found. tools/retrain.py writes it.') from None
    except IsADirectoryError:
        raise InputError(f'--graph: {path} is not a TensorFlow graph, but a folder.') from None


def parse(content: bytes, path: str) -> tuple[Any, Description | None]:
    """As `load`, of the content of the file `path`."""
    import tensorflow as tf

    try:
        graph_def = tf.compat.v1.GraphDef.FromString(content)
    except Exception as error:  # protobuf's DecodeError has no public name
        raise InputError(f'--graph: {path} is not a TensorFlow graph ({error}).') from None
    if not graph_def.node:
        raise InputError(f'--graph: {path} is not a TensorFlow graph: it has no nodes.')
    for node in graph_def.node:
        if node.name == _DESCRIPTION_NODE:
            values = node.attr['value'].tensor.string_val
            return graph_def, Description.from_json(values[0] if values else b'', path)
    return graph_def, None


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
