"""Seeded weights for untrained networks whose features a linear head can learn from.

For Inception v3: Keras's own starting values shrink the signal at each of the 94 convolutions until
nothing is left, and plain He scaling keeps it alive but lets every picture end as nearly the same
vector: what ReLU adds to the mean grows with depth and drowns what differs. The values here avoid
both, from the seed and the architecture alone: no picture is looked at, and nothing is fitted.

* Kernels are normal draws scaled to keep the variance (He et al. 2015, 'Delving Deep into
  Rectifiers'), centred over their input channels, so that the common mean stops at each layer
  (scaled weight standardisation: Brock et al. 2021, 'Characterizing signal propagation to close the
  performance gap in unnormalized ResNets'). Centred at each tap, they also keep zero padding from
  drawing a frame around every feature map.
* The first kernel is centred over space instead: it sees edges and texture, not colour and light.
* Batch norm keeps its starting statistics, with a positive offset: ReLU then works near its linear
  part, and 94 layers do not scramble a picture (the aim of Martens et al. 2021, 'Rapid training of
  deep neural networks without skip connections or normalization layers using Deep Kernel Shaping').
* The last layers have a negative offset: sparse features have a small mean for their spread, which
  is what plain gradient descent needs.

The other networks keep Keras's starting values under a fixed seed, and their batch norms get the
statistics of drawn noise, so that the signal keeps its strength from layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing

VERSION = 1  # raised when the same seed gives other values
_OFFSET = 1.0  # of batch norm, in standard deviations of its input
_RELU_VARIANCE = 0.75109  # of max(0, z + _OFFSET), z standard normal
_FIRST_GAIN = 20.0  # pictures are smooth: a centred kernel sees little of their variance
_LAST_OFFSET = -1.0
_LAST_SCALE = 4.0  # |features|^2 near 300: the default learning rate, 0.01, is stable and not slow
_GRID = 1 << 12
_NOISE_PICTURES = 8
_NOISE_AMPLITUDE = 60.0  # of each octave, in pixel values: the sum has a photo's spread


def seed_inception_weights(model: Any, seed: int = 0) -> None:
    """Gives every layer of an Inception v3 its untrained, seeded values, in place; about a second.

    Args:
      model: `tf.keras.applications.InceptionV3(include_top=False, weights=None, pooling='avg')`:
        pairs of a convolution without bias and a batch norm without scale.
      seed: 0 or more. The same seed gives the same bytes on every machine and version.
    """
    import tensorflow as tf

    producers = {id(layer.output): layer for layer in model.layers}
    last = {id(layer) for layer in _last_norms(producers, model.output)}
    norms = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    convs = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Conv2D)]
    norm_of = {id(producers[id(norm.input)]): norm for norm in norms}
    for place, conv in enumerate(convs):
        norm = norm_of[id(conv)]
        is_last = id(norm) in last
        scale = _LAST_SCALE if is_last else 1.0
        conv.set_weights([_kernel(seed, place, conv.kernel.shape) * np.float32(scale)])
        zeros = np.zeros(norm.beta.shape, np.float32)
        offset = zeros + np.float32(scale * (_LAST_OFFSET if is_last else _OFFSET))
        norm.set_weights([offset, zeros, zeros + 1.0])  # beta, moving mean, moving variance


def calibrate_norms(model: Any, preprocessing: Preprocessing, seed: int = 0) -> None:
    """Gives every batch norm of a Keras model the statistics of noise at its place, in one pass."""
    import tensorflow as tf

    norms = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the moving statistics become those of the batch
    model(_noise(preprocessing, seed), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _noise(preprocessing: Preprocessing, seed: int) -> Any:
    """float32 [_NOISE_PICTURES, size, size, 3], normalised: coarse and fine, as photos are."""
    import tensorflow as tf

    rng = np.random.Generator(np.random.PCG64(seed))
    pixels = np.full([_NOISE_PICTURES, 64, 64, 3], 127.5, np.float32)
    for cells in 2, 4, 8, 16, 32, 64:
        octave = rng.uniform(
            -_NOISE_AMPLITUDE, _NOISE_AMPLITUDE, [_NOISE_PICTURES, cells, cells, 3]
        )
        pixels += tf.image.resize(octave, [64, 64]).numpy()
    return preprocess.resize_and_normalise(pixels.clip(0, 255), preprocessing)


def _kernel(seed: int, place: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 [height, width, inputs, outputs] for the convolution at `place` in layer order."""
    rng = np.random.Generator(np.random.PCG64([seed, place]))
    # On a grid sums are exact, so that the bytes do not depend on the order in which numpy adds.
    draws = np.rint(rng.standard_normal(shape) * _GRID) / _GRID
    is_first = place == 0
    draws -= draws.mean(axis=(0, 1) if is_first else 2, keepdims=True)
    gain = _FIRST_GAIN if is_first else 1.0 / _RELU_VARIANCE
    return (draws * math.sqrt(gain / math.prod(shape[:3]))).astype(np.float32)


def _last_norms(producers: dict[int, Any], tensor: Any) -> Iterator[Any]:
    """The batch norms that reach `tensor` through no convolution."""
    import tensorflow as tf

    layer = producers[id(tensor)]
    if isinstance(layer, tf.keras.layers.BatchNormalization):
        yield layer
        return
    for source in layer.input if isinstance(layer.input, list) else [layer.input]:
        yield from _last_norms(producers, source)
