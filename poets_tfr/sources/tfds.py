"""What a folder of TensorFlow Datasets says of its records. No TensorFlow."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
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


def version_folder(place: str) -> str:
    """Of a data set's folder, the one of its version; any other place as it is.

    Raises:
      InputError: there are several.
    """
    if not os.path.isdir(place) or os.path.exists(os.path.join(place, 'dataset_info.json')):
        return place
    below = [glob.glob(os.path.join(glob.escape(place), *stars, 'dataset_info.json'))
             for stars in (['*'], ['*', '*'])]  # fmt: skip
    found = sorted(os.path.dirname(path) for paths in below for path in paths)
    if len(found) > 1:
        raise InputError(
            f'--image_tfrecords={place} holds several data sets or versions: '
            f'{", ".join(found[:_SHOWN])}{", ..." if len(found) > _SHOWN else ""}: name one.'
        )
    return found[0] if found else place


def keys_in_folders(directories: Sequence[str], image: str, label: str) -> Keys | None:
    """Those of the features.json of all folders; None where there is none.

    Raises:
      InputError: as `keys_in_folder`, or they contradict each other.
    """
    found = [(d, keys_in_folder(d, image, label)) for d in directories]
    for directory, keys in found:
        if keys != found[0][1]:
            raise InputError(
                f'--image_tfrecords: {found[0][0]} and {directory} have other features or names of '
                'labels (features.json): take one of them.'
            )
    return found[0][1]


def keys_in_folder(directory: str, image: str = '', label: str = '') -> Keys | None:
    """Those of features.json, with the names of the labels; None where there is no such file.

    Args:
      image, label: the features that the user names; '': to be found.

    Raises:
      InputError: it is damaged, or has several images or labels, and nothing says which is meant.
    """
    path = os.path.join(directory, 'features.json')
    try:
        with open(path, encoding='utf-8') as file:
            features = dict(_leaves(json.load(file), ''))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f'--image_tfrecords: {path} cannot be read ({error}).') from None
    supervised = _supervised(directory)
    usual = 'image', 'image/encoded'
    image = image or _only(path, features, 'Image', [*supervised, *usual], 'image_key')
    usual = 'label', 'image/class/label'
    label = label or _only(path, features, 'ClassLabel', [*supervised, *usual], 'label_key')
    texts = [key for key, kind in features.items() if kind == 'Text']
    named = next((key for key in texts if key.rpartition('/')[2] in _NAMES), '')
    text = 'image/class/text' if 'image/class/text' in texts else ''
    return Keys(image, label, text, named, _names(directory, label))


_SHOWN = 3
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
        of_it = [each for each in found if each == key or each.startswith(f'{key}/')]
        if len(of_it) == 1:
            return of_it[0]
    raise InputError(
        f'--image_tfrecords: {where} has several features of the kind {kind} '
        f'({", ".join(found)}): choose with --{flag}.'
    )


def _supervised(directory: str) -> list[str]:
    """The features of dataset_info.json's supervised keys; none where it does not say."""
    try:
        with open(os.path.join(directory, 'dataset_info.json'), encoding='utf-8') as file:
            return [*_texts(json.load(file).get('supervisedKeys'))]
    except (OSError, ValueError, AttributeError):
        return []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _names(directory: str, label: str) -> tuple[str, ...]:
    path = os.path.join(directory, f'{label.replace("/", "-")}.labels.txt')
    try:
        with open(path, encoding='utf-8') as file:
            return tuple(name.strip() for name in file.read().split('\n') if name.strip())
    except OSError:
        return ()
