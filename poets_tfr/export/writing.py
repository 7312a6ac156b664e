"""Every export that a run is asked for: checked early, written at its end."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

from poets_tfr import files, writable
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.export import (
    frozen_graph,
    inference_graph,
    keras_model,
    onnx_model,
    saved_model,
    tflite,
)
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.export.settings import ExportConfig
from poets_tfr.settings import about, names_of
from poets_tfr.training.head import Head

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class Export:
    """A file or folder that was written, and how near its scores have to be to the model's.

    flag: what it was asked for with.
    labels: its labels file; None where it carries its labels alone.
    tolerance: how far scores may lie from the trained model's: rounding, by what is rounded.
    measure: the difference that it limits, the largest or the mean one.
    top_1_agreement: the fraction of pictures, of 1, that have to get the same label.
    agreement_is_needed: else a lower agreement is warned of.
    """

    flag: str
    path: str
    labels: str | None = None
    tolerance: float = 1e-4
    measure: Literal['largest', 'mean'] = 'largest'
    top_1_agreement: float = 1.0
    agreement_is_needed: bool = True


def output_faults(output: ExportConfig) -> list[str]:
    """Why places for exports cannot be written, or are two exports' at once; '' where all is well.

    Nothing is made there.
    """
    faults = [onnx_model.fault()] if output.onnx_output else []
    flag_of: dict[str, str] = {}
    for flag in names_of(ExportConfig):
        if about(ExportConfig, flag).path == 'no' or flag == 'intermediate_output_graphs_dir':
            continue
        if path := getattr(output, flag):
            place = path if files.is_remote(path) else os.path.realpath(path)
            if place in flag_of:
                faults.append(f'--{flag_of[place]} and --{flag} both name {path}: name two files.')
            flag_of[place] = flag
            of_folder = flag == 'saved_model_dir'
            faults.append(saved_model.fault(path) if of_folder else writable.file_fault(path, flag))
    return faults


def write_exports(
    output: ExportConfig,
    backbone: Backbone,
    graph: FrozenGraph,
    head: Head,
    calibration: Callable[[], Sequence[bytes]],
    keras_network: Callable[[], Any],
) -> list[Export]:
    """Writes what `output` names; each file or folder appears whole or not at all.

    Args:
      output: where.
      backbone, head: the trained model.
      graph: of the same backbone; it knows the labels.
      calibration: gives training pictures as records hold them, for int8.
      keras_network: gives the backbone as a Keras model, for .keras.
    """
    description = graph.description
    log.info('Converted 2 variables to const ops.')
    log.info('Save final result to : %s', output.output_graph)
    whole = graph.with_head(head.weights.numpy(), head.biases.numpy())
    files.write_together(
        {
            output.output_graph: frozen_graph.sealed(whole),
            output.output_labels: description.labels_txt(),
        }
    )
    exact = _exact(backbone)
    exports = [
        dataclasses.replace(
            exact, flag='output_graph', path=output.output_graph, labels=output.output_labels
        )
    ]
    if output.inference_graph:
        content = frozen_graph.sealed(inference_graph.of(whole, description))
        files.write_bytes(output.inference_graph, content)
        log.info('Inference graph: %s', output.inference_graph)
        exports.append(
            dataclasses.replace(exact, flag='inference_graph', path=output.inference_graph)
        )
    if output.saved_model_dir:
        version = saved_model.save(output.saved_model_dir, backbone, head, description)
        log.info('Saved model: %s', version)
        exports.append(dataclasses.replace(exact, flag='saved_model_dir', path=version))
    if output.tflite_output:
        quantization = output.tflite_quantization
        pictures = calibration() if quantization == 'int8' else ()
        tflite.save(output.tflite_output, backbone, head, description, quantization, pictures)
        log.info('TensorFlow Lite model (%s): %s', quantization, output.tflite_output)
        limits = {'float32': exact, 'float16': _FLOAT16, 'int8': _INT8}[quantization]
        exports.append(dataclasses.replace(limits, flag='tflite_output', path=output.tflite_output))
    if output.keras_output:
        keras_model.save(output.keras_output, keras_network(), head, description)
        log.info('Keras model: %s', output.keras_output)
        exports.append(dataclasses.replace(exact, flag='keras_output', path=output.keras_output))
    if output.onnx_output:
        onnx_model.save(output.onnx_output, inference_graph.of(whole, description), description)
        log.info('ONNX model: %s', output.onnx_output)
        exports.append(dataclasses.replace(exact, flag='onnx_output', path=output.onnx_output))
    return exports


_FLOAT16 = Export('', '', None, 0.01, 'mean', 0.99)
_INT8 = Export('', '', None, 0.1, 'mean', 0.95, False)


def _exact(backbone: Backbone) -> Export:
    """Of an export that computes in float32: by what the trained model's features were made in.

    A GPU multiplies float32 in TF32, whose fraction has 10 bits; the self-test runs on the CPU.
    """
    import tensorflow as tf

    if backbone.precision == 'float32' and not tf.config.list_physical_devices('GPU'):
        return Export('', '')
    return Export('', '', None, 0.02, 'mean', 0.95, False)
