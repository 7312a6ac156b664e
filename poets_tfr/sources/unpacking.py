"""A compressed tar is decompressed once, to the user's cache, until its records stand.

No TensorFlow.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import lzma
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.places import user_cache_dir

OPENERS: dict[str, Callable[[Any], Any]] = {
    'gzip': gzip.open, 'xz': lzma.open, 'bzip2': bz2.open,
}  # fmt: skip
MOST_EXPANDED = 100  # times; photos hardly shrink, so that what grows so much is a bomb
_LEAST_TO_JUDGE = 1 << 30  # bytes
_PIECE = 8 << 20
_FREE = 256 << 20  # bytes that stay free on the drive
_ABANDONED = 7 * 24 * 3600  # seconds; a run that failed or was killed may go on until then


def unpacked(path: str, compression: str) -> str:
    """The path of the plain tar; it is made where it does not stand.

    Raises:
      InputError: there is no room for it, or it grows beyond measure.
      OSError, EOFError, ...: what the compression's module says of damage.
    """
    plain = _place_of(path)
    if not os.path.exists(plain):
        directory = os.path.dirname(plain)
        with _errors_of_drive(path, directory):
            files.make_dirs(directory)
            files.remove_stale_parts(directory)
            _remove_abandoned(directory)
            with (
                progress.stage(f'Unpacking {path} once to {directory}'),
                files.replacing(plain) as part,
            ):
                _decompress(path, OPENERS[compression], part)
    return plain


def remove(path: str) -> None:
    """Removes what was unpacked for it."""
    with contextlib.suppress(OSError):
        os.remove(_place_of(path))


def _place_of(path: str) -> str:
    stat = os.stat(path)
    known_by = f'{os.path.abspath(path)}\n{stat.st_size}\n{stat.st_mtime_ns}'
    name = hashlib.sha256(known_by.encode('utf-8', 'surrogateescape')).hexdigest()[:32]
    return os.path.join(user_cache_dir(), 'unpacked', f'{name}.tar')


def _remove_abandoned(directory: str) -> None:
    for entry in files.scan(directory):
        if entry.is_file and time.time() - entry.mtime_ns / 1e9 > _ABANDONED:
            files.remove(os.path.join(directory, entry.name))


@contextlib.contextmanager
def _errors_of_drive(path: str, directory: str) -> Iterator[None]:
    """Inside, errors about the cache are told as such, and not as the archive's."""
    try:
        yield
    except OSError as error:
        if error.errno and str(error.filename or directory).startswith(directory):
            raise InputError(
                f'--image_dir: {path} is unpacked to {directory}, which cannot be written '
                f'({error.strerror}): name another place with XDG_CACHE_HOME, or unpack it '
                'yourself.'
            ) from None
        raise


def _decompress(path: str, opener: Callable[[Any], Any], part: str) -> None:
    """Raises InputError: it does not fit the drive, or grows beyond measure."""
    compressed = os.path.getsize(path)
    directory = os.path.dirname(part)
    most = max(_LEAST_TO_JUDGE, MOST_EXPANDED * compressed)
    written = told = 0
    with (
        open(path, 'rb') as source,
        opener(source) as content,
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
                    f'--image_dir: {path} is unpacked to {directory}, where no room is left after '
                    f'{written >> 20:,} MiB: make room, name another place with XDG_CACHE_HOME, or '
                    'unpack it yourself.'
                )
            target.write(piece)
            if done := (source.tell() >> 20) - told:
                bar.update(done)
                told += done
