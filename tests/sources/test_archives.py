"""A .zip or a .tar in place of a folder, also compressed; and what hostile ones do."""

from __future__ import annotations

import io
import logging
import os
import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import colours
import pytest
from archive_files import WRITERS, Files, files_in, tar_writer, write_zip
from command_line import call
from conversion import contents, converted, identities, listed, splits_of

from poets_tfr.errors import InputError
from poets_tfr.sources.archives import ArchiveTree

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('archives') / 'flowers', per_class=12)


@pytest.mark.parametrize('extension', WRITERS)
@pytest.mark.parametrize('below', ['', 'flowers/'], ids=['bare', 'in-a-folder'])
def test_an_archive_gives_the_same_bytes_as_its_folder(
    flowers: Path, tmp_path: Path, cache: Path, extension: str, below: str
) -> None:
    converted(flowers, tmp_path / 'wanted')
    archive = WRITERS[extension](tmp_path / f'flowers.{extension}', files_in(flowers, below))
    converted(archive, tmp_path / 'records')
    assert contents(tmp_path / 'records') == contents(tmp_path / 'wanted')
    assert not list((cache / 'unpacked').glob('*')), 'removed once the records stand'
    shards = identities(tmp_path / 'records')
    converted(archive, tmp_path / 'records')
    assert identities(tmp_path / 'records') == shards
    assert not list((cache / 'unpacked').glob('*')), 'the kept index answers'


def test_what_changed_alone_is_made_again(flowers: Path, tmp_path: Path) -> None:
    files = files_in(flowers)
    archive = write_zip(tmp_path / 'flowers.zip', files)
    converted(archive, tmp_path / 'records', num_shards=4)
    before = identities(tmp_path / 'records')
    files['bluebells/000.png'] = files['bluebells/005.png']
    write_zip(archive, files)
    converted(archive, tmp_path / 'records', num_shards=4)
    after = identities(tmp_path / 'records')
    assert len([name for name in before if before[name] != after[name]]) == 1


def test_split_folders_and_lists_in_an_archive(flowers: Path, tmp_path: Path) -> None:
    files = files_in(flowers)
    split = {f'{"val" if "00" in name else "train"}/{name}': files[name] for name in files}
    found = splits_of(listed(write_zip(tmp_path / 'a.zip', split), testing_percentage=0))
    assert found == {n: 'validation' if n.startswith('val') else 'train' for n in split}
    rows = ''.join(f'{name},{name.split("/")[0]}\n' for name in files)
    for name in 'metadata.csv', 'labels.csv':
        listing = {name: f'file_name,label\n{rows}'.encode()}
        archive = tar_writer('w')(tmp_path / 'b.tar', {**files, **listing})
        settings = {} if name == 'metadata.csv' else {'labels_file': name}
        assert splits_of(listed(archive, **settings)) == splits_of(listed(flowers))


def hostile(path: Path, files: Files) -> Path:
    """A tar with a link, and names that lead out of it."""
    link = tarfile.TarInfo('bluebells/link.jpg')
    link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
    pipe = tarfile.TarInfo('bluebells/pipe.jpg')
    pipe.type = tarfile.FIFOTYPE
    with tarfile.open(path, 'w') as archive:
        for name in '../evil.jpg', '/evil.jpg', 'bluebells/../../evil.jpg', 'C:\\evil.jpg':
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b'evil'))
        for info in link, pipe:
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_hostile_tar_does_no_harm(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'in').mkdir()
    archive = hostile(tmp_path / 'in/a.tar', files_in(flowers))
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        manifest = converted(archive, tmp_path / 'records')
    assert (manifest.found, manifest.skipped) == (38, 2)
    assert manifest.skip_reasons == {'a link or device in an archive, which is not followed': 2}
    assert (
        'names that lead out of the archive: 4, left out (../evil.jpg, /evil.jpg, ' in caplog.text
    )
    assert not [path for path in tmp_path.rglob('*') if 'evil' in path.name]


