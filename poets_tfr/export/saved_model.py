"""The trained model as a TensorFlow 2 SavedModel."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import InputError
from poets_tfr.pictures import preprocess
from poets_tfr.training import head as heads
from poets_tfr.training.head import Head

_OURS = 'poets_tfr.json'


def check_dir(directory: str) -> None:
    """Raises InputError unless the folder is free, or holds an export of ours to be replaced."""
    if files.list_names(directory) and not files.exists(files.join(directory, _OURS)):
        raise InputError(
            f'--saved_model_dir={directory} holds something else: name an empty or new folder.'
        )
    files.check_writable_dir(os.path.dirname(os.path.abspath(directory)), 'saved_model_dir')


def save(directory: str, backbone: Backbone, head: Head, labels: Sequence[str]) -> None:
    """Writes the model; an earlier export of ours is replaced in one rename.

    Signatures: `serving_default`, image float32 [n, height, width, 3] of 0..1 -> prediction float32
    [n, classes]; `encoded`, contents string [n] (JPEG or PNG) -> prediction. labels.txt is an
    asset.
    """
    import tensorflow as tf

    directory = os.path.abspath(directory)
    parent, name = os.path.split(directory)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f'.{name}.') as work:
        labels_file = os.path.join(work, 'labels.txt')
        files.write_bytes(labels_file, ''.join(f'{label}\n' for label in labels).encode())
        new, old = os.path.join(work, 'new'), os.path.join(work, 'old')
        module = _module(backbone, head, labels_file)
        signatures = {'serving_default': module.from_pictures, 'encoded': module.from_encoded}
        tf.saved_model.save(module, new, signatures=signatures)
        files.write_json(os.path.join(new, _OURS), {'labels': list(labels)})
        check_dir(directory)
        if os.path.isdir(directory):
            os.rename(directory, old)
        os.rename(new, directory)
        shutil.rmtree(old, ignore_errors=True)


def _module(backbone: Backbone, head: Head, labels_file: str) -> Any:
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(head.weights, name='final_weights')
    module.biases = tf.Variable(head.biases, name='final_biases')
    module.labels = tf.saved_model.Asset(labels_file)

    def predict(pictures: Any) -> dict[str, Any]:
        features = forward.apply(backbone, pictures)
        trained = Head(module.weights, module.biases)
        return {'prediction': tf.nn.softmax(heads.logits(trained, features))}

    def from_pictures(image: Any) -> dict[str, Any]:
        pixels = image * 255.0
        return predict(preprocess.resize_and_normalise(pixels, backbone.preprocessing))

    def from_encoded(contents: Any) -> dict[str, Any]:
        size = backbone.preprocessing.size
        pictures = tf.map_fn(
            lambda encoded: preprocess.from_encoded(encoded, backbone.preprocessing),
            contents,
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        )
        return predict(pictures)

    image = tf.TensorSpec([None, None, None, 3], tf.float32, name='image')
    contents = tf.TensorSpec([None], tf.string, name='contents')
    module.from_pictures = tf.function(from_pictures, [image], autograph=False)
    module.from_encoded = tf.function(from_encoded, [contents], autograph=False)
    return module
