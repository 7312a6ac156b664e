"""What a folder of TensorFlow Datasets says of its records. No TensorFlow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from poets_tfr.errors import InputError


class Keys(NamedTuple):
    """The features of a record: of the image, the label, its name, the file's name; '' for none.

    names: of the labels from 0; empty where they are not known.
    """

    image: str
    label: str
    text: str
    filename: str
    names: tuple[str, ...] = ()


def keys_in_folder(directory: str, image: str = '', label: str = '') -> Keys | None:
    """Those of features.json, with the names of the labels; None where there is no such file.

    Args:
      image, label: keys that are known already.

    Raises:
      InputError: it is damaged, or has several images or labels of which none is the usual one.
    """
    path = os.path.join(directory, 'features.json')
    try:
        with open(path, encoding='utf-8') as file:
            features = dict(_leaves(json.load(file), ''))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f'--image_tfrecords: {path} cannot be read ({error}).') from None
    image = image or _only(path, features, 'Image', ['image', 'image/encoded'], 'image_key')
    usual = ['label', 'image/class/label']
    label = label or _only(path, features, 'ClassLabel', usual, 'label_key')
    texts = [key for key, kind in features.items() if kind == 'Text']
    named = next((key for key in texts if key.rpartition('/')[2] in _NAMES), '')
    text = 'image/class/text' if 'image/class/text' in texts else ''
    return Keys(image, label, text, named, _names(directory, label))


_NAMES = 'filename', 'file_name', 'image_id', 'id', 'name'


def _leaves(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """(key in the record, kind) of each feature: the last part of its class's name."""
    kind = str(value.get('pythonClassName') or value.get('type') or '').rpartition('.')[2]
    inner = value.get('featuresDict', {}).get('features')
    if inner is None and isinstance(value.get('content'), dict) and kind == 'FeaturesDict':
        inner = value['content'].get('features', value['content'])
    if not isinstance(inner, dict):
        yield path, kind
        return
    for name, each in inner.items():
        yield from _leaves(each, f'{path}/{name}' if path else name)


def _only(where: str, features: dict[str, str], kind: str, usual: list[str], flag: str) -> str:
    found = [key for key, each in features.items() if each == kind]
    if len(found) <= 1:
        return found[0] if found else ''
    for key in usual:
        if key in found:
            return key
    raise InputError(
        f'--image_tfrecords: {where} has several features of the kind {kind} '
        f'({", ".join(found)}): choose with --{flag}.'
    )


def _names(directory: str, label: str) -> tuple[str, ...]:
    path = os.path.join(directory, f'{label.replace("/", "-")}.labels.txt')
    try:
        with open(path, encoding='utf-8') as file:
            return tuple(file.read().splitlines())
    except OSError:
        return ()
