"""Records -> features: what the cache holds is taken from it, only the rest is computed."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from poets_tfr import files, progress
from poets_tfr.backbones.forward import compile_forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import BackboneConfig, InputError
from poets_tfr.feature_cache import DIGEST, FeatureCache
from poets_tfr.pictures import pipeline
from poets_tfr.records.manifest import CONVERT_AGAIN, IndexEntry, Manifest, load_indexes

log = logging.getLogger('poets_tfr')
T = TypeVar('T')

# What a killed run loses at most. Files end with a whole batch, so that a run that goes on after a
# kill makes the same batches, and the same bits, as an undisturbed one.
_SECONDS_PER_FILE = 10
_BATCHES_PER_FILE = 16


@dataclasses.dataclass(frozen=True)
class SplitFeatures:
    """The features of one split, in the order of its records.

    features: float32 [n, feature_width], a numpy array or StoredFeatures.
    labels: int32 [n], 0-based.
    paths: of the pictures, relative to image_dir.
    """

    features: Any
    labels: np.ndarray
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def extract(
    records_dir: str,
    manifest: Manifest,
    backbone: Backbone,
    bottleneck_dir: str,
    config: BackboneConfig,
    observe: Callable[[int, float], None] | None = None,
) -> dict[str, SplitFeatures]:
    """The features of every record, split by split; what the cache lacks is computed and kept.

    `observe` is called for each batch that is computed: with its pictures, and the seconds waited
    for them.

    Raises:
      InputError: a shard's index is missing or damaged, or a picture gives features that are not
        finite.
    """
    rows = _Rows.of(records_dir, manifest)
    cache = FeatureCache(files.join(bottleneck_dir, backbone.cache_key), backbone.feature_width)
    missing = cache.missing(rows.digests)
    if missing.any():
        count = int(missing.sum())
        log.info('Features: %d of %d pictures to compute.', count, len(missing))
        with progress.stage(f'Creating {count} bottlenecks with {backbone.name}') as outcome:
            _compute(rows, missing, backbone, config, cache, observe or (lambda *_: None))
            outcome['done'] = count
    else:
        log.info('Features: all %d are in %s.', len(missing), cache.directory)
    splits = {}
    for split, span in rows.spans.items():
        digests = rows.digests[span]
        stored = config.features_in_memory == 'off'
        features = cache.on_disk(digests) if stored else cache.in_memory(digests)
        splits[split] = SplitFeatures(features, rows.labels[span], rows.paths[span])
    return splits


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The records of all splits, one after another."""

    shards: list[str]
    shard_digests: list[str]
    records_per_shard: list[int]
    digests: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...]
    spans: dict[str, slice]

    @classmethod
    def of(cls, records_dir: str, manifest: Manifest) -> _Rows:
        shards: list[str] = []
        shard_digests: list[str] = []
        records: list[int] = []
        entries: list[IndexEntry] = []
        spans = {}
        for split in manifest.splits:
            start = len(entries)
            for index in load_indexes(records_dir, manifest, split):
                shards.append(files.join(records_dir, index.shard))
                shard_digests.append(index.sha256)
                records.append(index.records)
                entries += [entry for entry in index.entries if entry.is_record]
            spans[split] = slice(start, len(entries))
        digests = np.array([bytes.fromhex(e.encoded_sha256) for e in entries], DIGEST)
        labels = np.array([entry.label for entry in entries], np.int32)
        paths = tuple(entry.path for entry in entries)
        return cls(shards, shard_digests, records, digests, labels, paths, spans)

    def check_shards(self) -> None:
        """Reads every shard: raises InputError, naming the first that is not what was written."""
        for path, digest in zip(self.shards, self.shard_digests, strict=True):
            if files.sha256_of(path) != digest:
                raise InputError(
                    f'--records_dir: the shard {path} is damaged: delete it and {CONVERT_AGAIN}. '
                    f'`tools/inspect_records.py --records_dir={os.path.dirname(path)} --verify` '
                    'lists all that is damaged.'
                )


def _compute(
    rows: _Rows,
    missing: np.ndarray,
    backbone: Backbone,
    config: BackboneConfig,
    cache: FeatureCache,
    observe: Callable[[int, float], None],
) -> None:
    import tensorflow as tf

    forward = compile_forward(backbone, config.feature_batch_size, config.xla)
    dataset = pipeline.one_pass(
        rows.shards,
        rows.records_per_shard,
        missing,
        backbone.preprocessing,
        config.feature_batch_size,
    )
    done: list[tuple[np.ndarray, np.ndarray]] = []  # (rows, their features) of each batch
    kept_at = time.monotonic()

    def keep() -> None:
        if done:
            chosen, values = (np.concatenate(part) for part in zip(*done, strict=True))
            done.clear()
            _check_finite(rows, chosen, values)
            cache.add(rows.digests[chosen], values)

    with progress.bar(int(missing.sum()), 'pictures', 'Creating bottlenecks') as bar:
        try:
            for waited, (row, pictures) in _timed(dataset):
                real = row.numpy() >= 0
                done.append((row.numpy()[real], forward(pictures).numpy()[real]))
                bar.update(int(real.sum()))
                observe(int(real.sum()), waited)
                unkept = time.monotonic() - kept_at
                if len(done) == _BATCHES_PER_FILE or unkept > _SECONDS_PER_FILE:
                    keep()
                    kept_at = time.monotonic()
        except (KeyboardInterrupt, SystemExit):
            keep()
            raise
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
            rows.check_shards()  # says which one; if all are whole, the error is of another kind
            raise
    keep()


def _timed(batches: Iterable[T]) -> Iterator[tuple[float, T]]:
    """Each batch with the seconds that went by until it was there."""
    start = time.perf_counter()
    for batch in batches:
        yield time.perf_counter() - start, batch
        start = time.perf_counter()


def _check_finite(rows: _Rows, chosen: np.ndarray, values: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        path = rows.paths[chosen[int(np.argmax(bad))]]
        raise InputError(
            f'{path}: its features are not finite numbers. The weights are damaged or do not fit: '
            'check --weights, or try --xla=off.'
        )
