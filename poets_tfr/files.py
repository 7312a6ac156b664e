"""Open, list and replace files, local or remote.

Local paths are served by the standard library, so that nothing here needs TensorFlow for them;
`gs://`, `s3://`, `az://` and the like go through `tf.io.gfile` (s3 and az need tensorflow-io).
Every write is a temporary file beside the target, flushed, fsynced and renamed: a reader, or a run
that starts after a kill, sees the old whole file or the new whole file.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

from poets_tfr.errors import InputError

log = logging.getLogger('poets_tfr')

_REMOTE_CALLS = 32  # at a time: each waits for the network, and takes no core
_SPECIAL = {
    stat.S_IFIFO: 'a named pipe, not a file',
    stat.S_IFSOCK: 'a socket, not a file',
    stat.S_IFCHR: 'a device, not a file',
    stat.S_IFBLK: 'a device, not a file',
}
UNREADABLE = 'unreadable: '  # begins the fault of what cannot be looked at
_PART = re.compile(r'\.(?P<name>.+)\.(?P<home>[^.]+)\.(?P<pid>\d{1,9})\.[0-9a-f]{8}\.part')
_PART_SECONDS = 24 * 3600  # no file takes so long to write
_TENSORFLOW_PATTERN = re.compile(r'[][*?\\]')


def is_remote(path: str) -> bool:
    return '://' in path


def join(directory: str, *names: str) -> str:
    return (
        '/'.join([directory.rstrip('/'), *names])
        if is_remote(directory)
        else os.path.join(directory, *names)
    )


def absolute(path: str) -> str:
    """What names the same file from any current folder."""
    return path if is_remote(path) else os.path.abspath(path)


def _gfile(path: str) -> Any:
    """`tf.io.gfile`, once it serves paths like `path`. Raises InputError where it does not."""
    import tensorflow as tf

    with contextlib.suppress(ImportError, NotImplementedError):
        import tensorflow_io  # noqa: F401  registers s3:// and az://
    scheme = path.partition('://')[0]
    if scheme not in tf.io.gfile.get_registered_schemes():
        raise InputError(
            f'{path}: {scheme}:// paths are not served here. s3:// and az:// need tensorflow-io, '
            'which loads beside TensorFlow 2.16 only (the extra io); give a local folder instead.'
        )
    return tf.io.gfile


@contextlib.contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Inside, TensorFlow's errors about the file `path` are raised as OSError, like everyone's."""
    try:
        yield
    except Exception as error:
        tf = sys.modules.get('tensorflow')
        if tf is None or not isinstance(error, tf.errors.OpError):
            raise
        numbers = {
            tf.errors.NotFoundError: errno.ENOENT,
            tf.errors.PermissionDeniedError: errno.EACCES,
            tf.errors.ResourceExhaustedError: errno.ENOSPC,
        }
        number = numbers.get(type(error), errno.EIO)
        first_line = error.message.split('\n')[0]
        message = first_line.partition(' [Op:')[0].rpartition('; ')[2]  # an op; its file; why
        raise OSError(number, message, path) from None


def exists(path: str) -> bool:
    with os_errors(path):
        return _gfile(path).exists(path) if is_remote(path) else os.path.exists(path)


def size(path: str) -> int | None:
    """Bytes, or None where there is no such file."""
    try:
        if is_remote(path):
            with os_errors(path):
                return _gfile(path).stat(path).length
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def list_names(directory: str) -> list[str]:
    """The names in a folder, sorted; none where there is no folder."""
    if is_remote(directory):
        gfile = _gfile(directory)
        with os_errors(directory):
            names = gfile.listdir(directory) if gfile.isdir(directory) else []
        return sorted(name.rstrip('/') for name in names)
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


class Entry(NamedTuple):
    """One name in a folder. `mtime_ns` is 0 where the file system does not say.

    fault: why what is neither a folder nor a file must not be opened, as a named pipe would wait
      for ever.
    """

    name: str
    is_dir: bool
    is_file: bool
    size: int
    mtime_ns: int
    is_link: bool = False
    fault: str = ''


