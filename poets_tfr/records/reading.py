"""Records as columns: what a finished conversion holds, and how its images are read.

    records = Records.open('~/flower_records')
    train = records['train']
    train.labels, train.paths[0], train.read(0)     # int32 [n], '<class>/<file>', an image's bytes

Only this module and its neighbours in this wing know how records are stored. A split's columns are
numpy arrays of about 100 bytes an image, read from the indexes when they are first asked for.
"""

from __future__ import annotations

import array
import contextlib
import functools
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TypeVar

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.records import schema
from poets_tfr.records.manifest import (
    CONVERT_AGAIN,
    Manifest,
    ShardIndex,
    check_digests,
    check_shards,
    load_indexes,
    load_manifest,
)

log = logging.getLogger('poets_tfr')

DIGEST = np.dtype('S32')  # numpy pads and compares with zeros: equal stays equal
_FRAME = slice(12, -4)  # of a record's frame: what stands between the checksums

_Records = TypeVar('_Records', bound='Records')


class Records:
    """The records of one data set.

    records_dir: their folder. manifest: what they were made from.
    """

    def __init__(self, records_dir: str, manifest: Manifest):
        self.records_dir, self.manifest = records_dir, manifest
        self._splits: dict[str, SplitRecords] = {}

    @classmethod
    def open(cls: type[_Records], records_dir: str | os.PathLike[str]) -> _Records:
        """Looks at what is there, and reads no image.

        Raises:
          InputError: no conversion finished there, or a shard is missing or not as long as it was.
        """
        records_dir = os.path.expanduser(records_dir)
        manifest = load_manifest(records_dir)
        check_shards(records_dir, manifest)
        return cls(records_dir, manifest)

    @property
    def labels(self) -> list[str]:
        """The classes by name, in the order of their numbers."""
        return self.manifest.labels

    @property
    def splits(self) -> dict[str, int]:
        """Split -> how many images it has."""
        return {name: split.pictures for name, split in self.manifest.splits.items()}

    def __getitem__(self, split: str) -> SplitRecords:
        """Raises InputError: an index is missing or damaged. KeyError: there is no such split."""
        if split not in self._splits:
            indexes = functools.partial(load_indexes, self.records_dir, self.manifest, split)
            self._splits[split] = SplitRecords(self.records_dir, indexes, self.check_current)
        return self._splits[split]

    def check_current(self) -> None:
        """Raises InputError where another conversion has replaced what was opened."""
        with contextlib.suppress(InputError):
            if load_manifest(self.records_dir) == self.manifest:
                return
        raise InputError(
            f'--records_dir: another conversion has replaced the records in {self.records_dir} '
            'meanwhile. Run again; runs at the same time want a --records_dir each.'
        )

    def check_indexes(self) -> None:
        """Reads every index. Raises InputError, naming it, when one is missing or damaged."""
        if not self.manifest.has_digests:
            log.info(
                'Records of version 0.1, without digests of their indexes: taken as they are. The '
                'next conversion adds them.'
            )
        for split in self.manifest.splits:
            self[split]

    def duplicates(self) -> dict[str, int]:
        """How many images have the very bytes of another one before them, and how many such
        contents lie in several splits and classes."""
        splits = [self[name] for name in self.splits]
        digests = np.concatenate([split.digests for split in splits])
        _, content, counts = np.unique(digests, return_inverse=True, return_counts=True)
        columns = {
            'across_splits': np.repeat(np.arange(len(splits)), [len(split) for split in splits]),
            'across_classes': np.concatenate([split.labels for split in splits]),
        }
        found = {'copies': len(digests) - len(counts)}
        for name, column in columns.items():
            pairs = np.unique(np.column_stack([content, column]), axis=0)
            found[name] = int((np.bincount(pairs[:, 0]) > 1).sum()) if len(pairs) else 0
        return found

    def __repr__(self) -> str:
        counts = ', '.join(f'{count} {name}' for name, count in self.splits.items())
        return f'<Records of {self.manifest.dataset_name}: {len(self.labels)} classes, {counts}>'


