"""Backbones: batched and frozen, they give what the untouched network gives one by one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest

from poets_tfr.backbones import forward, frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig, Xla
from poets_tfr.errors import InputError
from poets_tfr.export import keras_model
from poets_tfr.export.description import Description
from poets_tfr.pictures import preprocess
from poets_tfr.training import head as heads

BATCH = 4


@pytest.fixture(scope='session')
def jpegs() -> list[bytes]:
    rng = np.random.default_rng(7)
    return [colours.encoded(colours.draw(folder, rng)) for folder in [*colours.COLOURS] * 2]


def features_of(backbone: Backbone, encoded: list[bytes], xla: Xla = 'off') -> np.ndarray:
    """Through the real preprocessing and the real forward function, in padded batches."""
    run = forward.compile_forward(backbone, BATCH, xla)
    size = backbone.preprocessing.size
    rows = []
    for start in range(0, len(encoded), BATCH):
        pictures = np.zeros([BATCH, size, size, 3], np.float32)
        some = encoded[start : start + BATCH]
        for place, content in enumerate(some):
            pictures[place] = preprocess.from_encoded(content, backbone.preprocessing)
        rows.append(run(pictures).numpy()[: len(some)])
    return np.concatenate(rows)


def as_the_original_fed_it(encoded: bytes, size: int) -> np.ndarray:
    """float32 [1, size, size, 3], by the ops of the original retrain.py, in TensorFlow 1's way."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        decoded = tf.io.decode_jpeg(encoded, channels=3)
        batched = tf.expand_dims(tf.cast(decoded, tf.float32), 0)
        resized = tf.compat.v1.image.resize_bilinear(batched, [size, size])
        return session.run(tf.multiply(tf.subtract(resized, 127.5), 1.0 / 127.5))


@pytest.mark.parametrize(
    ('suffix', 'member'),
    [('', graphs.MOBILENET_FROZEN), ('_quantized', graphs.MOBILENET_QUANTIZED)],
)
def test_mobilenet(model_dir: Path, jpegs: list[bytes], suffix: str, member: str) -> None:
    config = BackboneConfig(architecture=graphs.MOBILENET + suffix, model_dir=str(model_dir))
    backbone = frozen.load(config)
    wanted = graphs.run_one_by_one(
        model_dir / graphs.MOBILENET_ARCHIVE,
        member,
        'MobilenetV1/Predictions/Reshape:0',
        'input:0',
        [as_the_original_fed_it(content, 128) for content in jpegs],
    )
    found = features_of(backbone, jpegs)
    assert found.shape == (6, 1001)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert wanted.std(axis=0).max() > 0.1, 'the images differ, or this would prove nothing'


def test_the_two_mobilenets_of_an_archive_differ(model_dir: Path, jpegs: list[bytes]) -> None:
    plain, quantized = (
        frozen.load(BackboneConfig(architecture=name, model_dir=str(model_dir)))
        for name in (graphs.MOBILENET, f'{graphs.MOBILENET}_quantized')
    )
    assert plain.digest != quantized.digest
    difference = abs(features_of(plain, jpegs) - features_of(quantized, jpegs)).max()
    assert 1e-3 < difference < 1


def test_inception_of_2015_from_jpeg_bytes_on(model_dir: Path, jpegs: list[bytes]) -> None:
    config = BackboneConfig(architecture='inception_2015_12_05', model_dir=str(model_dir))
    wanted = graphs.run_one_by_one(
        model_dir / graphs.INCEPTION_2015_ARCHIVE,
        graphs.INCEPTION_2015_MEMBER,
        'pool_3/_reshape:0',
        'DecodeJpeg/contents:0',
        jpegs,
    )
    found = features_of(frozen.load(config), jpegs)
    assert found.shape == (6, 2048)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert wanted.std(axis=0).max() > 0.1