def scan(directory: str) -> list[Entry]:
    """What lies in a folder, sorted by name; links are followed, a dangling one is not a file.

    Raises:
      FileNotFoundError, NotADirectoryError: there is no such folder.
    """
    if is_remote(directory):
        if not _gfile(directory).isdir(directory):
            raise (NotADirectoryError if exists(directory) else FileNotFoundError)(directory)
        paths = [join(directory, name) for name in list_names(directory)]
        with concurrent.futures.ThreadPoolExecutor(_REMOTE_CALLS) as pool:
            return list(pool.map(_remote_entry, paths))
    with os.scandir(directory) as found:
        return sorted(map(_local_entry, found))


def _local_entry(entry: os.DirEntry[str]) -> Entry:
    is_link = entry.is_symlink()
    try:
        found = entry.stat()
    except OSError as error:
        leads_nowhere = is_link and not isinstance(error, PermissionError)
        fault = 'a link to nothing' if leads_nowhere else f'{UNREADABLE}{error.strerror}'
        return Entry(entry.name, False, False, 0, 0, is_link, fault)
    is_dir, is_file = stat.S_ISDIR(found.st_mode), stat.S_ISREG(found.st_mode)
    fault = '' if is_dir or is_file else what_it_is(found.st_mode)
    return Entry(entry.name, is_dir, is_file, found.st_size, found.st_mtime_ns, is_link, fault)


def what_it_is(mode: int) -> str:
    return _SPECIAL.get(stat.S_IFMT(mode), 'not a file')


def _remote_entry(path: str) -> Entry:
    with os_errors(path):
        found = _gfile(path).stat(path)
    is_dir, name = found.is_directory, path.rsplit('/', 1)[1]
    return Entry(name, is_dir, not is_dir, found.length, found.mtime_nsec)


def make_dirs(directory: str) -> None:
    if is_remote(directory):
        with os_errors(directory):
            _gfile(directory).makedirs(directory)
        return
    try:
        os.makedirs(directory, exist_ok=True)
    except FileExistsError:
        raise InputError(f'{directory} is a file: a folder is wanted there.') from None


def open_read(path: str) -> IO[bytes]:
    if not is_remote(path):
        return open(path, 'rb')
    with os_errors(path):
        file = _gfile(path).GFile(path, 'rb')
        file.size()  # else a missing file would be noticed at the first read only
    return file


def read_bytes(path: str) -> bytes:
    if not is_remote(path):
        with open(path, 'rb') as file:
            return file.read()
    with os_errors(path), _gfile(path).GFile(path, 'rb') as file:
        return file.read()  # which asks for the size itself: open_read would pay for it twice


def read_regular(path: str) -> bytes:
    """As `read_bytes`; a pipe or a device, which could be waited for in vain, is an OSError."""
    if not is_remote(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, what_it_is(mode), path)
    return read_bytes(path)


def read_json(path: str) -> Any:
    """Raises InputError, naming the file, when it is not JSON."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f'{path} is damaged ({error}): delete it and run again.') from None


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields a temporary path whose file takes the name `path` when the block ends without error.

    The folder is created. On an error nothing is left behind; a process killed inside the block
    leaves a hidden `.part` file, which `remove_stale_parts` removes.
    """
    part = part_of(path)
    make_dirs(os.path.dirname(part) or '.')
    try:
        yield part
        _fsync(part)
        move(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            remove(part)
        # A full disk names no file, and nobody knows the part.
        if isinstance(error, OSError) and error.errno and error.filename in (None, part):
            raise OSError(error.errno, error.strerror, path) from None
        raise


def part_of(path: str) -> str:
    """A hidden name beside `path` for what is to get that name once it is whole.

    What a killed process leaves under it, `remove_stale_parts` removes.
    """
    directory, name = path.rsplit('/', 1) if is_remote(path) else os.path.split(path)
    name = name[:50]  # a name may be as long as names can be
    return join(directory, f'.{name}.{_home()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part')


def write_bytes(path: str, content: bytes) -> None:
    with replacing(path) as part:
        _write(part, content, path)


def write_together(contents: Mapping[str, bytes]) -> None:
    """Files that belong together: none is replaced before all of them are written."""
    with contextlib.ExitStack() as parts:
        for path, content in contents.items():
            part = parts.enter_context(replacing(path))
            _write(part, content, path)
            _fsync(part)


def _write(part: str, content: bytes, path: str) -> None:
    with os_errors(path):
        with _gfile(part).GFile(part, 'wb') if is_remote(part) else open(part, 'xb') as file:
            file.write(content)


def make_empty(path: str) -> None:
    """An empty file, also where a file store makes nothing of one that nothing was written to."""
    with os_errors(path):
        with _gfile(path).GFile(path, 'wb') if is_remote(path) else open(path, 'wb') as file:
            file.write(b'')


def write_json(path: str, value: Any) -> None:
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any, indent: bool = True) -> bytes:
    """The same for the same value: sorted keys, two spaces (or none), one final newline."""
    layout: dict[str, Any] = {'indent': 2} if indent else {'separators': (',', ':')}
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, **layout)
    return text.encode('ascii') + b'\n'


