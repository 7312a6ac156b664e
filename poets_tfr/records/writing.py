"""Pictures -> shards: parallel, resumable, and the same bytes whatever the number of workers.

New shards are made whole in a hidden folder inside records_dir. When all of them stand, the old
manifest goes, they take their places, and the new manifest is written last. So a conversion that is
killed or that fails changes nothing that a reader sees, and the next one finds its finished shards.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from poets_tfr import files, progress
from poets_tfr.config import ConversionConfig, InputError
from poets_tfr.records import codecs, schema
from poets_tfr.records.image_dir import SPLITS, Listing, Picture, path_bytes
from poets_tfr.records.manifest import (
    INDEX_SUFFIX,
    MANIFEST,
    IndexEntry,
    Manifest,
    Shard,
    ShardIndex,
    Split,
    load_manifest,
    save_skipped,
    save_tfds_metadata,
    settings_of,
    shard_name,
    table,
)

log = logging.getLogger('poets_tfr')

_UNFINISHED = '.unfinished'
_SEEN = '.seen.json'
_FRAME_BYTES = 8 + 4 + 4  # a TFRecord's length, its checksum, and the data's checksum

T = TypeVar('T')
R = TypeVar('R')


def convert(config: ConversionConfig, listing: Listing) -> Manifest:
    """Makes `config.records_dir` hold exactly the pictures of `listing`; does only what is missing.

    Raises:
      InputError: another process writes there; a bad picture with `on_bad_image='fail'`; more bad
        pictures than `max_bad_fraction`; a class left without pictures in a split. In all these
        cases the records that stood before still stand.
    """
    log.info('%s', table([label for _, label in listing.classes], listing.counts()))
    name = f'Converting {len(listing.pictures)} pictures to {config.records_dir}'
    with files.only_writer(config.records_dir), progress.stage(name):
        files.remove_stale_parts(config.records_dir)
        manifest = _Conversion(config, listing).run()
    outcomes = ', '.join(f'{count} {what}' for what, count in sorted(manifest.outcomes.items()))
    log.info('Found %d files: %s, %d ignored.', manifest.found, outcomes, manifest.ignored)
    return manifest


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A shard to be: its name and its pictures in hash order."""

    name: str
    split: str
    pictures: tuple[Picture, ...]


