"""The Example contract: the keys of one record, written and read in this file only.

The union of the keys of TF-slim, Inception's build_image_data.py and TensorFlow Datasets. Labels
are 0-based.
"""

from __future__ import annotations

from typing import Any

from poets_tfr.records.codecs import StoredPicture

VERSION = 1

KEYS = {
    'image/encoded': 'bytes_list',
    'image/format': 'bytes_list',
    'image/height': 'int64_list',
    'image/width': 'int64_list',
    'image/colorspace': 'bytes_list',
    'image/channels': 'int64_list',
    'image/filename': 'bytes_list',
    'image/class/label': 'int64_list',
    'image/class/text': 'bytes_list',
    'image/sha256': 'bytes_list',
}


def encode_example(
    picture: StoredPicture, path: bytes, label: int, label_text: str, source_sha256: str
) -> bytes:
    """One picture -> one serialised `tf.train.Example`, the same bytes for the same picture.

    Args:
      picture: what is stored.
      path: relative to image_dir, '/'-separated, in the file system's own bytes.
      label: 0-based index of the class.
      label_text: the class's label.
      source_sha256: hex digest of the source file.
    """
    import tensorflow as tf

    values = {
        'image/encoded': picture.encoded,
        'image/format': picture.format.encode(),
        'image/height': picture.height,
        'image/width': picture.width,
        'image/colorspace': b'RGB',
        'image/channels': 3,
        'image/filename': path,
        'image/class/label': label,
        'image/class/text': label_text.encode('utf-8', 'surrogateescape'),
        'image/sha256': source_sha256.encode(),
    }
    example = tf.train.Example()
    feature = example.features.feature  # filled in place: messages that are passed on are copied
    for key, value in values.items():
        getattr(feature[key], KEYS[key]).value.append(value)
    return example.SerializeToString(deterministic=True)


def parse_encoded(serialized: Any) -> Any:
    """Serialised Examples (string, any shape [n]) -> their encoded pictures (string [n])."""
    import tensorflow as tf

    key = 'image/encoded'
    return tf.io.parse_example(serialized, {key: tf.io.FixedLenFeature([], tf.string)})[key]


def parse_all(serialized: bytes) -> dict[str, bytes | int]:
    """Every key of one record.

    Raises:
      ValueError: not an Example, or a key of the contract is missing.
    """
    import tensorflow as tf

    try:
        example = tf.train.Example.FromString(serialized)
    except Exception as error:  # protobuf's DecodeError has no public name
        raise ValueError(f'not a tf.train.Example: {error}') from None
    values: dict[str, bytes | int] = {}
    for key, kind in KEYS.items():
        found = getattr(example.features.feature[key], kind).value
        if len(found) != 1:
            raise ValueError(f'{key} holds {len(found)} values of {kind}, not one')
        values[key] = found[0]
    return values
