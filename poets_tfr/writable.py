"""Whether a run may write where it was told to: asked of every place before any long work."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
import tempfile
from collections.abc import Iterable

from poets_tfr import files
from poets_tfr.errors import InputError


def refuse(faults: Iterable[str]) -> None:
    """Raises InputError, a line for each fault, unless all of them are ''."""
    if found := [fault for fault in faults if fault]:
        raise InputError('\n'.join(found))


def file_fault(path: str, flag: str) -> str:
    """Why no file could be put at `path`, and the way out; '' where one can. Makes nothing."""
    if files.is_remote(path):
        return ''
    path = os.path.abspath(path)
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return f'--{flag}: {path} is a folder; a file name is wanted.'
    if fault := folder_fault(folder, flag):
        return fault
    with contextlib.suppress(FileNotFoundError):
        there = os.lstat(path)
        if not stat.S_ISREG(there.st_mode) and not stat.S_ISLNK(there.st_mode):
            return f'--{flag}: {path} is {files.what_it_is(there.st_mode)}; name a file.'
        if not is_replaceable(there, os.stat(folder), os.geteuid()):
            return (
                f'--{flag}: {path} belongs to {_owner(there)}, and in {folder} only the owner may '
                f'replace a file: name another one with --{flag}.'
            )
    return ''


def folder_fault(directory: str, flag: str) -> str:
    """Why no files could be put into `directory`, and the way out; '' where they can.

    Makes nothing: where there is no such folder yet, the nearest one above it is tried.
    """
    if files.is_remote(directory):
        return ''
    directory = place = os.path.abspath(directory)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f'--{flag}: {place}: a file is in the way; name a folder.'
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        what = f'write into {place}' if place == directory else f'make {directory} in {place}'
        why = error.strerror
        if error.errno in (errno.EACCES, errno.EPERM):
            why = f'{why}; the folder belongs to {_owner(os.stat(place))}'
        return f'--{flag}: cannot {what} ({why}): name another place with --{flag}.'
    return ''


def is_replaceable(file: os.stat_result, folder: os.stat_result, user: int) -> bool:
    """Whether `user`, who may write into the folder, may put another file in this one's place.

    In a sticky folder, as /tmp is, only the owner of the file or of the folder may.
    """
    is_sticky = bool(folder.st_mode & stat.S_ISVTX)
    return not is_sticky or user in (0, file.st_uid, folder.st_uid)


def _owner(found: os.stat_result) -> str:
    try:
        return pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        return f'user {found.st_uid}'
