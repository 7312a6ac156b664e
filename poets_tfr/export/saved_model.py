"""The trained model as a TensorFlow 2 SavedModel, in a folder that TensorFlow Serving serves.

saved_model_dir/
  1/                             one folder for each model, the highest number is the newest
    saved_model.pb  variables/
    assets/labels.txt            one label a line, in the order of the scores
    assets.extra/poets_tfr.json  the description
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from poets_tfr import files, writable
from poets_tfr.backbones import forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.errors import InputError
from poets_tfr.export import description as descriptions
from poets_tfr.export.description import Description
from poets_tfr.pictures import preprocess
from poets_tfr.training import head as heads
from poets_tfr.training.head import Head

_OUTPUT_TENSOR = 'final_result:0'  # in the description alone: a SavedModel has signatures
_DESCRIPTION = os.path.join('assets.extra', descriptions.FILE)


def fault(directory: str) -> str:
    """Why it is no place for versions that Serving could serve; '' where it is. Makes nothing."""
    if fault := writable.folder_fault(directory, 'saved_model_dir'):
        return fault
    foreign = [name for name in files.list_names(directory) if not _is_version_or_hidden(name)]
    if foreign:
        return (
            f'--saved_model_dir={directory} holds something else ({foreign[0]}): name an empty or '
            'new folder.'
        )
    return ''


def save(
    directory: str,
    backbone: Backbone,
    head: Head,
    description: Description,
) -> str:
    """Writes the model as the next version; where the newest is this very model, nothing.

    Signatures, each with the outputs prediction float32 [n, classes] in the labels' order, and,
    the highest score first, classes string [n, classes] and scores float32 [n, classes]:
      serving_default: image float32 [n, height, width, 3] of 0..1
      encoded: contents string [n], JPEG or PNG of any sizes

    Returns:
      The version's folder. It appears in one rename.
    """
    import tensorflow as tf

    writable.refuse([fault(directory)])
    directory = os.path.abspath(directory)
    description = dataclasses.replace(description, output_tensor=_OUTPUT_TENSOR)
    model = {'description': json.loads(description.to_json()), 'head': _digest(head)}
    versions = _versions(directory)
    newest = os.path.join(directory, str(versions[-1])) if versions else ''
    if newest and _kept_model(newest) == model:
        return newest
    files.remove_stale_parts(directory)
    work = files.part_of(os.path.join(directory, 'new'))
    try:
        os.makedirs(work)
        labels_file = os.path.join(work, 'labels.txt')
        files.write_bytes(labels_file, description.labels_txt())
        new = os.path.join(work, 'new')
        module = _module(backbone, head, description, labels_file)
        signatures = {'serving_default': module.from_pictures, 'encoded': module.from_encoded}
        with files.os_errors(directory):
            tf.saved_model.save(module, new, signatures=signatures)
        files.write_json(os.path.join(new, _DESCRIPTION), model)
        version = os.path.join(directory, str(versions[-1] + 1 if versions else 1))
        os.rename(new, version)  # fails where another run has just written this version
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return version


def load(directory: str) -> tuple[Any, Description]:
    """(encoded pictures -> float32 [n, classes], description) of a version or of the newest one.

    Raises:
      InputError: there is no SavedModel of ours.
    """
    import tensorflow as tf

    versions = _versions(directory)
    if versions:
        directory = os.path.join(directory, str(versions[-1]))
    model = _kept_model(directory)
    if model is None:
        raise InputError(
            f'--graph: {directory} is a folder with no run and no SavedModel of this program '
            f'({_DESCRIPTION} is missing).'
        )
    description = Description.from_json(json.dumps(model.get('description')), directory)
    try:
        with files.without_patterns(directory) as readable:
            loaded = tf.saved_model.load(readable)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f'--graph: {directory} does not load: {error}') from None

    def scores(encoded: Sequence[bytes]) -> np.ndarray:
        signature = loaded.signatures['encoded']
        return signature(contents=tf.constant(list(encoded)))['prediction'].numpy()

    return scores, description


def _is_version_or_hidden(name: str) -> bool:
    return name.isdecimal() or name.startswith('.')


def _versions(directory: str) -> list[int]:
    return sorted(int(name) for name in files.list_names(directory) if name.isdecimal())


def _kept_model(version: str) -> dict[str, Any] | None:
    path = os.path.join(version, _DESCRIPTION)
    return files.read_json(path) if os.path.exists(path) else None


def _digest(head: Head) -> str:
    parts = [np.asarray(value, np.float32).tobytes() for value in head]
    return hashlib.sha256(b''.join(parts)).hexdigest()


def _module(backbone: Backbone, head: Head, description: Description, labels_file: str) -> Any:
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(head.weights, name='final_weights')
    module.biases = tf.Variable(head.biases, name='final_biases')
    module.labels = tf.saved_model.Asset(labels_file)
    names = tf.constant([label.encode('utf-8', 'surrogateescape') for label in description.labels])

    def predict(pictures: Any) -> dict[str, Any]:
        features = forward.apply(backbone, pictures)
        trained = Head(module.weights, module.biases)
        prediction = tf.nn.softmax(heads.logits(trained, features))
        scores, order = tf.math.top_k(prediction, len(description.labels))
        return {'prediction': prediction, 'scores': scores, 'classes': tf.gather(names, order)}

    def from_pictures(image: Any) -> dict[str, Any]:
        pixels = image * 255.0
        return predict(preprocess.resize_and_normalise(pixels, backbone.preprocessing))

    def from_encoded(contents: Any) -> dict[str, Any]:
        return predict(preprocess.batch_from_encoded(contents, backbone.preprocessing))

    image = tf.TensorSpec([None, None, None, 3], tf.float32, name='image')
    contents = tf.TensorSpec([None], tf.string, name='contents')
    module.from_pictures = tf.function(from_pictures, [image], autograph=False)
    module.from_encoded = tf.function(from_encoded, [contents], autograph=False)
    return module
