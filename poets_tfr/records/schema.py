"""The Example contract: the keys of one record, written and read in this file only.

The union of the keys of TF-slim, Inception's build_image_data.py and TensorFlow Datasets. Labels
are 0-based.
"""

from __future__ import annotations

from typing import Any

from poets_tfr.records.codecs import StoredPicture

VERSION = 1


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

    def ints(value: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    def text(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    feature = {
        'image/encoded': text(picture.encoded),
        'image/format': text(picture.format.encode()),
        'image/height': ints(picture.height),
        'image/width': ints(picture.width),
        'image/colorspace': text(b'RGB'),
        'image/channels': ints(3),
        'image/filename': text(path),
        'image/class/label': ints(label),
        'image/class/text': text(label_text.encode('utf-8', 'surrogateescape')),
        'image/sha256': text(source_sha256.encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
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
    for key in KEYS:
        feature = example.features.feature[key]
        kind = feature.WhichOneof('kind')
        if kind is None:
            raise ValueError(f'the key {key} is missing')
        values[key] = getattr(feature, kind).value[0]
    return values


KEYS = (
    'image/encoded',
    'image/format',
    'image/height',
    'image/width',
    'image/colorspace',
    'image/channels',
    'image/filename',
    'image/class/label',
    'image/class/text',
    'image/sha256',
)