class _Conversion:
    def __init__(self, config: ConversionConfig, listing: Listing):
        self._config, self._listing = config, listing
        self._staging = files.join(config.records_dir, _UNFINISHED)
        self._workers = config.workers or os.cpu_count() or 1
        self._contract = _contract(config, listing)
        self._bad = 0

    def run(self) -> Manifest:
        plans = plan_shards(self._config, self._listing)
        with _SeenFiles(self._config) as seen:
            standing = {plan.name: self._standing(plan, seen) for plan in plans}
            missing = [plan for plan in plans if standing[plan.name] is None]
            self._bad = sum(_skipped(index) for index in standing.values() if index)
            self._check_bad()
            if not missing and self._manifest_stands(standing):
                log.info('Records: %s stands.', self._config.records_dir)
                return load_manifest(self._config.records_dir)
            if len(missing) < len(plans):
                log.info('Records: %d of %d shards stand.', len(plans) - len(missing), len(plans))
            standing.update(self._write(missing, seen))
        indexes = {plan.name: _found(standing[plan.name]) for plan in plans}
        self._check_bad(final=True)
        manifest = _manifest(self._config, self._listing, plans, indexes)
        _check_no_split_lost(manifest, self._listing)
        self._publish(manifest, indexes)
        return manifest

    def _standing(self, plan: _Plan, seen: _SeenFiles) -> ShardIndex | None:
        """The index of a finished shard that still holds just the plan's pictures, or None."""
        for directory in self._config.records_dir, self._staging:
            path = files.join(directory, plan.name)
            try:
                index = ShardIndex.load(path + INDEX_SUFFIX)
            except (OSError, InputError):
                continue
            if (
                index.contract == self._contract
                and files.size(path) == index.bytes
                and [(e.path, e.label) for e in index.entries]
                == [(p.path, p.label) for p in plan.pictures]
                and all(map(seen.is_unchanged, plan.pictures, index.entries))
            ):
                return index
        return None

    def _manifest_stands(self, standing: dict[str, ShardIndex | None]) -> bool:
        with contextlib.suppress(InputError):
            manifest = load_manifest(self._config.records_dir)
            shards = {s.file: s.sha256 for split in manifest.splits.values() for s in split.shards}
            wanted = {name: index.sha256 for name, index in standing.items() if index}
            return (
                shards == wanted
                and manifest.settings == settings_of(self._config)
                and manifest.ignored == self._listing.ignored
                and not files.exists(self._staging)
            )
        return False

    def _write(self, plans: list[_Plan], seen: _SeenFiles) -> dict[str, ShardIndex]:
        """Makes the missing shards; decoding runs in threads, for TensorFlow frees the GIL there."""
        total = sum(len(plan.pictures) for plan in plans)
        files.make_dirs(self._staging)
        files.remove_stale_parts(self._staging)
        written = {}
        with (
            concurrent.futures.ThreadPoolExecutor(self._workers) as pool,
            progress.bar(total, 'pictures', 'Converting') as bar,
        ):
            for plan in plans:
                convert_one = functools.partial(_convert_one, self._config, self._listing)
                results = _ordered(pool, convert_one, plan.pictures, 8 * self._workers)
                with contextlib.closing(results):
                    index = self._write_shard(plan, results, bar)
                for picture, entry in zip(plan.pictures, index.entries, strict=True):
                    seen.remember(picture, entry.source_sha256)
                written[plan.name] = index
        return written

    def _write_shard(
        self, plan: _Plan, results: Iterable[tuple[IndexEntry, bytes]], bar: progress.Progress
    ) -> ShardIndex:
        import tensorflow as tf

        entries, offset = [], 0
        path = files.join(self._staging, plan.name)
        files.remove(path + INDEX_SUFFIX)  # so that no index ever stands beside another's shard
        with files.replacing(path) as part:
            with tf.io.TFRecordWriter(part) as writer:
                for entry, record in results:
                    bar.update()
                    if entry.is_record:
                        writer.write(record)
                        size = len(record) + _FRAME_BYTES
                        entry = dataclasses.replace(entry, offset=offset, bytes=size)
                        offset += size
                    else:
                        self._bad += 1
                        self._check_bad(entry)
                    entries.append(entry)
            _check_written(part, entries, offset)
            digest = files.sha256_of(part)
        records = sum(entry.is_record for entry in entries)
        index = ShardIndex(plan.name, self._contract, records, offset, digest, tuple(entries))
        index.save(path + INDEX_SUFFIX)
        return index

    def _check_bad(self, entry: IndexEntry | None = None, final: bool = False) -> None:
        if entry and self._config.on_bad_image == 'fail':
            raise InputError(
                f'--on_bad_image=fail: {entry.path}: {entry.reason}. Mend or remove it, or skip '
                'such pictures with --on_bad_image=skip.'
            )
        total = len(self._listing.pictures)
        if self._bad > self._config.max_bad_fraction * total:
            raise InputError(
                f'--max_bad_fraction={self._config.max_bad_fraction}: {self._bad} of {total} '
                f'pictures cannot be used{f", the last {entry.path}: {entry.reason}" if entry else ""}'
                '. Nothing was replaced. Mend them, or raise the fraction.'
            )
        if final and self._bad:
            log.warning('%d pictures were skipped: see skipped.tsv.', self._bad)

    def _publish(self, manifest: Manifest, indexes: dict[str, ShardIndex]) -> None:
        records_dir = self._config.records_dir
        files.remove(files.join(records_dir, MANIFEST))
        for name in files.list_names(self._staging):
            if name.removesuffix(INDEX_SUFFIX) in indexes and not name.endswith(INDEX_SUFFIX):
                files.remove(files.join(records_dir, name + INDEX_SUFFIX))
                for suffix in '', INDEX_SUFFIX:
                    source = files.join(self._staging, name + suffix)
                    files.move(source, files.join(records_dir, name + suffix))
        self._remove_old_shards(records_dir, set(indexes))
        self._remove_old_shards(self._staging, set())
        with contextlib.suppress(OSError):
            os.rmdir(self._staging)
        skipped = [e for index in indexes.values() for e in index.entries if not e.is_record]
        save_skipped(records_dir, skipped)
        save_tfds_metadata(records_dir, manifest)
        files.write_json(files.join(records_dir, MANIFEST), manifest.to_json())

    def _remove_old_shards(self, directory: str, keep: set[str]) -> None:
        """Removes shards that this data set no longer has. Their index says that they are ours."""
        prefix = f'{self._config.name}-'
        for index in files.list_names(directory):
            shard = index.removesuffix(INDEX_SUFFIX)
            if shard != index and shard.startswith(prefix) and shard not in keep:
                files.remove(files.join(directory, shard))
                files.remove(files.join(directory, index))


