"""What was named on the command line -> picture files."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.records.folders import PICTURE_EXTENSIONS

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
            found += _checked(name, sorted(_below(name)), 'has no pictures in it')
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = sorted(glob.glob(name, recursive=True))
            found += find_pictures(_checked(name, matches, 'matches no file'))
        else:
            found.append(name)
    return found


def _listed_on_stdin() -> list[str]:
    text = sys.stdin.buffer.read()
    names = text.split(b'\0') if b'\0' in text else text.splitlines()
    return [os.fsdecode(name) for name in names if name]


def _below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in names:
            extension = os.path.splitext(name)[1].lower()
            if extension in PICTURE_EXTENSIONS and not name.startswith('.'):
                yield os.path.join(parent, name)


def _checked(name: str, found: list[str], fault: str) -> list[str]:
    if not found:
        raise InputError(f'{name!r} {fault}.')
    return found
