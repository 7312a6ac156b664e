"""The same network in other programs, in float32; where they are installed (the extra `peers`)."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.tools.benchmarks.measuring import Work


def openvino(network: Backbone, pictures: np.ndarray, batches: int) -> Work | None:
    try:
        import openvino
    except ImportError:
        return None
    with tempfile.NamedTemporaryFile(suffix='.pb') as file:
        file.write(_graph_def(network, pictures).SerializeToString())
        file.flush()
        model = openvino.convert_model(file.name)
    # By default it computes in bfloat16 where the processor can: another answer, sooner.
    compiled = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return _repeated(lambda: compiled(pictures), batches, pictures)


def onnx_runtime(network: Backbone, pictures: np.ndarray, batches: int) -> Work | None:
    try:
        import onnxruntime
        import tf2onnx
    except ImportError:
        return None
    model, _ = tf2onnx.convert.from_graph_def(
        _graph_def(network, pictures), input_names=['x:0'], output_names=['features:0']
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    return _repeated(lambda: session.run(None, {'x:0': pictures}), batches, pictures)


def _graph_def(network: Backbone, pictures: np.ndarray) -> Any:
    """From a placeholder `x` of the pictures' shape to `features`."""
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        source = tf.compat.v1.placeholder(tf.float32, pictures.shape, name='x')
        tf.identity(forward.apply(network, source, name='network'), name='features')
        return graph.as_graph_def()


def _repeated(call: Any, batches: int, pictures: np.ndarray) -> Work:
    def work() -> int:
        for _ in range(batches):
            call()
        return batches * len(pictures)

    return work
