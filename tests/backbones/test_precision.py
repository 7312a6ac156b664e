"""The same network in 16 bits: close to float32, pooled in float32, and kept apart in the cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest

from poets_tfr.backbones import frozen
from poets_tfr.backbones.forward import compile_forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.precision import mixed_precision
from poets_tfr.backbones.settings import BackboneConfig, Precision, Xla


def backbone_of(model_dir: Path, precision: Precision, suffix: str = '') -> Backbone:
    architecture = graphs.MOBILENET + suffix
    config = BackboneConfig(
        architecture=architecture, model_dir=str(model_dir), precision=precision
    )
    return frozen.load(config)


def features_of(backbone: Backbone, xla: Xla = 'off') -> np.ndarray:
    pictures = np.random.default_rng(0).uniform(-1, 1, (4, 128, 128, 3)).astype(np.float32)
    return compile_forward(backbone, 4, xla)(pictures).numpy()


@pytest.mark.parametrize('xla', ['off', 'on'])
@pytest.mark.parametrize('suffix', ['', '_quantized'])
def test_features_are_close_and_float32(model_dir: Path, suffix: str, xla: Xla) -> None:
    exact = features_of(backbone_of(model_dir, 'float32', suffix))
    errors = {}
    precision: Precision
    for precision in 'bfloat16', 'float16':
        found = features_of(backbone_of(model_dir, precision, suffix), xla)
        assert found.dtype == np.float32
        errors[precision] = abs(found - exact).max() / abs(exact).max()
    # 8 and 11 bits of mantissa; as many again are lost on the way through the layers.
    assert 0 < errors['float16'] < 0.02
    assert errors['float16'] < errors['bfloat16'] < 0.15


def test_what_the_pictures_flow_through_is_in_16_bits_but_for_pooling(model_dir: Path) -> None:
    import tensorflow as tf

    backbone = backbone_of(model_dir, 'float32')
    graph = mixed_precision(backbone.graph_def, backbone.input_tensor, 'bfloat16')
    types: dict[str, set[Any]] = {}
    for node in graph.node:
        if 'T' in node.attr:
            types.setdefault(node.op, set()).add(tf.as_dtype(node.attr['T'].type))
    for op in 'Conv2D', 'DepthwiseConv2dNative', 'Relu6', 'BiasAdd':
        assert types[op] == {tf.bfloat16}, op
    assert types['AvgPool'] == {tf.float32}
    assert len({node.name for node in graph.node}) == len(graph.node)
    # The backbone itself, which the exports are made of, is left as it was.
    assert not any(node.op == 'Cast' for node in backbone.graph_def.node)


def test_every_precision_has_features_of_its_own(model_dir: Path) -> None:
    backbone = backbone_of(model_dir, 'float32')
    keys = [
        dataclasses.replace(backbone, precision=precision).cache_key
        for precision in ('float32', 'bfloat16', 'float16')
    ]
    assert len(set(keys)) == 3
    assert backbone_of(model_dir, 'bfloat16').cache_key == keys[1]
