"""The table of keras.applications, row by row beside the Keras that is installed."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import colours
import numpy as np
import pytest

from poets_tfr.backbones import forward, frozen, keras_models
from poets_tfr.backbones.applications import APPLICATIONS
from poets_tfr.backbones.catalog import KerasSource, backbone_spec
from poets_tfr.backbones.settings import KERAS_APPLICATIONS, BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.pictures import preprocess

BASES = sorted({name.partition('_')[0] for name in APPLICATIONS})
# Small ones, one for each way in which weights are named.
SMALL = {
    'MobileNet_0.25': 128,
    'MobileNetV2_0.35': 96,
    'MobileNetV3Small': 64,
    'EfficientNetB0': 64,
    'ResNet50': 64,
}


def module_of(application: str) -> Any:
    import tensorflow as tf

    return sys.modules[getattr(tf.keras.applications, application).__module__]


def source_of(name: str, image_size: int = 0) -> KerasSource:
    source = backbone_spec(name, image_size).source
    assert isinstance(source, KerasSource)
    return source


def test_every_model_of_keras_is_there() -> None:
    import tensorflow as tf

    functions = {
        name for name in dir(tf.keras.applications)
        if name[0].isupper() and callable(getattr(tf.keras.applications, name))
    }  # fmt: skip
    assert set(BASES) == functions
    assert tuple(APPLICATIONS) == KERAS_APPLICATIONS, 'what the flag takes'


@pytest.mark.parametrize('application', [x for x in BASES if not x.startswith('MobileNetV3')])
def test_sizes(application: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    class Asked(Exception):
        pass

    def ask(*_: Any, default_size: int, min_size: int, **__: Any) -> None:
        raise Asked(default_size, min_size)

    # Asked for the shape of its input, and not built: some take minutes.
    monkeypatch.setattr(module_of(application).imagenet_utils, 'obtain_input_shape', ask)
    with pytest.raises(Asked) as asked:
        getattr(tf.keras.applications, application)(include_top=False, weights=None)
    for name, row in APPLICATIONS.items():
        if name.partition('_')[0] == application:
            assert (row.size, row.smallest) == asked.value.args


def test_the_size_that_keras_does_not_ask_for() -> None:
    for name, row in APPLICATIONS.items():
        if name.startswith('MobileNetV3'):
            assert row.size == int(re.findall(r'_(\d{3})_', row.weights)[0])


@pytest.mark.parametrize('application', BASES)
def test_pixels(application: str) -> None:
    """What reaches the network is what Keras's own preprocess_input makes of the picture."""
    picture = colours.draw('Red_Roses', np.random.default_rng(0)).astype(np.float32)[None]
    pixels = picture[:, :40, :40]
    wanted = module_of(application).preprocess_input(pixels.copy())
    spec = backbone_spec(application)
    prepared = dataclasses.replace(spec.preprocessing, size=pixels.shape[1])
    found = preprocess.resize_and_normalise(pixels, prepared)
    as_read = found[..., ::-1] if source_of(application).reads_bgr else found
    np.testing.assert_allclose(as_read, wanted, atol=1e-3)


def test_a_model_that_reads_bgr_takes_rgb_and_has_the_layers_and_weights_of_kerass_own(
    tmp_path: Path,
) -> None:
    import tensorflow as tf

    kerass = tf.keras.applications.VGG16(False, None, input_shape=(32, 32, 3), pooling='avg')
    path = tmp_path / 'vgg16.weights.h5'
    kerass.save_weights(path)
    spec, source = backbone_spec('VGG16', 32), source_of('VGG16', 32)
    model = keras_models.build(spec, source, str(path), published=False)
    assert [x.name for x in model.layers[1:]] == [x.name for x in kerass.layers[1:]]
    pictures = np.random.default_rng(0).normal(0, 60, (2, 32, 32, 3)).astype(np.float32)
    wanted = np.asarray(kerass(pictures[..., ::-1]))
    np.testing.assert_allclose(np.asarray(model(pictures)), wanted, rtol=1e-4)
    assert abs(np.asarray(kerass(pictures)) - wanted).max() > 0.01 * wanted.max()


