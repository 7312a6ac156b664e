"""The trained model in ONNX: ONNX Runtime, Windows, browsers, and what else reads no TensorFlow.

Input:  input, float32 [n, size, size, 3], normalised as the metadata says.
Output: named as the graph's, float32 [n, classes]: softmax scores.
Metadata: labels (one a line, in the order of the scores) and poets_tfr.json (the description).
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.backbones.graph_defs import node_of
from poets_tfr.errors import InputError
from poets_tfr.export import description as descriptions
from poets_tfr.export.description import Description
from poets_tfr.export.frozen_graph import INPUT_TENSOR, read
from poets_tfr.pictures import preprocess

_LABELS = 'labels'
_OPSET = 17  # of 2022: what is in use reads it
_INSTALL = "pip install tf2onnx 'onnx<1.19' onnxruntime (the extra onnx)"


def fault() -> str:
    """Why no ONNX file can be written here; '' where it can."""
    missing = _missing('tf2onnx', 'onnx', 'onnxruntime')
    return missing and f'--onnx_output needs {missing}: {_INSTALL}.'


def save(path: str, plain: Any, description: Description) -> None:
    """Converts and writes the model; atomic.

    Args:
      path: of the file.
      plain: the GraphDef of `inference_graph`.
      description: of it.
    """
    model = _converted(plain, description)
    labels = description.labels_txt().decode('utf-8', 'replace')
    model.metadata_props.add(key=_LABELS, value=labels)
    model.metadata_props.add(key=descriptions.FILE)
    files.write_bytes(path, descriptions.sealed(description.to_json(), _described(model)))


def load(path: str) -> tuple[Callable[[Sequence[bytes]], np.ndarray], Description]:
    """(encoded pictures -> float32 [n, classes], description). Raises InputError."""
    content = read(path)
    if missing := _missing('onnx', 'onnxruntime'):
        raise InputError(f'--graph: {path} needs {missing}: {_INSTALL}.')
    import onnxruntime
    import tensorflow as tf

    description = _description(content, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well
    try:
        session = onnxruntime.InferenceSession(content, options, ['CPUExecutionProvider'])
    except Exception as error:  # of many kinds, none of which has a public name
        reason = str(error).splitlines()[0]
        raise InputError(f'--graph: {path} does not load: {reason}') from None
    prepare = tf.function(
        lambda encoded: preprocess.batch_from_encoded(encoded, description.preprocessing),
        [tf.TensorSpec([None], tf.string)],
        autograph=False,
    )

    def scores(encoded: Sequence[bytes]) -> np.ndarray:
        pictures = prepare(tf.constant(list(encoded))).numpy()
        (found,) = session.run(None, {node_of(INPUT_TENSOR): pictures})
        return found

    return scores, description


def _missing(*modules: str) -> str:
    return ', '.join(name for name in modules if importlib.util.find_spec(name) is None)


def _converted(plain: Any, description: Description) -> Any:
    named = {tensor: node_of(tensor) for tensor in (INPUT_TENSOR, description.output_tensor)}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # those of tf2onnx, which nobody here can mend
        import tf2onnx

        log = logging.getLogger('tf2onnx')
        level = log.level
        log.setLevel(logging.ERROR)  # it tells of every pass that it leaves out
        try:
            model, _ = tf2onnx.convert.from_graph_def(
                plain,
                input_names=[INPUT_TENSOR],
                output_names=[description.output_tensor],
                opset=_OPSET,
                tensors_to_rename=named,
            )
        finally:
            log.setLevel(level)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = 'n'
    return model


def _description(content: bytes, path: str) -> Description:
    import onnx

    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's DecodeError has no public name
        raise InputError(f'--graph: {path} is not an ONNX model ({error}).') from None
    texts = [each.value for each in model.metadata_props if each.key == descriptions.FILE]
    if not texts:
        raise InputError(
            f'--graph: {path} was not written by this program: it has no {descriptions.FILE}.'
        )
    description = Description.from_json(texts[0], path)
    descriptions.check_seal(texts[0], _described(model), path)
    return description


def _described(model: Any) -> Callable[[str], bytes]:
    """The bytes of the model with another description."""

    def whole(text: str) -> bytes:
        for each in model.metadata_props:
            if each.key == descriptions.FILE:
                each.value = text
        return model.SerializeToString(deterministic=True)

    return whole
