"""A frozen network whose batch normalisation is part of its convolutions.

Written out as a multiplication and an addition, as in the published MobileNets, it passes over
memory as often as the convolution itself; a `BiasAdd` in its place is what oneDNN and cuDNN compute
along with the convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.backbones.graph_defs import node_of, users_of

VERSION = 1  # raised when a network gives other last bits: cached features are keyed by it

_NORMS = ('FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3')
_CONSTANT_OPS: dict[str, Callable[..., Any]] = {
    'Identity': lambda x: x,
    'Add': np.add,
    'AddV2': np.add,
    'Sub': np.subtract,
    'Mul': np.multiply,
    'RealDiv': np.divide,
    'Sqrt': np.sqrt,
    'Rsqrt': lambda x: 1 / np.sqrt(x),
    'Reshape': np.reshape,
}


class _Affine(NamedTuple):
    """x -> scale * x + offset; float64 [channels], or a number for all channels."""

    scale: Any = 1.0
    offset: Any = 0.0

    def then(self, after: _Affine) -> _Affine:
        return _Affine(self.scale * after.scale, self.offset * after.scale + after.offset)


def folded(graph_def: Any, feature_tensor: str) -> Any:
    """The same network but for the last bits of float32; what it still computes keeps its name.

    What follows a convolution and is, channel by channel, a multiplication and an addition of
    constants becomes the weights of the convolution and one `BiasAdd`. Nodes that nothing needs any
    more are left.

    Args:
      graph_def: a frozen network.
      feature_tensor: names what is wanted of it.
    """
    import tensorflow as tf

    constants = _Constants(graph_def)
    users = users_of(graph_def)
    made: dict[str, list[Any]] = {}  # name of a node -> those in its place
    for node in graph_def.node:
        if node.op not in ('Conv2D', 'DepthwiseConv2dNative'):
            continue
        weights = constants.of(node.input[1])
        if weights is None or node.attr['data_format'].s not in (b'', b'NHWC'):
            continue
        channels = int(np.prod(_by_channel(node, weights)))
        affine, chain, last = _Affine(), [node], node.name
        while last != node_of(feature_tensor) and len(users.get(last, ())) == 1:
            (user,) = users[last]
            step = _as_affine(user, last, channels, constants)
            if step is None:
                break
            affine, last = affine.then(step), user.name
            chain.append(user)
        if any(each.op != 'BiasAdd' for each in chain[1:]):
            made |= {each.name: [] for each in chain}
            made[last] = _with_bias(node, last, weights, affine, channels)
    result = tf.compat.v1.GraphDef(versions=graph_def.versions)
    for node in graph_def.node:
        result.node.extend(made.get(node.name, [node]))
    return result


class _Constants:
    """The constants of a graph, those that are computed of other constants too."""

    def __init__(self, graph_def: Any):
        self._nodes = {node.name: node for node in graph_def.node}
        self._values: dict[str, np.ndarray | None] = {}

    def of(self, tensor: str) -> np.ndarray | None:
        """None for what is no constant."""
        name = node_of(tensor)
        if name not in self._values:
            self._values[name] = self._value(self._nodes.get(name))
        return self._values[name]

    def _value(self, node: Any) -> np.ndarray | None:
        import tensorflow as tf

        if node is None:  # the pictures
            return None
        if node.op == 'Const':
            return tf.make_ndarray(node.attr['value'].tensor)
        if node.op not in _CONSTANT_OPS:
            return None
        inputs = [self.of(tensor) for tensor in node.input if not tensor.startswith('^')]
        if any(value is None for value in inputs):
            return None
        return _CONSTANT_OPS[node.op](*inputs)


def _by_channel(convolution: Any, weights: np.ndarray) -> tuple[int, ...]:
    """Those last dimensions of the weights that make the output's channels."""
    return weights.shape[2 if convolution.op == 'DepthwiseConv2dNative' else 3 :]


def _as_affine(node: Any, source: str, channels: int, constants: _Constants) -> _Affine | None:
    """What a node does to `source`; None where it is something else."""
    if node.op in _NORMS:
        return _norm_as_affine(node, source, channels, constants)
    if node.op not in ('Add', 'AddV2', 'BiasAdd', 'Sub', 'Mul') or len(node.input) != 2:
        return None
    first, second = node.input
    is_first = node_of(first) == source
    if node.op == 'Sub' and not is_first:
        return None
    value = _per_channel(constants.of(second if is_first else first), channels)
    if value is None:
        return None
    if node.op == 'Mul':
        return _Affine(scale=value)
    return _Affine(offset=-value if node.op == 'Sub' else value)


def _norm_as_affine(node: Any, source: str, channels: int, constants: _Constants) -> _Affine | None:
    if node.attr['is_training'].b or node_of(node.input[0]) != source:
        return None
    values = [_per_channel(constants.of(tensor), channels) for tensor in node.input[1:5]]
    if any(value is None for value in values):
        return None
    gamma, beta, mean, variance = values
    scale = gamma / np.sqrt(variance + node.attr['epsilon'].f)
    return _Affine(scale, beta - mean * scale)


def _per_channel(value: np.ndarray | None, channels: int) -> np.ndarray | None:
    """float64 [channels] or []; None for a constant of another shape, or of no float32."""
    if value is None or value.dtype != np.float32 or value.ndim > 4:
        return None
    if value.size == 1 or value.shape == (1,) * (value.ndim - 1) + (channels,):
        return value.reshape(-1 if value.size > 1 else ()).astype(np.float64)
    return None


def _with_bias(
    convolution: Any, name: str, weights: np.ndarray, affine: _Affine, channels: int
) -> list[Any]:
    """The nodes of a convolution that gives `affine` of what it gave, by the name `name`."""
    import tensorflow as tf

    scale = np.broadcast_to(affine.scale, [channels]).reshape(_by_channel(convolution, weights))
    offset = np.broadcast_to(affine.offset, [channels])
    graph_def = tf.compat.v1.GraphDef()
    for part, value in (('weights', weights * scale), ('biases', offset)):
        constant = graph_def.node.add(name=f'{name}/folded_{part}', op='Const')
        constant.attr['dtype'].type = tf.float32.as_datatype_enum
        constant.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value.astype(np.float32)))
    graph_def.node.add().CopyFrom(convolution)
    graph_def.node[-1].input[1] = f'{name}/folded_weights'
    biased = graph_def.node.add(name=name, op='BiasAdd')
    biased.input.extend([convolution.name, f'{name}/folded_biases'])
    biased.attr['T'].type = tf.float32.as_datatype_enum
    biased.attr['data_format'].s = b'NHWC'
    return list(graph_def.node)
