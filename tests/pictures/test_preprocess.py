"""Pixel truth: the resize that the pretrained networks were made for, written anew in numpy."""

from __future__ import annotations

import dataclasses
import io
import json

import colours
import numpy as np
import pytest
from PIL import Image
from plain_resize import legacy_bilinear

from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


SHAPES = [(128, 128), (1, 1), (3, 400), (37, 50), (240, 320), (299, 300), (500, 333)]
MODELS = [
    Preprocessing(128, 127.5, 127.5),
    Preprocessing(299, 128, 128),
    Preprocessing(48, 0, 255),
    Preprocessing(64, (10.0, 128.0, 200.0), (50.0, 60.0, 70.0)),
]


@pytest.mark.parametrize('model', MODELS, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_resize_and_normalise(shape: tuple[int, int], model: Preprocessing) -> None:
    pixels = noise(*shape)
    wanted = (legacy_bilinear(pixels.astype(np.float64), model.size) - model.mean) / model.std
    found = preprocess.resize_and_normalise(pixels[None], model).numpy()
    assert found.dtype == np.float32
    assert found.shape == (1, model.size, model.size, 3)
    np.testing.assert_allclose(found[0], wanted, atol=1e-4)
    as_floats = preprocess.resize_and_normalise(pixels[None].astype(np.float32), model).numpy()
    np.testing.assert_array_equal(as_floats, found)


@pytest.mark.parametrize('model', MODELS, ids=str)
def test_through_json(model: Preprocessing) -> None:
    """Exports carry it as JSON, which knows no tuples: what comes back is equal, and hashable."""
    text = json.dumps(dataclasses.asdict(model))
    assert hash(Preprocessing.from_json(json.loads(text))) == hash(model)
    assert Preprocessing.from_json(json.loads(text)) == model


def test_a_batch_is_its_pictures() -> None:
    model = Preprocessing(32, 127.5, 127.5)
    pictures = np.stack([noise(40, 50), noise(41, 50)[:40]])
    batch = preprocess.resize_and_normalise(pictures, model).numpy()
    for picture, row in zip(pictures, batch, strict=True):
        alone = preprocess.resize_and_normalise(picture[None], model).numpy()[0]
        np.testing.assert_array_equal(row, alone)


@pytest.mark.parametrize('picture_format', ['JPEG', 'PNG'])
def test_from_encoded(picture_format: str) -> None:
    """A PNG's pixels come out as they are; a JPEG's nearly as Pillow decodes them."""
    pixels = colours.draw('bluebells', np.random.default_rng(0))
    content = colours.encoded(pixels, picture_format)
    decoded = np.asarray(Image.open(io.BytesIO(content)))
    model = Preprocessing(64, 127.5, 127.5)
    wanted = (legacy_bilinear(decoded.astype(np.float64), 64) - 127.5) / 127.5
    found = preprocess.from_encoded(content, model).numpy()
    tolerance = 1e-4 if picture_format == 'PNG' else 5 / 127.5
    np.testing.assert_allclose(found, wanted, atol=tolerance)


def test_grey_pictures_get_three_channels() -> None:
    content = io.BytesIO()
    Image.new('L', (20, 10), 200).save(content, 'PNG')
    found = preprocess.decode(content.getvalue()).numpy()
    assert found.shape == (10, 20, 3)
    assert (found == 200).all()


def test_the_same_inside_a_compiled_graph() -> None:
    """Eagerly for labelling, in tf.data for the cache, in a graph for the export: one result."""
    import tensorflow as tf

    content = colours.encoded(colours.draw('Red_Roses', np.random.default_rng(1)))
    model = Preprocessing(128, 127.5, 127.5)
    eager = preprocess.from_encoded(content, model).numpy()
    dataset = tf.data.Dataset.from_tensors(content).map(lambda x: preprocess.from_encoded(x, model))
    np.testing.assert_array_equal(next(iter(dataset)).numpy(), eager)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        in_graph = session.run(preprocess.from_encoded(tf.constant(content), model))
    np.testing.assert_array_equal(in_graph, eager)
