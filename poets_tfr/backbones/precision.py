"""A frozen network rewritten to compute in 16 bits; pictures in and features out stay float32."""

from __future__ import annotations

from typing import Any

from poets_tfr.backbones.graph_defs import depending_on
from poets_tfr.backbones.settings import Precision

# What is computed in 16 bits, and how many of its inputs are; None: all but the last. All else
# stays float32, pooling above all: a mean over many positions needs more bits than its terms.
_IN_16_BITS = {
    'Conv2D': 2,
    'DepthwiseConv2dNative': 2,
    'MatMul': 2,
    'BiasAdd': 2,
    'FusedBatchNormV3': 1,  # scale, offset, mean and variance are float32 by its own rule
    'Add': 2,
    'AddV2': 2,
    'Sub': 2,
    'Mul': 2,
    'Relu': 1,
    'Relu6': 1,
    'MaxPool': 1,
    'Pad': 1,
    'ConcatV2': None,
}


def mixed_precision(graph_def: Any, input_tensor: str, precision: Precision) -> Any:
    """The same network, with casts wherever 16 bits and float32 meet.

    What does not depend on the pictures is computed in float32 and cast then, once, when TensorFlow
    folds the constants. Tensors keep their names; the features may come out in 16 bits.

    Args:
      graph_def: a frozen network.
      input_tensor: names the pictures, float32.
      precision: 'float32' gives the graph as it is.
    """
    import tensorflow as tf

    if precision == 'float32':
        return graph_def
    float32, target = tf.float32.as_datatype_enum, tf.as_dtype(precision).as_datatype_enum
    alive = depending_on(graph_def, input_tensor)
    low = {
        node.name
        for node in graph_def.node
        if node.name in alive and node.op in _IN_16_BITS and node.attr['T'].type == float32
    }
    result = tf.compat.v1.GraphDef(versions=graph_def.versions)
    casts: set[str] = set()

    def cast(tensor: str, source: int, destination: int) -> str:
        name = f'{tensor.replace(":", "_")}/in_{"16" if destination == target else "32"}_bits'
        if name not in casts:
            casts.add(name)
            node = result.node.add(name=name, op='Cast', input=[tensor])
            node.attr['SrcT'].type, node.attr['DstT'].type = source, destination
        return name

    for node in graph_def.node:
        copy = result.node.add()
        copy.CopyFrom(node)
        wanted = target if node.name in low else float32
        if wanted == target:
            copy.attr['T'].type = target
        for position in range(_inputs_in_16_bits(node) if wanted == target else len(node.input)):
            tensor = node.input[position].removesuffix(':0')
            given = target if tensor in low else float32  # of 16 bits, only output 0 is
            if given != wanted and not tensor.startswith('^'):
                copy.input[position] = cast(tensor, given, wanted)
    return result


def _inputs_in_16_bits(node: Any) -> int:
    count = _IN_16_BITS[node.op]
    return node.attr['N'].i if count is None else count
