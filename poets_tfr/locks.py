"""Who writes where: one process at a time, also on drives that have no file locks."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import IO

from poets_tfr import files
from poets_tfr.errors import InputError

log = logging.getLogger('poets_tfr')

_SECONDS_BETWEEN_TRIES = 0.5
_IS_HELD = errno.EWOULDBLOCK, errno.EACCES
_NO_FLOCK = errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP


@contextlib.contextmanager
def only_writer(directory: str, timeout: float = 0) -> Iterator[None]:
    """Holds a local folder for this process; `timeout`: how many seconds it waits for another.

    The lock dies with the process. On a drive without flock, as Lustre and NFS may be mounted, a
    file that only one process can make stands for it; that one outlives a kill, and whoever meets
    it is told to delete it.

    Raises:
      InputError: another process holds the folder; the message says which.
    """
    if files.is_remote(directory):
        yield
        return
    files.make_dirs(directory)
    with contextlib.ExitStack() as held:
        begun = time.monotonic()
        is_told = False
        while holder := _take(files.join(directory, '.lock'), held):
            if time.monotonic() - begun >= timeout:
                waited = f' after {timeout:g} s (--lock_timeout)' if timeout else ''
                raise InputError(
                    f'{directory} is being written by {holder}{waited}: wait for it, or stop it.'
                )
            if not is_told:
                log.info(
                    'Waiting for %s to finish writing %s, for up to %g s (--lock_timeout).',
                    holder, directory, timeout,
                )  # fmt: skip
                is_told = True
            time.sleep(_SECONDS_BETWEEN_TRIES)
        yield


@contextlib.contextmanager
def only_run(outputs: Mapping[str, str]) -> Iterator[None]:
    """Holds what a run writes, by a lock beside each that is gone afterwards.

    outputs: setting -> path; remote ones are not held.

    Raises:
      InputError: another process writes one of them.
    """
    flag_of: dict[str, str] = {}
    for flag, path in outputs.items():
        if not files.is_remote(path):
            flag_of.setdefault(os.path.realpath(path), flag)
    with contextlib.ExitStack() as held:
        for path, flag in flag_of.items():
            folder, name = os.path.split(path)
            if not os.path.isdir(folder):
                files.make_dirs(folder)
                held.callback(files.remove_empty_dir, folder)
            if holder := _take(files.join(folder, f'.{name}.lock'), held, is_removed=True):
                raise InputError(
                    f'--{flag}: {path} is being written by {holder}: wait for it, or give this run '
                    'places of its own (--run_dir, or --summaries_dir, --output_graph ...).'
                )
        yield


def _take(path: str, held: contextlib.ExitStack, is_removed: bool = False) -> str:
    """'' once the lock at `path` is held, until the stack closes; else who holds it.

    is_removed: its file goes when the stack closes.
    """
    import fcntl

    with contextlib.ExitStack() as attempt:
        lock = attempt.enter_context(_opened(path))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_FLOCK:
                return _take_by_file(path, held, error)
            if error.errno not in _IS_HELD:
                raise OSError(error.errno, error.strerror, path) from None
            lock.seek(0)
            return lock.read().decode(errors='replace') or 'another process'
        if not _stands(lock, path):  # who held it has removed it meanwhile
            return _take(path, held, is_removed)
        if is_removed:
            attempt.callback(_remove_ours, path)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name in it
            lock.truncate(0)
            lock.write(_own_name())
        held.enter_context(attempt.pop_all())
    return ''


def _opened(path: str) -> IO[bytes]:
    """In a folder like /tmp, what another user's killed run left can only be read; it will do."""
    try:
        return open(path, 'a+b', buffering=0)
    except PermissionError:
        return open(path, 'rb', buffering=0)
    except IsADirectoryError:
        raise InputError(f'{path} is a folder, where a lock file is wanted: rename it.') from None


def _stands(lock: IO[bytes], path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_ours(path: str) -> None:
    with contextlib.suppress(PermissionError):
        files.remove(path)


def _take_by_file(path: str, held: contextlib.ExitStack, error: OSError) -> str:
    path = f'{path}.held'
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        try:
            holder = files.read_bytes(path).decode(errors='replace') or 'another process'
        except FileNotFoundError:
            return 'another process'
        return f'{holder} (if that has ended, delete {path})'
    held.callback(files.remove, path)
    try:
        with contextlib.suppress(OSError):
            os.write(handle, _own_name())
    finally:
        os.close(handle)
    log.warning(
        '%s: this drive has no file locks (%s). %s keeps other runs out instead; after a run that '
        'was killed, delete it.', os.path.dirname(path), error.strerror, path,
    )  # fmt: skip
    return ''


def _own_name() -> bytes:
    return f'process {os.getpid()} on {socket.gethostname()}'.encode()
