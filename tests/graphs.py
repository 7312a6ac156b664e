"""Small archives with the node names of the published ones, and the originals' way to run them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

MOBILENET = 'mobilenet_0.50_128'  # the catalog knows no digest for it, so that any archive passes
MOBILENET_ARCHIVE = 'mobilenet_v1_0.50_128_frozen.tgz'
MOBILENET_FROZEN = 'mobilenet_v1_0.50_128/frozen_graph.pb'
MOBILENET_QUANTIZED = 'mobilenet_v1_0.50_128/quantized_graph.pb'
INCEPTION_2015_ARCHIVE = 'inception-2015-12-05.tgz'
INCEPTION_2015_MEMBER = 'classify_image_graph_def.pb'


def write_mobilenet(directory: Path, seed: int = 0, damaged: bool = False) -> Path:
    """mobilenet_v1_0.50_128_frozen.tgz: both graphs, batch 1 baked in as in the published file.

    `damaged`: one of its weights is not a number.
    """
    graphs = {
        MOBILENET_FROZEN: _mobilenet(_Weights(seed, damaged=damaged)).SerializeToString(),
        MOBILENET_QUANTIZED: _mobilenet(_Weights(seed, quantized=True)).SerializeToString(),
    }
    return write_archive(directory / MOBILENET_ARCHIVE, graphs)


def write_inception_2015(directory: Path, seed: int = 0) -> Path:
    """inception-2015-12-05.tgz: from JPEG bytes on, batch 1 baked in as in the published file."""
    graph = _inception_2015(seed).SerializeToString()
    return write_archive(directory / INCEPTION_2015_ARCHIVE, {INCEPTION_2015_MEMBER: graph})


def write_archive(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_keras_mobilenet(archive: Path, width: str, size: int, path: Path) -> Path:
    """The trained weights of a published mobilenet_v1 archive as a file of Keras's MobileNet."""
    import tensorflow as tf

    with tarfile.open(archive) as tar:
        content = tar.extractfile(f'mobilenet_v1_{width}_{size}/frozen_graph.pb')
        assert content is not None
        graph_def = tf.compat.v1.GraphDef.FromString(content.read())
    constants = {
        node.name.removeprefix('MobilenetV1/'): tf.make_ndarray(node.attr['value'].tensor)
        for node in graph_def.node
        if node.op == 'Const'
    }
    model = tf.keras.applications.MobileNet(
        include_top=False, weights=None, alpha=float(width), input_shape=(size, size, 3)
    )
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_of_keras_layer(constants, layer.name))
    model.save_weights(path)
    return path


def _of_keras_layer(constants: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """conv1, conv1_bn, conv_dw_7, conv_pw_7_bn ... -> their values."""
    match = re.fullmatch(r'conv(?:_(dw|pw))?_?(\d+)(_bn)?', name)
    assert match, name
    kind, number, is_norm = match.groups()
    kinds = {
        None: 'Conv2d_0',
        'dw': f'Conv2d_{number}_depthwise',
        'pw': f'Conv2d_{number}_pointwise',
    }
    scope = kinds[kind]
    if is_norm:
        parts = 'gamma', 'beta', 'moving_mean', 'moving_variance'
        return [constants[f'{scope}/BatchNorm/{part}'] for part in parts]
    return [constants[f'{scope}/depthwise_weights' if kind == 'dw' else f'{scope}/weights']]


def run_one_by_one(
    archive: Path, member: str, feature_tensor: str, input_tensor: str, inputs: Sequence[Any]
) -> np.ndarray:
    """Runs the untouched graph of an archive in a TensorFlow 1 session, one input at a time."""
    import tensorflow as tf

    with tarfile.open(archive) as tar:
        content = tar.extractfile(member)
        assert content is not None
        graph_def = tf.compat.v1.GraphDef.FromString(content.read())
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        features = graph.get_tensor_by_name(feature_tensor)
        return np.stack(
            [np.squeeze(session.run(features, {input_tensor: value})) for value in inputs]
        )


class _Weights:
    """Seeded constants; those of a quantised graph's convolutions are 8-bit, and dequantised."""

    def __init__(self, seed: int, quantized: bool = False, damaged: bool = False):
        self._rng = np.random.default_rng(seed)
        self._quantized = quantized
        self._damaged = damaged

    def kernel(self, name: str, shape: Sequence[int], fan_in: int) -> Any:
        import tensorflow as tf

        values = self._rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        if not self._quantized:
            return tf.identity(tf.constant(values, name=name), name=f'{name}/read')
        low, high = float(values.min()), float(values.max())
        eight_bit = np.round((values - low) * (255 / (high - low))).astype(np.uint8)
        return tf.raw_ops.Dequantize(
            input=tf.constant(eight_bit.view(tf.quint8.as_numpy_dtype), tf.quint8, name=name),
            min_range=tf.constant(low, name=f'{name}_min'),
            max_range=tf.constant(high, name=f'{name}_max'),
            mode='MIN_FIRST',
            name=f'{name}/dequantize',
        )

    def biases(self, name: str, size: int) -> Any:
        import tensorflow as tf

        values = self._rng.uniform(0.0, 0.5, size).astype(np.float32)
        if self._damaged:
            values[0] = np.nan
        return tf.constant(values, name=name)


def _mobilenet(weights: _Weights) -> Any:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [1, 128, 128, 3], name='input')
        # Not 3 x 3: TensorFlow Lite 2.16 computes a stride that is longer than the kernel wrongly.
        kernel = weights.kernel('MobilenetV1/Conv2d_0/weights', [5, 5, 3, 32], fan_in=75)
        x = tf.nn.conv2d(x, kernel, 4, 'SAME', name='MobilenetV1/MobilenetV1/Conv2d_0/convolution')
        x = tf.add(x, weights.biases('MobilenetV1/Conv2d_0/biases', 32))
        x = tf.nn.relu6(x, name='MobilenetV1/MobilenetV1/Conv2d_0/Relu6')
        name = 'MobilenetV1/Conv2d_1_depthwise/depthwise_weights'
        kernel = weights.kernel(name, [3, 3, 32, 1], fan_in=9)
        x = tf.nn.depthwise_conv2d(x, kernel, [1, 2, 2, 1], 'SAME')
        x = tf.nn.relu6(x, name='MobilenetV1/MobilenetV1/Conv2d_1_depthwise/Relu6')
        kernel = weights.kernel('MobilenetV1/Conv2d_1_pointwise/weights', [1, 1, 32, 32], 32)
        x = tf.nn.conv2d(x, kernel, 1, 'SAME')
        x = tf.nn.relu6(x, name='MobilenetV1/MobilenetV1/Conv2d_1_pointwise/Relu6')
        x = tf.nn.avg_pool2d(x, 16, 2, 'VALID', name='MobilenetV1/Logits/AvgPool_1a/AvgPool')
        kernel = weights.kernel('MobilenetV1/Logits/Conv2d_1c_1x1/weights', [1, 1, 32, 1001], 300)
        x = tf.nn.conv2d(x, kernel, 1, 'SAME', name='MobilenetV1/Logits/Conv2d_1c_1x1/convolution')
        x = tf.nn.bias_add(x, weights.biases('MobilenetV1/Logits/Conv2d_1c_1x1/biases', 1001))
        x = tf.squeeze(x, [1, 2], name='MobilenetV1/Logits/SpatialSqueeze')
        x = tf.reshape(x, [-1, 1001], name='MobilenetV1/Predictions/Reshape')
        x = tf.nn.softmax(x, name='MobilenetV1/Predictions/Softmax')
        tf.reshape(x, [1, 1001], name='MobilenetV1/Predictions/Reshape_1')
        return graph.as_graph_def()


