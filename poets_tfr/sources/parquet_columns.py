"""Which columns of a Parquet file hold the images and their labels. No TensorFlow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from poets_tfr.errors import InputError
from poets_tfr.sources.label_tables import LABEL_NAMES

_NOT_ONE = 'list', 'large_list', 'fixed_size_list', 'struct', 'map'


def columns_of(path: str, schema: Any, image_key: str, label_column: str) -> tuple[str, str]:
    """The columns of the images and of the labels: those named, else found.

    Raises:
      InputError: it cannot be told, or those named hold something else.
    """
    kinds = {field.name: str(field.type) for field in schema}
    images = [name for name, kind in kinds.items() if _holds_images(kind)]
    labels = [n for n in kinds if n.lower() in (*LABEL_NAMES, 'labels', 'fine_label')]
    labels = labels or [*label_names_in(schema)]
    image = _chosen(path, kinds, 'image_key', image_key, images)
    label = _chosen(path, kinds, 'label_column', label_column, labels)
    if not _holds_images(kinds[image]):
        raise InputError(
            f'{path}: the column {image} is {kinds[image]}, and holds no images (bytes): name '
            'another one with --image_key.'
        )
    if kinds[label].startswith(_NOT_ONE) or _holds_images(kinds[label]):
        raise InputError(
            f'{path}: the column {label} is {kinds[label]}; a number or a text is wanted, one '
            'label for each image: name another one with --label_column.'
        )
    return image, label


def label_names_in(schema: Any) -> dict[str, list[str]]:
    """Column -> the names of its labels: of each ClassLabel that Hugging Face adds to a schema."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        features = json.loads((schema.metadata or {})[b'huggingface'])['info']['features']
        return {
            column: [str(name) for name in about['names']]
            for column, about in features.items()
            if isinstance(about, dict) and isinstance(about.get('names'), list)
        }
    return {}


def _chosen(
    path: str, kinds: Mapping[str, str], flag: str, given: str, found: Sequence[str]
) -> str:
    column = given or (found[0] if len(found) == 1 else '')
    if column in kinds:
        return column
    shown = ', '.join(f'{name} ({kind})' for name, kind in kinds.items())
    raise InputError(
        f'{path}: {f"there is no column {given}." if given else "which column is it?"} '
        f'Name it with --{flag}. The columns are {shown}.'
    )


def _holds_images(kind: str) -> bool:
    return kind in ('binary', 'large_binary') or (kind.startswith('struct<') and 'bytes: ' in kind)
