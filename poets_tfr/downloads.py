"""Published files -> a folder here: fetched once, checked, whole or not at all. No TensorFlow.

Not pooch: it has the digests and the temporary file, but knows no least speed, no limit to what it
unpacks and nothing to say to people without a network, so all of this would stand around it.
"""

from __future__ import annotations

import dataclasses
import errno
import gzip
import hashlib
import http.client
import io
import logging
import os
import re
import socket
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from typing import IO, Any

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sockets import PacedReader

log = logging.getLogger('poets_tfr')

_ATTEMPTS = 3
_PATIENCE_SECONDS, _BYTES_PER_SECOND = 30.0, 1000.0  # how long a server may be slower than that
_MAY_PASS = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    EOFError,
    ValueError,  # an answer that makes no sense, such as a redirection to http://[
)
_BLOCK_BYTES = 1 << 18
# Weights hardly shrink when they are packed: whatever grows more is no network and no photos.
_UNPACKED_BYTES, _UNPACKED_PER_PACKED, _MEMBERS = 256 << 20, 20, 20_000
_BAD_ARCHIVE = tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError


@dataclasses.dataclass(frozen=True)
class Download:
    """A published file. `digest` is 'sha256:<hex>', 'md5:<hex>', or '' where none is published."""

    url: str
    digest: str = ''

    @property
    def file(self) -> str:
        return self.url.rsplit('/', 1)[-1]


def fetch(
    download: Download, directory: str, name: str = '', patience: float = _PATIENCE_SECONDS
) -> str:
    """The path of the downloaded file in `directory`; it is fetched only if it is not there.

    Args:
      patience: for how many seconds the server may send less than a thousand bytes a second.

    Raises:
      InputError: it cannot be had (the message says from where and where to put it by hand), or the
        file that lies there is not the published one.
    """
    path = files.join(directory, name or download.file)
    by_hand = f'put it at {path if files.is_remote(path) else os.path.abspath(path)}'
    if files.exists(path):
        if wrong := _wrong_digest(path, download):
            raise InputError(f'{path} is not the published file: {wrong} Delete it and run again.')
        return path
    log.info('>> Downloading %s', printable(download.url))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with files.replacing(path) as part:
                _fetch_once(download, part, patience)
                if wrong := _wrong_digest(part, download):
                    raise InputError(
                        f'{printable(download.url)} gave another file than the published one: '
                        f'{wrong} Nothing was kept. Run again, or fetch it elsewhere and {by_hand}'
                    )
            log.info('Successfully downloaded %s, %d bytes.', path, files.size(path))
            return path
        except InputError:
            raise
        except _MAY_PASS as error:
            reason = printable(str(error) or type(error).__name__)
            log.warning('Download failed (attempt %d of %d): %s', attempt, _ATTEMPTS, reason)
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                break
            if attempt < _ATTEMPTS:
                time.sleep(2 ** (attempt - 1))
    raise InputError(
        f'Could not download {printable(download.url)} ({reason}). Without network access, fetch '
        f'it on another machine and {by_hand}'
    )


def _fetch_once(download: Download, part: str, patience: float) -> None:
    """Raises EOFError when fewer bytes come than the server announced."""
    opener = urllib.request.build_opener(_Http, _Https)
    with opener.open(download.url, timeout=patience) as response:
        length = response.headers.get('Content-Length', '')
        announced = int(length) if re.fullmatch('[0-9]{1,18}', length) else 0
        received = 0
        with open(part, 'xb') as file, progress.bar(announced, 'bytes', download.file) as bar:
            while block := response.read1(_BLOCK_BYTES):
                file.write(block)
                received += len(block)
                bar.update(len(block))
    if announced and received != announced:
        raise EOFError(f'{received} of {announced} bytes came')


