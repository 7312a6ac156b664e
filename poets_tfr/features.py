"""The cache: records -> features, and only those that are missing are computed.

`<bottleneck_dir>/<architecture>-<16 hex>/<64 hex>.npy`: arrays of (sha256 of `image/encoded`,
feature vector), named by the digest of their content. A lookup is by content, so several data sets
and runs may share the folder, and a renamed or moved picture keeps its features.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from poets_tfr import files, progress
from poets_tfr.backbones.forward import compile_forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import BackboneConfig, InputError
from poets_tfr.pictures import pipeline
from poets_tfr.records.manifest import IndexEntry, Manifest, load_indexes

log = logging.getLogger('poets_tfr')

# A killed run loses at most the pictures of one cache file. A multiple of the batch, so that a run
# that goes on after a kill makes the same batches, and the same bits, as an undisturbed one.
_BATCHES_PER_FILE = 16
_DIGEST_BYTES = 32


@dataclasses.dataclass(frozen=True)
class SplitFeatures:
    """The features of one split, in the order of its records.

    features: float32 [n, feature_width].
    labels: int32 [n], 0-based.
    paths: of the pictures, relative to image_dir.
    """

    features: np.ndarray
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
) -> dict[str, SplitFeatures]:
    """The features of every record, split by split; what the cache lacks is computed and kept.

    Raises:
      InputError: a shard's index is missing or damaged, or a picture gives features that are not
        finite.
    """
    rows = _Rows.of(records_dir, manifest)
    cache = _Cache(files.join(bottleneck_dir, backbone.cache_key), backbone.feature_width)
    missing = cache.missing(rows.digests)
    if missing.any():
        count = int(missing.sum())
        log.info('Features: %d of %d pictures to compute.', count, len(missing))
        with progress.stage(f'Creating {count} bottlenecks with {backbone.name}') as outcome:
            _compute(rows, missing, backbone, config, cache)
            outcome['done'] = count
    else:
        log.info('Features: all %d are in %s.', len(missing), cache.directory)
    features = cache.look_up(rows.digests)
    return {
        split: SplitFeatures(features[span], rows.labels[span], rows.paths[span])
        for split, span in rows.spans.items()
    }


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The records of all splits, one after another."""

    shards: list[str]
    records_per_shard: list[int]
    digests: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...]
    spans: dict[str, slice]

    @classmethod
    def of(cls, records_dir: str, manifest: Manifest) -> _Rows:
        shards: list[str] = []
        records: list[int] = []
        entries: list[IndexEntry] = []
        spans = {}
        for split in manifest.splits:
            start = len(entries)
            for index in load_indexes(records_dir, manifest, split):
                shards.append(files.join(records_dir, index.shard))
                records.append(index.records)
                entries += [entry for entry in index.entries if entry.is_record]
            spans[split] = slice(start, len(entries))
        digests = np.array([bytes.fromhex(e.encoded_sha256) for e in entries], _DIGEST)
        labels = np.array([entry.label for entry in entries], np.int32)
        return cls(shards, records, digests, labels, tuple(e.path for e in entries), spans)


_DIGEST = np.dtype(f'S{_DIGEST_BYTES}')  # numpy pads and compares with zeros: equal stays equal