def _inception_2015(seed: int) -> Any:
    import tensorflow as tf

    weights = _Weights(seed)
    with tf.Graph().as_default() as graph:
        contents = tf.compat.v1.placeholder(tf.string, [], name='DecodeJpeg/contents')
        x = tf.io.decode_jpeg(contents, channels=3, name='DecodeJpeg')
        x = tf.cast(x, tf.float32, name='Cast')
        x = tf.expand_dims(x, 0, name='ExpandDims')
        x = tf.raw_ops.ResizeBilinear(images=x, size=[299, 299], name='ResizeBilinear')
        x = tf.subtract(x, 128.0, name='Sub')
        x = tf.multiply(x, 0.0078125, name='Mul')
        kernel = weights.kernel('conv/conv2d_params', [3, 3, 3, 8], fan_in=27)
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 4, 'VALID', name='conv/Conv2D'), name='conv')
        kernel = weights.kernel('conv_1/conv2d_params', [3, 3, 8, 32], fan_in=72)
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 4, 'VALID', name='conv_1/Conv2D'), name='conv_1')
        kernel = weights.kernel('mixed_10/conv2d_params', [1, 1, 32, 2048], fan_in=500)
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, 'VALID', name='mixed_10/Conv2D'), name='mixed_10')
        x = tf.nn.avg_pool2d(x, 19, 1, 'VALID', name='pool_3')
        x = tf.reshape(x, [1, 2048], name='pool_3/_reshape')
        tf.nn.softmax(x, name='softmax')
        return graph.as_graph_def()


def original_graph(kind: str, seed: int = 0, classes: int = 3) -> bytes:
    """A frozen graph as a version of the original retrain.py wrote it.

    kind: where it is fed: 'input' (its MobileNets), 'Mul' (its Inception) or 'Placeholder'
      (TensorFlow Hub's).
    """
    import tensorflow as tf

    graph_def, bottleneck, width = {
        'input': (_mobilenet(_Weights(seed)), 'MobilenetV1/Predictions/Reshape:0', 1001),
        'Mul': (_inception_2015(seed), 'pool_3/_reshape:0', 2048),
        'Placeholder': (_hub_module(seed), 'module_apply_default/hub_output:0', 64),
    }[kind]
    rng = np.random.default_rng(seed)
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name='')
        features = tf.compat.v1.placeholder_with_default(
            graph.get_tensor_by_name(bottleneck), [None, width], 'input/BottleneckInputPlaceholder'
        )
        weights = rng.normal(0, 1 / np.sqrt(width), (width, classes)).astype(np.float32)
        logits = tf.add(tf.matmul(features, weights), np.zeros(classes, np.float32))
        tf.nn.softmax(logits, name='final_result')
        return graph.as_graph_def().SerializeToString()


def _hub_module(seed: int) -> Any:
    import tensorflow as tf

    weights = _Weights(seed)
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 96, 96, 3], name='Placeholder')
        kernel = weights.kernel('module/conv', [3, 3, 3, 64], fan_in=9)
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 4, 'SAME') - 0.3)
        tf.reduce_mean(x, [1, 2], name='module_apply_default/hub_output')
        return graph.as_graph_def()
