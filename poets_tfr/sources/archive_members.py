"""What a .zip or .tar holds: looked through once, and kept until the archive changes.

No TensorFlow.
"""

from __future__ import annotations

import logging
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from poets_tfr import progress
from poets_tfr.sources.unpacking import MOST_EXPANDED

log = logging.getLogger('poets_tfr')

_LARGEST = 512 << 20  # bytes of one image
_TOO_LARGE = f'larger than {_LARGEST >> 20} MiB, the most for an image in an archive'
_LEAST_TO_JUDGE = 8 << 20  # bytes; what is small may shrink as it likes
_METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_LINK = 0o12  # the file type of a symbolic link, in Unix's mode
_UTF_8 = 0x800  # the flag of a zip's member
_BLOCK = 512  # bytes of a tar
_BEHIND_END = 1 << 20  # bytes that are looked at there


class Member(NamedTuple):
    """A file of an archive.

    offset: of its bytes in a tar, of its header in a zip. stamp: changes when the file may have.
    fault: why it must not be read; ''. packed, crc, is_deflated: of a zip's; None in a tar.
    """

    path: str
    size: int
    offset: int
    stamp: int
    fault: str = ''
    packed: int | None = None
    crc: int = 0
    is_deflated: bool = False


class Found(NamedTuple):
    """members: sorted. outside: names that lead out of the archive. twice: names that repeat."""

    members: list[Member]
    outside: list[str]
    twice: list[str]


def sorted_out(members: Iterator[Member]) -> Found:
    """Of files of the same name the last is taken, as unpacking would leave it."""
    found: dict[str, Member] = {}
    outside, twice = [], []
    for member in members:
        path = _inside(member.path)
        if not path:
            outside.append(member.path)
            continue
        if path in found:
            twice.append(path)
        found[path] = member._replace(path=path)
    return Found(sorted(found.values()), outside, twice)


def _inside(name: str) -> str:
    """The path in the archive; '' for one that leads out of it."""
    name = name.replace('\\', '/')
    parts = [part for part in name.split('/') if part not in ('', '.')]
    if name.startswith('/') or '..' in parts or re.match('[a-zA-Z]:', name) or '\0' in name:
        return ''
    return '/'.join(parts)


def in_zip(path: str) -> Iterator[Member]:
    """Raises zipfile.BadZipFile, ..."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _name_of(info)
            if name.endswith(('/', '\\')):  # a folder
                continue
            is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
            yield Member(
                name, info.file_size, info.header_offset, info.CRC + 1, _fault_in_zip(info),
                info.compress_size, info.CRC, is_deflated,
            )  # fmt: skip


def _name_of(info: zipfile.ZipInfo) -> str:
    """A Mac's UTF-8 is not flagged as such, and so was read as code page 437."""
    if info.flag_bits & _UTF_8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode('cp437').decode('utf-8')
    except UnicodeError:
        return info.filename


def _fault_in_zip(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 1:
        return 'encrypted: unpack the archive with its password'
    if info.external_attr >> 28 == _LINK:
        return 'a link in an archive, which is not followed'
    if info.compress_type not in _METHODS:
        return (
            f'compressed by method {info.compress_type}, which is not supported: unpack the archive'
        )
    if max(info.file_size, info.compress_size) > _LARGEST:
        return _TOO_LARGE
    if info.file_size > max(_LEAST_TO_JUDGE, MOST_EXPANDED * info.compress_size):
        return f'a bomb: it grows more than {MOST_EXPANDED} times when it is unpacked'
    return ''


def in_tar(path: str, plain: str) -> Iterator[Member]:
    """The files of a tar, which lies at `plain` where it is compressed.

    Raises:
      tarfile.ReadError, ...: it is damaged, or ends too soon.
    """
    stamp, length = os.stat(path).st_mtime_ns, os.stat(plain).st_size
    with (
        tarfile.open(plain, 'r:') as archive,
        progress.bar(length >> 20, 'MiB', f'Looking through {os.path.basename(path)}') as bar,
    ):
        told = 0
        while info := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # all would stay in memory
            if info.size < 0 or info.isreg() and info.offset_data + info.size > length:
                raise tarfile.ReadError('it ends in the middle of a file')
            if not info.isdir():
                at = info.offset_data
                yield Member(info.name, info.size, at, stamp + at, _fault_in_tar(info))
            if done := (info.offset_data >> 20) - told:
                bar.update(done)
                told += done
        _check_end(path, plain, archive.offset)


def _fault_in_tar(info: tarfile.TarInfo) -> str:
    if info.islnk():
        return 'a hard link in an archive, which is not followed (see tar --hard-dereference)'
    if info.issym():
        return 'a link in an archive, which is not followed'
    if not info.isreg():
        return 'a device or a pipe in an archive'
    if info.issparse():
        return 'a sparse file in an archive, which is not supported'
    return _TOO_LARGE if info.size > _LARGEST else ''


def _check_end(path: str, plain: str, offset: int) -> None:
    """tarfile takes whatever is no header for the end."""
    with open(plain, 'rb') as file:
        file.seek(offset)
        rest = file.read(_BEHIND_END)
    if not rest:
        log.warning('%s has no mark at its end: perhaps it is cut off.', path)
        return
    if len(rest) < _BLOCK:
        raise tarfile.ReadError('its end is missing')
    if any(rest[:_BLOCK]):
        raise tarfile.ReadError(f'there is no header at byte {offset:,}')
    for at in range(_BLOCK, len(rest), _BLOCK):
        if rest[at + 257 : at + 262] == b'ustar':
            raise tarfile.ReadError('another archive begins behind its end; were they joined?')
