"""Other programs at the same work, and decoding alone.

Networks in float32, where the programs are installed (the extra `peers`), and Keras's own pipeline.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.measuring import Work
from poets_tfr import parallel
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone

_KERAS_PASSES = """
import sys, keras, tensorflow as tf
size = int(sys.argv[2])
dataset = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(size, size), batch_size=32, shuffle=False, verbose=False
).prefetch(tf.data.AUTOTUNE)
for _ in sys.stdin:
    print(sum(len(labels) for _, labels in dataset), flush=True)
"""


@contextlib.contextmanager
def image_dataset_from_directory(image_dir: str, size: int) -> Iterator[Work]:
    """One pass a call, as its users have it: in a process whose TensorFlow we did not prepare."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith('TF_')}
    with subprocess.Popen(
        [sys.executable, '-c', _KERAS_PASSES, image_dir, str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=plain | {'TF_CPP_MIN_LOG_LEVEL': '3'},
        text=True,
    ) as process:
        asked, answered = process.stdin, process.stdout
        assert asked
        assert answered

        def work() -> int:
            print(file=asked, flush=True)
            return int(answered.readline())

        yield work


def decode_only(paths: Sequence[str]) -> Work:
    """Of files that lie in memory: the limit of all that looks at every picture."""
    import tensorflow as tf

    contents = []
    for path in paths:
        with open(path, 'rb') as file:
            contents.append(file.read())

    def decode(content: Any) -> Any:
        return tf.shape(tf.io.decode_jpeg(content, channels=3))[0]

    dataset = tf.data.Dataset.from_tensor_slices(contents)
    dataset = dataset.map(decode, num_parallel_calls=parallel.cores())
    options = tf.data.Options()
    options.autotune.enabled = False  # a limit does not wait for it at its end
    dataset = dataset.with_options(options)

    def work() -> int:
        dataset.reduce(0, lambda n, height: n + height).numpy()
        return len(contents)

    return work


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
    # And several batches at once, as ours are.
    hints = {'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'THROUGHPUT'}
    queue = openvino.AsyncInferQueue(openvino.compile_model(model, 'CPU', hints))

    def work() -> int:
        for _ in range(batches):
            queue.start_async([pictures])
        queue.wait_all()
        return batches * len(pictures)

    return work


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
    options.intra_op_num_threads = parallel.cores()
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
