"""TFRecords that others made: TensorFlow Datasets', TF-slim's, the Model Garden's, any Examples.

TensorFlow is imported where records are parsed, and not before the files were looked at.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from poets_tfr import progress
from poets_tfr.errors import InputError
from poets_tfr.sources import examples, names, numbering, record_files, record_splits
from poets_tfr.sources.examples import Record
from poets_tfr.sources.kept import kept
from poets_tfr.sources.record_paths import RecordPaths
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Readable
from poets_tfr.sources.tfds import Keys, keys_in_folders, version_folder

_OFFSET_BITS = 44


class TFRecords:
    """A source of TFRecord files. An image's place is its file's number and its record's offset."""

    files_root = ''

    def __init__(self, config: SourceConfig):
        self._config = config
        self._flag = f'--image_tfrecords={config.image_tfrecords}'

    def inventory(self) -> Inventory:
        paths = self._files
        split_of = record_splits.of_files(self._config, paths)
        record_files.tell_missing(paths)
        records = [Record(*each) for each in self._found['records']]
        if not records:
            raise InputError(f'{self._flag}: there are no records in {len(paths)} files.')
        label_of = self._labels(records)
        paths_of = RecordPaths(paths, records)
        stamps = [os.stat(path).st_mtime_ns for path in paths]
        images = [
            Listed(
                paths_of.path(row), label_of(record), record.size, stamps[record.file],
                split_of[record.file], record.fault,
                place=record.file << _OFFSET_BITS | record.offset,
            )
            for row, record in enumerate(records)
        ]  # fmt: skip
        by = 'the names of the files' if any(split_of) else ''
        return Inventory(images, 0, by)

    def read(self, image: Readable) -> bytes:
        number, offset = image.place >> _OFFSET_BITS, image.place & (1 << _OFFSET_BITS) - 1
        path = self._files[number]
        with open(path, 'rb') as file:
            serialized = record_files.record_at(file, offset, path)
        try:
            content = examples.image_in(serialized, self._found['keys'][0])
        except ValueError as error:
            raise OSError(5, f'the record has changed ({error})', path) from None
        if len(content) != image.size:
            raise OSError(5, 'the record has changed', path)
        return content

    def close(self) -> None:
        pass

    def clean_up(self) -> None:
        pass

    @functools.cached_property
    def _files(self) -> list[str]:
        place = version_folder(self._config.image_tfrecords)
        wanted = '.tfrecord or .tfrecords'
        return record_files.files_of(place, self._flag, record_files.is_named_so, wanted)

    @functools.cached_property
    def _known(self) -> Keys | None:
        config = self._config
        folders = sorted({os.path.dirname(path) for path in self._files})
        return keys_in_folders(folders, config.image_key, config.label_key)

    @functools.cached_property
    def _found(self) -> dict[str, Any]:
        """keys: of the image, label, text and name; records: see `Record`."""
        paths, config, known = self._files, self._config, self._known
        what = json.dumps(['tfrecords 2', [config.image_key, config.label_key], known])
        found: dict[str, Any] = kept(what, paths, lambda: _look_through(config, paths, known))
        return found

    def _labels(self, records: Sequence[Record]) -> Callable[[Any], str]:
        """A function: record -> its class's name."""
        config, known = self._config, self._known

        def where(row: int) -> str:
            return f'{self._files[records[row].file]}, record {records[row].row}'

        given = names.read(config.label_names) if config.label_names else None
        by_tfds = known.names if known and not given else ()
        if not given and not by_tfds and all(record.text for record in records):
            numbering.check_texts([(r.number, r.text) for r in records], where)
            return lambda record: record.text
        # TensorFlow Datasets counts from 0, whatever occurs.
        first = '0' if by_tfds and config.first_label == 'auto' else config.first_label
        numbers = [record.number for record in records]
        return numbering.name_of(first, numbers, given or by_tfds or None, where, 'label_key')


def _look_through(config: SourceConfig, paths: Sequence[str], known: Keys | None) -> dict[str, Any]:
    """Every record of all files, checked by its checksums.

    Raises:
      InputError: the keys are not found, or a record is damaged.
    """
    for path in paths:
        record_files.check_whole(path)
    keys = None
    records: list[Record] = []
    total = sum(map(os.path.getsize, paths))
    with progress.bar(total >> 20, 'MiB', 'Looking through records') as bar:
        before = told = 0
        for number, path in enumerate(paths):
            for row, offset, serialized in examples.serialized_in(path):
                where = f'{path}, record {row}'
                keys = keys or examples.keys_of(config, known, serialized, where)
                example = examples.example_of(serialized, where)
                records.append(examples.record_of(keys, example, (number, row, offset), where))
                done = before + offset + len(serialized) >> 20
                bar.update(done - told)
                told = done
            before += os.path.getsize(path)
    return {'keys': keys, 'records': records}
