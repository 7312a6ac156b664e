"""Pictures -> shards: parallel, resumable, and the same bytes whatever the number of workers.

New shards are made whole in a hidden folder inside records_dir. When all of them stand, the old
manifest goes, they take their places, and the new manifest is written last. So a conversion that is
killed or that fails changes nothing that a reader sees, and the next one finds its finished shards.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import logging
import math
import os
import struct
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from poets_tfr import files, progress
from poets_tfr.config import ConversionConfig, InputError
from poets_tfr.records import codecs, schema
from poets_tfr.records.image_dir import SPLITS, ClassFolder, Listing, Picture, path_bytes
from poets_tfr.records.manifest import (
    INDEX_SUFFIX,
    MANIFEST,
    SKIPPED,
    IndexEntry,
    Manifest,
    Shard,
    ShardIndex,
    Split,
    settings_of,
    shard_name,
    skipped_tsv,
    table,
    tfds_metadata,
)

log = logging.getLogger('poets_tfr')

_UNFINISHED = '.unfinished'
_SEEN = '.seen.json'
FRAME_BYTES = 8 + 4 + 4  # a TFRecord's length, its checksum, and the data's checksum

T = TypeVar('T')
R = TypeVar('R')


def convert(
    config: ConversionConfig, listing: Listing, make_missing: MakeShards | None = None
) -> Manifest:
    """Makes `config.records_dir` hold exactly the pictures of `listing`; does only what is missing.

    Args:
      make_missing: makes the missing shards in place of this process, on other machines say.

    Raises:
      InputError: another process writes there; a bad picture with `on_bad_image='fail'`; more bad
        pictures than `max_bad_fraction`; a class left without pictures in a split. In all these
        cases the records that stood before still stand.
    """
    log.info('%s', table([label for _, label in listing.classes], listing.counts()))
    name = f'Converting {len(listing.pictures)} pictures to {config.records_dir}'
    with files.only_writer(config.records_dir), progress.stage(name):
        files.remove_stale_parts(config.records_dir, sole_writer=True)
        manifest = _Conversion(config, listing, make_missing or _make_shards_with_bar).run()
    outcomes = ', '.join(f'{count} {what}' for what, count in sorted(manifest.outcomes.items()))
    log.info('Found %d files: %s, %d ignored.', manifest.found, outcomes, manifest.ignored)
    return manifest


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A shard to be: its name and its pictures in hash order."""

    name: str
    split: str
    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """All that making a shard takes besides its plan. It travels to other machines."""

    config: ConversionConfig
    classes: tuple[ClassFolder, ...]

    @property
    def staging(self) -> str:
        return files.join(self.config.records_dir, _UNFINISHED)

    @functools.cached_property
    def contract(self) -> str:
        """A digest of all that a shard's bytes depend on besides its pictures."""
        versions = [codecs.VERSION, schema.VERSION, self.classes]
        return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:16]


