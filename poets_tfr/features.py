"""Records -> features: what the cache holds is taken from it, only the rest is computed."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from poets_tfr import files, progress
from poets_tfr.backbones.forward import compile_forward, features_of
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import BackboneConfig, InputError
from poets_tfr.distribution import ONE_DEVICE, Cluster
from poets_tfr.feature_cache import DIGEST, FeatureCache, StoredFeatures
from poets_tfr.pictures import distort, pipeline
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records.manifest import IndexEntry, Manifest, check_digests, load_indexes

log = logging.getLogger('poets_tfr')

# What a killed run loses at most. Files end with a whole batch, so that a run that goes on after a
# kill makes the same batches, and the same bits, as an undisturbed one.
_SECONDS_PER_FILE = 10
_BATCHES_PER_FILE = 16
# Linux' NFS client may believe a folder's old listing for a minute.
_SECONDS_TILL_SEEN, _SECONDS_BETWEEN_LOOKS = 75.0, 0.5

Observe = Callable[[int, float], None]


def unobserved(pictures: int, waited: float) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class SplitFeatures:
    """The features of one split, in the order of its records.

    features: float32 [n, feature_width], a numpy array or StoredFeatures; None in all workers but
      the chief, who trains the head.
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
    cluster: Cluster = ONE_DEVICE,
    observe: Observe = unobserved,
) -> dict[str, SplitFeatures]:
    """The features of every record, split by split; what the cache lacks is computed and kept.

    Every worker computes its share; `bottleneck_dir` is where they meet. Only the chief, who trains
    the head, is given the features, the others nothing.

    `observe` is called for each batch that is computed: with its pictures, and the seconds waited
    for them.

    Raises:
      InputError: a shard's index is missing or damaged, or a picture gives features that are not
        finite.
    """
    rows = _Rows.of(records_dir, manifest, tuple(manifest.splits))
    cache_dir = files.join(bottleneck_dir, backbone.cache_key)
    return _features_of(rows, cache_dir, backbone, config, cluster, observe)


def extract_distorted(
    records_dir: str,
    manifest: Manifest,
    backbone: Backbone,
    bottleneck_dir: str,
    config: BackboneConfig,
    distortions: Distortions,
    cluster: Cluster = ONE_DEVICE,
    observe: Observe = unobserved,
) -> SplitFeatures:
    """The features of distorted copies of the training pictures, kept in a folder of their own.

    Returns:
      `augment_copies` rows for each training picture, one after another. More copies begin with the
      same ones as fewer.

    Raises:
      InputError: as `extract`.
    """
    rows = _Rows.of(records_dir, manifest, ('train',)).copied(distortions)
    folder = f'{backbone.cache_key}-distorted-{distortions.cache_key}'
    cache_dir = files.join(bottleneck_dir, folder)
    return _features_of(rows, cache_dir, backbone, config, cluster, observe)['train']


def joined(some: SplitFeatures, more: SplitFeatures) -> SplitFeatures:
    """The rows of both, one after the other."""
    if isinstance(some.features, StoredFeatures):
        features = some.features.joined(more.features)
    else:
        features = np.concatenate([some.features, more.features])
    labels = np.concatenate([some.labels, more.labels])
    return SplitFeatures(features, labels, some.paths + more.paths)


