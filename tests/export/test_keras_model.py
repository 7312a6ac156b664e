"""keras_output: what Keras alone makes of it, for networks of each kind of preprocessing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import colours
import numpy as np
import pytest
import tensorflow as tf
from command_line import Places, call

from poets_tfr.errors import InputError
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing

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
    assert 'Self-test of keras_output: 4 stored and 4 original pictures' in ended.out

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


def test_a_model_of_others(tmp_path: Path) -> None:
    (tmp_path / 'no.keras').write_bytes(b'no model')
    with pytest.raises(InputError, match=r'no\.keras does not load'):
        Labeller(str(tmp_path / 'no.keras'))
    with zipfile.ZipFile(tmp_path / 'other.keras', 'w') as archive:
        archive.writestr('config.json', '{}')
    with pytest.raises(InputError, match='was not written by this program'):
        Labeller(str(tmp_path / 'other.keras'))
