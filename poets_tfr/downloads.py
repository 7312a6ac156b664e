"""Published files -> a folder here: fetched once, checked, whole or not at all. No TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import io
import logging
import os
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

from poets_tfr import files, progress
from poets_tfr.errors import InputError

log = logging.getLogger('poets_tfr')

_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30
_MAY_PASS = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    EOFError,
)
_BLOCK_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True)
class Download:
    """A published file. `digest` is 'sha256:<hex>', 'md5:<hex>', or '' where none is published."""

    url: str
    digest: str = ''

    @property
    def file(self) -> str:
        return self.url.rsplit('/', 1)[-1]


def fetch(download: Download, directory: str, name: str = '') -> str:
    """The path of the downloaded file in `directory`; it is fetched only if it is not there.

    Raises:
      InputError: it cannot be had (the message says from where and where to put it by hand), or the
        file that lies there is not the published one.
    """
    path = files.join(directory, name or download.file)
    if files.exists(path):
        if wrong := _wrong_digest(path, download):
            raise InputError(f'{path} is not the published file: {wrong} Delete it and run again.')
        return path
    log.info('>> Downloading %s', download.url)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with files.replacing(path) as part:
                _fetch_once(download, part)
                if wrong := _wrong_digest(part, download):
                    raise InputError(
                        f'{download.url} gave another file than the published one: {wrong} '
                        'Nothing was kept. Run again, or fetch it elsewhere and put it at '
                        f'{os.path.abspath(path)}'
                    )
            log.info('Successfully downloaded %s, %d bytes.', path, files.size(path))
            return path
        except _MAY_PASS as error:
            log.warning('Download failed (attempt %d of %d): %s', attempt, _ATTEMPTS, error)
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                break
            if attempt < _ATTEMPTS:
                time.sleep(2 ** (attempt - 1))
    raise InputError(
        f'Could not download {download.url}. Without network access, fetch it on another machine '
        f'and put it at {os.path.abspath(path) if not files.is_remote(path) else path}'
    )


def _fetch_once(download: Download, part: str) -> None:
    """Raises EOFError when fewer bytes come than the server announced."""
    with urllib.request.urlopen(download.url, timeout=_TIMEOUT_SECONDS) as response:
        announced = int(response.headers.get('Content-Length') or 0)
        received = 0
        with open(part, 'xb') as file, progress.bar(announced, 'bytes', download.file) as bar:
            while block := response.read(_BLOCK_BYTES):
                file.write(block)
                received += len(block)
                bar.update(len(block))
    if announced and received != announced:
        raise EOFError(f'{received} of {announced} bytes came')


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
    try:
        with tarfile.open(fileobj=io.BytesIO(files.read_bytes(archive)), mode='r:gz') as tar:
            for info in tar:
                if info.isfile() and os.path.normpath(info.name) == member:
                    content = tar.extractfile(info)
                    assert content is not None
                    return content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f'{archive} is damaged ({error}): delete it, so that it is fetched anew.'
        ) from None
    raise InputError(f'{archive} holds no {member}: it is another archive.')


def fetch_module(url: str, directory: str) -> str:
    """The local folder of the TF2 SavedModel at a TF Hub URL; it is fetched only if not there."""
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = os.path.join(directory, f'module-{key}')
    if not os.path.exists(folder):
        module = Download(f'{url}?tf-hub-format=compressed')
        unpack(fetch(module, directory, f'module-{key}.tgz'), folder)
    if not os.path.exists(os.path.join(folder, 'saved_model.pb')):
        raise InputError(f'--tfhub_module={url}: {folder} holds no TF2 SavedModel.')
    return folder


def unpack(archive: str, folder: str, root: str = '.') -> None:
    """A .tgz, or the folder `root` in it -> a new folder, which appears only when all is in it.

    Raises:
      InputError: the archive is damaged, or holds paths or links that lead outside.
    """
    parent, name = os.path.split(os.path.abspath(folder))
    with tempfile.TemporaryDirectory(dir=parent, prefix=f'.{name}.') as work:
        unpacked = os.path.join(work, name)
        try:
            with tarfile.open(archive, mode='r:gz') as tar:
                tar.extractall(unpacked, filter='data')
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InputError(f'{archive} is damaged ({error}): delete it and run again.') from None
        os.rename(os.path.normpath(os.path.join(unpacked, root)), folder)