class _Cache:
    """One folder of cache files, all of one backbone."""

    def __init__(self, directory: str, width: int):
        self.directory = directory
        self._dtype = np.dtype([('digest', _DIGEST), ('features', '<f4', (width,))])
        files.remove_stale_parts(directory)
        self._files = [
            array for name in files.list_names(directory) if (array := self._load(name)) is not None
        ]
        self._index()

    def missing(self, digests: np.ndarray) -> np.ndarray:
        """bool [n]: what is to be computed; of equal pictures only the first."""
        _, found = self._find(digests)
        first = np.zeros(len(digests), bool)
        first[np.unique(digests, return_index=True)[1]] = True
        return ~found & first

    def look_up(self, digests: np.ndarray) -> np.ndarray:
        """float32 [n, width]; all must be there."""
        positions, found = self._find(digests)
        assert found.all(), 'features are looked up after all were computed'
        features = np.empty((len(digests), *self._dtype['features'].shape), np.float32)
        file_of, row_of = self._places[:, positions]
        for number, array in enumerate(self._files):
            chosen = file_of == number
            features[chosen] = array['features'][row_of[chosen]]
        return features

    def add(self, digests: np.ndarray, features: np.ndarray) -> None:
        array = np.empty(len(digests), self._dtype)
        array['digest'], array['features'] = digests, features
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        content = buffer.getvalue()
        name = f'{hashlib.sha256(content).hexdigest()}.npy'
        files.write_bytes(files.join(self.directory, name), content)
        self._files.append(array)
        self._index()

    def _index(self) -> None:
        digests = [array['digest'] for array in self._files]
        places = [
            np.stack([np.full(len(array), number), np.arange(len(array))])
            for number, array in enumerate(self._files)
        ]
        keys = np.concatenate(digests) if digests else np.empty(0, _DIGEST)
        order = np.argsort(keys, kind='stable')
        self._keys = keys[order]
        self._places = np.concatenate(places, axis=1)[:, order] if places else np.empty((2, 0), int)

    def _find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(self._keys):
            return np.zeros(len(digests), int), np.zeros(len(digests), bool)
        positions = np.searchsorted(self._keys, digests).clip(max=len(self._keys) - 1)
        return positions, self._keys[positions] == digests

    def _load(self, name: str) -> np.ndarray | None:
        """A cache file's array; None for a file of somebody else's, or a damaged one, which goes."""
        if not re.fullmatch(r'[0-9a-f]{64}\.npy', name):
            return None
        path = files.join(self.directory, name)
        content = files.read_bytes(path)
        array = None
        if hashlib.sha256(content).hexdigest() == name.removesuffix('.npy'):
            with contextlib.suppress(ValueError, EOFError):
                array = np.load(io.BytesIO(content), allow_pickle=False)
        if array is None or array.dtype != self._dtype or array.ndim != 1:
            log.warning('%s is damaged: it is removed, and its features are computed again.', path)
            files.remove(path)
            return None
        if not np.isfinite(array['features']).all():
            log.warning('%s holds values that are not finite: computed again.', path)
            files.remove(path)
            return None
        return array


def _compute(
    rows: _Rows, missing: np.ndarray, backbone: Backbone, config: BackboneConfig, cache: _Cache
) -> None:
    forward = compile_forward(backbone, config.feature_batch_size, config.xla)
    dataset = pipeline.one_pass(
        rows.shards,
        rows.records_per_shard,
        missing,
        backbone.preprocessing,
        config.feature_batch_size,
    )
    total = int(missing.sum())
    with progress.bar(total, 'pictures', 'Creating bottlenecks') as bar:
        for batches in _groups(dataset, _BATCHES_PER_FILE):
            chosen, values = [], []
            for row, pictures in batches:
                real = row.numpy() >= 0
                chosen.append(row.numpy()[real])
                values.append(forward(pictures).numpy()[real])
                bar.update(int(real.sum()))
            _check_finite(rows, np.concatenate(chosen), np.concatenate(values))
            cache.add(rows.digests[np.concatenate(chosen)], np.concatenate(values))


def _groups(dataset: Any, size: int) -> Iterator[Iterator[Any]]:
    """Successive iterators of `size` batches each."""
    iterator = iter(dataset)
    for first in iterator:

        def group(first: Any = first) -> Iterator[Any]:
            yield first
            for _, batch in zip(range(size - 1), iterator):
                yield batch

        yield group()


def _check_finite(rows: _Rows, chosen: Sequence[int], values: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        path = rows.paths[chosen[int(np.argmax(bad))]]
        raise InputError(
            f'{path}: its features are not finite numbers. The weights are damaged or do not fit: '
            'check --weights, or try --xla=off.'
        )
