"""The trained model for TensorFlow Lite: telephones, small computers, the browser.

Input:  float32 [1, size, size, 3], normalised as the metadata says; with int8 quantisation uint8,
        quantised as the tensor itself says.
Output: [1, classes], of the same type: softmax scores.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from poets_tfr import files, native_stderr
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.errors import InputError
from poets_tfr.export import description as descriptions
from poets_tfr.export import tflite_metadata
from poets_tfr.export.description import Description
from poets_tfr.export.settings import TfliteQuantization
from poets_tfr.pictures import preprocess
from poets_tfr.training import head as heads
from poets_tfr.training.head import Head

CALIBRATION_PICTURES = 100  # what TensorFlow Lite's guide calls enough
_IDENTIFIER = b'TFL3'  # at byte 4


def save(
    path: str,
    backbone: Backbone,
    head: Head,
    description: Description,
    quantization: TfliteQuantization,
    calibration: Sequence[bytes],
) -> None:
    """Converts and writes the model; atomic.

    Args:
      path: of the file.
      backbone, head, description: the trained model.
      quantization: of the weights (float16), or of weights and activations (int8).
      calibration: pictures as records hold them, from which int8 takes the activations' ranges.
    """
    model = _convert(backbone, head, quantization, calibration)
    files.write_bytes(path, tflite_metadata.add(model, description))


def is_tflite(content: bytes) -> bool:
    return content[4:8] == _IDENTIFIER


def load(content: bytes, path: str) -> tuple[Callable[[Sequence[bytes]], np.ndarray], Description]:
    """(encoded pictures -> float32 [n, classes], description). Raises InputError."""
    import tensorflow as tf

    associated = tflite_metadata.read(content)
    if descriptions.FILE not in associated:
        raise InputError(
            f'--graph: {path} is a TFLite model that was not written by this program: it has no '
            f'{descriptions.FILE}.'
        )
    description = Description.from_json(associated[descriptions.FILE], path)
    try:
        with warnings.catch_warnings(), native_stderr.dropped():
            # TensorFlow 2.21 recommends another package for it.
            warnings.filterwarnings('ignore', category=UserWarning)
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(f'--graph: {path} does not load: {error}') from None
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    prepare = tf.function(
        lambda encoded: preprocess.batch_from_encoded(encoded, description.preprocessing),
        [tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    one_at_a_time = threading.Lock()

    def scores(encoded: Sequence[bytes]) -> np.ndarray:
        pictures = prepare(tf.constant(list(encoded))).numpy()
        found = []
        with one_at_a_time:
            for picture in _quantized(pictures, takes):
                interpreter.set_tensor(takes['index'], picture[None])
                interpreter.invoke()
                found.append(interpreter.get_tensor(gives['index'])[0])
        return _dequantized(np.stack(found), gives)

    return scores, description


def _convert(
    backbone: Backbone, head: Head, quantization: TfliteQuantization, calibration: Sequence[bytes]
) -> bytes:
    import tensorflow as tf

    size = backbone.preprocessing.size

    def score(image: Any) -> Any:
        trained = Head(tf.constant(head.weights), tf.constant(head.biases))
        return tf.nn.softmax(heads.logits(trained, forward.apply(backbone, image)))

    image = tf.TensorSpec([1, size, size, 3], tf.float32, name='image')
    traced = tf.function(score, [image], autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [traced.get_concrete_function()], traced
    )
    if quantization != 'float32':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == 'float16':
        converter.target_spec.supported_types = [tf.float16]
    if quantization == 'int8':

        def pictures() -> Iterator[list[Any]]:
            for encoded in calibration:
                yield [preprocess.from_encoded(encoded, backbone.preprocessing)[None]]

        converter.representative_dataset = pictures
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    with warnings.catch_warnings(), native_stderr.dropped():
        warnings.filterwarnings('ignore', message='Statistics for quantized inputs')
        return converter.convert()


def _quantized(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    if tensor['dtype'] == np.float32:
        return values
    scale, zero_point = tensor['quantization']
    limits = np.iinfo(tensor['dtype'])
    quantized = np.round(values / scale) + zero_point
    return np.clip(quantized, limits.min, limits.max).astype(tensor['dtype'])


def _dequantized(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    if tensor['dtype'] == np.float32:
        return values
    scale, zero_point = tensor['quantization']
    return (values.astype(np.float32) - zero_point) * np.float32(scale)