class _SeenFiles:
    """Remembers the digest of each source file by path, size and time, so that it need not be read.

    A hidden file in records_dir, of use on this machine only; what differs is read and digested.
    """

    def __init__(self, config: ConversionConfig):
        self._image_dir = config.image_dir
        self._path = files.join(config.records_dir, _SEEN)
        self._old: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}

    def __enter__(self) -> _SeenFiles:
        with contextlib.suppress(OSError, InputError):
            remembered = files.read_json(self._path)
            if remembered.get('image_dir') == os.path.abspath(self._image_dir):
                self._old = remembered['files']
        return self

    def __exit__(self, *exc: object) -> None:
        content = {'image_dir': os.path.abspath(self._image_dir), 'files': self._new}
        if self._new != self._old:
            files.write_bytes(self._path, json.dumps(content).encode('ascii'))

    def remember(self, picture: Picture, sha256: str) -> None:
        self._new[picture.path] = [picture.size, picture.mtime_ns, sha256]

    def is_unchanged(self, picture: Picture, entry: IndexEntry) -> bool:
        size, mtime_ns, sha256 = self._old.get(picture.path, (None, None, None))
        if (size, mtime_ns) != (picture.size, picture.mtime_ns):
            try:
                sha256 = files.sha256_of(files.join(self._image_dir, picture.path))
            except OSError:
                sha256 = ''
        self.remember(picture, sha256)
        return sha256 == entry.source_sha256


def plan_shards(config: ConversionConfig, listing: Listing) -> list[_Plan]:
    """Which picture goes into which shard: by the hash of its path alone, so class-mixed and stable.

    The number of shards of a split comes from the listing alone: `num_shards`, or one for every
    `shard_mib` begun.
    """
    plans = []
    for split in SPLITS:
        pictures = [picture for picture in listing.pictures if picture.split == split]
        if not pictures:
            continue
        in_order = sorted((_shard_hash(picture.path), picture) for picture in pictures)
        total = sum(picture.size for picture in pictures)
        shards = config.num_shards or max(1, math.ceil(total / (config.shard_mib << 20)))
        members: list[list[Picture]] = [[] for _ in range(shards)]
        for position, picture in in_order:
            members[position * shards >> 64].append(picture)
        for shard, chosen in enumerate(members):
            name = shard_name(config.name, split, shard, shards)
            plans.append(_Plan(name, split, tuple(chosen)))
    return plans


def _shard_hash(path: str) -> int:
    """64 bits of SHA-256: not the split's hash, which is not uniform inside a split."""
    return int.from_bytes(hashlib.sha256(path_bytes(path)).digest()[:8], 'big')


def _contract(config: ConversionConfig, listing: Listing) -> str:
    """A digest of all that a shard's bytes depend on besides its pictures."""
    versions = [codecs.VERSION, schema.VERSION, listing.classes]
    return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:16]


