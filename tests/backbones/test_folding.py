"""Folded, a network gives the same values by fewer passes; what cannot be folded stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest

from poets_tfr.backbones import folding, frozen
from poets_tfr.backbones.folding import folded
from poets_tfr.backbones.settings import BackboneConfig

CHANNELS = 6
Layer = Callable[[Any, np.random.Generator], Any]


def constant(rng: np.random.Generator, *shape: int) -> Any:
    import tensorflow as tf

    return tf.constant(rng.uniform(0.5, 1.5, shape or (CHANNELS,)).astype(np.float32))


def written_out(x: Any, rng: np.random.Generator) -> Any:
    """As in the published MobileNets."""
    import tensorflow as tf

    gamma, beta, mean, variance = (tf.identity(constant(rng)) for _ in range(4))
    scale = tf.math.rsqrt(variance + 0.001) * gamma
    return x * scale + (beta - mean * scale)


def reshaped(x: Any, rng: np.random.Generator) -> Any:
    """As Keras 3 has it after freezing."""
    import tensorflow as tf

    scale = tf.reshape(constant(rng), [1, 1, 1, CHANNELS])
    return tf.reshape(constant(rng), [1, 1, 1, CHANNELS]) + scale * x


def fused(x: Any, rng: np.random.Generator, is_training: bool = False) -> Any:
    import tensorflow as tf

    values = [constant(rng) for _ in range(4)]
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=values[0], offset=values[1], mean=values[2], variance=values[3],
        is_training=is_training, exponential_avg_factor=0.5, epsilon=0.01,
    ).y  # fmt: skip


def biased_then_scaled(x: Any, rng: np.random.Generator) -> Any:
    import tensorflow as tf

    return (tf.nn.bias_add(x, constant(rng)) - constant(rng)) * constant(rng)


def scaled_by_a_number(x: Any, rng: np.random.Generator) -> Any:
    return x * 0.5


def only_biased(x: Any, rng: np.random.Generator) -> Any:
    import tensorflow as tf

    return tf.nn.bias_add(x, constant(rng))


def taken_from_a_constant(x: Any, rng: np.random.Generator) -> Any:
    return constant(rng) - x


def scaled_by_position(x: Any, rng: np.random.Generator) -> Any:
    return x * constant(rng, 1, 4, 4, 1)


def scaled_by_itself(x: Any, rng: np.random.Generator) -> Any:
    return x * x


def used_twice(x: Any, rng: np.random.Generator) -> Any:
    import tensorflow as tf

    return tf.nn.relu(x) + x * constant(rng)


def in_training(x: Any, rng: np.random.Generator) -> Any:
    return fused(x, rng, is_training=True)


def of_another_rank(x: Any, rng: np.random.Generator) -> Any:
    import tensorflow as tf

    return tf.squeeze(x * constant(rng, 1, 1, 1, 1, CHANNELS), 0)


def beside_a_dead_end(x: Any, rng: np.random.Generator) -> Any:
    """A convolution that nothing takes: the features are cut out of a larger network."""
    import tensorflow as tf

    tf.nn.conv2d(x, constant(rng, 1, 1, CHANNELS, 2), 1, 'SAME')
    return tf.identity(x)


def network(layer: Layer, depthwise: bool) -> Any:
    """pictures [n, 8, 8, 3] -> a convolution -> the layer -> relu6 -> features."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3], name='pictures')
        shape = [3, 3, 3, CHANNELS // 3 if depthwise else CHANNELS]
        kernel = tf.constant(rng.normal(0, 0.3, shape).astype(np.float32))
        convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        x = convolve(x, kernel, [1, 2, 2, 1], 'SAME', name='convolution')
        x = tf.nn.relu6(tf.identity(layer(x, rng), name='after'))
        tf.reduce_mean(x, [1, 2], name='features')
        return graph.as_graph_def()


def features_of(graph_def: Any) -> np.ndarray:
    import tensorflow as tf

    pictures = np.random.default_rng(1).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        return session.run('features:0', {graph.get_tensor_by_name('pictures:0'): pictures})


def reached(graph_def: Any) -> Counter[str]:
    """The kinds of nodes that the features need."""
    import tensorflow as tf

    needed = tf.compat.v1.graph_util.extract_sub_graph(graph_def, ['features'])
    return Counter(node.op for node in needed.node)


@pytest.mark.parametrize('depthwise', [False, True])
@pytest.mark.parametrize(
    'layer', [written_out, reshaped, fused, biased_then_scaled, scaled_by_a_number]
)
def test_what_is_affine_by_channel_becomes_weights_and_a_bias(
    layer: Layer, depthwise: bool
) -> None:
    plain = network(layer, depthwise)
    result = folded(plain, 'features:0')
    wanted = features_of(plain)
    np.testing.assert_allclose(features_of(result), wanted, rtol=1e-5, atol=1e-6)
    assert wanted.std() > 0.01, 'the features differ, or this would prove nothing'
    kinds = reached(result)
    assert kinds['BiasAdd'] == 1
    gone = {'Mul', 'Add', 'AddV2', 'Sub', 'Rsqrt', 'Reshape', 'FusedBatchNormV3'}
    assert not gone & set(kinds)
    assert {'convolution', 'after', 'features'} <= {node.name for node in result.node}


@pytest.mark.parametrize(
    'layer',
    [only_biased, taken_from_a_constant, scaled_by_position, scaled_by_itself, used_twice,
     in_training, of_another_rank, beside_a_dead_end],
)  # fmt: skip
def test_everything_else_stays_as_it_is(layer: Layer) -> None:
    plain = network(layer, depthwise=False)
    assert folded(plain, 'features:0') == plain
    assert features_of(plain).std() > 0.01


def test_a_convolution_whose_own_output_is_wanted_is_left() -> None:
    plain = network(written_out, depthwise=False)
    assert folded(plain, 'convolution:0') == plain


def test_of_the_real_mobilenet_only_convolutions_biases_and_activations_are_left(
    models_dir: Path,
) -> None:
    config = BackboneConfig(architecture='mobilenet_0.25_128', model_dir=str(models_dir))
    kinds = Counter(node.op for node in frozen.load(config).graph_def.node)
    assert kinds['Conv2D'] + kinds['DepthwiseConv2dNative'] == kinds['BiasAdd'] == 28
    assert not {'Mul', 'Add', 'Rsqrt', 'Sub'} & set(kinds)


def test_of_a_keras_network_no_edge_is_left_that_only_orders() -> None:
    config = BackboneConfig(architecture='MobileNet_0.25', weights='random', image_size=32)
    model, spec = frozen.build_keras(config)
    nodes = frozen.freeze_model(model, spec, digest='').graph_def.node
    kinds = Counter(node.op for node in nodes)
    assert kinds['Conv2D'] + kinds['DepthwiseConv2dNative'] == kinds['BiasAdd'] == 27
    assert not {'Mul', 'Rsqrt', 'NoOp'} & set(kinds)
    assert not [name for node in nodes for name in node.input if name.startswith('^')]


def test_features_of_another_folding_are_kept_apart(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir))
    key = frozen.load(config).cache_key
    monkeypatch.setattr(folding, 'VERSION', folding.VERSION + 1)
    assert frozen.load(config).cache_key != key
