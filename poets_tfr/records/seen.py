"""What the last conversion knew of each source file, so that unchanged ones are not read again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from typing import Any

from poets_tfr import files
from poets_tfr.records import codecs
from poets_tfr.records.manifest import IndexEntry, ShardIndex
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.records.shards import ShardPlan, left_out
from poets_tfr.sources.headers import BEGINNING
from poets_tfr.sources.listing import Picture
from poets_tfr.sources.source import Source

_NAME = '.seen.json'


class SeenFiles:
    """Remembers the digest of each source file by path, size and time, so that it need not be read.

    A hidden file in records_dir, of use on this machine only; what differs is read and digested.
    """

    def __init__(self, config: ConversionConfig, source: Source):
        self._place, self._source = config.place, source
        self._path = files.join(config.records_dir, _NAME)
        self._old: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}
        self._known_to_stand: set[str] = set()
        self._standing: set[str] = set()

    def __enter__(self) -> SeenFiles:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            remembered = files.read_json(self._path)
            if remembered['image_dir'] == files.absolute(self._place):
                self._old = {path: [*seen] for path, seen in dict(remembered['files']).items()}
                self._known_to_stand = {*remembered['indexes'].get(codecs.DECODERS, ())}
        return self

    def __exit__(self, *exc: object) -> None:
        content = {
            'image_dir': files.absolute(self._place), 'files': self._new,
            'indexes': {codecs.DECODERS: sorted(self._standing)},
        }  # fmt: skip
        if (self._new, self._standing) != (self._old, self._known_to_stand):
            with contextlib.suppress(OSError):  # it only saves time, and another run may clean up
                files.write_bytes(self._path, json.dumps(content).encode('ascii'))

    def remember(self, picture: Picture, sha256: str) -> None:
        self._new[picture.path] = [picture.size, picture.mtime_ns, sha256]

    def is_unchanged(self, picture: Picture, entry: IndexEntry) -> bool:
        if picture.is_left_out:
            return entry == left_out(picture)
        return entry.outcome != 'dropped' and self.sha256_of(picture) == entry.source_sha256

    def is_of_other_decoders(self, plan: ShardPlan, index: ShardIndex) -> bool:
        """Whether a shard holds a picture that was decoded otherwise than it is now.

        The indexes of earlier versions do not say it: there, files that were not stored as they are
        are looked at, once.
        """
        if index.file_sha256 not in self._known_to_stand:
            for picture, entry in zip(plan.pictures, index.entries, strict=True):
                look = functools.partial(self._beginning, picture)
                said = entry.outcome, entry.reason, entry.decoders
                if codecs.is_of_other_decoders(*said, look):
                    return True
        self.know_to_stand(index)
        return False

    def know_to_stand(self, index: ShardIndex) -> None:
        self._standing.add(index.file_sha256)

    def _beginning(self, picture: Picture) -> bytes:
        root = self._source.files_root
        if not root:
            return self._source.read(picture)
        path = files.join(root, picture.path)
        with files.open_read(path) as file, files.os_errors(path):
            return file.read(BEGINNING)

    def sha256_of(self, picture: Picture) -> str:
        """Hex digest of the file; '' where it cannot be read."""
        remembered = self._new.get(picture.path) or self._old.get(picture.path)
        if not remembered or len(remembered) != 3:
            remembered = [0, 0, '']
        size, mtime_ns, sha256 = remembered
        stats_agree = (size, mtime_ns) == (picture.size, picture.mtime_ns)
        if not (stats_agree and mtime_ns and sha256):
            try:
                sha256 = hashlib.sha256(self._source.read(picture)).hexdigest()
            except OSError:
                sha256 = ''
        self.remember(picture, sha256)
        return sha256
