"""keras_output: what Keras alone makes of it, for networks of each kind of preprocessing."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path

import colours
import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import Places, call

from poets_tfr.errors import InputError
from poets_tfr.export import keras_model
from poets_tfr.export.description import Description
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.training import head as heads

SIZE = 64


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ['MobileNetV2', 'VGG16'])  # signed pixels; BGR
def test_keras_loads_it_and_the_self_test_passes(
    colours_dir: Path, tmp_path: Path, architecture: str
) -> None:
    places, path = Places(tmp_path), tmp_path / 'model.keras'
    ended = call(
        'retrain', f'--image_dir={colours_dir}', f'--architecture={architecture}',
        f'--image_size={SIZE}', '--weights=random', f'--model_dir={tmp_path / "models"}',
        '--how_many_training_steps=20', f'--keras_output={path}', *places.flags(),
        '--self_test_pictures=4',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert 'Self-test of keras_output: 4 stored and 4 original images' in ended.out

    content = colours.encoded(colours.draw('Red_Roses', np.random.default_rng(4)), 'PNG')
    pixels = preprocess.from_encoded(content, Preprocessing(SIZE, 0, 1))[None]
    wanted = Labeller(str(places.graph)).scores(content)
    model = tf.keras.models.load_model(path, compile=False)
    assert model.input_shape == (None, SIZE, SIZE, 3)
    np.testing.assert_allclose(model(pixels).numpy()[0], wanted, atol=1e-4)
    with zipfile.ZipFile(path) as archive:
        assert archive.read('labels.txt') == places.labels.read_bytes()


@pytest.mark.parametrize(
    ('flags', 'says'),
    [
        (['--keras_output=m.h5'], "--keras_output='m.h5' must be a file whose name ends in .keras"),
        (['--keras_output=m.keras', '--architecture=mobilenet_0.25_128'], 'Keras did not build'),
    ],
)
def test_what_cannot_be_is_said_early(colours_dir: Path, flags: list[str], says: str) -> None:
    ended = call('retrain', f'--image_dir={colours_dir}', *flags)
    assert ended.status == 1
    assert says in ended.err


def write_model(path: Path) -> Path:
    """A .keras file without a network: the mean colour decides."""
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])
    description = Description(('a', 'b'), Preprocessing(4, 0, 255), 'final_result:0', 'mean', '')
    keras_model.save(str(path), model, heads.init(3, 2, seed=1), description)
    return path


def replace_in(path: Path, name: str, old: bytes, new: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    assert old in content[name]
    content[name] = content[name].replace(old, new)
    with zipfile.ZipFile(path, 'w') as archive:
        for each, value in content.items():
            archive.writestr(each, value)


def test_it_says_which_keras_it_needs(tmp_path: Path) -> None:
    path = write_model(tmp_path / 'm.keras')
    with zipfile.ZipFile(path) as archive:
        described = json.loads(archive.read('poets_tfr.json'))
    assert described['keras'] == keras.__version__
    assert Labeller(str(path)).labels == ['a', 'b']


def test_what_a_newer_keras_wrote(tmp_path: Path) -> None:
    """Its layers have settings that this one does not know."""
    path = write_model(tmp_path / 'm.keras')
    replace_in(path, 'config.json', b'"units": 2', b'"units": 2, "of_the_future": 1')
    replace_in(path, 'metadata.json', keras.__version__.encode(), b'3.99.0')
    ended = call('label_image', f'--graph={path}', 'a.jpg')
    assert ended.status == 1
    assert ended.err.count('\n') == 1
    assert f'does not load: Keras 3.99.0 wrote it, this is Keras {keras.__version__},' in ended.err


def test_a_damaged_file(tmp_path: Path) -> None:
    path = write_model(tmp_path / 'm.keras')
    content = path.read_bytes()
    for at in range(50, len(content), len(content) // 40):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with contextlib.suppress(InputError):  # else it is where the archive says nothing
            assert Labeller(str(path)).labels == ['a', 'b']


def test_a_model_of_others(tmp_path: Path) -> None:
    (tmp_path / 'no.keras').write_bytes(b'no model')
    with pytest.raises(InputError, match=r'no\.keras does not load'):
        Labeller(str(tmp_path / 'no.keras'))
    with zipfile.ZipFile(tmp_path / 'other.keras', 'w') as archive:
        archive.writestr('metadata.json', '{"keras_version": "3.15.1"}')
    with pytest.raises(InputError, match='was not written by this program'):
        Labeller(str(tmp_path / 'other.keras'))
