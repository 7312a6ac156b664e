"""A .zip or .tar as a tree: read in place, never unpacked. A compressed tar is decompressed once.

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
from collections.abc import Collection, Iterable, Sequence
from typing import IO, Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.files import Entry
from poets_tfr.sources import archive_members, remarks, unpacking
from poets_tfr.sources.archive_members import Found, Member
from poets_tfr.sources.folders import is_left_alone, is_picture, may_be_a_picture
from poets_tfr.sources.headers import BEGINNING
from poets_tfr.sources.kept import kept
from poets_tfr.sources.split_folders import split_named

log = logging.getLogger('poets_tfr')

_EXTENSIONS = '.zip', '.tar', '.tar.gz', '.tgz', '.tar.xz', '.txz', '.tar.bz2', '.tbz2', '.tbz'
_BEGINNINGS = {
    b'PK\3\4': 'zip', b'PK\5\6': 'zip', b'\x1f\x8b': 'gzip', b'\xfd7zXZ\0': 'xz', b'BZh': 'bzip2',
}  # fmt: skip
_LISTS = '.csv', '.tsv', '.txt', '.jsonl', '.ndjson', '.parquet'
_LONGEST_LIST = 64 << 20  # bytes
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


class ArchiveTree:
    """The files of an archive.

    A single folder that holds everything is passed over, unless one of the `lists` lies beside it.
    """

    files_root = ''

    def __init__(self, path: str, lists: Collection[str] = ()):
        self.where = path
        self._archive = Archive(path)
        self._lists = lists

    @property
    def left_out(self) -> int:
        """How many files are not in the tree: they lead out of the archive, or lie beside the root."""
        found = self._archive.found
        return len(found.outside) + len(found.members) - len(self._members)

    def tell(self) -> None:
        """Warns of what is left out."""
        self._archive.tell()
        members, root = self._archive.found.members, self._root
        if not root:
            return
        name = root.rstrip('/')
        log.info('%s: the images lie in its folder %s.', self.where, name)
        if beside := [member.path for member in members if not member.path.startswith(root)]:
            log.warning(
                '%s: files beside the folder %s: %d, ignored (%s).',
                self.where, name, len(beside), remarks.some(beside),
            )  # fmt: skip

    def scan(self, path: str) -> list[Entry]:
        folder = self._folders.get(path)
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted(folder.values())

    def read(self, path: str) -> bytes:
        member = self._member(path)
        is_list = path.lower().endswith(_LISTS) and member.size <= _LONGEST_LIST
        if is_list and self._archive.is_compressed:  # so that listing again unpacks nothing
            text: str = kept(
                f'list 1 {member.path}', [self.where], lambda: self._archive.read(member).hex()
            )
            return bytes.fromhex(text)
        return self._archive.read(member)

    def beginning(self, path: str, size: int) -> bytes:
        member = self._member(path)
        known = self._archive.beginnings.get(member.path)
        return known[:size] if known is not None else self._archive.beginning(member, size)

    def real(self, path: str) -> str:
        return ''

    def close(self) -> None:
        pass

    def clean_up(self) -> None:
        self._archive.clean_up()

    def _member(self, path: str) -> Member:
        """Raises FileNotFoundError; OSError where it must not be read."""
        member = self._members.get(path)
        if member is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if member.fault:
            raise OSError(errno.EACCES, member.fault, path)
        return member

    @functools.cached_property
    def _root(self) -> str:
        return _root_of((member.path for member in self._archive.found.members), self._lists)

    @functools.cached_property
    def _members(self) -> dict[str, Member]:
        """Path below the root -> the file."""
        root = self._root
        return {
            member.path[len(root) :]: member
            for member in self._archive.found.members
            if member.path.startswith(root)
        }

    @functools.cached_property
    def _folders(self) -> dict[str, dict[str, Entry]]:
        """Folder -> name -> what lies there."""
        folders: dict[str, dict[str, Entry]] = {'': {}}
        for path, member in self._members.items():
            above, _, name = path.rpartition('/')
            entry = Entry(
                name, False, not member.fault, member.size, member.stamp, False, member.fault
            )
            folders.setdefault(above, {}).setdefault(name, entry)
            while above:
                outer, _, name = above.rpartition('/')
                folders.setdefault(outer, {})[name] = Entry(name, True, False, 0, 0)
                above = outer
        return folders


def _root_of(paths: Iterable[str], lists: Collection[str]) -> str:
    """'pets/' where all images lie below the one folder `pets`; '' where they do not.

    A folder named train stays: it says which split its images are.
    """
    wanted = [path for path in paths if not any(map(is_left_alone, path.split('/')))]
    images = _images_in(wanted) or wanted
    known = set(wanted)
    root = ''
    while True:
        tops = {path[len(root) :].partition('/')[::2] for path in images}
        names = {name if rest else '' for name, rest in tops}
        if len(names) != 1 or any(f'{root}{name}' in known for name in lists):
            return root
        (name,) = names
        if not name or split_named(name) == 'train':
            return root
        root = f'{root}{name}/'


def _images_in(paths: Sequence[str]) -> list[str]:
    return [p for p in paths if is_picture(Entry(os.path.basename(p), False, True, 0, 0))]