# Makes shards in the job's staging folder, calls back for each picture's entry, and yields their
# indexes in the order of the plans.
MakeShards = Callable[
    [ShardJob, Sequence[ShardPlan], Callable[[IndexEntry], None]], Generator[ShardIndex, None, None]
]


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A shard whose records are written to `part`; closing `replacing` gives it its name."""

    shard: str
    part: str
    entries: tuple[IndexEntry, ...]
    bytes: int
    replacing: contextlib.ExitStack


class _Conversion:
    def __init__(self, config: ConversionConfig, listing: Listing, make_missing: MakeShards):
        self._config, self._listing = config, listing
        self._make_missing = make_missing
        self._job = ShardJob(config, listing.classes)
        self._staging = self._job.staging
        self._staged: set[str] = set()
        self._bad = 0

    def run(self) -> Manifest:
        plans = plan_shards(self._config, self._listing)
        with _SeenFiles(self._config) as seen:
            standing = {plan.name: index for plan in plans if (index := self._standing(plan, seen))}
            for entry in _skipped(standing):
                self._count(entry)
            missing = [plan for plan in plans if plan.name not in standing]
            if standing and missing:
                log.info('Records: %d of %d shards stand.', len(standing), len(plans))
            written = self._write(missing, seen) if missing else {}
        made = standing | written
        indexes = {plan.name: made[plan.name] for plan in plans}
        manifest = _manifest(self._config, self._listing, plans, indexes)
        _check_no_split_lost(manifest, self._listing)
        self._publish(manifest, indexes)
        if self._bad:
            path = files.join(self._config.records_dir, SKIPPED)
            log.warning('%d pictures were skipped: see %s.', self._bad, path)
        return manifest

    def _standing(self, plan: ShardPlan, seen: _SeenFiles) -> ShardIndex | None:
        """The index of a finished shard that still holds just the plan's pictures, or None."""
        for directory in self._config.records_dir, self._staging:
            path = files.join(directory, plan.name)
            try:
                index = ShardIndex.load(path + INDEX_SUFFIX)
            except (OSError, InputError):
                continue
            if (
                index.contract == self._job.contract
                and files.size(path) == index.bytes
                and [(e.path, e.label) for e in index.entries]
                == [(p.path, p.label) for p in plan.pictures]
                and all(map(seen.is_unchanged, plan.pictures, index.entries))
                and not any(codecs.is_outdated(entry.reason) for entry in index.entries)
            ):
                if directory == self._staging:
                    self._staged.add(plan.name)
                return index
        return None

    def _write(self, plans: list[ShardPlan], seen: _SeenFiles) -> dict[str, ShardIndex]:
        """Makes the missing shards."""
        files.make_dirs(self._staging)
        files.remove_stale_parts(self._staging, sole_writer=True)
        written = {}
        with contextlib.closing(self._make_missing(self._job, plans, self._count)) as finished:
            for plan, index in zip(plans, finished, strict=True):
                for picture, entry in zip(plan.pictures, index.entries, strict=True):
                    seen.remember(picture, entry.source_sha256)
                written[plan.name] = index
        self._staged |= written.keys()
        return written

    def _count(self, entry: IndexEntry) -> None:
        if entry.is_record:
            return
        path = progress.printable(entry.path)
        if self._config.on_bad_image == 'fail':
            raise InputError(
                f'--on_bad_image=fail: {path}: {entry.reason}. Mend or remove it, or skip such '
                'pictures with --on_bad_image=skip.'
            )
        self._bad += 1
        total = len(self._listing.pictures)
        if self._bad > self._config.max_bad_fraction * total:
            raise InputError(
                f'--max_bad_fraction={self._config.max_bad_fraction}: {self._bad} or more of '
                f'{total} pictures cannot be used; one is {path}: {entry.reason}. Nothing was '
                'replaced. Mend or remove them, or raise the fraction.'
            )

    def _publish(self, manifest: Manifest, indexes: dict[str, ShardIndex]) -> None:
        """Puts everything in its place, the manifest last; a records_dir that is right stays."""
        records_dir = self._config.records_dir
        contents = {
            SKIPPED: skipped_tsv(_skipped(indexes)),
            **tfds_metadata(manifest),
            MANIFEST: files.json_bytes(manifest.to_json()),
        }
        if not files.exists(self._staging) and all(
            _holds(files.join(records_dir, name), content) for name, content in contents.items()
        ):
            log.info('Records: %s stands.', records_dir)
            return
        files.remove(files.join(records_dir, MANIFEST))
        for name in sorted(self._staged):
            files.remove(files.join(records_dir, name + INDEX_SUFFIX))
            for moved in name, name + INDEX_SUFFIX:
                files.move(files.join(self._staging, moved), files.join(records_dir, moved))
        self._remove_old_shards(indexes)
        for name in files.list_names(self._staging):
            files.remove(files.join(self._staging, name))
        files.remove_empty_dir(self._staging)
        for name, content in contents.items():
            files.write_bytes(files.join(records_dir, name), content)

    def _remove_old_shards(self, indexes: dict[str, ShardIndex]) -> None:
        """Removes shards that this data set no longer has. Their index says that they are ours."""
        records_dir = self._config.records_dir
        for name in files.list_names(records_dir):
            shard = name.removesuffix(INDEX_SUFFIX)
            if shard != name and shard.startswith(f'{self._config.name}-') and shard not in indexes:
                files.remove(files.join(records_dir, shard))
                files.remove(files.join(records_dir, name))


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
        with contextlib.suppress(OSError, InputError, KeyError, TypeError):
            remembered = files.read_json(self._path)
            if remembered['image_dir'] == files.absolute(self._image_dir):
                self._old = remembered['files']
        return self

    def __exit__(self, *exc: object) -> None:
        content = {'image_dir': files.absolute(self._image_dir), 'files': self._new}
        if self._new != self._old:
            files.write_bytes(self._path, json.dumps(content).encode('ascii'))

    def remember(self, picture: Picture, sha256: str) -> None:
        self._new[picture.path] = [picture.size, picture.mtime_ns, sha256]

    def is_unchanged(self, picture: Picture, entry: IndexEntry) -> bool:
        size, mtime_ns, sha256 = self._old.get(picture.path, (0, 0, ''))
        stats_agree = (size, mtime_ns) == (picture.size, picture.mtime_ns)
        if not (stats_agree and mtime_ns and sha256):
            try:
                sha256 = files.sha256_of(files.join(self._image_dir, picture.path))
            except OSError:
                sha256 = ''
        self.remember(picture, sha256)
        return sha256 == entry.source_sha256


def plan_shards(config: ConversionConfig, listing: Listing) -> list[ShardPlan]:
    """Which picture goes into which shard: by the hash of its path, so class-mixed and stable.

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
            plans.append(ShardPlan(name, split, tuple(chosen)))
    return plans


def _shard_hash(path: str) -> int:
    """64 bits of SHA-256: not the split's hash, which is not uniform inside a split."""
    return int.from_bytes(hashlib.sha256(path_bytes(path)).digest()[:8], 'big')


