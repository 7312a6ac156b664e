"""One shard after another: which pictures it holds, and how it is made. The same on any machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import math
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.parallel import decoding_threads, ordered
from poets_tfr.records import codecs, schema
from poets_tfr.records.codecs import BadPictureError, StoredPicture
from poets_tfr.records.manifest import (
    INDEX_SUFFIX,
    UNWANTED,
    IndexEntry,
    ShardIndex,
    shard_name,
)
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources import opening
from poets_tfr.sources.listing import ClassFolder, Listing, Picture
from poets_tfr.sources.settings import SPLITS
from poets_tfr.sources.source import Source
from poets_tfr.sources.splits import path_bytes

UNFINISHED = '.unfinished'
# What a thread takes at a time: small pictures each handed over alone cost a fifth more, and large
# ones waiting in groups would cost memory.
_GROUP_PICTURES, _GROUP_BYTES = 64, 4 << 20
FRAME_BYTES = 8 + 4 + 4  # a TFRecord's length, its checksum, and the data's checksum


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
        return files.join(self.config.records_dir, UNFINISHED)

    @functools.cached_property
    def source(self) -> Source:
        return opening.source_of(self.config)

    def __getstate__(self) -> dict[str, Any]:
        return {'config': self.config, 'classes': self.classes}  # a source may hold open files

    @functools.cached_property
    def contract(self) -> str:
        """A digest of all that a shard's bytes depend on besides its pictures."""
        limits = [self.config.store_max_side, self.config.max_pixels]
        if self.config.store_max_side:
            limits.append(codecs.SCALING_VERSION)
        depends_on = [codecs.VERSION, schema.VERSION, self.classes, limits]
        return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:16]


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


def plan_shards(config: ConversionConfig, listing: Listing) -> list[ShardPlan]:
    """Which picture goes into which shard: by the hash of its path, so class-mixed and stable.

    The number of shards of a split comes from the listing alone: `num_shards`, or one for every
    `shard_mib` begun. Unwanted pictures count, so that other shards stand when one is left out.
    """
    plans = []
    for split in SPLITS:
        pictures = [picture for picture in listing.pictures if picture.split == split]
        if not pictures:
            continue
        in_order = sorted((_shard_hash(p.hashed), p.path, p) for p in pictures)
        total = sum(p.size for p in pictures if not (p.fault or p.copy_of))
        shards = config.num_shards or max(1, math.ceil(total / (config.shard_mib << 20)))
        members: list[list[Picture]] = [[] for _ in range(shards)]
        for position, _, picture in in_order:
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
    workers = job.config.workers or decoding_threads()
    with (
        codecs.pillow_silenced(),
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        concurrent.futures.ThreadPoolExecutor(1) as finisher,
        contextlib.closing(
            ordered(pool, functools.partial(_convert_group, job), _grouped(pictures), 2 * workers)
        ) as results,
    ):
        converted = itertools.chain.from_iterable(results)
        drafts = (_write_shard(job, plan, converted, count) for plan in plans)
        yield from ordered(finisher, functools.partial(_finish_shard, job), drafts, 2)


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
    return index.save(files.join(job.staging, draft.shard + INDEX_SUFFIX))


def _grouped(pictures: Sequence[Picture]) -> Iterator[list[Picture]]:
    group: list[Picture] = []
    for picture in pictures:
        group.append(picture)
        if len(group) == _GROUP_PICTURES or sum(p.size for p in group) >= _GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _convert_group(job: ShardJob, pictures: Sequence[Picture]) -> list[tuple[IndexEntry, bytes]]:
    """For each source file its index entry (not yet placed) and its record; b'' when skipped."""
    contents = [None if picture.is_left_out else _read(job, picture) for picture in pictures]
    readable = [content for content in contents if isinstance(content, bytes)]
    config = job.config
    stored = iter(codecs.store_each(readable, config.store_max_side, config.max_pixels))
    converted = []
    for picture, content in zip(pictures, contents, strict=True):
        if content is None:
            converted.append((left_out(picture), b''))
        elif isinstance(content, OSError):
            reason = f'unreadable: {content.strerror}'
            converted.append((_skipped(picture, b'', '', reason), b''))
        else:
            converted.append(_converted(job, picture, content, next(stored)))
    return converted


def _read(job: ShardJob, picture: Picture) -> bytes | OSError:
    try:
        return job.source.read(picture)
    except OSError as error:
        return error


def _converted(
    job: ShardJob, picture: Picture, content: bytes, stored: StoredPicture | BadPictureError
) -> tuple[IndexEntry, bytes]:
    digest = hashlib.sha256(content).hexdigest()
    if isinstance(stored, BadPictureError):
        return _skipped(picture, content, digest, str(stored)), b''
    label_text = job.classes[picture.label].label
    record = schema.encode_example(
        stored, path_bytes(picture.path), picture.label, label_text, digest
    )
    encoded_sha256 = digest if stored.as_is else hashlib.sha256(stored.encoded).hexdigest()
    entry = IndexEntry(
        picture.path, picture.label, digest, encoded_sha256, outcome=stored.outcome,
        decoders=codecs.decoders_of(content),
    )  # fmt: skip
    return entry, record


def _skipped(picture: Picture, content: bytes, digest: str, reason: str) -> IndexEntry:
    return IndexEntry(
        picture.path,
        picture.label,
        digest,
        reason=reason,
        source_bytes=len(content) or picture.size,
        first_bytes=content[:16].hex(' '),
        decoders=codecs.decoders_of(content),
    )


def left_out(picture: Picture) -> IndexEntry:
    """The entry of a file that is not read, for its fault, as a copy or as nobody wants it."""
    if picture.is_unwanted and not picture.fault:
        outcome, reason = 'dropped', UNWANTED
    elif picture.copy_of:
        what = 'is a near duplicate of' if picture.is_near else 'has the content of'
        outcome, reason = 'dropped', f'{what} {picture.copy_of}'
    else:
        outcome, reason = 'skipped', picture.fault
    return IndexEntry(
        picture.path, picture.label, '', outcome=outcome, reason=reason, source_bytes=picture.size
    )


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
