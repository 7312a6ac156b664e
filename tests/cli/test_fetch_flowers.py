"""The tutorial's photos, fetched from an archive of the published one's form."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from command_line import Ended, call


def archive(path: Path, *names: str) -> str:
    """Writes a .tgz of small files; gives its digest as the flag wants it."""
    with tarfile.open(path, 'w:gz') as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b'jpeg'))
    return f'sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}'


def fetch(source: Path, digest: str, out_dir: Path) -> Ended:
    return call('fetch_flowers', f'--url={source.as_uri()}', f'--digest={digest}',
                f'--out_dir={out_dir}')  # fmt: skip


def test_the_photos_are_fetched_once(tmp_path: Path) -> None:
    published = tmp_path / 'flower_photos.tgz'
    digest = archive(published, 'flower_photos/daisy/1.jpg', 'flower_photos/LICENSE.txt')
    out_dir = tmp_path / 'flowers'
    assert fetch(published, digest, out_dir).status == 0
    assert (out_dir / 'flower_photos/daisy/1.jpg').read_bytes() == b'jpeg'
    assert sorted(p.name for p in out_dir.iterdir()) == ['flower_photos', 'flower_photos.tgz']
    published.unlink()
    (out_dir / 'flower_photos.tgz').unlink()
    assert fetch(published, digest, out_dir).status == 0


def test_another_archive_leaves_nothing(tmp_path: Path) -> None:
    published = tmp_path / 'flower_photos.tgz'
    archive(published, 'flower_photos/daisy/1.jpg')
    ended = fetch(published, f'sha256:{"0" * 64}', tmp_path / 'flowers')
    assert ended.status == 1
    assert 'gave another file than the published one' in ended.err
    assert not list((tmp_path / 'flowers').iterdir())


@pytest.mark.parametrize('name', ['../outside.jpg', 'flower_photos/../../outside.jpg'])
def test_nothing_is_unpacked_outside(tmp_path: Path, name: str) -> None:
    published = tmp_path / 'flower_photos.tgz'
    digest = archive(published, 'flower_photos/daisy/1.jpg', name)
    ended = fetch(published, digest, tmp_path / 'flowers')
    assert ended.status == 1
    assert 'cannot be unpacked' in ended.err
    assert not list(tmp_path.rglob('outside.jpg'))
    assert not list((tmp_path / 'flowers').iterdir())
