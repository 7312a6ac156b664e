"""A .zip or .tar: read in place, never unpacked. A compressed tar is decompressed once.

No TensorFlow.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import lzma
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from typing import IO, Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.sources import archive_members, remarks, unpacking
from poets_tfr.sources.archive_members import Found, Member
from poets_tfr.sources.folders import may_be_a_picture
from poets_tfr.sources.headers import BEGINNING
from poets_tfr.sources.kept import kept

log = logging.getLogger('poets_tfr')

_EXTENSIONS = '.zip', '.tar', '.tar.gz', '.tgz', '.tar.xz', '.txz', '.tar.bz2', '.tbz2', '.tbz'
_BEGINNINGS = {
    b'PK\3\4': 'zip', b'PK\5\6': 'zip', b'\x1f\x8b': 'gzip', b'\xfd7zXZ\0': 'xz', b'BZh': 'bzip2',
}  # fmt: skip
_ZIP_HEADER = 30  # bytes, before a name and a field of any length
_INFLATED_AT_FIRST = 4096  # bytes
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError,
    OSError, NotImplementedError, RuntimeError, ValueError, OverflowError, IndexError,
)  # fmt: skip


def is_archive(path: str) -> bool:
    """Whether it is named as one, and is no folder."""
    return path.lower().endswith(_EXTENSIONS) and not os.path.isdir(path)


def is_compressed_tar(path: str) -> bool:
    return is_archive(path) and _kind_of(path) in unpacking.OPENERS


def _kind_of(path: str) -> str:
    """'zip', 'tar', or a tar's compression. Names may be wrong: the first bytes tell."""
    with contextlib.suppress(OSError), open(path, 'rb') as file:
        beginning = file.read(6)
        for known, kind in _BEGINNINGS.items():
            if beginning.startswith(known):
                return kind
    return 'zip' if path.lower().endswith('.zip') else 'tar'


class Archive:
    """The files of an archive. Nothing stays open: a data set may have thousands of archives."""

    def __init__(self, path: str):
        self.path = path
        self._unpacking = threading.Lock()

    @functools.cached_property
    def found(self) -> Found:
        """Raises InputError: there is no such archive, or it is damaged."""
        value = self._kept()
        return Found([Member(*m) for m in value['members']], value['outside'], value['twice'])

    @property
    def is_zip(self) -> bool:
        return self._kind == 'zip'

    @property
    def is_compressed(self) -> bool:
        """Whether it is a tar that has to be unpacked before it can be read."""
        return self._kind in unpacking.OPENERS

    def tell(self) -> None:
        """Warns of what is not taken as it stands."""
        for what, paths in (
            ('names that lead out of the archive: %d, left out (%s).', self.found.outside),
            ('files that stand in it twice: %d; the last is taken (%s).', self.found.twice),
        ):
            if paths:
                log.warning(f'%s: {what}', self.path, len(paths), remarks.some(paths))

    @functools.cached_property
    def beginnings(self) -> dict[str, bytes]:
        """Of a compressed tar's files of which a listing wants them, so that it unpacks nothing."""
        return {path: bytes.fromhex(text) for path, text in self._kept()['beginnings'].items()}

    def read(self, member: Member) -> bytes:
        """Any thread may call it. Raises OSError: the archive is gone, or damaged there."""
        return self._read(member, member.size)

    def beginning(self, member: Member, size: int) -> bytes:
        """Raises OSError."""
        return self._read(member, min(size, member.size))

    def clean_up(self) -> None:
        """Removes what was unpacked for it."""
        with contextlib.suppress(OSError):
            if self.is_compressed:
                unpacking.remove(self.path)

    @functools.cached_property
    def _kind(self) -> str:
        return _kind_of(self.path)

    def _kept(self) -> Any:
        path = self.path
        if files.is_remote(path):
            raise InputError(
                f'--image_dir={path}: archives are read on this machine only: copy it.'
            )
        try:
            return kept('archive 2', [path], self._looked_through)
        except InputError:
            self.clean_up()
            raise
        except FileNotFoundError:
            raise InputError(
                f'--image_dir: {path} not found (looked at {os.path.abspath(path)}).'
            ) from None
        except _DAMAGE as error:
            self.clean_up()
            if isinstance(error, OSError) and error.strerror:
                raise InputError(
                    f'--image_dir: {path} cannot be read ({error.strerror}).'
                ) from None
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f'--image_dir: {path} is damaged or no archive ({reason}): download or copy it '
                'again.'
            ) from None

    def _looked_through(self) -> dict[str, Any]:
        if self._kind == 'zip':
            return {**archive_members.sorted_out(archive_members.in_zip(self.path))._asdict(),
                    'beginnings': {}}  # fmt: skip
        found = archive_members.sorted_out(archive_members.in_tar(self.path, self._plain()))
        unclear = found.members if self.is_compressed else []
        beginnings = {
            member.path: self.beginning(member, BEGINNING).hex()
            for member in unclear
            if not member.fault and may_be_a_picture(os.path.basename(member.path))
        }
        return {**found._asdict(), 'beginnings': beginnings}

    def _plain(self) -> str:
        """The path of the tar, decompressed where it has to be."""
        if not self.is_compressed:
            return self.path
        with self._unpacking:
            return unpacking.unpacked(self.path, self._kind)

    def _opened(self) -> IO[bytes]:
        path = self.path if self._kind == 'zip' else self._plain()
        try:
            return open(path, 'rb', buffering=0)
        except FileNotFoundError:  # another run has just cleaned up what it had unpacked
            return open(self._plain(), 'rb', buffering=0)

    def _read(self, member: Member, size: int) -> bytes:
        try:
            with self._opened() as file:
                if member.packed is None:
                    return self._piece(file, member.offset, size)
                return self._read_zipped(file, member, size)
        except zlib.error as error:
            raise self._damaged(str(error)) from None

    def _read_zipped(self, file: IO[bytes], member: Member, size: int) -> bytes:
        """Not by zipfile, which has one lock for all threads, and inflates more than is wanted."""
        header = self._piece(file, member.offset, _ZIP_HEADER)
        if header[:4] != b'PK\3\4':
            raise self._damaged('its header is missing')
        begin = member.offset + _ZIP_HEADER + sum(struct.unpack('<HH', header[26:30]))
        packed = member.packed or 0
        if size < member.size:
            packed = min(packed, max(size, _INFLATED_AT_FIRST))
        content = self._piece(file, begin, packed)
        if member.is_deflated:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        if size < member.size:
            return content[:size]
        if len(content) != size or zlib.crc32(content) != member.crc:
            raise self._damaged('its checksum is wrong')
        return content

    def _piece(self, file: IO[bytes], offset: int, size: int) -> bytes:
        content = os.pread(file.fileno(), size, offset)
        if len(content) < size:
            raise self._damaged('the archive ends before it')
        return content

    def _damaged(self, reason: str) -> OSError:
        return OSError(errno.EIO, f'damaged in the archive ({reason})', self.path)