class _Response(http.client.HTTPResponse):
    """From its first line on, what drips in is not waited for."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        paced = PacedReader(sock, _BYTES_PER_SECOND)
        self.fp.close()
        self.fp = io.BufferedReader(paced)


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _wrong_digest(path: str, download: Download) -> str:
    """A sentence on how the file's digest differs from the published one; '' if it does not."""
    if not download.digest:
        return ''
    algorithm, wanted = download.digest.split(':')
    digest = hashlib.new(algorithm)
    with files.open_read(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() == wanted:
        return ''
    return f'its {algorithm} is {digest.hexdigest()}, wanted {wanted}.'


def read_member(archive: str, member: str) -> bytes:
    """One file of a .tgz, read into memory: nothing is unpacked, so no path in it can do harm.

    Raises:
      InputError: the archive is damaged, or has no such file.
    """
    content = files.read_bytes(archive)
    try:
        with _Tar(io.BytesIO(content), len(content)) as tar:
            for info in tar:
                if info.isfile() and os.path.normpath(info.name) == member:
                    file = tar.extractfile(info)
                    assert file is not None
                    return file.read()
    except _BAD_ARCHIVE as error:
        reason = printable(str(error))
        raise InputError(
            f'{archive} is damaged ({reason}): delete it, so that it is fetched anew.'
        ) from None
    raise InputError(
        f'{archive} holds no {member}: it is another archive. Delete it, so that it is fetched '
        'anew.'
    )


def fetch_module(url: str, directory: str) -> str:
    """The local folder of the TF2 SavedModel at a TF Hub URL; it is fetched only if not there."""
    name = f'module-{hashlib.sha256(url.encode()).hexdigest()[:16]}'
    folder = os.path.join(directory, name)
    module = Download(f'{url}?tf-hub-format=compressed')
    try:
        fetch_unpacked(module, folder, f'{name}.tgz', wanted='saved_model.pb')
    except InputError as error:
        raise InputError(f'--tfhub_module={printable(url)}: {error}') from None
    return folder


def fetch_unpacked(
    download: Download, folder: str, name: str = '', root: str = '.', wanted: str = ''
) -> None:
    """An archive, or the folder `root` in it, becomes `folder`; it is kept beside it.

    Of an archive that is refused nothing stays, unless it was put there by hand.

    Raises:
      InputError: it cannot be had; it is damaged, unpacks to far too much, or holds paths or links
        that lead outside, or no file `wanted`.
    """
    directory = os.path.dirname(folder)
    if os.path.exists(folder):
        if not os.path.exists(os.path.join(folder, wanted)):
            raise InputError(f'{folder} holds no {wanted}. Delete it and run again.')
        return
    by_hand = files.exists(files.join(directory, name or download.file))
    archive = fetch(download, directory, name)
    try:
        _unpack(archive, folder, root, wanted)
    except _BAD_ARCHIVE as error:
        if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        if not by_hand:
            files.remove(archive)
        kept = 'Delete it and run again.' if by_hand else 'Nothing was kept. Run again.'
        reason = printable(str(error))
        raise InputError(f'{archive} cannot be unpacked ({reason}). {kept}') from None


def _unpack(archive: str, folder: str, root: str, wanted: str) -> None:
    """`folder` appears only when all is in it."""
    parent, name = os.path.split(os.path.abspath(folder))
    with tempfile.TemporaryDirectory(dir=parent, prefix=f'.{name}.') as work:
        unpacked = os.path.join(work, name)
        with open(archive, 'rb') as packed, _Tar(packed, os.path.getsize(archive)) as tar:
            tar.extractall(unpacked, filter='data')
        chosen = os.path.normpath(os.path.join(unpacked, root))
        if not os.path.exists(os.path.join(chosen, wanted)):
            raise tarfile.ReadError(f'it holds no {wanted or root}')
        os.rename(chosen, folder)


class _Bounded(gzip.GzipFile):
    """Is not read beyond `limit` bytes, headers and what is left out included."""

    def __init__(self, packed: IO[bytes], limit: int):
        super().__init__(fileobj=packed, mode='rb')
        self.limit = limit

    def check(self, end: int) -> None:
        if end > self.limit:
            raise tarfile.ReadError(f'it unpacks to more than {self.limit >> 20} MiB')

    def read(self, size: int | None = -1) -> bytes:
        self.check(self.tell() + (size or 0))
        return super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.check(offset)
        return super().seek(offset, whence)


class _Tar(tarfile.TarFile):
    """A .tgz that is given up where it turns out to be far more than it looks."""

    def __init__(self, packed: IO[bytes], size: int):
        limit = max(_UNPACKED_BYTES, _UNPACKED_PER_PACKED * size)
        self._unpacked = _Bounded(packed, limit)
        super().__init__(fileobj=self._unpacked)

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        announced = 0
        for count, info in enumerate(super().__iter__(), 1):
            announced += info.size
            self._unpacked.check(announced)  # before any of it is written
            if count > _MEMBERS:
                raise tarfile.ReadError(f'it holds more than {_MEMBERS:,} files')
            yield info