@pytest.mark.parametrize(
    ('suffix', 'member'), [('', 'frozen_graph.pb'), ('_quantized', 'quantized_graph.pb')]
)
def test_the_real_mobilenet_on_real_photos(
    photos_dir: Path, models_dir: Path, suffix: str, member: str
) -> None:
    config = BackboneConfig(architecture=f'mobilenet_0.25_128{suffix}', model_dir=str(models_dir))
    photos = [path.read_bytes() for path in sorted(photos_dir.glob('*/*.jpg'))[::50]]
    assert len(photos) == 10
    wanted = graphs.run_one_by_one(
        models_dir / 'mobilenet_v1_0.25_128_frozen.tgz',
        f'mobilenet_v1_0.25_128/{member}',
        'MobilenetV1/Predictions/Reshape:0',
        'input:0',
        [as_the_original_fed_it(content, 128) for content in photos],
    )
    np.testing.assert_allclose(features_of(frozen.load(config), photos), wanted, atol=1e-4)


@pytest.mark.parametrize('architecture', [graphs.MOBILENET, 'inception_2015_12_05'])
def test_xla_on_and_off_agree(model_dir: Path, jpegs: list[bytes], architecture: str) -> None:
    backbone = frozen.load(BackboneConfig(architecture=architecture, model_dir=str(model_dir)))
    off, on = features_of(backbone, jpegs, 'off'), features_of(backbone, jpegs, 'on')
    np.testing.assert_allclose(on, off, atol=1e-3)
    np.testing.assert_array_equal(features_of(backbone, jpegs, 'auto')[:1], off[:1])  # on a CPU


@pytest.mark.parametrize(
    ('members', 'says'),
    [
        (
            {'mobilenet_v1_0.50_128/labels.txt': b''},
            'holds no mobilenet_v1_0.50_128/frozen_graph.pb',
        ),
        ({graphs.MOBILENET_FROZEN: b'no graph'}, 'is not the graph wanted'),
        ({graphs.MOBILENET_FROZEN: b''}, 'is not the graph wanted'),
    ],
)
def test_an_archive_without_the_graph(tmp_path: Path, members: dict[str, bytes], says: str) -> None:
    archive = graphs.write_archive(tmp_path / graphs.MOBILENET_ARCHIVE, members)
    with pytest.raises(InputError, match=says) as raised:
        frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(tmp_path)))
    assert str(archive) in str(raised.value)


def test_a_cut_off_archive_is_named(model_dir: Path, tmp_path: Path) -> None:
    archive = tmp_path / graphs.MOBILENET_ARCHIVE
    archive.write_bytes((model_dir / graphs.MOBILENET_ARCHIVE).read_bytes()[:1000])
    with pytest.raises(InputError, match=f'{archive} is damaged.*delete it'):
        frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(tmp_path)))


def test_cache_key_tells_weights_and_preprocessing_apart(model_dir: Path, tmp_path: Path) -> None:
    def key_of(directory: Path, architecture: str = graphs.MOBILENET) -> str:
        config = BackboneConfig(architecture=architecture, model_dir=str(directory))
        return frozen.load(config).cache_key

    graphs.write_mobilenet(tmp_path, seed=1)
    key = key_of(model_dir)
    assert key == key_of(model_dir)
    name, digest = key.rsplit('-', 1)
    assert name == graphs.MOBILENET
    assert len(digest) == 16
    int(digest, 16)
    assert key != key_of(tmp_path), 'other weights'
    quantized = key_of(model_dir, f'{graphs.MOBILENET}_quantized')
    assert quantized.rsplit('-', 1)[1] != digest
    backbone = frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir)))
    other = preprocess.Preprocessing(128, 127.5, 127.0)
    assert key != Backbone(**{**vars(backbone), 'preprocessing': other}).cache_key


# SavedModels


@pytest.fixture
def save_module(tmp_path: Path) -> Callable[..., Path]:
    """Saves a module whose features are known: mean pixel @ KERNEL, then doubled, less 1."""
    import tensorflow as tf

    class Plain(tf.Module):
        kernel: Any

        def __init__(self, size: int | None) -> None:
            super().__init__()
            self.kernel = tf.Variable(KERNEL)
            images = tf.TensorSpec([None, size, size, 3], tf.float32, name='images')
            self.signature = tf.function(
                lambda images: {'vectors': self.features(images)}, [images]
            )

        def features(self, images: Any) -> Any:
            return tf.reduce_mean(images, [1, 2]) @ self.kernel * 2.0 - 1.0

    class Callable_(Plain):
        @tf.function
        def __call__(self, images: Any) -> Any:
            return self.features(images)

    class Trainable(Plain):
        @tf.function
        def __call__(self, images: Any, training: bool = False) -> Any:
            return self.features(images) + (100.0 if training else 0.0)

    class Spatial(Plain):
        @tf.function
        def __call__(self, images: Any) -> Any:
            return images

    kinds = {'signature': Plain, 'callable': Callable_, 'trainable': Trainable, 'spatial': Spatial}

    def save(kind: str, size: int | None, folder: str = 'module') -> Path:
        module = kinds[kind](size)
        any_images = tf.TensorSpec([None, size, size, 3], tf.float32)
        if kind in ('callable', 'spatial'):
            module.__call__.get_concrete_function(any_images)
        elif kind == 'trainable':
            for training in False, True:
                module.__call__.get_concrete_function(any_images, training=training)
        signatures = {'serving_default': module.signature}
        tf.saved_model.save(module, str(tmp_path / folder), signatures=signatures)
        return tmp_path / folder

    return save


