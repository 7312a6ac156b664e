"""One record: its keys, their types, the same bytes for the same picture."""

from __future__ import annotations

import pytest
import tensorflow as tf

from poets_tfr.records import schema
from poets_tfr.records.codecs import StoredPicture

PICTURE = StoredPicture(b'\xff\xd8\xff picture', 'JPEG', height=30, width=40, outcome='as is')


def encode(path: bytes = b'daisy/1.jpg', label_text: str = 'daisy') -> bytes:
    return schema.encode_example(PICTURE, path, 2, label_text, 'ab' * 32)


def test_keys_and_types_of_tf_slim_and_tfds() -> None:
    text, integer = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64)
    spec = {
        'image/encoded': text,
        'image/format': text,
        'image/height': integer,
        'image/width': integer,
        'image/colorspace': text,
        'image/channels': integer,
        'image/filename': text,
        'image/class/label': integer,
        'image/class/text': text,
        'image/sha256': text,
    }
    parsed = tf.io.parse_single_example(encode(), spec)
    assert {key: value.numpy() for key, value in parsed.items()} == {
        'image/encoded': PICTURE.encoded,
        'image/format': b'JPEG',
        'image/height': 30,
        'image/width': 40,
        'image/colorspace': b'RGB',
        'image/channels': 3,
        'image/filename': b'daisy/1.jpg',
        'image/class/label': 2,
        'image/class/text': b'daisy',
        'image/sha256': b'ab' * 32,
    }
    assert len(tf.train.Example.FromString(encode()).features.feature) == len(spec)


def test_bytes_are_golden() -> None:
    # A map's order is not given by protobuf; here it must not change between runs or versions.
    example = tf.train.Example.FromString(encode())
    keys = sorted(example.features.feature)
    positions = [encode().index(key.encode()) for key in keys]
    assert positions == sorted(positions)
    assert encode() == encode()


def test_parse_all_gives_back_what_was_encoded() -> None:
    values = schema.parse_all(encode(b'caf\xe9/\n.jpg', '\udce9'))
    assert values['image/filename'] == b'caf\xe9/\n.jpg'
    assert values['image/class/text'] == b'\xe9', "the folder's own bytes"
    assert (values['image/height'], values['image/class/label']) == (30, 2)


def test_parse_encoded_reads_a_batch() -> None:
    assert schema.parse_encoded([encode(), encode(b'x')]).numpy().tolist() == [PICTURE.encoded] * 2


@pytest.mark.parametrize('key', list(schema.KEYS))
def test_a_missing_key_is_named(key: str) -> None:
    example = tf.train.Example.FromString(encode())
    del example.features.feature[key]
    with pytest.raises(ValueError, match=key):
        schema.parse_all(example.SerializeToString())


def test_a_key_of_the_wrong_type_is_named() -> None:
    example = tf.train.Example.FromString(encode())
    example.features.feature['image/height'].bytes_list.value.append(b'30')
    with pytest.raises(ValueError, match='image/height'):
        schema.parse_all(example.SerializeToString())


def test_garbage_is_no_example() -> None:
    with pytest.raises(ValueError, match=r'not a tf\.train\.Example'):
        schema.parse_all(b'\xff\xff\xff')
