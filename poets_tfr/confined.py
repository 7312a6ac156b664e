"""Files put below a folder and nowhere else: no link in it is followed, and nothing is replaced.

The names may be anybody's. Folders are held open, so that no other program can put a link in their
place between a look and a write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator

from poets_tfr import files
from poets_tfr.errors import InputError

_NAME_BYTES = 255
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_HARD_LINKS = errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK


class Folder:
    """A folder on this computer, open until `close`; path: as it was named."""

    def __init__(self, path: str, handle: int):
        self.path, self._handle = path, handle

    @classmethod
    def open(cls, path: str) -> Folder:
        """Makes it where it lacks. Raises InputError, OSError."""
        files.make_dirs(path)
        return cls(path, os.open(path, _FOLDER))

    def folder(self, name: str) -> Folder:
        """The folder of this name in it, made where it lacks.

        Raises:
          InputError: a link or a file has the name.
        """
        path = os.path.join(self.path, name)
        with contextlib.suppress(FileExistsError):
            os.mkdir(_checked(name), dir_fd=self._handle)
        try:
            return Folder(path, os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._handle))
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise InputError(
                f'{path} is a link or a file, and a folder is wanted: move it away.'
            ) from None

    def put(self, name: str, content: bytes) -> bool:
        """Writes a file of this name, or of name_2, name_3, ... where that is another file's.

        Returns:
          Whether it was written: a file of the content may be there under such a name already.
        """
        for each in _names(_checked(name)):
            if not self._has(each):
                with contextlib.suppress(FileExistsError):  # another program was faster
                    self._put(each, content)
                    return True
            if self._holds(each, content):
                return False
        raise AssertionError('there are names without end')

    def put_link(self, name: str, target: str) -> bool:
        """As `put`, a symbolic link to a path."""
        for each in _names(_checked(name)):
            try:
                os.symlink(target, each, dir_fd=self._handle)
                return True
            except FileExistsError:
                with contextlib.suppress(OSError):
                    if os.readlink(each, dir_fd=self._handle) == target:
                        return False
        raise AssertionError('there are names without end')

    def close(self) -> None:
        os.close(self._handle)

    def _put(self, name: str, content: bytes) -> None:
        """The whole file or none. Raises FileExistsError."""
        part = f'.{uuid.uuid4().hex}.part'
        try:
            self._write(part, content)
            self._give_name(part, name, content)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=self._handle)

    def _has(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _write(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o666, dir_fd=self._handle), 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _give_name(self, part: str, name: str, content: bytes) -> None:
        """Unlike renaming, a hard link replaces nothing; some drives have none."""
        try:
            os.link(
                part, name,
                src_dir_fd=self._handle, dst_dir_fd=self._handle, follow_symlinks=False,
            )  # fmt: skip
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._write(name, content)

    def _holds(self, name: str, content: bytes) -> bool:
        """Whether a file, and no link to one, has just this content."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            with open(os.open(name, flags, dir_fd=self._handle), 'rb') as file:
                found = os.fstat(file.fileno())
                if stat.S_ISREG(found.st_mode) and found.st_size == len(content):
                    return file.read() == content
        return False


def _checked(name: str) -> str:
    if name in ('', '.', '..') or '/' in name or '\0' in name:
        raise ValueError(f'{name!r} is no name of a file')
    return name


def _names(name: str) -> Iterator[str]:
    """name.jpg, name_2.jpg, name_3.jpg, ...: none longer than a name may be."""
    yield name
    stem, extension = os.path.splitext(name)
    number = 1
    while number := number + 1:
        ending = os.fsencode(f'_{number}{extension}')[-_NAME_BYTES:]
        room = _NAME_BYTES - len(ending)
        # A letter of several bytes is not cut in two.
        beginning = os.fsencode(stem)[:room].decode('utf-8', 'ignore')
        if len(os.fsencode(stem)) <= room:
            beginning = stem
        yield beginning + os.fsdecode(ending)
