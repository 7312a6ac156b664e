"""The trained model as one Keras model, for those whose network Keras built.

Input:  image, float32 [n, size, size, 3], RGB pixels of 0..255; normalised inside, resized before.
Output: float32 [n, classes]: softmax scores.

Keras reads what its own version or an older one wrote.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.export import description as descriptions
from poets_tfr.export import frozen_graph
from poets_tfr.export.description import Description
from poets_tfr.export.settings import KERAS_SUFFIX
from poets_tfr.export.tflite_metadata import LABELS_FILE
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import PerChannel, Preprocessing
from poets_tfr.training.head import Head


def save(path: str, model: Any, head: Head, description: Description) -> None:
    """Writes a .keras file that Keras alone loads; atomic.

    Args:
      path: of the file.
      model: the network, float32 [n, size, size, 3], normalised -> features.
      head, description: the rest of the trained model.
    """
    import keras

    whole = _whole(model, head, description)
    with tempfile.TemporaryDirectory() as work:
        file = os.path.join(work, f'model{KERAS_SUFFIX}')
        whole.save(file)
        content = files.read_bytes(file)
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, 'a') as archive:
        archive.writestr(LABELS_FILE, description.labels_txt())
        archive.writestr(descriptions.FILE, description.to_json(keras.__version__))
    files.write_bytes(path, buffer.getvalue())


def load(path: str) -> tuple[Callable[[Sequence[bytes]], np.ndarray], Description]:
    """(encoded pictures -> float32 [n, classes], description). Raises InputError."""
    import keras
    import tensorflow as tf

    described, writer = _described(path)
    description = Description.from_json(described, path)
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # of any kind, by what the file has that this Keras does not know
        reason = str(error).splitlines()[0]
        raise InputError(
            f'--graph: {path} does not load: Keras {writer} wrote it, this is Keras '
            f'{keras.__version__}, which reads its own and older files ({reason}).'
        ) from None
    as_pixels = Preprocessing(description.preprocessing.size, 0, 1)

    def score(encoded: Any) -> Any:
        return model(preprocess.batch_from_encoded(encoded, as_pixels), training=False)

    compiled = tf.function(score, [tf.TensorSpec([None], tf.string)], autograph=False)
    return lambda encoded: compiled(tf.constant(list(encoded))).numpy(), description


def _described(path: str) -> tuple[bytes, str]:
    """(the description, the version of Keras that wrote the file)."""
    content = frozen_graph.read(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip() is None:
                metadata = json.loads(archive.read('metadata.json'))
                return archive.read(descriptions.FILE), metadata['keras_version']
        raise zipfile.BadZipFile('damaged')
    except KeyError:
        raise InputError(
            f'--graph: {path} was not written by this program: it has no {descriptions.FILE}.'
        ) from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, TypeError) as error:
        raise InputError(f'--graph: {path} does not load: {error}.') from None


def _whole(model: Any, head: Head, description: Description) -> Any:
    import keras

    wants = description.preprocessing
    pixels = keras.Input((wants.size, wants.size, 3), name='image')
    scale, offset = _scale_and_offset(wants.mean, wants.std)
    pictures = keras.layers.Rescaling(scale, offset, name='normalise')(pixels)
    features = model(pictures, training=False)
    classes = len(description.labels)
    dense = keras.layers.Dense(classes, activation='softmax', name='final_result')
    whole = keras.Model(pixels, dense(features), name='poets_tfr')
    dense.set_weights([np.asarray(head.weights), np.asarray(head.biases)])
    return whole


def _scale_and_offset(mean: PerChannel, std: PerChannel) -> tuple[Any, Any]:
    """(x - mean) / std as x * scale + offset: numbers, or lists of three."""
    scale = 1.0 / np.asarray(std, np.float64)
    return scale.tolist(), (-np.asarray(mean, np.float64) * scale).tolist()
