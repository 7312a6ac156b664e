"""The settings of exports: which files the trained model becomes, and where they go."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar, Literal

from poets_tfr.settings import (
    Check,
    Settings,
    a_path,
    at_least,
    require,
    require_defaults,
    setting,
    within,
)

TfliteQuantization = Literal['float32', 'float16', 'int8']

KERAS_SUFFIX = '.keras'  # Keras takes no other
ONNX_SUFFIX = '.onnx'  # nothing in the file says what it is


def _ending_in(suffix: str) -> Check:
    return Check(f'a file whose name ends in {suffix}', lambda p: not p or p.endswith(suffix))


def _an_op_name() -> Check:
    wanted = 'a TensorFlow op name: letters, digits and . _ - /, without a colon'
    return Check(
        wanted, lambda name: re.fullmatch(r'[A-Za-z0-9.][A-Za-z0-9_.\-/]*', name) is not None
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Settings):
    """The trained model -> files."""

    TITLE: ClassVar[str] = 'What is written: the model'

    # fmt: off
    output_graph: str = setting('/tmp/output_graph.pb', 'Where to save the trained graph.',
        a_path(), affects='output', path='path')
    output_labels: str = setting('/tmp/output_labels.txt',
        "Where to save the trained graph's labels.", a_path(), affects='output', path='path')
    inference_graph: str = setting('',
        'Where to save the graph without what decodes images too, for OpenCV, TensorFlow.js and '
        'other programs; by default nowhere.', affects='output', path='path')
    saved_model_dir: str = setting('',
        'Where to save the model as a SavedModel too, each in a version folder as TensorFlow '
        'Serving wants it; by default nowhere.', affects='output', path='path')
    tflite_output: str = setting('',
        'Where to save the model for TensorFlow Lite too; by default nowhere.',
        affects='output', path='path')
    tflite_quantization: TfliteQuantization = setting('float32',
        'How the TensorFlow Lite model computes: float32, float16 weights (half the size) or int8 '
        '(a quarter; calibrated on training images).', affects='output')
    keras_output: str = setting('',
        'Where to save the model as a .keras file too, for networks that Keras built; by default '
        'nowhere.', _ending_in(KERAS_SUFFIX), affects='output', path='path')
    onnx_output: str = setting('',
        'Where to save the model in ONNX too, in a file that ends in .onnx (needs the extra onnx); '
        'by default nowhere.', _ending_in(ONNX_SUFFIX), affects='output', path='path')
    self_test_pictures: int = setting(32,
        'How many test images a fresh process labels with every export, to prove that each scores '
        'as the trained model does; 0: none.',
        at_least(0, '0 (no self-test) or more'), affects='output')
    final_tensor_name: str = setting('final_result',
        'The name of the output classification layer in the retrained graph.',
        _an_op_name(), affects='output')
    intermediate_store_frequency: int = setting(0,
        'Store an intermediate graph every so many steps; 0: never.',
        within(0, 10_000_000, '0 (never) to 10000000'), affects='output')
    intermediate_output_graphs_dir: str = setting('/tmp/intermediate_graph/',
        'Where to save the intermediate graphs.', affects='output', path='path')
    # fmt: on

    def check(self) -> None:
        if not self.tflite_output:
            require_defaults(self, ['tflite_quantization'], 'tflite_output')
        if self.intermediate_store_frequency:
            directory = self.intermediate_output_graphs_dir
            require(self, 'intermediate_output_graphs_dir', 'a path', bool(directory))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfidenceConfig(Settings):
    """What the exported scores say of how sure they are; all of it by the validation split."""

    TITLE: ClassVar[str] = 'How sure scores are'

    # fmt: off
    calibrate: bool = setting(False,
        'Divide the exported head by the temperature that gives the validation images the least '
        'cross entropy, so that a score of 0.8 is right 8 times in 10; no label changes.')
    target_precision: float = setting(0.0,
        'Store with the exports the lowest score from which on this share (of 1) of the validation '
        'images is classified correctly; poets-label and poets-serve call images below it unsure; '
        '0: none.', within(0, 1, '0 (no threshold) to 1'), affects='output')
    refuse_unlike: float = setting(0.0,
        'Store with the exports how far an image may be from the training images, so that this '
        'share (of 1) of the validation images is farther; poets-label and poets-serve call such '
        'images unsure (by a graph; other exports give no features); 0: none.',
        within(0, 0.5, '0 (refuse none) to 0.5'), affects='output')
    # fmt: on