@pytest.mark.parametrize('name', APPLICATIONS)
def test_keras_publishes_these_weights(name: str) -> None:
    """The digest stands in Keras's source, where it has one, beside what it is of."""
    module = module_of(name.partition('_')[0])
    text = inspect.getsource(module)
    if name.startswith('ResNet'):  # of both versions
        text += inspect.getsource(module_of('ResNet50'))
    download = source_of(name).imagenet_weights
    assert download.url.startswith('https://storage.googleapis.com/')
    assert re.search(r'no_?top|no-top', download.file)
    digest = download.digest.partition(':')[2]
    if digest:
        assert digest in text
    else:
        assert re.fullmatch(r'MobileNet(V2)?(_[\d.]+)?', name), 'Keras has none for these alone'
        assert 'file_hash' not in text


class Downloaded(Exception):
    """What Keras would fetch: (url, digest), and how wide its features are."""


@pytest.mark.filterwarnings('ignore:.input_shape. is undefined')
@pytest.mark.parametrize('name', SMALL)
def test_weights_and_width_as_keras_fetches_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    source = source_of(name, SMALL[name])

    def fetch(file: str, url: str, file_hash: str = '', **_: Any) -> None:
        width = sys._getframe(1).f_locals['model'].output_shape[-1]
        raise Downloaded(url, file_hash, width)

    monkeypatch.setattr(module_of(source.application).file_utils, 'get_file', fetch)
    width = {} if source.alpha is None else {'alpha': source.alpha}
    size = SMALL[name]
    with pytest.raises(Downloaded) as fetched:
        getattr(tf.keras.applications, source.application)(
            include_top=False, pooling='avg', input_shape=(size, size, 3), **width
        )
    url, digest, feature_width = fetched.value.args
    assert source.imagenet_weights.url == url
    assert source.imagenet_weights.digest.partition(':')[2] == digest
    assert APPLICATIONS[name].feature_width == feature_width


@pytest.mark.slow
def test_an_efficient_net_is_what_keras_makes_of_its_imagenet_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There Keras adds a layer to the network that other weights do not get."""
    import tensorflow as tf

    make = tf.keras.applications.EfficientNetB0
    shaped = {'include_top': False, 'pooling': 'avg', 'input_shape': (64, 64, 3)}
    published = make(weights=None, **shaped)
    (layer,) = (x for x in published.layers if isinstance(x, tf.keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean + 0.45, variance * 0.05, count])
    path = tmp_path / 'published.h5'
    published.save(path)
    monkeypatch.setattr(module_of('EfficientNetB0').file_utils, 'get_file', lambda *_, **__: path)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    wanted = np.asarray(make(weights='imagenet', **shaped)(pictures, training=False))
    spec = backbone_spec('EfficientNetB0', 64)
    source = source_of('EfficientNetB0', 64)
    for is_published in True, False:
        model = keras_models.build(spec, source, str(path), is_published)
        found = np.asarray(model(pictures, training=False))
        differs = abs(found - wanted).max() / wanted.std()
        assert differs < 1e-3 if is_published else differs > 0.05


@pytest.mark.parametrize(
    'name', ['MobileNet_0.25', pytest.param('ResNet50', marks=pytest.mark.slow)]
)
def test_random_weights(name: str, tmp_path: Path) -> None:
    """The same each time; as features they neither vanish nor explode, and pictures differ."""
    config = BackboneConfig(
        architecture=name, weights='random', image_size=64, model_dir=str(tmp_path)
    )
    backbone = frozen.load(config)
    assert backbone.feature_width == APPLICATIONS[name].feature_width
    rng = np.random.default_rng(3)
    prepared = [
        preprocess.from_encoded(colours.encoded(colours.draw(folder, rng)), backbone.preprocessing)
        for folder in colours.COLOURS
    ]
    found = forward.compile_forward(backbone, 3, 'off')(np.stack(prepared)).numpy()
    assert 0.1 < found.mean() < 10
    assert found.std(axis=0).mean() > 0.02 * found.mean()
    if name == 'MobileNet_0.25':
        again = dataclasses.replace(config, model_dir=str(tmp_path / 'again'))
        assert vars(frozen.load(again)) == vars(backbone)


def test_a_size_that_does_not_suit(tmp_path: Path) -> None:
    config = BackboneConfig(architecture='Xception', image_size=70, weights='random')
    with pytest.raises(InputError, match='image_size=70: Xception takes images of 71 or more'):
        frozen.check_available(config)
