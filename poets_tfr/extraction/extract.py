"""Records -> features: what the cache holds is taken from it, only the rest is computed."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr import files, progress
from poets_tfr.backbones.forward import compile_forward, features_of
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import Xla
from poets_tfr.distribution import ONE_DEVICE, Cluster
from poets_tfr.errors import InputError
from poets_tfr.extraction.cache import FeatureCache, StoredFeatures
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.pictures import distort, pipeline
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records.reading import Paths, Records, SplitRecords

log = logging.getLogger('poets_tfr')

# What a killed run loses at most. Files end with a whole batch, so that a run that goes on after a
# kill makes the same batches, and the same bits, as an undisturbed one.
_SECONDS_PER_FILE = 10
_BATCHES_PER_FILE = 16
# Linux' NFS client may believe a folder's old listing for a minute.
_SECONDS_TILL_SEEN, _SECONDS_BETWEEN_LOOKS = 75.0, 0.5

_MOST_TIMED, _SECONDS_TIMED = 512, 5.0  # images

Observe = Callable[[int, float], None]


def unobserved(pictures: int, waited: float) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class SplitFeatures:
    """The features of one split, in the order of its records.

    features: float32 [n, feature_width], a numpy array or StoredFeatures; None in all workers but
      the chief, who trains the head.
    labels: int32 [n], 0-based.
    paths: of the images, relative to image_dir.
    """

    features: Any
    labels: np.ndarray
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


class Extraction:
    """Records and a network, whose features are computed where the cache lacks them.

    Every worker of `cluster` computes its share; `bottleneck_dir` is where they meet. Only the
    chief, who trains the head, is given the features, the others nothing. `observe` is called for
    each batch that is computed: with its images, and the seconds waited for them.

    What extracts raises InputError when a shard's index is missing or damaged, or an image gives
    features that are not finite.
    """

    def __init__(
        self,
        records: Records,
        backbone: Backbone,
        config: ExtractionConfig,
        xla: Xla = 'auto',
        cluster: Cluster = ONE_DEVICE,
        observe: Observe = unobserved,
    ):
        self._records, self._backbone, self._config = records, backbone, config
        self._xla, self._cluster, self._observe = xla, cluster, observe

    def features(self) -> dict[str, SplitFeatures]:
        """Of every record, split by split."""
        splits = {name: self._records[name] for name in self._records.splits}
        return self._of(_Rows(splits), self._backbone.cache_key)

    def images_per_second(self) -> float:
        """How many are decoded, resized and computed, measured here; the cache plays no part."""
        size = self._config.feature_batch_size
        forward = compile_forward(self._backbone, size, self._xla)
        rows = _Rows({name: self._records[name] for name in self._records.splits})
        wanted = np.ones(len(rows.digests), bool)  # of fewer, the rest would be read to be skipped
        dataset = rows.batches(wanted, self._backbone.preprocessing, size).repeat()
        with contextlib.closing(features_of(forward, dataset)) as batches:
            next(batches)  # traces and warms up
            start, done = time.perf_counter(), 0
            for batch in batches:
                done += int((batch.what.numpy() >= 0).sum())
                seconds = time.perf_counter() - start
                if done >= _MOST_TIMED or seconds > _SECONDS_TIMED:
                    return done / seconds
        raise AssertionError('the data set is repeated without end')

    def of_copies(self, distortions: Distortions) -> SplitFeatures:
        """Of distorted copies of the training images, kept in a folder of their own.

        `augment_copies` rows for each training image, one after another. More copies begin with
        the same ones as fewer.
        """
        rows = _Rows({'train': self._records['train']}, distortions)
        folder = f'{self._backbone.cache_key}-distorted-{distortions.cache_key}'
        return self._of(rows, folder)['train']

    def _of(self, rows: _Rows, folder: str) -> dict[str, SplitFeatures]:
        cache = FeatureCache(
            files.join(self._config.bottleneck_dir, folder), self._backbone.feature_width
        )
        self._complete(rows, cache)
        found = {}
        for split, span in rows.spans.items():
            digests = rows.digests[span]
            features: Any = None
            if self._cluster.is_chief:
                stored = self._config.features_in_memory == 'off'
                features = cache.on_disk(digests) if stored else cache.in_memory(digests)
            found[split] = SplitFeatures(features, rows.labels_of(split), rows.paths_of(split))
        return found

    def _complete(self, rows: _Rows, cache: FeatureCache) -> None:
        """Until the cache, as the chief sees it, holds all: every worker computes its share."""
        cluster = self._cluster
        what = 'the features of the other workers'
        copies = ' distorted copies' if rows.distortions else ''
        missing = cache.missing(rows.digests)
        wanted = cluster.from_chief(float(missing.sum()), what)
        if not wanted:
            log.info('Features: all %d%s are in %s.', len(missing), copies, cache.directory)
        while wanted:
            count = int(missing.sum())
            log.info('Features: %d of %d%s to compute.', count, len(missing), copies or ' images')
            mine = cluster.share_of(missing)
            count = int(mine.sum())
            with progress.stage(
                f'Creating {count} bottlenecks with {self._backbone.name}'
            ) as outcome:
                if count:
                    self._compute(rows, mine, cache)
                outcome['done'] = count
            cluster.wait_for_all(what)
            missing = self._missing_after_all(rows, cache)
            wanted = cluster.from_chief(float(missing.sum()), what)

    def _missing_after_all(self, rows: _Rows, cache: FeatureCache) -> np.ndarray:
        """What the cache lacks; network file systems may show new files only after a while."""
        deadline = time.monotonic() + _SECONDS_TILL_SEEN
        missing = cache.missing(rows.digests)
        while self._cluster.workers > 1 and missing.any() and time.monotonic() < deadline:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            cache.refresh()
            missing = cache.missing(rows.digests)
        return missing

    def _compute(self, rows: _Rows, missing: np.ndarray, cache: FeatureCache) -> None:
        import tensorflow as tf

        backbone, cluster, size = self._backbone, self._cluster, self._config.feature_batch_size
        forward = cluster.on_every_replica(compile_forward(backbone, size, self._xla), size)
        dataset = rows.batches(missing, backbone.preprocessing, size * cluster.replicas)
        done: list[tuple[np.ndarray, np.ndarray]] = []  # rows (-1: padding), features of each batch
        kept_at = time.monotonic()

        def keep() -> None:
            if done:
                chosen, values = (np.concatenate(part) for part in zip(*done, strict=True))
                done.clear()
                chosen, values = chosen[chosen >= 0], values[chosen >= 0]
                _check_finite(rows, chosen, values)
                self._records.check_current()  # else other images' features would be kept
                cache.add(rows.digests[chosen], values)

        with progress.bar(int(missing.sum()), 'images', 'Creating bottlenecks') as bar:
            try:
                for batch in features_of(forward, dataset):
                    row = batch.what.numpy()
                    done.append((row, batch.features))
                    count = int((row >= 0).sum())
                    bar.update(count)
                    self._observe(count, batch.waited)
                    unkept = time.monotonic() - kept_at
                    if len(done) == _BATCHES_PER_FILE or unkept > _SECONDS_PER_FILE:
                        keep()
                        kept_at = time.monotonic()
            except (KeyboardInterrupt, SystemExit):
                keep()
                raise
            except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
                rows.check_digests()
                # All are whole: the error is of another kind.
                raise
        keep()
        self._records.check_current()  # replaced ones may lack rows, which no pass would find


def joined(some: SplitFeatures, more: SplitFeatures) -> SplitFeatures:
    """The rows of both, one after the other."""
    if isinstance(some.features, StoredFeatures):
        features = some.features.joined(more.features)
    else:
        features = np.concatenate([some.features, more.features])
    labels = np.concatenate([some.labels, more.labels])
    return SplitFeatures(features, labels, some.paths + more.paths)  # type: ignore[operator]


class _Rows:
    """Records of some splits, one after another; or copies of them, one image after another.

    digests: S32 [n], what their features are kept by; with distortions a row for each copy.
    spans: split -> its rows.
    """

    def __init__(self, splits: Mapping[str, SplitRecords], distortions: Distortions | None = None):
        self._splits, self.distortions = splits, distortions
        self._copies = distortions.config.augment_copies if distortions else 1
        self.digests = np.concatenate([split.digests for split in splits.values()])
        if distortions:
            self.digests = distort.copy_digests(self.digests, self._copies)
        ends = np.cumsum([len(split) * self._copies for split in splits.values()])
        starts = [0, *ends[:-1].tolist()]
        self.spans = {
            name: slice(start, int(end))
            for name, start, end in zip(splits, starts, ends, strict=True)
        }

    def labels_of(self, split: str) -> np.ndarray:
        return np.repeat(self._splits[split].labels, self._copies)

    def paths_of(self, split: str) -> Paths:
        paths = self._splits[split].paths
        if self.distortions is None:
            return paths
        return paths.take(np.repeat(np.arange(len(paths)), self._copies))

    def path_of(self, row: int) -> str:
        split = next(name for name, span in self.spans.items() if row < span.stop)
        return self._splits[split].paths[(row - self.spans[split].start) // self._copies]

    def check_digests(self) -> None:
        for split in self._splits.values():
            split.check_digests()

    def batches(self, wanted: np.ndarray, preprocessing: Preprocessing, batch_size: int) -> Any:
        """A data set of the images of the wanted rows, see `pipeline.one_pass`."""
        splits = self._splits.values()
        shards = [shard for split in splits for shard in split.shards]
        records = [count for split in splits for count in split.records_per_shard]
        if self.distortions is None:
            return pipeline.one_pass(shards, records, wanted, preprocessing, batch_size)
        seeds = np.concatenate([split.seeds for split in splits])
        return pipeline.one_pass_distorted(
            shards,
            records,
            wanted.reshape(len(seeds), -1),
            preprocessing,
            batch_size,
            self.distortions,
            seeds,
        )


def _check_finite(rows: _Rows, chosen: np.ndarray, values: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        path = rows.path_of(int(chosen[np.argmax(bad)]))
        raise InputError(
            f'{path}: its features are not finite numbers. The weights are damaged or do not fit: '
            'check --weights, or try --xla=off.'
        )
