"""Published weights -> files in model_dir: fetched once, checked, atomic. No TensorFlow."""

from __future__ import annotations

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
from poets_tfr.backbones.catalog import Download
from poets_tfr.config import InputError

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


def fetch(download: Download, directory: str, name: str = '') -> str:
    """The path of the downloaded file in `directory`; it is fetched only if it is not there.

    Raises:
      InputError: it cannot be had (the message says from where and where to put it by hand), or the
        file that lies there is not the published one.
    """
    path = files.join(directory, name or download.file)
    if files.exists(path):
        _check_digest(path, path, download)
        return path
    log.info('>> Downloading %s', download.url)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with files.replacing(path) as part:
                _fetch_once(download, part)
                _check_digest(part, path, download)
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


def _check_digest(path: str, name: str, download: Download) -> None:
    if not download.digest:
        return
    algorithm, wanted = download.digest.split(':')
    digest = hashlib.new(algorithm)
    with files.open_read(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != wanted:
        raise InputError(
            f'{name} is not the published file: its {algorithm} is {digest.hexdigest()}, wanted '
            f'{wanted}. Delete it and run again, or fetch {download.url} anew.'
        )


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
