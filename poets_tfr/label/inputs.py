"""What was named on the command line -> picture files."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from typing import TypeVar

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.sources import remarks
from poets_tfr.sources.folders import Folders, is_system_folder
from poets_tfr.sources.remarks import Remarks
from poets_tfr.sources.source import Drive

Found = TypeVar('Found')

STDIN = '-'


def find_pictures(named: Iterable[str]) -> list[str]:
    """The picture files behind files, folders, patterns and '-', in this order.

    A folder stands for all pictures in it and below it, sorted; a pattern for what it matches; '-'
    for the lines of standard input (or, where it holds NUL bytes, for what stands between these).

    Raises:
      InputError: a pattern or a folder gives nothing.
    """
    found: list[str] = []
    for name in named:
        if name == STDIN:
            found += find_pictures(_listed_on_stdin())
        elif files.is_remote(name):
            found.append(name)
        elif os.path.isdir(name):
            found += _below(name)
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = [
                match for match in glob.glob(name, recursive=True) if not _is_kept_out(match)
            ]
            matches.sort()
            found += find_pictures(_checked(name, matches, 'matches no file'))
        else:
            found.append(name)
    return found


def _listed_on_stdin() -> list[str]:
    text = sys.stdin.buffer.read()
    names = text.split(b'\0') if b'\0' in text else text.splitlines()
    return [os.fsdecode(name) for name in names if name]


def _below(folder: str) -> list[str]:
    """Its pictures and those below it, sorted; says what else lies there."""
    folders = Folders(Drive(folder), recursive=True, follow_links=True)
    contents = folders.look_into('')
    remarks.check_open(folder, folders)
    _checked(folder, contents.pictures, 'has no images in it')
    Remarks(1).of_contents(folder, contents)
    remarks.of_folders(folders)
    return [os.path.join(folder, picture.name) for picture in contents.pictures]


def _is_kept_out(match: str) -> bool:
    """What a pattern finds in a system folder was not meant."""
    return any(map(is_system_folder, match.split('/')))


def _checked(name: str, found: list[Found], fault: str) -> list[Found]:
    if not found:
        raise InputError(f'{name!r} {fault}.')
    return found
