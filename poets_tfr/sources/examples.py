"""tf.train.Examples -> where each record's image lies, and its label.

TensorFlow is imported where records are parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from poets_tfr.errors import InputError
from poets_tfr.sources.headers import BEGINNING, begins_like_a_picture, kind_of, one_line
from poets_tfr.sources.record_files import FOOTER, HEADER
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.tfds import Keys

_SLIM = Keys('image/encoded', 'image/class/label', 'image/class/text', 'image/filename')
_IMAGE_KEYS = 'image/encoded', 'image', 'image_raw', 'encoded', 'jpeg', 'png'
_LABEL_KEYS = 'image/class/label', 'label', 'labels', 'class', 'class/label', 'target'
_TEXT_KEYS = 'image/class/text', 'class/text', 'label_text', 'class_name'
_NAME_KEYS = 'image/filename', 'filename', 'file_name', 'image/file_name', 'image/id', 'id', 'name'


class Record(NamedTuple):
    """number: the label, where it is one. text: its name, where the record says it.

    row: its number in its file. name: of the image file; '' where the record does not say.
    fault: why there is no image; '' where there is one.
    """

    file: int
    row: int
    offset: int
    size: int
    number: int | None
    text: str
    name: str
    kind: str
    fault: str


def serialized_in(path: str) -> Iterator[tuple[int, int, bytes]]:
    """(number in the file, offset, data) of each record. Raises InputError: it is damaged."""
    import tensorflow as tf

    offset = number = 0
    try:
        for serialized in tf.data.TFRecordDataset(path).as_numpy_iterator():
            yield number, offset, serialized
            offset += HEADER + len(serialized) + FOOTER
            number += 1
    except tf.errors.DataLossError:
        raise InputError(
            f'{path}, record {number} (byte {offset:,}): its checksum is wrong: fetch or make the '
            'file again.'
        ) from None


def example_of(serialized: bytes, where: str) -> Any:
    """Raises InputError: it is none."""
    import tensorflow as tf

    try:
        return tf.train.Example.FromString(serialized)
    except Exception as error:  # protobuf's DecodeError, whose name depends on its version
        raise InputError(f'{where}: it is no tf.train.Example ({one_line(error)}).') from None


def keys_of(config: SourceConfig, known: Keys | None, serialized: bytes, where: str) -> Keys:
    """Which features hold the image, the label, its name and the file's name, by one record.

    Raises:
      InputError: it cannot be told, or the image is none.
    """
    features = example_of(serialized, where).features.feature
    asked = known or _SLIM
    image = config.image_key or _first_of(features, [asked.image, *_IMAGE_KEYS])
    label = config.label_key or _first_of(features, [asked.label, *_LABEL_KEYS])
    text = '' if config.label_key else _first_of(features, [asked.text, *_TEXT_KEYS])
    for flag, key in (('image_key', image), ('label_key', label or text)):
        if not key or key not in features:
            _check_is_one_image(serialized, where)
            found = ', '.join(f'{name} ({_kind(features, name)})' for name in sorted(features))
            raise InputError(
                f'{where}: {f"there is no feature {key}." if key else "which feature is it?"} Name '
                f'it with --{flag}. The features are {found or "none"}.'
            )
    _check_image(features, image, where)
    return Keys(image, label, text, _first_of(features, [asked.filename, *_NAME_KEYS]))


def _first_of(features: Any, usual: Sequence[str]) -> str:
    return next((key for key in usual if key and key in features), '')


def _kind(features: Any, key: str) -> str:
    return (features[key].WhichOneof('kind') if key in features else '') or 'empty'


def _check_is_one_image(serialized: bytes, where: str) -> None:
    """Raises InputError for a tf.train.SequenceExample, which parses as an Example, too."""
    import tensorflow as tf

    lists = tf.train.SequenceExample.FromString(serialized).feature_lists.feature_list
    if lists:
        raise InputError(
            f'{where}: it is a tf.train.SequenceExample ({", ".join(sorted(lists))}), which is not '
            'supported: write a tf.train.Example for each image.'
        )


def _check_image(features: Any, key: str, where: str) -> None:
    """Raises InputError where the first image is none: then all are of another kind, likely."""
    image = features[key].bytes_list.value
    if len(image) != 1:
        raise InputError(
            f'{where}: {key} holds {len(image)} encoded images ({_kind(features, key)}); one JPEG '
            'or PNG is wanted. Raw pixels are not supported: encode them (tf.io.encode_png).'
        )
    if not begins_like_a_picture(image[0][:BEGINNING]) and len(image[0]) > BEGINNING:
        raise InputError(
            f'{where}: {key} is no image file; raw pixels, perhaps, which are not supported: '
            'encode them (tf.io.encode_png), or name another --image_key.'
        )


def record_of(keys: Keys, example: Any, place: tuple[int, int, int], where: str) -> Record:
    """place: number of the file, of the record, offset. Raises InputError: not one label."""
    features = example.features.feature
    images = features[keys.image].bytes_list.value if keys.image in features else []
    image = images[0] if len(images) == 1 else b''
    fault = '' if image else f'the record has {len(images) if len(images) > 1 else "no"} images'
    number, text = _label(keys, features, where)
    kind = kind_of(image[:BEGINNING]) or ''
    name = _text_of(features, keys.filename)
    return Record(*place, len(image), number, text, name, kind, fault)


def image_in(serialized: bytes, key: str) -> bytes:
    """Raises ValueError: there is none."""
    images = example_of(serialized, key).features.feature[key].bytes_list.value
    if len(images) != 1:
        raise ValueError(f'{key} holds {len(images)} images')
    content: bytes = images[0]
    return content


def _label(keys: Keys, features: Any, where: str) -> tuple[int | None, str]:
    text = _text_of(features, keys.text)
    if not keys.label:
        return None, text
    numbers = features[keys.label].int64_list.value if keys.label in features else []
    if len(numbers) == 1:
        return numbers[0], text
    if named := _text_of(features, keys.label):
        return None, named
    if not text:
        raise InputError(
            f'{where}: {keys.label} holds {len(numbers)} labels ({_kind(features, keys.label)}); '
            'one number or text is wanted. Name another feature with --label_key.'
        )
    return None, text


def _text_of(features: Any, key: str) -> str:
    values: Sequence[bytes] = features[key].bytes_list.value if key in features else []
    return values[0].decode('utf-8', 'surrogateescape') if len(values) == 1 else ''