def may_replace(path: str, mark: bytes) -> bool:
    """Whether no file stands there, or one that bears the mark of ours; else logs a warning."""
    if not exists(path) or mark in read_bytes(path):
        return True
    log.warning('%s was not written by this program: it stays, and ours is not written.', path)
    return False


def remove(path: str) -> None:
    """Removes a file; one that is already gone is no error."""
    with contextlib.suppress(FileNotFoundError), os_errors(path):
        if not is_remote(path):
            os.unlink(path)
        elif _gfile(path).exists(path):
            _gfile(path).remove(path)


def remove_empty_dir(directory: str) -> None:
    """Removes a folder that holds nothing; any other stays, and a missing one is no error."""
    if is_remote(directory):
        if not list_names(directory):
            with contextlib.suppress(FileNotFoundError), os_errors(directory):
                _gfile(directory).rmtree(directory)
        return
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def remove_stale_parts(directory: str, sole_writer: bool = False) -> None:
    """Removes what killed processes left of their unfinished files and folders in a local folder.

    Only this machine and this container know which of their processes live; what others left goes
    when it is a day old. All goes where the caller is the folder's `sole_writer`.
    """
    if is_remote(directory):
        return
    for name in list_names(directory):
        if match := _PART.fullmatch(name):
            part = join(directory, name)
            is_own = match['home'] == _home()
            is_dead = not _is_alive(int(match['pid'])) if is_own else _is_old(part)
            if (is_dead or sole_writer) and os.path.isdir(part):
                shutil.rmtree(part)
            elif is_dead or sole_writer:
                remove(part)


def _is_old(part: str) -> bool:
    """By the drive's own clock, which may be another than this machine's."""
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(part) or '.') as now:
            seconds = os.stat(now.fileno()).st_mtime - os.stat(part).st_mtime
    except OSError:
        return False
    return seconds > _PART_SECONDS


@contextlib.contextmanager
def without_patterns(directory: str) -> Iterator[str]:
    """A name of the folder `directory` by which TensorFlow reads its checkpoints.

    It takes brackets, stars, question marks and backslashes for patterns, and then finds nothing:
    such a folder is read by a link to it.
    """
    if is_remote(directory) or not _TENSORFLOW_PATTERN.search(os.path.abspath(directory)):
        yield directory
        return
    plain = None if not _TENSORFLOW_PATTERN.search(tempfile.gettempdir()) else '/tmp'
    with tempfile.TemporaryDirectory(dir=plain) as work:
        link = os.path.join(work, 'folder')
        os.symlink(os.path.abspath(directory), link)
        yield link


def sha256_of(path: str) -> str:
    """Hex digits of the file's SHA-256, read in pieces."""
    digest = hashlib.sha256()
    with open_read(path) as file, os_errors(path):
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def move(source: str, target: str) -> None:
    """Renames, replacing what has the name."""
    if not is_remote(target):
        os.replace(source, target)
        with contextlib.suppress(OSError):  # network drives may refuse it; the name stands
            _fsync(os.path.dirname(target) or '.')
        return
    with os_errors(target):
        if not target.startswith('s3://'):
            remove(target)
            _gfile(target).rename(source, target, overwrite=True)
            return
        # rename on s3 takes along every object whose name begins alike, and leaves what has the
        # name; copy replaces it in one step, but refuses an empty file.
        if size(source):
            _gfile(target).copy(source, target, overwrite=True)
        else:
            make_empty(target)
        remove(source)


def _fsync(path: str) -> None:
    if is_remote(path):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.cache
def _home() -> str:
    """Names all whose process numbers mean the same: one start of a machine, one container."""
    try:
        with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as boot:
            told = f'{boot.read()} {os.stat("/proc/self/ns/pid").st_ino} {socket.gethostname()}'
    except OSError:
        told = uuid.uuid4().hex  # a system that does not say: by age alone
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