def test_members_that_cannot_be_read_are_skipped(flowers: Path, tmp_path: Path) -> None:
    files = files_in(flowers)
    plain = tmp_path / 'a.zip'
    with zipfile.ZipFile(plain, 'w', zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr('bluebells/bomb.bmp', b'BM' + bytes(40 << 20), zipfile.ZIP_DEFLATED)
    damaged = bytearray(plain.read_bytes())
    damaged[damaged.index(files['Red_Roses/001.jpg']) + 300] ^= 1
    plain.write_bytes(damaged)
    manifest = converted(plain, tmp_path / 'records', max_bad_fraction=0.5)
    assert manifest.skipped == 2
    assert sorted(manifest.skip_reasons) == [
        'too large in an archive (41,943,042 bytes)',
        "unreadable: damaged in the archive (Bad CRC-32 for file 'Red_Roses/001.jpg')",
    ]


def test_an_encrypted_member_is_skipped(flowers: Path, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / 'a.zip', files_in(flowers))
    content = bytearray(archive.read_bytes())
    at = content.index(b'PK\1\2')
    content[at + 8] |= 1  # the flag in the list of members
    archive.write_bytes(content)
    listing = listed(archive)
    (fault,) = [picture.fault for picture in listing.pictures if picture.fault]
    assert fault == 'encrypted: unpack the archive with its password'


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.zip', b'no archive', 'a.zip is damaged or no archive (File is not a zip file)'),
        ('a.tar', b'no archive' * 99, 'a.tar is damaged or no archive ('),
        ('a.tgz', b'no archive', 'a.tgz is damaged or no archive (Not a gzipped file'),
        ('a.tar.xz', b'no archive', 'a.tar.xz is damaged or no archive ('),
        ('a.zip', None, 'a.zip not found (looked at '),
        ('a.rar', b'Rar!', 'a.rar is a file: name the folder that holds one folder per class, or'),
    ],
)
def test_what_is_no_archive(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = call('convert_images', f'--image_dir={tmp_path / name}', f'--records_dir={tmp_path}/r')
    assert ended.status == 1
    assert message in ended.err
    assert 'Traceback' not in ended.err


@pytest.mark.parametrize('extension', ['zip', 'tar', 'tgz'])
def test_an_archive_that_ends_too_soon(
    flowers: Path, tmp_path: Path, cache: Path, extension: str
) -> None:
    archive = WRITERS[extension](tmp_path / f'a.{extension}', files_in(flowers))
    os.truncate(archive, archive.stat().st_size * 2 // 3 + 5)
    with pytest.raises(InputError, match=r'is damaged or no archive \('):
        listed(archive)
    assert not list((cache / 'unpacked').glob('*'))


def test_a_bomb_is_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('poets_tfr.sources.archives._LEAST_TO_JUDGE', 1 << 20)
    archive = tar_writer('w:gz')(tmp_path / 'a.tgz', {'a/1.bmp': bytes(64 << 20)})
    with pytest.raises(InputError) as raised:
        listed(archive)
    assert 'and so is taken for a bomb' in str(raised.value)
    assert 'damaged' not in str(raised.value)
    assert not list((cache / 'unpacked').glob('*'))


def test_a_tar_with_a_damaged_header_or_joined_tars_drops_nothing_silently(
    flowers: Path, tmp_path: Path
) -> None:
    archive = tar_writer('w')(tmp_path / 'a.tar', files_in(flowers))
    whole = archive.read_bytes()
    damaged = bytearray(whole)
    damaged[damaged.index(b'Red_Roses/005.png')] ^= 1  # its checksum is wrong now
    for content in bytes(damaged), whole + whole:
        archive.write_bytes(content)
        with pytest.raises(InputError, match=r'is damaged or no archive \(no file begins at byte'):
            listed(archive)


@pytest.mark.parametrize('name', ['Pets', 'pets'])
def test_a_folder_beside_what_a_mac_leaves(flowers: Path, tmp_path: Path, name: str) -> None:
    files = files_in(flowers, f'{name}/')
    left = {f'__MACOSX/{name}/bluebells/._001.jpg': b'x', f'{name}/.DS_Store': b'x'}
    archive = write_zip(tmp_path / 'a.zip', {**files, **left})
    folders = [entry.name for entry in ArchiveTree(str(archive)).scan('') if entry.is_dir]
    assert folders == ['Green Grass', 'Red_Roses', 'bluebells']
    assert splits_of(listed(archive)) == splits_of(listed(flowers))


def test_a_zip_that_lies_about_a_size_takes_no_memory(flowers: Path, tmp_path: Path) -> None:
    large = {'bluebells/large.bmp': b'BM' + bytes(64 << 20)}
    archive = write_zip(tmp_path / 'a.zip', {**files_in(flowers), **large})
    content = bytearray(archive.read_bytes())
    at = content.rindex(b'PK\1\2')  # where the list of members has the last one
    content[at + 24 : at + 28] = (1000).to_bytes(4, 'little')
    archive.write_bytes(content)
    tree = ArchiveTree(str(archive))
    tree.read('bluebells/001.jpg')
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match='damaged in the archive'):
            tree.read('bluebells/large.bmp')
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
        tree.close()


def test_no_shard_stays_open(flowers: Path, tmp_path: Path) -> None:
    archive = tar_writer('w')(tmp_path / 'a.tar', files_in(flowers))
    tree = ArchiveTree(str(archive))
    before = os.listdir('/proc/self/fd')
    content = tree.read('bluebells/001.jpg')
    assert content == (flowers / 'bluebells/001.jpg').read_bytes()
    assert os.listdir('/proc/self/fd') == before


def test_a_damaged_index_is_made_again(flowers: Path, tmp_path: Path, cache: Path) -> None:
    archive = write_zip(tmp_path / 'a.zip', files_in(flowers))
    wanted = listed(archive)
    (index,) = (cache / 'sources').glob('*')
    for damage in b'', b'{"stamp":1}', b'[]':
        index.write_bytes(damage)
        assert listed(archive) == wanted
    shutil.rmtree(cache)
    assert listed(archive) == wanted
