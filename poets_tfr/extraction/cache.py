"""Computed features on disk, found again by what the picture shows.

`<bottleneck_dir>/<architecture>-<16 hex>/<64 hex>.npy`: arrays of (sha256 of `image/encoded`,
feature vector), each file named by the digest of its content. Several data sets and runs may share
the folder, and a renamed or moved picture keeps its features.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import logging
import os
import re
import time
from collections.abc import Iterator
from typing import IO

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.records.reading import DIGEST

log = logging.getLogger('poets_tfr')

_ROWS_PER_READ = 1024
_MOST_OPEN_FILES = 256  # of a process's 1,024, as most systems have it


class FeatureCache:
    """One folder of cache files, all of one backbone. Every file is checked when it is opened."""

    def __init__(self, directory: str, width: int):
        self.directory = directory
        self._dtype = np.dtype([('digest', DIGEST), ('features', '<f4', (width,))])
        self._files: list[_CacheFile] = []
        self._files_indexed = 0
        self._keys = np.empty(0, DIGEST)
        self._places = np.empty((2, 0), int)
        files.remove_stale_parts(directory)
        self.refresh()

    def refresh(self) -> None:
        """Takes in what other processes have added."""
        known = {os.path.basename(file.path) for file in self._files}
        for name in files.list_names(self.directory):
            if re.fullmatch(r'[0-9a-f]{64}\.npy', name) and name not in known:
                self._open(name)

    def missing(self, digests: np.ndarray) -> np.ndarray:
        """bool [n]: what is to be computed; of equal pictures only the first."""
        _, found = self._find(digests)
        first = np.zeros(len(digests), bool)
        first[np.unique(digests, return_index=True)[1]] = True
        return ~found & first

    def add(self, digests: np.ndarray, features: np.ndarray) -> None:
        """Keeps the features float32 [n, width] of the pictures of these digests."""
        array = np.empty(len(digests), self._dtype)
        array['digest'], array['features'] = digests, features
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        content = buffer.getvalue()
        name = f'{hashlib.sha256(content).hexdigest()}.npy'
        files.write_bytes(files.join(self.directory, name), content)
        self._open(name)

    def on_disk(self, digests: np.ndarray) -> StoredFeatures:
        """The features of these pictures, to be read row by row; all must be there."""
        if files.is_remote(self.directory):
            raise InputError(
                f'--features_in_memory=off: {self.directory} is remote; --bottleneck_dir must be '
                'local for that.'
            )
        return StoredFeatures(self._files, self._dtype, *self._places_of(digests))

    def in_memory(self, digests: np.ndarray) -> np.ndarray:
        """float32 [n, width]: the features of these pictures; all must be there."""
        file_of, row_of = self._places_of(digests)
        features = np.empty((len(digests), *self._dtype['features'].shape), np.float32)
        for number, file in enumerate(self._files):
            chosen = np.flatnonzero(file_of == number)
            first = 0
            for block in file.blocks(self._dtype) if len(chosen) else ():
                rows = row_of[chosen] - first
                here = (rows >= 0) & (rows < len(block))
                features[chosen[here]] = block['features'][rows[here]]
                first += len(block)
        return features

    def _places_of(self, digests: np.ndarray) -> np.ndarray:
        """int [2, n]: the file and the row of each."""
        positions, found = self._find(digests)
        assert found.all(), 'features are looked up after all were computed'
        return self._places[:, positions]

    def _find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._index_new_files()
        if not len(self._keys):
            return np.zeros(len(digests), int), np.zeros(len(digests), bool)
        positions = np.searchsorted(self._keys, digests).clip(max=len(self._keys) - 1)
        return positions, self._keys[positions] == digests

    def _index_new_files(self) -> None:
        """Only when something is looked up: it sorts everything, and files come by the thousand."""
        if self._files_indexed == len(self._files):
            return
        counts = [len(file.digests) for file in self._files]
        keys = np.concatenate([file.digests for file in self._files])
        file_of = np.repeat(np.arange(len(counts)), counts)
        row_of = np.concatenate([*map(np.arange, counts)])
        order = np.argsort(keys, kind='stable')
        self._keys = keys[order]
        self._places = np.stack([file_of, row_of])[:, order]
        self._files_indexed = len(self._files)

    def _open(self, name: str) -> None:
        """Takes a cache file in; one that is damaged goes, and its features are computed again."""
        path = files.join(self.directory, name)
        file = _CacheFile.checked(path, name.removesuffix('.npy'), self._dtype)
        if file is None:
            log.warning('%s is damaged: it is removed, and its features are computed again.', path)
            files.remove(path)
        else:
            self._files.append(file)


@dataclasses.dataclass(frozen=True)
class _CacheFile:
    """offset: where the rows begin. digests: S32 [n]."""

    path: str
    offset: int
    digests: np.ndarray

    @classmethod
    def checked(cls, path: str, sha256: str, dtype: np.dtype) -> _CacheFile | None:
        """None unless content, shape and values are what was once written."""
        if files.sha256_of(path) != sha256:
            return None
        with files.open_read(path) as file, contextlib.suppress(ValueError, EOFError):
            np.lib.format.read_magic(file)
            shape, _, found = np.lib.format.read_array_header_1_0(file)
            if found == dtype and len(shape) == 1:
                opened = cls(path, file.tell(), np.empty(shape, DIGEST))
                first = 0
                for block in opened.blocks(dtype):
                    if not np.isfinite(block['features']).all():
                        return None
                    opened.digests[first : first + len(block)] = block['digest']
                    first += len(block)
                return opened
        return None

    def blocks(self, dtype: np.dtype) -> Iterator[np.ndarray]:
        """The rows in order, some at a time: memory does not grow with the file."""
        with files.open_read(self.path) as file:
            file.seek(self.offset)
            left = len(self.digests)
            while left:
                rows = min(left, _ROWS_PER_READ)
                yield np.frombuffer(_read(file, rows * dtype.itemsize), dtype)
                left -= rows


def _read(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError(f'{size} bytes are wanted, {len(content)} are left')
    return content


class StoredFeatures:
    """float32 [n, width] that stays on disk; what `features[rows]` asks for is read each time.

    seconds_read: how long that took, all in all.
    """

    def __init__(
        self,
        cache_files: list[_CacheFile],
        dtype: np.dtype,
        file_of: np.ndarray,
        row_of: np.ndarray,
    ):
        self._files, self._dtype = cache_files, dtype
        self._file_of, self._row_of = file_of, row_of
        self._handles: dict[int, int] = {}
        self.seconds_read = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._file_of), self._dtype['features'].shape[0]

    def joined(self, more: StoredFeatures) -> StoredFeatures:
        """The rows of both, one after the other; of one width."""
        file_of = np.concatenate([self._file_of, more._file_of + len(self._files)])
        row_of = np.concatenate([self._row_of, more._row_of])
        return StoredFeatures([*self._files, *more._files], self._dtype, file_of, row_of)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), width]; rows are int [any]."""
        start = time.perf_counter()
        features = np.empty((len(rows), self.shape[1]), np.float32)
        size = self._dtype['features'].itemsize
        for target, number, row in zip(
            features, self._file_of[rows].tolist(), self._row_of[rows].tolist(), strict=True
        ):
            position = self._files[number].offset + row * self._dtype.itemsize + DIGEST.itemsize
            target[:] = np.frombuffer(os.pread(self._handle(number), size, position), '<f4')
        self.seconds_read += time.perf_counter() - start
        return features

    def _handle(self, number: int) -> int:
        handle = self._handles.pop(number, None)
        if handle is None:
            if len(self._handles) == _MOST_OPEN_FILES:
                os.close(self._handles.pop(next(iter(self._handles))))
            handle = os.open(self._files[number].path, os.O_RDONLY)
        self._handles[number] = handle  # the last used is the last in the dict
        return handle

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)
