"""The compiled forward pass: batches of pixels -> features."""

from __future__ import annotations

import atexit
import dataclasses
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.precision import lowered
from poets_tfr.config import Xla

Forward = Callable[[Any], Any]

_compiled: WeakKeyDictionary[Backbone, dict[tuple[int, Xla], Forward]] = WeakKeyDictionary()
atexit.register(_compiled.clear)  # while TensorFlow's modules, which they end with, still stand


def compile_forward(backbone: Backbone, batch_size: int, xla: Xla) -> Forward:
    """A function of float32 [batch_size, size, size, 3] that gives float32 [batch_size, width].

    One static shape, so one trace and one compilation, which lasts as long as the backbone: the
    features of pictures and those of their distorted copies come from one. It computes in
    `backbone.precision`. `xla='auto'` compiles for a GPU; on a CPU the frozen graph with oneDNN is
    about twice as fast as XLA.
    """
    of_backbone = _compiled.setdefault(backbone, {})
    if (batch_size, xla) not in of_backbone:
        of_backbone[batch_size, xla] = _compile(backbone, batch_size, xla)
    return of_backbone[batch_size, xla]


def _compile(backbone: Backbone, batch_size: int, xla: Xla) -> Forward:
    import tensorflow as tf

    use_xla = xla == 'on' or (xla == 'auto' and bool(tf.config.list_physical_devices('GPU')))
    size = backbone.preprocessing.size
    pictures = tf.TensorSpec([batch_size, size, size, 3], tf.float32)

    graph_def = lowered(backbone.graph_def, backbone.input_tensor, backbone.precision)
    in_precision = dataclasses.replace(backbone, graph_def=graph_def)

    def forward(pictures: Any) -> Any:
        return tf.cast(apply(in_precision, pictures), tf.float32)

    return tf.function(forward, [pictures], autograph=False, jit_compile=use_xla)


def apply(backbone: Backbone, pictures: Any, name: str | None = None) -> Any:
    """Adds the backbone to the graph being built: [n, size, size, 3] -> [n, feature_width].

    In float32, whatever `backbone.precision` is: this is what the exports are made of.
    """
    import tensorflow as tf

    (features,) = tf.graph_util.import_graph_def(
        backbone.graph_def,
        input_map={backbone.input_tensor: pictures},
        return_elements=[backbone.feature_tensor],
        name=name,
    )
    return tf.reshape(features, [-1, backbone.feature_width])
