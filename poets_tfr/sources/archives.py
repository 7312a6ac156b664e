"""A .zip or .tar as a tree: read in place, never unpacked. A compressed tar is decompressed once.

No TensorFlow.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import functools
import gzip
import hashlib
import logging
import lzma
import os
import re
import shutil
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.files import Entry
from poets_tfr.places import user_cache_dir
from poets_tfr.sources import remarks
from poets_tfr.sources.folders import is_left_alone, is_picture
from poets_tfr.sources.kept import kept

log = logging.getLogger('poets_tfr')

_COMPRESSED: dict[str, Callable[[str], Any]] = {
    '.gz': gzip.open, '.tgz': gzip.open, '.xz': lzma.open, '.txz': lzma.open,
    '.bz2': bz2.open, '.tbz2': bz2.open, '.tbz': bz2.open,
}  # fmt: skip
EXTENSIONS = '.zip', '.tar', '.tar.gz', '.tgz', '.tar.xz', '.txz', '.tar.bz2', '.tbz2', '.tbz'
_LARGEST = 512 << 20  # bytes of one image
_MOST_EXPANDED = 100  # times; photos hardly shrink, so that what grows so much is a bomb
_LEAST_TO_JUDGE = 1 << 30  # bytes
_PIECE = 8 << 20
_FREE = 256 << 20  # bytes that stay free on the drive
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile,
    NotImplementedError, RuntimeError, UnicodeError, ValueError,
)  # fmt: skip


class Member(NamedTuple):
    """A file of an archive. offset: of its bytes in a tar. stamp: changes when it may have."""

    path: str
    size: int
    offset: int
    stamp: int
    fault: str


def is_archive(path: str) -> bool:
    """Whether it is named as one, and is no folder."""
    return path.lower().endswith(EXTENSIONS) and not os.path.isdir(path)


def is_compressed_tar(path: str) -> bool:
    return is_archive(path) and os.path.splitext(path)[1].lower() in _COMPRESSED


def members_of(path: str) -> list[Member]:
    """The files in an archive, sorted by path; the archive is looked through only once.

    Raises:
      InputError: there is no such archive, or it is damaged.
    """
    if files.is_remote(path):
        raise InputError(f'--image_dir={path}: archives are read on this machine only: copy it.')
    try:
        found = kept('archive 2', [path], functools.partial(_look_through, path))
    except FileNotFoundError:
        raise InputError(
            f'--image_dir: {path} not found (looked at {os.path.abspath(path)}).'
        ) from None
    except PermissionError as error:
        raise InputError(f'--image_dir: {path} cannot be read ({error.strerror}).') from None
    except InputError:  # it is a ValueError, and says what is wrong
        raise
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f'--image_dir: {path} is damaged or no archive ({reason}): download or copy it again.'
        ) from None
    _tell(path, found['outside'], found['twice'])
    return [Member(*member) for member in found['members']]


def _tell(path: str, outside: Sequence[str], twice: int) -> None:
    if outside:
        log.warning(
            '%s: names that lead out of the archive: %d, left out (%s).',
            path, len(outside), remarks.some(outside),
        )  # fmt: skip
    if twice:
        log.warning('%s: files that stand in it twice: %d; the last is taken.', path, twice)


def _look_through(path: str) -> dict[str, Any]:
    members: dict[str, Member] = {}
    outside, twice = [], 0
    for member in _in_zip(path) if path.lower().endswith('.zip') else _in_tar(path):
        clean = _inside(member.path)
        if not clean:
            outside.append(member.path)
            continue
        twice += clean in members
        members[clean] = member._replace(path=clean)
    return {'members': sorted(members.values()), 'outside': outside, 'twice': twice}


def _inside(name: str) -> str:
    """The path in the archive; '' for one that leads out of it."""
    name = name.replace('\\', '/')
    parts = [part for part in name.split('/') if part not in ('', '.')]
    if name.startswith('/') or '..' in parts or re.match('[a-zA-Z]:', name) or '\0' in name:
        return ''
    return '/'.join(parts)


def _in_zip(path: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            fault = ''
            if info.flag_bits & 1:
                fault = 'encrypted: unpack the archive with its password'
            elif info.external_attr >> 28 == 0o12:  # the file type of a link, in Unix's mode
                fault = 'a link in an archive, which is not followed'
            elif _is_too_large(info.file_size, info.compress_size):
                fault = f'too large in an archive ({info.file_size:,} bytes)'
            yield Member(info.filename, info.file_size, info.header_offset, info.CRC, fault)


def _in_tar(path: str) -> Iterator[Member]:
    stamp = os.stat(path).st_mtime_ns
    plain = _plain_tar(path)
    with tarfile.open(plain, 'r:') as archive:
        length = os.stat(plain).st_size
        for info in archive:
            if info.isdir():
                continue
            fault = ''
            if not info.isreg():
                fault = 'a link or device in an archive, which is not followed'
            elif info.issparse() or _is_too_large(info.size, info.size):
                fault = f'too large in an archive ({info.size:,} bytes)'
            elif info.offset_data + info.size > length:
                raise tarfile.ReadError('it ends in the middle of a file')
            yield Member(info.name, info.size, info.offset_data, stamp + info.offset_data, fault)
        _check_end(plain, archive.offset)


def _check_end(plain: str, offset: int) -> None:
    """Raises ReadError where more than zeros follow what tarfile takes for the end.

    At a header that it cannot read it stops without a word, and so do tars joined by `cat`.
    """
    with open(plain, 'rb') as file:
        file.seek(offset)
        while piece := file.read(_PIECE):
            if piece.strip(b'\0'):
                raise tarfile.ReadError(f'no file begins at byte {offset:,}, and more follows')


def _is_too_large(size: int, compressed: int) -> bool:
    return size > _LARGEST or (size > _PIECE and size > _MOST_EXPANDED * compressed)


class ArchiveTree:
    """The files of an archive. A single folder that holds everything is passed over."""

    files_root = ''

    def __init__(self, path: str):
        self.where = path
        self._lock = threading.Lock()
        self._open: zipfile.ZipFile | None = None

    def scan(self, path: str) -> list[Entry]:
        folder = self._folders.get(path)
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted(folder.values())

    def read(self, path: str) -> bytes:
        member = self._members.get(path)
        if member is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._read(member, member.size)

    def beginning(self, path: str, size: int) -> bytes:
        member = self._members[path]
        return b'' if member.fault else self._read(member, min(size, member.size))

    def real(self, path: str) -> str:
        return ''

    def read_at(self, offset: int, size: int) -> bytes:
        """What stands there in a tar. Raises OSError."""
        return self._read(Member('', size, offset, 0, ''), size)

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open.close()
            self._open = None

    def clean_up(self) -> None:
        self.close()
        if is_compressed_tar(self.where):
            with contextlib.suppress(OSError):
                os.remove(_place_of_plain(self.where))

    @functools.cached_property
    def _members(self) -> dict[str, Member]:
        """Path below the root -> the file."""
        found = members_of(self.where)
        root = _common_folder(found)
        return {m.path[len(root) :]: m for m in found if m.path.startswith(root)}

    @functools.cached_property
    def _folders(self) -> dict[str, dict[str, Entry]]:
        """Folder -> name -> what lies there."""
        folders: dict[str, dict[str, Entry]] = {'': {}}
        for path, member in self._members.items():
            above, _, name = path.rpartition('/')
            entry = Entry(name, False, not member.fault, member.size, member.stamp, False,
                          member.fault)  # fmt: skip
            folders.setdefault(above, {})[name] = entry
            while above:
                outer, _, name = above.rpartition('/')
                folders.setdefault(outer, {})[name] = Entry(name, True, False, 0, 0)
                above = outer
        return folders

    def _read(self, member: Member, size: int) -> bytes:
        """Raises OSError: the archive is gone or damaged there."""
        try:
            if self.where.lower().endswith('.zip'):
                with self._opened().open(self._infos[member.offset]) as file:
                    content = file.read(size)  # never more than the archive says it has
            else:
                with open(self._plain(), 'rb') as file:  # open for long, many shards are too many
                    content = os.pread(file.fileno(), size, member.offset)
        except _DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise OSError(errno.EIO, f'damaged in the archive ({reason})', self.where) from None
        if len(content) < size:
            raise OSError(errno.EIO, 'the archive ends before it', self.where)
        return content

    @functools.cached_property
    def _infos(self) -> dict[int, zipfile.ZipInfo]:
        return {info.header_offset: info for info in self._opened().infolist()}

    def _opened(self) -> zipfile.ZipFile:
        with self._lock:
            if self._open is None:
                self._open = zipfile.ZipFile(self.where)
            return self._open

    def _plain(self) -> str:
        if not is_compressed_tar(self.where):
            return self.where
        with self._lock:
            return _plain_tar(self.where)


def _common_folder(members: Sequence[Member]) -> str:
    """'pets/' where all that matters lies in the one folder `pets`, and in folders there."""
    tops = {member.path.split('/')[0] for member in members if '/' in member.path}
    tops = {top for top in tops if not is_left_alone(top)}
    loose = [m.path for m in members if '/' not in m.path]
    if len(tops) != 1 or any(is_picture(Entry(path, False, True, 0, 0)) for path in loose):
        return ''
    root = f'{tops.pop()}/'
    within = [m.path[len(root) :] for m in members if m.path.startswith(root)]
    return root if any('/' in path for path in within) else ''


def _plain_tar(path: str) -> str:
    """The path of the tar, decompressed where it has to be."""
    if not is_compressed_tar(path):
        return path
    plain = _place_of_plain(path)
    if not os.path.exists(plain):
        with files.replacing(plain) as part:
            _decompress(path, part)
    return plain


def _place_of_plain(path: str) -> str:
    stat = os.stat(path)
    known_by = f'{os.path.abspath(path)}\n{stat.st_size}\n{stat.st_mtime_ns}'
    name = hashlib.sha256(known_by.encode('utf-8', 'surrogateescape')).hexdigest()[:32]
    return os.path.join(user_cache_dir(), 'unpacked', f'{name}.tar')


def _decompress(path: str, part: str) -> None:
    """Raises InputError: it does not fit the drive, or grows beyond measure."""
    compressed = os.path.getsize(path)
    directory = os.path.dirname(part)
    most = max(_LEAST_TO_JUDGE, _MOST_EXPANDED * compressed)
    opened = _COMPRESSED[os.path.splitext(path)[1].lower()]
    written = read = 0
    with (
        open(path, 'rb') as source,
        opened(source) as content,  # type: ignore[arg-type]
        open(part, 'wb') as target,
        progress.bar(compressed >> 20, 'MiB', f'Unpacking {os.path.basename(path)}') as bar,
    ):
        while piece := content.read(_PIECE):
            written += len(piece)
            if written > most:
                raise InputError(
                    f'--image_dir: {path} grows to more than {most >> 20:,} MiB when it is '
                    'unpacked, and so is taken for a bomb. If it is none, unpack it yourself.'
                )
            if shutil.disk_usage(directory).free < _FREE + len(piece):
                raise InputError(
                    f'--image_dir: {path} is unpacked to {directory}, where no room is left: '
                    'make room, or name another place with XDG_CACHE_HOME.'
                )
            target.write(piece)
            bar.update((source.tell() >> 20) - read)
            read = source.tell() >> 20