def make_shards(
    job: ShardJob, plans: Sequence[ShardPlan], count: Callable[[IndexEntry], None]
) -> Generator[ShardIndex, None, None]:
    """Makes shards in this process (see `MakeShards`).

    Pictures are decoded in threads, for TensorFlow frees the GIL there; one more thread checks and
    digests a shard while the next one is written.
    """
    pictures = [picture for plan in plans for picture in plan.pictures]
    workers = job.config.workers or cores()
    convert_one = functools.partial(_convert_one, job)
    with (
        codecs.pillow_silenced(),
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        concurrent.futures.ThreadPoolExecutor(1) as finisher,
        contextlib.closing(ordered(pool, convert_one, pictures, 8 * workers)) as results,
    ):
        drafts = (_write_shard(job, plan, results, count) for plan in plans)
        yield from ordered(finisher, functools.partial(_finish_shard, job), drafts, 2)


def _make_shards_with_bar(
    job: ShardJob, plans: Sequence[ShardPlan], count: Callable[[IndexEntry], None]
) -> Generator[ShardIndex, None, None]:
    with progress.bar(sum(len(plan.pictures) for plan in plans), 'pictures', 'Converting') as bar:

        def update(entry: IndexEntry) -> None:
            bar.update()
            count(entry)

        yield from make_shards(job, plans, update)


def _write_shard(
    job: ShardJob,
    plan: ShardPlan,
    results: Iterator[tuple[IndexEntry, bytes]],
    count: Callable[[IndexEntry], None],
) -> _Draft:
    import tensorflow as tf

    entries, offset = [], 0
    path = files.join(job.staging, plan.name)
    files.remove(path + INDEX_SUFFIX)  # so that no index ever stands beside another's shard
    with contextlib.ExitStack() as stack:
        part = stack.enter_context(files.replacing(path))
        files.make_empty(part)  # a shard may have no record, and is a file all the same
        with files.os_errors(part), tf.io.TFRecordWriter(part) as writer:
            for entry, record in itertools.islice(results, len(plan.pictures)):
                count(entry)
                if entry.is_record:
                    writer.write(record)
                    size = len(record) + FRAME_BYTES
                    entry = dataclasses.replace(entry, offset=offset, bytes=size)
                    offset += size
                entries.append(entry)
        return _Draft(plan.name, part, tuple(entries), offset, stack.pop_all())


def _finish_shard(job: ShardJob, draft: _Draft) -> ShardIndex:
    records = sum(entry.is_record for entry in draft.entries)
    with draft.replacing:
        digest = _read_back(draft.part, draft.entries)
    index = ShardIndex(draft.shard, job.contract, records, draft.bytes, digest, draft.entries)
    index.save(files.join(job.staging, draft.shard + INDEX_SUFFIX))
    return index


def _convert_one(job: ShardJob, picture: Picture) -> tuple[IndexEntry, bytes]:
    """One source file -> its index entry (not yet placed) and its record; b'' when skipped."""
    content, digest = b'', ''
    try:
        content = files.read_bytes(files.join(job.config.image_dir, picture.path))
        digest = hashlib.sha256(content).hexdigest()
        stored = codecs.store(content)
    except (codecs.BadPictureError, OSError) as error:
        if isinstance(error, OSError):
            reason = f'unreadable: {error.strerror}'
        else:
            reason = str(error)
        return IndexEntry(
            picture.path,
            picture.label,
            digest,
            reason=reason,
            source_bytes=len(content),
            first_bytes=content[:16].hex(' '),
        ), b''
    label_text = job.classes[picture.label].label
    record = schema.encode_example(
        stored, path_bytes(picture.path), picture.label, label_text, digest
    )
    encoded_sha256 = digest if stored.as_is else hashlib.sha256(stored.encoded).hexdigest()
    outcome = 'as is' if stored.as_is else f'as {stored.format}'
    return IndexEntry(picture.path, picture.label, digest, encoded_sha256, outcome=outcome), record


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def ordered(
    pool: concurrent.futures.Executor, function: Callable[[T], R], items: Iterable[T], window: int
) -> Generator[R, None, None]:
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


def _read_back(path: str, entries: Sequence[IndexEntry]) -> str:
    """The SHA-256 of a new shard, in which every record lies just where its entry says."""
    digest = hashlib.sha256()
    with files.open_read(path) as file, files.os_errors(path):
        for entry in entries:
            frame = file.read(entry.bytes)
            if entry.is_record and frame[:8] != struct.pack('<Q', len(frame) - FRAME_BYTES):
                raise OSError(errno.EIO, f'{entry.path} was not written as it should be', path)
            digest.update(frame)
        if file.read(1):
            raise OSError(errno.EIO, 'more was written than should be', path)
    return digest.hexdigest()


def _holds(path: str, content: bytes) -> bool:
    try:
        return files.read_bytes(path) == content
    except OSError:
        return False


def _skipped(indexes: Mapping[str, ShardIndex]) -> list[IndexEntry]:
    return [entry for index in indexes.values() for entry in index.entries if not entry.is_record]


def _manifest(
    config: ConversionConfig,
    listing: Listing,
    plans: list[ShardPlan],
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
    skipped = _skipped(indexes)
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
