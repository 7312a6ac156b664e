"""What a records_dir holds, and whether it holds what its manifest says."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import struct
from collections import Counter
from collections.abc import Iterator, Sequence

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.parallel import decoding_threads, ordered
from poets_tfr.progress import printable
from poets_tfr.records import codecs, duplicates, schema
from poets_tfr.records.duplicates import Member
from poets_tfr.records.manifest import (
    CONVERT_AGAIN,
    DALI_SUFFIX,
    DUPLICATES,
    INDEX_SUFFIX,
    SKIPPED,
    IndexEntry,
    Manifest,
    Shard,
    ShardIndex,
    dali_index,
    duplicates_tsv,
    skipped_tsv,
    table,
    tfds_metadata,
)
from poets_tfr.records.shards import FRAME_BYTES
from poets_tfr.sources.listing import ClassFolder
from poets_tfr.sources.splits import path_bytes

_REMAKE = f'delete the shard and {CONVERT_AGAIN}'


def describe(manifest: Manifest) -> str:
    """A few lines for people: the classes, how many pictures, which shards, what was left out."""
    folders = [
        f'  {i}  {printable(c.label)!r} from {printable(c.folder)}/'
        for i, c in enumerate(manifest.classes)
    ]
    shards = [
        f'  {shard.file}: {shard.records:,} records, {shard.bytes:,} bytes'
        for split in manifest.splits.values()
        for shard in split.shards
    ]
    reasons = sorted(manifest.skip_reasons.items(), key=lambda item: (-item[1], item[0]))
    return '\n'.join(
        [
            f'Data set {manifest.dataset_name}, {len(folders)} classes:',
            *folders,
            table(manifest.labels, manifest.counts),
            f'{len(shards)} shards:',
            *shards,
            f'{manifest.found:,} files found, {manifest.skipped:,} skipped, '
            f'{manifest.ignored:,} ignored.',
            *(f'  skipped {count:,}: {printable(reason)}' for reason, count in reasons),
            *([f'{manifest.relabelled:,} relabelled.'] if manifest.relabelled else []),
            *([f'{manifest.duplicates:,} duplicates, all kept.'] if manifest.duplicates else []),
        ]
    )


def verify(records_dir: str, manifest: Manifest) -> list[str]:
    """Reads and decodes every record, and compares it with its index and with the manifest.

    Returns:
      What is wrong, one line each: the shard and the record, what was found, what to do.
    """
    checker = _Checker(records_dir, manifest)
    total = sum(split.pictures for split in manifest.splits.values())
    with (
        concurrent.futures.ThreadPoolExecutor(decoding_threads()) as pool,
        progress.bar(total, 'records', 'Verifying') as bar,
    ):
        for name, split in manifest.splits.items():
            for shard in split.shards:
                checker.check_shard(shard, name, pool, bar)
    checker.check_totals()
    return checker.findings


def readable_records(path: str) -> int:
    """How many records of a shard can be read before it ends, or a checksum is wrong."""
    import tensorflow as tf

    count = 0
    with contextlib.suppress(tf.errors.DataLossError):
        for _ in tf.data.TFRecordDataset(path):
            count += 1
    return count


class _Checker:
    def __init__(self, records_dir: str, manifest: Manifest):
        self._records_dir, self._manifest = records_dir, manifest
        self._indexes: list[ShardIndex] = []
        self._members: list[Member] = []
        self._shard_of: dict[str, str] = {}
        self._counts: dict[str, Counter[int]] = {name: Counter() for name in manifest.splits}
        self.findings: list[str] = []

    def check_shard(
        self,
        shard: Shard,
        split: str,
        pool: concurrent.futures.Executor,
        bar: progress.Progress,
    ) -> None:
        path = files.join(self._records_dir, shard.file)
        size = files.size(path)
        if size is None:
            self._found(shard, 'is missing', CONVERT_AGAIN)
            return
        if size != shard.bytes:
            self._found(shard, f'has {size} bytes, not {shard.bytes}')
        elif files.sha256_of(path) != shard.sha256:
            self._found(shard, 'is not as it was written (sha256)')
        index = self._load_index(shard)
        if index is None:
            return
        entries = [entry for entry in index.entries if entry.is_record]
        damaged = self._check_records(path, shard, entries, pool, bar)
        readable = readable_records(path)
        if readable < len(entries) and readable not in damaged:
            self._found_record(shard, readable, entries[readable], 'its checksum is wrong')
        self._members += [Member(e.path, e.label, split, e.source_sha256) for e in entries]
        self._check_dali_index(path + DALI_SUFFIX, index)
        for entry in index.entries:
            other = self._shard_of.setdefault(entry.path, shard.file)
            if other != shard.file:
                self._found(shard, f'holds {printable(entry.path)}, as {other} does')
        self._counts[split].update(entry.label for entry in entries)

    def check_totals(self) -> None:
        """The manifest's sums, and the files that say the same as it; needs every index."""
        shards = sum(len(split.shards) for split in self._manifest.splits.values())
        if len(self._indexes) < shards:
            return
        classes = range(len(self._manifest.classes))
        for name, split in self._manifest.splits.items():
            per_class = tuple(self._counts[name][label] for label in classes)
            if (split.pictures, split.pictures_per_class) != (sum(per_class), per_class):
                self._found_in_manifest(
                    f'{name} has {split.pictures} images, {list(split.pictures_per_class)} per '
                    f'class; the shards hold {list(per_class)}'
                )
        entries = [entry for index in self._indexes for entry in index.entries]
        skipped = [entry for entry in entries if not entry.is_record]
        if self._manifest.skipped != len(skipped):
            self._found_in_manifest(
                f'{self._manifest.skipped} skipped; the indexes hold {len(skipped)}'
            )
        if self._manifest.found != len(entries) + self._manifest.ignored:
            self._found_in_manifest(
                f'{self._manifest.found} files found; {len(entries)} images and '
                f'{self._manifest.ignored} ignored files are fewer or more'
            )
        copies = duplicates.find(self._members)
        if self._manifest.duplicates != len(copies):
            self._found_in_manifest(
                f'{self._manifest.duplicates} duplicates; the indexes hold {len(copies)}'
            )
        contents = {
            SKIPPED: skipped_tsv(skipped),
            DUPLICATES: duplicates_tsv(copies),
            **tfds_metadata(self._manifest),
        }
        for name, content in contents.items():
            path = files.join(self._records_dir, name)
            if not files.exists(path) or files.read_bytes(path) != content:
                self.findings.append(f'{name} is not as it was written: {CONVERT_AGAIN}')

    def _check_dali_index(self, path: str, index: ShardIndex) -> None:
        if files.exists(path) and files.read_bytes(path) != dali_index(index):
            self.findings.append(
                f'{index.shard}{DALI_SUFFIX} does not fit its shard: delete it, or write it again '
                'with tools/convert_images.py --write_index'
            )

    def _load_index(self, shard: Shard) -> ShardIndex | None:
        """The shard's index if it can be relied on; else says what is wrong with it."""
        name = shard.file + INDEX_SUFFIX
        try:
            index = ShardIndex.load(files.join(self._records_dir, name))
        except (OSError, InputError):
            self.findings.append(f'{name} is missing or damaged: {CONVERT_AGAIN}')
            return None
        records = sum(entry.is_record for entry in index.entries)
        wanted = shard.file, shard.sha256, shard.bytes, shard.records, shard.records
        if (index.shard, index.sha256, index.bytes, index.records, records) != wanted:
            self.findings.append(f'{name} does not agree with the manifest: {_REMAKE}')
            return None
        if shard.index_sha256 not in ('', index.file_sha256):
            self.findings.append(f'{name} is not as it was written (sha256): {_REMAKE}')
        self._indexes.append(index)
        return index

    def _check_records(
        self,
        path: str,
        shard: Shard,
        entries: Sequence[IndexEntry],
        pool: concurrent.futures.Executor,
        bar: progress.Progress,
    ) -> set[int]:
        """Says what is wrong with each record; returns the positions of those."""
        check = functools.partial(_check_record, self._manifest.classes)
        damaged = set()
        with contextlib.closing(ordered(pool, check, _frames(path, entries), 64)) as results:
            for position, wrong in enumerate(results):
                bar.update()
                for what in wrong:
                    self._found_record(shard, position, entries[position], what)
                    damaged.add(position)
        return damaged

    def _found_record(self, shard: Shard, position: int, entry: IndexEntry, what: str) -> None:
        self._found(shard, f'record {position} ({printable(entry.path)}): {what}')

    def _found(self, shard: Shard, what: str, remedy: str = _REMAKE) -> None:
        self.findings.append(f'{shard.file}: {what}: {remedy}')

    def _found_in_manifest(self, what: str) -> None:
        self.findings.append(f'manifest.json: {what}: delete it and {CONVERT_AGAIN}')


