"""The frozen graph as a plain network, for programs that do not know all of TensorFlow's nodes.

input:0 (a placeholder)  float32 [n, size, size, 3], normalised as the description says
  -> the backbone -> the head
  -> final_result:0      float32 [n, classes]: softmax scores

OpenCV, TensorFlow.js and tf2onnx refuse what stands before `input` in the frozen graph, and OpenCV
weights that are computed: here they are constants.
"""

from __future__ import annotations

from typing import Any

from poets_tfr.backbones.graph_defs import depending_on, node_of
from poets_tfr.export.description import Description
from poets_tfr.export.frozen_graph import DESCRIPTION_NODE, INPUT_TENSOR


def of(graph_def: Any, description: Description) -> Any:
    """The GraphDef, with the description, of a frozen graph that has its head."""
    import tensorflow as tf

    plain = tf.compat.v1.GraphDef()
    plain.CopyFrom(graph_def)
    for node in plain.node:
        if node.name == node_of(INPUT_TENSOR):
            node.op = 'Placeholder'
            del node.input[:]
    _compute_constants(plain)
    kept = [node_of(description.output_tensor), DESCRIPTION_NODE]
    return tf.compat.v1.graph_util.extract_sub_graph(plain, kept)


def _compute_constants(graph_def: Any) -> None:
    """What no picture flows through, but meets one, becomes a constant of that name."""
    import tensorflow as tf

    flowing = depending_on(graph_def, INPUT_TENSOR)
    met = {tensor for node in graph_def.node if node.name in flowing for tensor in node.input}
    met -= {*flowing, node_of(INPUT_TENSOR)}
    nodes = [node for node in graph_def.node if node.name in met and node.op != 'Const']
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        values = session.run([f'{node.name}:0' for node in nodes])
    for node, value in zip(nodes, values, strict=True):
        del node.input[:]
        node.attr.clear()
        node.op = 'Const'
        tensor = tf.make_tensor_proto(value)
        node.attr['dtype'].type = tensor.dtype
        node.attr['value'].tensor.CopyFrom(tensor)
