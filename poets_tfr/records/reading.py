"""Records out of the shards, each found by its place in the index."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import numpy as np

from poets_tfr import files
from poets_tfr.config import InputError
from poets_tfr.records import schema
from poets_tfr.records.manifest import CONVERT_AGAIN, IndexEntry, Manifest, ShardIndex, load_indexes


def read_pictures(
    records_dir: str, manifest: Manifest, split: str, paths: Iterable[str]
) -> dict[str, bytes]:
    """Path -> `image/encoded` of those pictures of a split; the rest of the shards is not read.

    Raises:
      InputError: a record is not what was written; the message names its shard.
      KeyError: the split has no such picture.
    """
    wanted = set(paths)
    places: dict[str, list[IndexEntry]] = defaultdict(list)
    for index in load_indexes(records_dir, manifest, split):
        for entry in index.entries:
            if entry.is_record and entry.path in wanted:
                places[index.shard].append(entry)
                wanted.remove(entry.path)
    if wanted:
        raise KeyError(min(wanted))
    pictures = {}
    for shard, entries in places.items():
        path = files.join(records_dir, shard)
        with files.open_read(path) as file, files.os_errors(path):
            for entry in entries:
                file.seek(entry.offset)
                pictures[entry.path] = _encoded(path, entry, file.read(entry.bytes))
    return pictures


def each_picture(
    records_dir: str, manifest: Manifest, split: str
) -> Iterator[tuple[IndexEntry, bytes]]:
    """Every picture of a split in the order of its records, with `image/encoded`.

    Raises:
      InputError: a record is not what was written; the message names its shard.
    """
    for index in load_indexes(records_dir, manifest, split):
        path = files.join(records_dir, index.shard)
        with files.open_read(path) as file, files.os_errors(path):
            for entry in index.entries:
                if entry.is_record:
                    file.seek(entry.offset)
                    yield entry, _encoded(path, entry, file.read(entry.bytes))


def _encoded(shard: str, entry: IndexEntry, frame: bytes) -> bytes:
    with contextlib.suppress(ValueError):
        encoded = schema.parse_all(frame[12:-4])['image/encoded']  # between the checksums
        if isinstance(encoded, bytes) and sha256(encoded).hexdigest() == entry.encoded_sha256:
            return encoded
    raise InputError(f'--records_dir: the shard {shard} is damaged: delete it and {CONVERT_AGAIN}.')


class RecordReader:
    """Called with a row, reads its serialised record; in any order, from any thread."""

    def __init__(self, shards: list[str], places: np.ndarray):
        """places: int64 [rows, 3]: the number of the shard, the frame's offset and its length."""
        self._shards, self._places = shards, places

    @classmethod
    def of(cls, records_dir: str, indexes: Sequence[ShardIndex]) -> RecordReader:
        """The records of these shards: rows 0, 1, 2 ... in their order."""
        places = [
            (number, entry.offset, entry.bytes)
            for number, index in enumerate(indexes)
            for entry in index.entries
            if entry.is_record
        ]
        shards = [files.join(records_dir, index.shard) for index in indexes]
        return cls(shards, np.array(places, np.int64).reshape(-1, 3))

    def __call__(self, row: int) -> bytes:
        shard, offset, size = self._places[row].tolist()
        path = self._shards[shard]
        with files.open_read(path) as file, files.os_errors(path):
            file.seek(offset)
            return file.read(size)[12:-4]  # between the checksums