def _frames(path: str, entries: Sequence[IndexEntry]) -> Iterator[tuple[IndexEntry, bytes]]:
    """Each entry with the bytes that the index says are its record's, until the file ends."""
    with files.open_read(path) as file, files.os_errors(path):
        for entry in entries:
            file.seek(entry.offset)
            frame = file.read(entry.bytes)
            yield entry, frame
            if len(frame) < entry.bytes:
                return


def _check_record(classes: Sequence[ClassFolder], placed: tuple[IndexEntry, bytes]) -> list[str]:
    """What is wrong with a record, apart from its checksums."""
    entry, frame = placed
    if len(frame) < entry.bytes:
        return ['the shard ends inside it']
    if len(frame) < FRAME_BYTES or struct.unpack('<Q', frame[:8])[0] != len(frame) - FRAME_BYTES:
        return ['no record begins where the index says']
    if not 0 <= entry.label < len(classes):
        return [f'its index says class {entry.label}, of {len(classes)}']
    try:
        values = schema.parse_all(frame[12:-4])
    except ValueError as error:
        return [str(error)]
    encoded = values['image/encoded']
    assert isinstance(encoded, bytes)
    wanted = {
        'image/format': (codecs.kind_of(encoded) or 'no image').encode(),
        'image/colorspace': b'RGB',
        'image/channels': 3,
        'image/filename': path_bytes(entry.path),
        'image/class/label': entry.label,
        'image/class/text': classes[entry.label].label.encode('utf-8', 'surrogateescape'),
        'image/sha256': entry.source_sha256.encode(),
    }
    wrong = [
        f'{key} is {values[key]!r}, not {value!r}'
        for key, value in wanted.items()
        if values[key] != value
    ]
    if hashlib.sha256(encoded).hexdigest() != entry.encoded_sha256:
        wrong.append('its image is not the one that was written (sha256)')
    try:
        height, width, _ = codecs.decoded(encoded).shape
    except codecs.BadPictureError as error:
        return [*wrong, str(error)]
    if (height, width) != (values['image/height'], values['image/width']):
        wrong.append(f'image/height and image/width are not {height} and {width}, as decoded')
    return wrong