class SplitRecords:
    """One split, column by column, in the order of its shards: row 0 is their first record.

    shards: their paths.
    shard_sha256: hex, of each.
    records_per_shard: how many each holds.
    labels: int32 [n], 0-based.
    digests: S32 [n], SHA-256 of `image/encoded`.
    shard: int32 [n], the number of each record's shard.
    offset, size: int64 [n], its frame there, in bytes.
    paths: of the source files, relative to image_dir; a sequence of str.
    """

    def __init__(
        self,
        records_dir: str,
        indexes: Callable[[], Iterable[ShardIndex]],
        check_current: Callable[[], None],
    ):
        self._indexes, self._check_current = indexes, check_current
        self.shards: list[str] = []
        self.shard_sha256: list[str] = []
        self.records_per_shard: list[int] = []
        labels, digests, paths = array.array('i'), bytearray(), _PathsWriter()
        offset, size = array.array('q'), array.array('q')
        for index in indexes():
            self.shards.append(files.join(records_dir, index.shard))
            self.shard_sha256.append(index.sha256)
            self.records_per_shard.append(index.records)
            for entry in index.entries:
                if entry.is_record:
                    labels.append(entry.label)
                    digests += bytes.fromhex(entry.encoded_sha256)
                    offset.append(entry.offset)
                    size.append(entry.bytes)
                    paths.append(entry.path)
        self.labels = np.frombuffer(labels, np.int32)
        self.digests = np.frombuffer(digests, DIGEST)
        self.offset, self.size = np.frombuffer(offset, np.int64), np.frombuffer(size, np.int64)
        self.shard = np.repeat(
            np.arange(len(self.shards), dtype=np.int32), self.records_per_shard
        ).astype(np.int32)
        self.paths = paths.done()

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def source_digests(self) -> np.ndarray:
        """S32 [n]: SHA-256 of the source files; few need them, so they are read when asked for."""
        entries = (entry for index in self._indexes() for entry in index.entries)
        found = (bytes.fromhex(entry.source_sha256) for entry in entries if entry.is_record)
        return np.frombuffer(b''.join(found), DIGEST)

    def __repr__(self) -> str:
        return f'<SplitRecords: {len(self)} images in {len(self.shards)} shards>'

    @functools.cached_property
    def seeds(self) -> np.ndarray:
        """int64 [n]: what sets one image's random numbers off from another's; from its content."""
        return seeds_of(self.digests)

    def rows_of(self, paths: Iterable[str]) -> list[int]:
        """The row of each path. Raises KeyError: the split has no such image."""
        paths = list(paths)
        wanted = set(paths)
        found = {path: row for row, path in enumerate(self.paths) if path in wanted}
        if missing := wanted - found.keys():
            raise KeyError(min(missing))
        return [found[path] for path in paths]

    def read(self, row: int) -> bytes:
        """`image/encoded` of one record, checked: an upright JPEG or PNG.

        Raises:
          InputError: it is not what was written; the message names the shard.
        """
        ((_, encoded),) = self.batches([row], 1)
        return encoded[0]

    def read_each(self, rows: Iterable[int]) -> list[bytes]:
        """As `read`, of several rows, in their order; each shard is opened once."""
        rows = list(rows)
        of_shard = defaultdict(list)
        for row in rows:
            of_shard[int(self.shard[row])].append(row)
        found = {
            row: encoded
            for _, chosen in sorted(of_shard.items())
            for given, images in self.batches(sorted(chosen), len(chosen))
            for row, encoded in zip(given, images, strict=True)
        }
        return [found[row] for row in rows]

    def batches(
        self, rows: Sequence[int] | None = None, batch_size: int = 32
    ) -> Iterator[tuple[list[int], list[bytes]]]:
        """(rows, `image/encoded` of each) of all records, or of the given rows; checked.

        Raises:
          InputError: as `read`.
        """
        rows = range(len(self)) if rows is None else rows
        with contextlib.ExitStack() as opened:
            shard, file = -1, None
            for first in range(0, len(rows), batch_size):
                chosen = list(rows[first : first + batch_size])
                images = []
                for row in chosen:
                    path = self.shards[self.shard[row]]
                    with files.os_errors(path):
                        if file is None or self.shard[row] != shard:
                            opened.close()
                            shard, file = self.shard[row], files.open_read(path)
                            opened.enter_context(file)
                        file.seek(int(self.offset[row]))
                        images.append(self._encoded(row, file.read(int(self.size[row]))))
                yield chosen, images

    def record(self, row: int) -> bytes:
        """A serialised record, not checked; from any thread."""
        path = self.shards[self.shard[row]]
        with files.open_read(path) as file, files.os_errors(path):
            file.seek(int(self.offset[row]))
            return file.read(int(self.size[row]))[_FRAME]

    def check_digests(self) -> None:
        """Reads every shard. Raises InputError, naming the first that is not as it was written."""
        self._check_current()
        check_digests(zip(self.shards, self.shard_sha256, strict=True))

    def _encoded(self, row: int, frame: bytes) -> bytes:
        with contextlib.suppress(ValueError):
            record = schema.parse_all(frame[_FRAME])
            encoded, wanted = record['image/encoded'], self.digests[row].ljust(32, b'\0')
            is_whole = isinstance(encoded, bytes) and sha256(encoded).digest() == wanted
            if is_whole and record['image/class/label'] == self.labels[row]:
                return encoded  # type: ignore[return-value]
        self._check_current()
        shard = self.shards[self.shard[row]]
        raise InputError(
            f'--records_dir: the shard {shard} is damaged: delete it and {CONVERT_AGAIN}.'
        )


def seeds_of(digests: np.ndarray) -> np.ndarray:
    """int64 [n] of S32 [n]: their first eight bytes."""
    return np.ascontiguousarray(digests).view('<i8').reshape(-1, 4)[:, 0].copy()


class Paths(Sequence[str]):
    """Any number of paths in two arrays: their bytes one after another, and where each ends."""

    def __init__(self, content: bytes, ends: np.ndarray):
        """ends: int64 [n]."""
        self._content, self._ends = content, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row):  # type: ignore[no-untyped-def]
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        start = int(self._ends[row - 1]) if row else 0
        return self._content[start : int(self._ends[row])].decode('utf-8', 'surrogateescape')

    def take(self, rows: Iterable[int]) -> Paths:
        """The paths of these rows, in their order."""
        taken = _PathsWriter()
        for row in rows:
            taken.append(self[int(row)])
        return taken.done()

    def __add__(self, other: Paths) -> Paths:
        ends = np.concatenate([self._ends, other._ends + len(self._content)])
        return Paths(self._content + other._content, ends)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


class _PathsWriter:
    def __init__(self) -> None:
        self._content, self._ends = bytearray(), array.array('q')

    def append(self, path: str) -> None:
        self._content += path.encode('utf-8', 'surrogateescape')
        self._ends.append(len(self._content))

    def done(self) -> Paths:
        return Paths(bytes(self._content), np.frombuffer(self._ends, np.int64))
