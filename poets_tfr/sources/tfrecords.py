"""TFRecords that others made: TensorFlow Datasets', TF-slim's, the Model Garden's, any Examples.

TensorFlow is imported where records are parsed, and not before the files were looked at.
"""

from __future__ import annotations

import functools
import glob
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from poets_tfr import progress
from poets_tfr.errors import InputError
from poets_tfr.sources import names, numbering, record_splits
from poets_tfr.sources.headers import BEGINNING, begins_like_a_picture, kind_of
from poets_tfr.sources.kept import kept
from poets_tfr.sources.record_paths import RecordPaths
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Readable
from poets_tfr.sources.tfds import Keys, keys_in_folder

log = logging.getLogger('poets_tfr')

_OFFSET_BITS = 44
_HEADER, _FOOTER = 8 + 4, 4  # a record's length and its checksum; the data's checksum
_LARGEST = 1 << 30  # bytes of one record
_SLIM = Keys('image/encoded', 'image/class/label', 'image/class/text', 'image/filename')
_IMAGE_KEYS = 'image/encoded', 'image', 'image_raw', 'encoded', 'jpeg', 'png'
_LABEL_KEYS = 'image/class/label', 'label', 'labels', 'class', 'class/label', 'target'
_TEXT_KEYS = 'image/class/text', 'class/text', 'label_text', 'class_name'
_NAME_KEYS = 'image/filename', 'filename', 'file_name', 'image/file_name', 'image/id', 'id', 'name'
_COMPRESSED = b'\x1f\x8b', b'\x78\x9c', b'\x78\x01', b'\x78\xda'


class _Record(NamedTuple):
    """number: the label, where it is one. text: its name, where the record says it."""

    file: int
    offset: int
    size: int
    number: int | None
    text: str
    name: str
    kind: str


class TFRecords:
    """A source of TFRecord files. An image's place is its file's number and its record's offset."""

    files_root = ''

    def __init__(self, config: SourceConfig):
        self._config = config
        self._place = f'--image_tfrecords={config.image_tfrecords}'

    def inventory(self) -> Inventory:
        config, paths = self._config, self._files
        split_of = record_splits.of_files(config, paths)
        records = [_Record(*each) for each in self._found['records']]
        if not records:
            raise InputError(f'{self._place}: there are no records in {len(paths)} files.')
        label_of = self._labels(records)
        paths_of = RecordPaths(paths, records)
        stamps = [os.stat(path).st_mtime_ns for path in paths]
        images = [
            Listed(
                paths_of.path(number), label_of(record), record.size, stamps[record.file],
                split_of[record.file], place=record.file << _OFFSET_BITS | record.offset,
            )
            for number, record in enumerate(records)
        ]  # fmt: skip
        by = 'the names of the files' if any(split_of) else ''
        return Inventory(images, 0, by)

    def read(self, image: Readable) -> bytes:
        import tensorflow as tf

        number, offset = image.place >> _OFFSET_BITS, image.place & (1 << _OFFSET_BITS) - 1
        with open(self._files[number], 'rb') as file:
            file.seek(offset)
            example = tf.train.Example.FromString(_next_record(file, self._files[number]))
        key = self._found['keys'][0]
        content: bytes = example.features.feature[key].bytes_list.value[0]
        return content

    def close(self) -> None:
        pass

    def clean_up(self) -> None:
        pass

    @functools.cached_property
    def _files(self) -> list[str]:
        wanted = '.tfrecord or .tfrecords'
        found = files_of(self._config.image_tfrecords, self._place, _is_named_so, wanted)
        for path in found:
            _check_first(path)
        return found

    @functools.cached_property
    def _known(self) -> Keys | None:
        return keys_in_folder(os.path.dirname(self._files[0]))

    @functools.cached_property
    def _found(self) -> dict[str, Any]:
        """keys: of the image, label, text and name; records: see `_Record`."""
        paths, config = self._files, self._config
        known = self._known
        asked = [config.image_key, config.label_key]
        what = json.dumps(['tfrecords 1', asked, known])
        found: dict[str, Any] = kept(what, paths, lambda: _look_through(config, paths, known))
        return found

    def _labels(self, records: Sequence[_Record]) -> Any:
        """A function: record -> its class's name."""
        config = self._config
        known = self._known
        given = names.read(config.label_names) if config.label_names else (known and known.names)
        if not given and all(record.text for record in records):
            numbering.check_texts(self._place, [(r.number, r.text) for r in records])
            return lambda record: record.text
        numbers = [record.number for record in records]
        return numbering.name_of(self._place, config.first_label, numbers, given or None)


def files_of(place: str, flag: str, is_one: Callable[[str], bool], wanted: str) -> list[str]:
    """The record files that a folder, a file or a pattern names, sorted.

    Args:
      is_one: whether a file of a folder is meant, by its path; `wanted` says what is.

    Raises:
      InputError: there are none.
    """
    if os.path.isdir(place):
        found = [p for p in glob.glob(os.path.join(glob.escape(place), '*')) if is_one(p)]
        if not found:
            below = sorted(glob.glob(os.path.join(glob.escape(place), '*', 'dataset_info.json')))
            hint = f'; try --image_tfrecords={os.path.dirname(below[-1])}' if below else ''
            raise InputError(f'{flag}: there is no file named {wanted}{hint}.')
    else:
        found = [place] if os.path.isfile(place) else glob.glob(place)
        found = [path for path in found if os.path.isfile(path)]
        if not found:
            raise InputError(f'{flag}: no such file (looked at {os.path.abspath(place)}).')
    return sorted(found)


def _is_named_so(path: str) -> bool:
    words = os.path.basename(path).lower().split('.')[-1].split('-')
    is_ours = path.endswith(('.jsonl', '.idx', '.json'))
    name = os.path.basename(path).lower()
    return not is_ours and ('tfrecord' in name or words[0] == 'record' or '-of-' in name)