def _features_of(
    rows: _Rows,
    cache_dir: str,
    backbone: Backbone,
    config: BackboneConfig,
    cluster: Cluster,
    observe: Observe,
) -> dict[str, SplitFeatures]:
    cache = FeatureCache(cache_dir, backbone.feature_width)
    _complete(rows, backbone, config, cache, cluster, observe)
    splits = {}
    for split, span in rows.spans.items():
        digests = rows.digests[span]
        features: Any = None
        if cluster.is_chief:
            stored = config.features_in_memory == 'off'
            features = cache.on_disk(digests) if stored else cache.in_memory(digests)
        splits[split] = SplitFeatures(features, rows.labels[span], rows.paths[span])
    return splits


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Records of some splits, one after another; or copies of them, one picture after another.

    digests: S32 [n], what their features are kept by.
    distortions: of the copies; `digests`, `labels` and `paths` have a row for each copy then.
    picture_seeds: int64 [records].
    """

    shards: list[str]
    shard_digests: list[str]
    records_per_shard: list[int]
    digests: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...]
    spans: dict[str, slice]
    picture_seeds: np.ndarray
    distortions: Distortions | None = None

    @classmethod
    def of(cls, records_dir: str, manifest: Manifest, splits: tuple[str, ...]) -> _Rows:
        shards: list[str] = []
        shard_digests: list[str] = []
        records: list[int] = []
        entries: list[IndexEntry] = []
        spans = {}
        for split in splits:
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
        seeds = distort.picture_seeds(digests)
        return cls(shards, shard_digests, records, digests, labels, paths, spans, seeds)

    def copied(self, distortions: Distortions) -> _Rows:
        copies = distortions.config.augment_copies
        return dataclasses.replace(
            self,
            digests=distort.copy_digests(self.digests, copies),
            labels=np.repeat(self.labels, copies),
            paths=tuple(path for path in self.paths for _ in range(copies)),
            spans={k: slice(v.start * copies, v.stop * copies) for k, v in self.spans.items()},
            distortions=distortions,
        )

    def batches(self, wanted: np.ndarray, preprocessing: Preprocessing, batch_size: int) -> Any:
        """A data set of the pictures of the wanted rows, see `pipeline.one_pass`."""
        if self.distortions is None:
            return pipeline.one_pass(
                self.shards, self.records_per_shard, wanted, preprocessing, batch_size
            )
        return pipeline.one_pass_distorted(
            self.shards,
            self.records_per_shard,
            wanted.reshape(len(self.picture_seeds), -1),
            preprocessing,
            batch_size,
            self.distortions,
            self.picture_seeds,
        )


def _complete(
    rows: _Rows,
    backbone: Backbone,
    config: BackboneConfig,
    cache: FeatureCache,
    cluster: Cluster,
    observe: Observe,
) -> None:
    """Until the cache, as the chief sees it, holds all: every worker computes its share."""
    what = 'the features of the other workers'
    copies = ' distorted copies' if rows.distortions else ''
    missing = cache.missing(rows.digests)
    wanted = cluster.from_chief(float(missing.sum()), what)
    if not wanted:
        log.info('Features: all %d%s are in %s.', len(missing), copies, cache.directory)
    while wanted:
        count = int(missing.sum())
        log.info('Features: %d of %d%s to compute.', count, len(missing), copies or ' pictures')
        mine = cluster.share_of(missing)
        count = int(mine.sum())
        with progress.stage(f'Creating {count} bottlenecks with {backbone.name}') as outcome:
            if count:
                _compute(rows, mine, backbone, config, cache, cluster, observe)
            outcome['done'] = count
        cluster.wait_for_all(what)
        missing = _missing_after_all(rows, cache, cluster)
        wanted = cluster.from_chief(float(missing.sum()), what)


def _missing_after_all(rows: _Rows, cache: FeatureCache, cluster: Cluster) -> np.ndarray:
    """What the cache lacks; network file systems may show new files only after a while."""
    deadline = time.monotonic() + _SECONDS_TILL_SEEN
    missing = cache.missing(rows.digests)
    while cluster.workers > 1 and missing.any() and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        cache.refresh()
        missing = cache.missing(rows.digests)
    return missing


def _compute(
    rows: _Rows,
    missing: np.ndarray,
    backbone: Backbone,
    config: BackboneConfig,
    cache: FeatureCache,
    cluster: Cluster,
    observe: Observe,
) -> None:
    import tensorflow as tf

    size = config.feature_batch_size
    forward = cluster.on_every_replica(compile_forward(backbone, size, config.xla), size)
    dataset = rows.batches(missing, backbone.preprocessing, size * cluster.replicas)
    done: list[tuple[np.ndarray, np.ndarray]] = []  # rows (-1: padding), features of each batch
    kept_at = time.monotonic()

    def keep() -> None:
        if done:
            chosen, values = (np.concatenate(part) for part in zip(*done, strict=True))
            done.clear()
            chosen, values = chosen[chosen >= 0], values[chosen >= 0]
            _check_finite(rows, chosen, values)
            cache.add(rows.digests[chosen], values)

    with progress.bar(int(missing.sum()), 'pictures', 'Creating bottlenecks') as bar:
        try:
            for batch in features_of(forward, dataset):
                row = batch.what.numpy()
                done.append((row, batch.features))
                count = int((row >= 0).sum())
                bar.update(count)
                observe(count, batch.waited)
                unkept = time.monotonic() - kept_at
                if len(done) == _BATCHES_PER_FILE or unkept > _SECONDS_PER_FILE:
                    keep()
                    kept_at = time.monotonic()
        except (KeyboardInterrupt, SystemExit):
            keep()
            raise
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
            check_digests(zip(rows.shards, rows.shard_digests, strict=True))
            # All are whole: the error is of another kind.
            raise
    keep()


def _check_finite(rows: _Rows, chosen: np.ndarray, values: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        path = rows.paths[chosen[int(np.argmax(bad))]]
        raise InputError(
            f'{path}: its features are not finite numbers. The weights are damaged or do not fit: '
            'check --weights, or try --xla=off.'
        )
