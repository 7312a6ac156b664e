"""Who writes into a folder: one process at a time, also on drives that have no file locks."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator

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
        while holder := _take(directory, held):
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


def _take(directory: str, held: contextlib.ExitStack) -> str:
    """'' once the folder is held, until the stack closes; else who holds it."""
    import fcntl

    path = files.join(directory, '.lock')
    with contextlib.ExitStack() as attempt:
        lock = attempt.enter_context(open(path, 'a+b', buffering=0))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_FLOCK:
                return _take_by_file(directory, held, error)
            if error.errno not in _IS_HELD:
                raise OSError(error.errno, error.strerror, path) from None
            lock.seek(0)
            return lock.read().decode(errors='replace') or 'another process'
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name in it
            lock.truncate(0)
            lock.write(_own_name())
        held.enter_context(attempt.pop_all())
    return ''


def _take_by_file(directory: str, held: contextlib.ExitStack, error: OSError) -> str:
    path = files.join(directory, '.lock.held')
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
        'was killed, delete it.', directory, error.strerror, path,
    )  # fmt: skip
    return ''


def _own_name() -> bytes:
    return f'process {os.getpid()} on {socket.gethostname()}'.encode()