def _check_first(path: str) -> None:
    """Raises InputError where a file cannot be TFRecords."""
    try:
        with open(path, 'rb') as file:
            beginning = file.read(_HEADER)
    except OSError as error:
        raise InputError(f'--image_tfrecords: {path} cannot be read ({error.strerror}).') from None
    if not beginning:
        return
    length = int.from_bytes(beginning[:8], 'little')
    size = os.path.getsize(path)
    if len(beginning) == _HEADER and _HEADER + length + _FOOTER <= size:
        return
    if beginning.startswith(_COMPRESSED):
        raise InputError(
            f'--image_tfrecords: {path} is compressed: unpack it first (gunzip -c, say).'
        )
    raise InputError(f'--image_tfrecords: {path} holds no TFRecords, or is cut off.')


def _next_record(file: Any, path: str) -> bytes:
    """Raises OSError: the file has changed."""
    header = file.read(_HEADER)
    length = int.from_bytes(header[:8], 'little') if len(header) == _HEADER else _LARGEST + 1
    content: bytes = file.read(length) if length <= _LARGEST else b''
    if len(content) != length:
        raise OSError(5, 'the record is not where it was', path)
    return content


def _look_through(config: SourceConfig, paths: Sequence[str], known: Keys | None) -> dict[str, Any]:
    """Every record of all files, checked by its checksums.

    Raises:
      InputError: the keys are not found, or a record is damaged.
    """
    keys = None
    records: list[_Record] = []
    total = sum(map(os.path.getsize, paths))
    with progress.bar(total >> 20, 'MiB', 'Looking through records') as bar:
        read = told = 0
        for number, path in enumerate(paths):
            for place, (offset, example) in enumerate(_examples(path)):
                where = f'{path}, record {place}'
                keys = keys or _keys(config, known, example, where)
                records.append(_record(keys, example, number, offset, where))
                read += _HEADER + _FOOTER + example.ByteSize()
                bar.update((read >> 20) - told)
                told = read >> 20
    return {'keys': keys, 'records': records}


def _examples(path: str) -> Iterator[tuple[int, Any]]:
    """(offset, tf.train.Example) of each record."""
    import tensorflow as tf

    offset = 0
    try:
        for serialized in tf.data.TFRecordDataset(path).as_numpy_iterator():
            example = tf.train.Example.FromString(serialized)
            yield offset, example
            offset += _HEADER + len(serialized) + _FOOTER
    except tf.errors.DataLossError:
        raise InputError(
            f'--image_tfrecords: {path} is damaged at byte {offset:,}: fetch or make it again.'
        ) from None
    except InputError:
        raise
    except Exception as error:  # protobuf's DecodeError has no public name
        raise InputError(
            f'--image_tfrecords: {path}: the record at byte {offset:,} is no tf.train.Example '
            f'({names.one_line(error)}).'
        ) from None


def _keys(config: SourceConfig, known: Keys | None, example: Any, where: str) -> Keys:
    """Which features hold the image, the label, its name and the file's name.

    Raises:
      InputError: it cannot be told.
    """
    features = example.features.feature
    asked = known or _SLIM
    image = config.image_key or _first_of(features, [asked.image, *_IMAGE_KEYS])
    label = config.label_key or _first_of(features, [asked.label, *_LABEL_KEYS])
    text = '' if config.label_key else _first_of(features, [asked.text, *_TEXT_KEYS])
    for flag, key in (('image_key', image), ('label_key', label or text)):
        if not key or key not in features:
            found = ', '.join(
                f'{name} ({features[name].WhichOneof("kind") or "empty"})'
                for name in sorted(features)
            )
            raise InputError(
                f'{where}: {f"there is no feature {key}." if key else "which feature is it?"} Name '
                f'it with --{flag}. The features are {found}.'
            )
    return Keys(image, label, text, _first_of(features, [asked.filename, *_NAME_KEYS]))


def _first_of(features: Any, usual: Sequence[str]) -> str:
    return next((key for key in usual if key and key in features), '')


def _record(keys: Keys, example: Any, file: int, offset: int, where: str) -> _Record:
    features = example.features.feature
    image = features[keys.image].bytes_list.value
    if len(image) != 1:
        kind = features[keys.image].WhichOneof('kind') or 'nothing'
        raise InputError(
            f'{where}: {keys.image} holds {len(image)} encoded images ({kind}); one JPEG or PNG is '
            'wanted. Raw pixels are not supported: encode them (tf.io.encode_png).'
        )
    if not begins_like_a_picture(image[0][:BEGINNING]) and len(image[0]) > BEGINNING:
        raise InputError(
            f'{where}: {keys.image} is no image file; raw pixels, perhaps, which are not '
            'supported: encode them (tf.io.encode_png), or name another --image_key.'
        )
    number, text = _label(keys, features, where)
    name = _text_of(features, keys.filename)
    return _Record(file, offset, len(image[0]), number, text, name, kind_of(image[0]) or '')


def _label(keys: Keys, features: Any, where: str) -> tuple[int | None, str]:
    text = _text_of(features, keys.text)
    if not keys.label:
        return None, text
    numbers = features[keys.label].int64_list.value
    if len(numbers) == 1:
        return numbers[0], text
    if named := _text_of(features, keys.label):
        return None, named
    if not text:
        raise InputError(f'{where}: {keys.label} holds {len(numbers)} labels; one is wanted.')
    return None, text


def _text_of(features: Any, key: str) -> str:
    values: Sequence[bytes] = features[key].bytes_list.value if key in features else []
    return values[0].decode('utf-8', 'surrogateescape') if len(values) == 1 else ''
