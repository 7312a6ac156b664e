"""The trained model as one file: a frozen GraphDef that takes JPEG bytes or normalised pictures.

DecodeJpeg/contents:0  string, one JPEG or PNG
  -> decode, resize, normalise (pictures.preprocess)
  -> input:0           float32 [n, size, size, 3], normalised; may be fed instead
  -> the backbone      -> the head
  -> final_result:0    float32 [n, classes]: softmax scores

Beside them a node that nothing flows through holds the description, with a digest of the graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.errors import InputError
from poets_tfr.export import description as descriptions
from poets_tfr.export.description import Description
from poets_tfr.pictures import preprocess

CONTENTS_TENSOR = 'DecodeJpeg/contents:0'
INPUT_TENSOR = 'input:0'
DESCRIPTION_NODE = 'poets_tfr/description'
_WEIGHTS_NODE = 'final_training_ops/weights/final_weights'
_PRODUCT_NODE = 'final_training_ops/Wx_plus_b/MatMul'
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

    def describe(self, **found: Any) -> None:
        """Has the description say what is known once the head is trained."""
        self.description = dataclasses.replace(self.description, **found)
        node = _description_node(self._graph_def)
        _described(self._graph_def, node)(self.description.to_json())

    def save(self, path: str, weights: np.ndarray, biases: np.ndarray) -> None:
        """Atomic, and the same bytes for the same head."""
        files.write_bytes(path, sealed(self.with_head(weights, biases)))


def head_of(graph_def: Any) -> tuple[np.ndarray, np.ndarray]:
    """(weights float32 [feature_width, classes], biases [classes]) of a graph of ours."""
    import tensorflow as tf

    tensors = {node.name: node.attr['value'].tensor for node in graph_def.node}
    return tf.make_ndarray(tensors[_WEIGHTS_NODE]), tf.make_ndarray(tensors[_BIASES_NODE])


def features_tensor(graph_def: Any) -> str:
    """The name of the tensor that the head of a graph of ours is fed with."""
    (node,) = (node for node in graph_def.node if node.name == _PRODUCT_NODE)
    name: str = node.input[0]
    return name if ':' in name else f'{name}:0'


def serialized(graph_def: Any) -> bytes:
    return graph_def.SerializeToString(deterministic=True)


def sealed(graph_def: Any) -> bytes:
    """Serialised, with a digest of it all in its description."""
    node = _description_node(graph_def)
    return descriptions.sealed(_text(node), _described(graph_def, node))


def load(path: str) -> tuple[Any, Description | None]:
    """(GraphDef, description) of a saved graph; None where another program wrote it.

    Raises:
      InputError: there is no such file, it is not a graph, or it is damaged.
    """
    return parse(read(path), path)


def read(path: str) -> bytes:
    """The content of an export that is one file. Raises InputError."""
    try:
        return files.read_regular(path)
    except FileNotFoundError:
        raise InputError(f'--graph: {path} not found. Training writes it.') from None
    except IsADirectoryError:
        raise InputError(f'--graph: {path} is not a TensorFlow graph, but a folder.') from None
    except OSError as error:
        raise InputError(f'--graph: {path} cannot be read: {error.strerror}.') from None


def parse(content: bytes, path: str) -> tuple[Any, Description | None]:
    """As `load`, of the content of the file `path`. Whoever changes the graph seals it anew."""
    import tensorflow as tf

    try:
        graph_def = tf.compat.v1.GraphDef.FromString(content)
    except Exception as error:  # protobuf's DecodeError has no public name
        raise InputError(f'--graph: {path} is not a TensorFlow graph ({error}).') from None
    if not graph_def.node:
        raise InputError(f'--graph: {path} is not a TensorFlow graph: it has no nodes.')
    node = _description_node(graph_def)
    if node is None:
        return graph_def, None
    text = _text(node)
    description = Description.from_json(text, path)
    descriptions.check_seal(text, _described(graph_def, node), path)
    return graph_def, description


def _description_node(graph_def: Any) -> Any:
    """By its content too, for its name may be what was damaged; None in graphs of others."""
    mark = descriptions.FORMAT.encode()
    for node in graph_def.node:
        if node.name == DESCRIPTION_NODE or (node.op == 'Const' and mark in _text(node)):
            return node
    return None


def _text(node: Any) -> bytes:
    values = node.attr['value'].tensor.string_val
    return values[0] if values else b''


def _described(graph_def: Any, node: Any) -> Callable[[str], bytes]:
    """The bytes of the graph with another text in `node`."""

    def whole(text: str) -> bytes:
        del node.attr['value'].tensor.string_val[:]
        node.attr['value'].tensor.string_val.append(text.encode())
        return serialized(graph_def)

    return whole


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
        tf.constant(description.to_json(), name=DESCRIPTION_NODE)
        weights = tf.constant(
            np.zeros([backbone.feature_width, classes], np.float32), name=_WEIGHTS_NODE
        )
        biases = tf.constant(np.zeros([classes], np.float32), name=_BIASES_NODE)
        product = tf.matmul(features, weights, name=_PRODUCT_NODE)
        logits = tf.add(product, biases, name='final_training_ops/Wx_plus_b/add')
        scores = tf.nn.softmax(logits, name=final_tensor_name)
        if scores.name != description.output_tensor:
            raise InputError(
                f'--final_tensor_name={final_tensor_name!r} is the name of another node of the '
                'graph: choose another.'
            )
        return graph.as_graph_def()
