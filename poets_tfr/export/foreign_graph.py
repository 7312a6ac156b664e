"""Graphs that say nothing of themselves: those of the original retrain.py, in all its versions.

They differ in where pictures go in and in how these have to be prepared; flags say it, or the
names of the nodes give it away. Most of them take one picture at a time, and so all are given one.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from poets_tfr.errors import InputError
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import PerChannel

log = logging.getLogger('poets_tfr')

_NAMES_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Feeding:
    """How a graph wants its pictures, as far as it was said. Layers with or without ':0'."""

    input_layer: str | None = None
    output_layer: str | None = None
    input_height: int | None = None
    input_width: int | None = None
    input_mean: PerChannel | None = None
    input_std: PerChannel | None = None


@dataclasses.dataclass(frozen=True)
class _Known:
    """An input of the originals' graphs. size: where the graph itself does not fix it."""

    node: str
    origin: str
    mean: float
    std: float
    size: int | None = None


# In this order: a graph that has several of them wants the first.
_KNOWN = (
    _Known('input', "the original's MobileNets", 127.5, 127.5),
    _Known('Mul', "the original's Inception v3", 128, 128, size=299),
    _Known('Placeholder', "TensorFlow Hub's retrain.py", 0, 255),
    _Known('ResizeBilinear', "the original's Inception v3, before it normalises", 0, 1, size=299),
)
_CONTENTS = 'DecodeJpeg/contents'
_OUTPUT = 'final_result'


class ForeignGraph:
    """A GraphDef in a TensorFlow 1 session, as the originals ran it."""

    def __init__(self, path: str, graph_def: Any, feeding: Feeding):
        """Raises InputError when it is not clear how to feed the graph; the message lists nodes."""
        import tensorflow as tf

        self._path, self._feeding = path, feeding
        self._graph = tf.Graph()
        with self._graph.as_default():
            try:
                tf.graph_util.import_graph_def(graph_def, name='')
            except (ValueError, tf.errors.OpError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(f'--graph: {path} does not load here: {reason}') from None
            self._output = self._tensor('output_layer', feeding.output_layer or self._find_output())
            self._input = self._tensor('input_layer', feeding.input_layer or self._find_input())
            if self._input.dtype == tf.string:
                self._contents = self._prepared = None
            else:
                self._contents = tf.compat.v1.placeholder(tf.string, [])
                self._prepared = self._prepare(self._contents)
        self._session = tf.compat.v1.Session(graph=self._graph)

    def score_one(self, encoded: bytes) -> Any:
        """The bytes of one stored picture -> float32 [classes]."""
        import numpy as np

        value: Any = encoded
        if self._prepared is not None:
            value = self._session.run(self._prepared, {self._contents: encoded})
        elif self._input.shape.rank == 1:
            value = [encoded]
        scores = self._session.run(self._output, {self._input: value})
        return np.reshape(scores, -1).astype(np.float32)

    def _prepare(self, contents: Any) -> Any:
        """float32 [1, height, width, 3] as the input wants it."""

        feeding = self._feeding
        name = self._input.op.name
        known = next((each for each in _KNOWN if each.node == name), None)
        mean, std = feeding.input_mean, feeding.input_std
        if known:
            mean, std = (known.mean if mean is None else mean), (known.std if std is None else std)
        if mean is None or std is None:
            raise InputError(
                f'--graph: {self._path} does not say in which range {name!r} wants its images: '
                'give --input_mean and --input_std, of (pixel 0..255 - mean) / std.'
            )
        if std == 0:
            raise InputError('--input_std=0: images cannot be divided by 0.')
        height = self._side('height', 1, feeding.input_height, known)
        width = self._side('width', 2, feeding.input_width, known)
        if known and (feeding.input_mean is None or feeding.input_std is None):
            log.warning(
                'NOTE: %s does not say how it wants its images. Taken, as for %s: %d x %d, '
                '(pixel - %s) / %s. --input_height, --input_width, --input_mean and --input_std '
                'change it.',
                self._path, known.origin, height, width, mean, std,
            )  # fmt: skip
        pixels = preprocess.decode(contents)[None]
        return preprocess.normalise(preprocess.resize(pixels, height, width), mean, std)

    def _side(self, name: str, axis: int, given: int | None, known: _Known | None) -> int:
        shape = self._input.shape
        fixed = shape[axis] if shape.rank == 4 else None
        if given is not None:
            if given < 1 or (fixed and fixed != given):
                wanted = f'{self._input.op.name!r} takes {fixed}' if fixed else 'at least 1'
                raise InputError(f'--input_{name}={given}: {wanted}.')
            return given
        size = fixed or (known and known.size)
        if not size:
            raise InputError(
                f'--graph: {self._path} does not say which image size it wants: give '
                '--input_height and --input_width.'
            )
        return size

    def _find_output(self) -> str:
        if _OUTPUT in self._names():
            return _OUTPUT
        found = [op.name for op in self._graph.get_operations() if op.type == 'Softmax']
        if not found:
            raise InputError(
                f'--graph: {self._path} has no {_OUTPUT!r} and no softmax: give --output_layer. '
                f'{self._nodes()}'
            )
        return found[-1]

    def _find_input(self) -> str:
        names = self._names()
        found = [known.node for known in _KNOWN if known.node in names]
        found += [name for name in (_CONTENTS, *self._placeholders()) if name in names]
        if not found:
            raise InputError(
                f'--graph: {self._path} has no input: give --input_layer. {self._nodes()}'
            )
        return found[0]

    def _tensor(self, flag: str, name: str) -> Any:
        name = name.removeprefix('import/')  # as the originals' label_image.py called them inside
        try:
            return self._graph.get_tensor_by_name(name if ':' in name else f'{name}:0')
        except (KeyError, ValueError):
            raise InputError(
                f'--{flag}={name}: no such node in {self._path}. {self._nodes()}'
            ) from None

    def _nodes(self) -> str:
        """Which nodes exist: the inputs, and the last ones, among which the output is."""
        names = [op.name for op in self._graph.get_operations()]
        inputs = [name for name in (*self._placeholders(), 'Mul') if name in names]
        last = names[-_NAMES_SHOWN:]
        of = f'the last {len(last)} of {len(names)}' if len(names) > len(last) else 'all'
        return f'Inputs: {", ".join(inputs) or "none"}. Nodes ({of}): {", ".join(last)}.'

    def _names(self) -> set[str]:
        return {op.name for op in self._graph.get_operations()}

    def _placeholders(self) -> list[str]:
        kinds = 'Placeholder', 'PlaceholderWithDefault', 'PlaceholderV2'
        return [op.name for op in self._graph.get_operations() if op.type in kinds]