def _convert_one(
    config: ConversionConfig, listing: Listing, picture: Picture
) -> tuple[IndexEntry, bytes]:
    """One source file -> its index entry (not yet placed) and its record; b'' when skipped."""
    content, digest = b'', ''
    try:
        content = files.read_bytes(files.join(config.image_dir, picture.path))
        digest = hashlib.sha256(content).hexdigest()
        stored = codecs.store(content)
    except (codecs.BadPictureError, OSError) as error:
        reason = str(error) if isinstance(error, codecs.BadPictureError) else f'unreadable: {error}'
        return IndexEntry(
            picture.path,
            picture.label,
            digest,
            reason=reason,
            source_bytes=len(content),
            first_bytes=content[:16].hex(' '),
        ), b''
    label_text = listing.classes[picture.label].label
    record = schema.encode_example(
        stored, path_bytes(picture.path), picture.label, label_text, digest
    )
    encoded_sha256 = digest if stored.as_is else hashlib.sha256(stored.encoded).hexdigest()
    outcome = 'as is' if stored.as_is else f'as {stored.format}'
    return IndexEntry(picture.path, picture.label, digest, encoded_sha256, outcome=outcome), record


def _ordered(
    pool: concurrent.futures.Executor, function: Callable[[T], R], items: Iterable[T], window: int
) -> Iterator[R]:
    """Like `pool.map`, but no more than `window` results wait at a time: memory stays flat."""
    iterator = iter(items)
    waiting = [pool.submit(function, item) for item in itertools.islice(iterator, window)]
    waiting.reverse()
    try:
        while waiting:
            result = waiting.pop().result()
            for item in itertools.islice(iterator, 1):
                waiting.insert(0, pool.submit(function, item))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def _check_written(path: str, entries: list[IndexEntry], size: int) -> None:
    """Reads the new file once: its length, its records and all their checksums."""
    import tensorflow as tf

    wanted = sum(entry.is_record for entry in entries)
    records = tf.data.TFRecordDataset(path).reduce(0, lambda n, _: n + 1).numpy()
    if records != wanted or files.size(path) != size:
        raise OSError(f'{path}: wrote {wanted} records in {size} bytes, read back {records}')


def _skipped(index: ShardIndex) -> int:
    return sum(not entry.is_record for entry in index.entries)


def _found(index: ShardIndex | None) -> ShardIndex:
    assert index is not None
    return index


def _manifest(
    config: ConversionConfig,
    listing: Listing,
    plans: list[_Plan],
    indexes: dict[str, ShardIndex],
) -> Manifest:
    splits = {}
    for split in SPLITS:
        of_split = [indexes[plan.name] for plan in plans if plan.split == split]
        entries = [entry for index in of_split for entry in index.entries if entry.is_record]
        per_class = Counter(entry.label for entry in entries)
        splits[split] = Split(
            pictures=len(entries),
            pictures_per_class=tuple(per_class[i] for i in range(len(listing.classes))),
            shards=tuple(Shard(i.shard, i.records, i.bytes, i.sha256) for i in of_split),
        )
    everything = [entry for index in indexes.values() for entry in index.entries]
    skipped = [entry for entry in everything if not entry.is_record]
    return Manifest(
        dataset_name=config.name,
        classes=listing.classes,
        splits=splits,
        settings=settings_of(config),
        found=len(everything) + listing.ignored,
        ignored=listing.ignored,
        skipped=len(skipped),
        skip_reasons=dict(Counter(entry.reason for entry in skipped)),
        outcomes=dict(Counter(entry.outcome for entry in everything)),
    )


def _check_no_split_lost(manifest: Manifest, listing: Listing) -> None:
    """A class whose every picture of a split was bad would break training hours later."""
    for split, listed in listing.counts().items():
        stored = manifest.splits[split].pictures_per_class
        for (folder, _), before, after in zip(listing.classes, listed, stored, strict=True):
            if before and not after:
                raise InputError(
                    f'--image_dir: all {before} pictures of the class {folder!r} for {split} are '
                    'bad (run with --on_bad_image=fail to see the first). Nothing was replaced. '
                    'Remove or mend them and run again.'
                )