KERNEL = np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32)


def features_by_hand(backbone: Backbone, encoded: list[bytes]) -> np.ndarray:
    """As `save_module` documents; pictures of one colour hardly change when resized."""
    pictures = [preprocess.from_encoded(x, backbone.preprocessing).numpy() for x in encoded]
    return np.stack([picture.mean(axis=(0, 1)) @ KERNEL * 2 - 1 for picture in pictures])


@pytest.mark.parametrize('kind', ['signature', 'callable', 'trainable'])
def test_saved_model(save_module: Callable[..., Path], jpegs: list[bytes], kind: str) -> None:
    backbone = frozen.load(BackboneConfig(tfhub_module=str(save_module(kind, 48))))
    assert backbone.preprocessing == preprocess.Preprocessing(48, mean=0, std=255)
    assert backbone.feature_width == 4
    found = features_of(backbone, jpegs)
    np.testing.assert_allclose(found, features_by_hand(backbone, jpegs), atol=1e-4)
    assert found.std(axis=0).max() > 0.1


def test_a_saved_model_that_does_not_state_its_size(save_module: Callable[..., Path]) -> None:
    module = str(save_module('callable', None))
    with pytest.raises(InputError, match='does not state its image size: give image_size'):
        frozen.load(BackboneConfig(tfhub_module=module))
    backbone = frozen.load(BackboneConfig(tfhub_module=module, image_size=20))
    assert backbone.preprocessing.size == 20


def test_a_size_that_the_saved_model_does_not_take(save_module: Callable[..., Path]) -> None:
    module = str(save_module('callable', 48))
    with pytest.raises(InputError, match='gives no features for images of 20 x 20'):
        frozen.load(BackboneConfig(tfhub_module=module, image_size=20))


def test_a_saved_model_that_gives_no_vectors(save_module: Callable[..., Path]) -> None:
    """Feature maps taken for vectors would give each picture many rows."""
    module = str(save_module('spatial', 48))
    with pytest.raises(InputError, match=f'tfhub_module={module}'):
        frozen.load(BackboneConfig(tfhub_module=module))


def test_a_moved_saved_model_is_the_same(save_module: Callable[..., Path]) -> None:
    module = save_module('callable', 48)
    key = frozen.load(BackboneConfig(tfhub_module=str(module))).cache_key
    (module.parent / 'elsewhere').mkdir()
    moved = shutil.move(module, module.parent / 'elsewhere/module')
    assert frozen.load(BackboneConfig(tfhub_module=str(moved))).cache_key == key
    assert frozen.load(BackboneConfig(tfhub_module=f'{moved}/')).cache_key == key


def test_no_saved_model(tmp_path: Path) -> None:
    config = BackboneConfig(tfhub_module=str(tmp_path))
    with pytest.raises(InputError, match='no TF2 SavedModel folder'):
        frozen.check_available(config)
    (tmp_path / 'saved_model.pb').write_bytes(b'no model')
    with pytest.raises(InputError, match='does not load'):
        frozen.load(config)


# Keras's Inception v3


@pytest.fixture(scope='module')
def inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """An untrained Inception v3 with features to compare, and the folder of its weights files."""
    import tensorflow as tf

    from poets_tfr.backbones.random_weights import seed_inception_weights

    directory = tmp_path_factory.mktemp('weights')
    model = tf.keras.applications.InceptionV3(include_top=False, weights=None, pooling='avg')
    seed_inception_weights(model, seed=3)
    model.save(directory / 'inception_v3_notop.h5')  # the published file's format
    model.save_weights(directory / 'inception.weights.h5')
    return model, directory


