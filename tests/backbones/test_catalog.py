"""The catalog: every name the original knew, and where the original fetched it."""

from __future__ import annotations

import itertools
import re

import pytest

from poets_tfr.backbones.catalog import (
    FrozenGraphSource,
    KerasSource,
    backbone_spec,
)
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.pictures.preprocess import Preprocessing

MOBILENETS = [
    (f'mobilenet_{width}_{size}{suffix}', width, size, suffix)
    for width, size, suffix in itertools.product(
        ('1.0', '0.75', '0.50', '0.25'), (224, 192, 160, 128), ('', '_quantized')
    )
]


@pytest.mark.parametrize(('name', 'width', 'size', 'suffix'), MOBILENETS)
def test_mobilenets(name: str, width: str, size: int, suffix: str) -> None:
    assert BackboneConfig(architecture=name).architecture == name
    spec = backbone_spec(name)
    assert spec.preprocessing == Preprocessing(size, 127.5, 127.5)
    assert spec.feature_width == 1001, 'the logits, as the original'
    assert isinstance(spec.source, FrozenGraphSource)
    folder = f'mobilenet_v1_{width}_{size}'
    url = f'https://download.tensorflow.org/models/{folder}_frozen.tgz'
    assert spec.source.download.url == url
    assert spec.source.download.file == f'{folder}_frozen.tgz'
    graph = 'quantized_graph.pb' if suffix else 'frozen_graph.pb'
    assert spec.source.member == f'{folder}/{graph}'


def test_the_measured_digest_is_of_the_one_file() -> None:
    digests = {}
    for name, *_ in MOBILENETS:
        source = backbone_spec(name).source
        assert isinstance(source, FrozenGraphSource)
        digests[source.download.file] = source.download.digest
    assert len(digests) == 16
    assert {file for file, digest in digests.items() if digest} == {
        'mobilenet_v1_0.25_128_frozen.tgz'
    }


def test_inceptions() -> None:
    spec = backbone_spec('inception_v3')
    assert isinstance(spec.source, KerasSource)
    assert spec.preprocessing == Preprocessing(299, 127.5, 127.5)
    assert spec.feature_width == 2048
    assert spec.source.imagenet_weights.url.startswith('https://storage.googleapis.com/tensorflow/')
    assert re.fullmatch(r'md5:[0-9a-f]{32}', spec.source.imagenet_weights.digest)
    spec = backbone_spec('inception_2015_12_05')
    assert isinstance(spec.source, FrozenGraphSource)
    assert spec.preprocessing == Preprocessing(299, 128, 128)
    assert spec.source.download.url == (
        'https://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz'
    )


def test_keras_publishes_the_digest_that_the_catalog_holds() -> None:
    import inspect
    import sys

    import tensorflow as tf

    source = backbone_spec('inception_v3').source
    assert isinstance(source, KerasSource)
    text = inspect.getsource(sys.modules[tf.keras.applications.InceptionV3.__module__])
    assert source.imagenet_weights.digest.removeprefix('md5:') in text
    assert source.imagenet_weights.file in text


@pytest.mark.parametrize(
    'name', ['mobilenet_0.5_128', 'mobilenet_1.0_225', 'mobilenet_1.0_224_', 'Inception_v4', '']
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(InputError, match='is not known'):
        backbone_spec(name)
    with pytest.raises(InputError, match='architecture='):
        BackboneConfig(architecture=name)