def inception_config(weights: object, model_dir: Path) -> BackboneConfig:
    return BackboneConfig(weights=str(weights), model_dir=str(model_dir))


@pytest.mark.slow
@pytest.mark.parametrize('file', ['inception_v3_notop.h5', 'inception.weights.h5'])
def test_inception_v3_with_weights_of_a_file(
    inception: tuple[Any, Path], jpegs: list[bytes], tmp_path: Path, file: str
) -> None:
    model, directory = inception
    config = inception_config(directory / file, tmp_path)
    backbone = frozen.load(config)
    assert backbone.feature_width == 2048
    assert backbone.preprocessing.size == 299
    pictures = np.stack([as_the_original_fed_it(x, 299)[0] for x in jpegs[:3]])
    wanted = np.asarray(model(pictures, training=False))
    found = features_of(backbone, jpegs[:3])
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)
    assert wanted.std(axis=0).max() > 0.1
    (kept,) = (tmp_path / 'frozen').iterdir()
    written = kept.stat().st_mtime_ns
    assert vars(frozen.load(config)) == vars(backbone)
    assert kept.stat().st_mtime_ns == written, 'not built again'


def test_the_network_of_a_keras_file(tmp_path: Path) -> None:
    """What a run fine-tuned, taken without its head, for another run to begin with."""
    config = BackboneConfig(architecture='MobileNet_0.25', weights='random', image_size=32)
    model, spec = frozen.build_keras(config)
    for weights in model.trainable_variables[:1]:
        weights.assign(weights * 2)
    path = tmp_path / 'run.keras'
    description = Description(('a', 'b'), spec.preprocessing, 'final_result:0', 'MobileNet', '')
    keras_model.save(str(path), model, heads.init(256, 2, seed=1), description)
    taken = frozen.build_keras(dataclasses.replace(config, weights=str(path)))[0]
    for wanted, found in zip(model.get_weights(), taken.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for other in 'MobileNet_0.5', 'MobileNetV2_0.35':
        config = BackboneConfig(architecture=other, weights=str(path), image_size=32)
        with pytest.raises(InputError, match=f'{path}: not weights of mobilenet.* without its top'):
            frozen.build_keras(config)


@pytest.mark.slow
def test_a_damaged_frozen_inception_is_built_again(
    inception: tuple[Any, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, directory = inception
    config = inception_config(directory / 'inception.weights.h5', tmp_path)
    first = frozen.load(config)
    (kept,) = (tmp_path / 'frozen').iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:-1])
    assert vars(frozen.load(config)) == vars(first)
    assert f'{kept} is damaged' in caplog.text
    assert kept.read_bytes() == content
    other = frozen.load(inception_config(directory / 'inception_v3_notop.h5', tmp_path))
    assert other.cache_key != first.cache_key, 'by the bytes of the file'


def test_weights_of_another_network(tmp_path: Path) -> None:
    import tensorflow as tf

    small = tf.keras.Sequential([tf.keras.Input([8]), tf.keras.layers.Dense(3)])
    path = tmp_path / 'small.weights.h5'
    small.save_weights(path)
    with pytest.raises(InputError, match=f'weights={path}: not weights of inception_v3'):
        frozen.load(inception_config(path, tmp_path))
    path = tmp_path / 'text.h5'
    path.write_text('no weights')
    with pytest.raises(InputError, match=f'weights={path}: not weights of inception_v3'):
        frozen.load(inception_config(path, tmp_path))
    missing = inception_config(tmp_path / 'missing.h5', tmp_path)
    with pytest.raises(InputError, match='missing.h5: no such file'):
        frozen.check_available(missing)
    assert not (tmp_path / 'frozen').exists(), 'nothing of a failure is kept'


@pytest.mark.slow
def test_random_weights_give_features_that_differ(
    tmp_path: Path, jpegs: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    first = frozen.load(inception_config('random', tmp_path / 'a'))
    again = frozen.load(inception_config('random', tmp_path / 'b'))
    assert first.graph_def == again.graph_def
    assert first.cache_key == again.cache_key
    assert 'untrained' in caplog.text
    features = features_of(first, jpegs[:3])
    assert features.std(axis=0).mean() > 0.01, 'they do not vanish, and differ between images'
