"""A .zip or a .tar in place of a folder, also compressed; and what hostile ones do."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import os
import random
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
from poets_tfr.sources.archive_tree import ArchiveTree
from poets_tfr.sources.archives import Archive

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
    make_unreadable(archive)
    converted(archive, tmp_path / 'records')
    assert identities(tmp_path / 'records') == shards, 'the kept index answers'


def make_unreadable(archive: Path) -> None:
    """Its content is gone; its size and time are as they were, and its kind."""
    stat = archive.stat()
    beginning = archive.read_bytes()[:8]
    archive.write_bytes(beginning + bytes(stat.st_size - 8))
    os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_second_run_unpacks_nothing(flowers: Path, tmp_path: Path, cache: Path) -> None:
    """Not for a list either, nor to look at a file whose name does not say what it is."""
    files = {name.replace('000.png', '000'): content for name, content in files_in(flowers).items()}
    rows = ''.join(f'{name},{name.split("/")[0]}\n' for name in files)
    for extra in {'metadata.csv': f'file_name,label\n{rows}'.encode()}, {'bluebells/odd': b'x'}:
        archive = tar_writer('w:gz')(tmp_path / 'a.tgz', {**files, **extra})
        manifest = converted(archive, tmp_path / 'records')
        assert manifest.outcomes == {'as is': 36}
        make_unreadable(archive)
        assert converted(archive, tmp_path / 'records') == manifest
        assert not list((cache / 'unpacked').glob('*'))


def test_split_folders_in_an_archive_give_the_same_bytes(flowers: Path, tmp_path: Path) -> None:
    names = {'0': 'val', '1': 'test'}
    files = {
        f'{names.get(name[-5], "train")}/{name}': content
        for name, content in files_in(flowers).items()
    }
    for name, content in files.items():
        (tmp_path / 'flowers' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'flowers' / name).write_bytes(content)
    converted(tmp_path / 'flowers', tmp_path / 'wanted')
    wanted = contents(tmp_path / 'wanted')
    below = {f'flowers/{name}': content for name, content in files.items()}
    for number, written in enumerate([
        write_zip(tmp_path / '1.zip', files), tar_writer('w')(tmp_path / '2.tar', below),
        tar_writer('w:xz')(tmp_path / '3.txz', below),
    ]):  # fmt: skip
        converted(written, tmp_path / f'{number}')
        assert contents(tmp_path / f'{number}') == wanted


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
    hard = tarfile.TarInfo('bluebells/hard.jpg')
    hard.type, hard.linkname = tarfile.LNKTYPE, '/etc/passwd'
    pipe = tarfile.TarInfo('bluebells/pipe.jpg')
    pipe.type = tarfile.FIFOTYPE
    with tarfile.open(path, 'w') as archive:
        for name in '../evil.jpg', '/evil.jpg', 'bluebells/../../evil.jpg', 'C:\\evil.jpg':
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b'evil'))
        for info in link, hard, pipe:
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
    assert (manifest.found, manifest.skipped, manifest.ignored) == (43, 3, 4)
    assert manifest.skip_reasons == {
        'a link in an archive, which is not followed': 1,
        'a hard link in an archive, which is not followed (see tar --hard-dereference)': 1,
        'a device or a pipe in an archive': 1,
    }
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
        'a bomb: it grows more than 100 times when it is unpacked',
        'unreadable: damaged in the archive (its checksum is wrong)',
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
        ('a.tgz', b'no archive', 'a.tgz is damaged or no archive ('),
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
    monkeypatch.setattr('poets_tfr.sources.unpacking._LEAST_TO_JUDGE', 1 << 20)
    archive = tar_writer('w:gz')(tmp_path / 'a.tgz', {'a/1.bmp': bytes(64 << 20)})
    with pytest.raises(InputError) as raised:
        listed(archive)
    assert raised.value.with_dashes == (
        f'--image_dir: {archive} grows to more than {max(1, archive.stat().st_size * 100 >> 20)} '
        'MiB when it is unpacked, and so is taken for a bomb. If it is none, unpack it yourself.'
    )
    assert not list((cache / 'unpacked').glob('*'))


def test_no_room_to_unpack(
    flowers: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tar_writer('w:gz')(tmp_path / 'a.tgz', files_in(flowers))
    monkeypatch.setattr('poets_tfr.sources.unpacking._FREE', 1 << 60)
    with pytest.raises(InputError) as raised:
        listed(archive)
    assert raised.value.with_dashes == (
        f'--image_dir: {archive} is unpacked to {cache}/unpacked, where no room is left after 0 '
        'MiB: make room, name another place with XDG_CACHE_HOME, or unpack it yourself.'
    )
    assert not list((cache / 'unpacked').glob('*'))
    shutil.rmtree(cache)
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(b'')  # where the cache should be
    with pytest.raises(InputError, match=r'a\.tgz is unpacked to .*, which cannot be written \('):
        listed(archive)


def test_what_a_failed_run_unpacked_is_removed(flowers: Path, tmp_path: Path, cache: Path) -> None:
    archive = tar_writer('w:gz')(tmp_path / 'a.tgz', files_in(flowers))
    with pytest.raises(InputError, match='has no folder'):
        listed(archive, classes=('lilies',))
    assert not list((cache / 'unpacked').glob('*'))
    abandoned = cache / 'unpacked/0123.tar'
    abandoned.write_bytes(b'of a run that was killed, long ago')
    listed(archive)  # the kept index answers
    assert abandoned.exists()
    os.utime(abandoned, (0, 0))
    others = cache / 'unpacked/4567.tar'
    others.write_bytes(b'of a run that is under way')
    listed(tar_writer('w:gz')(tmp_path / 'b.tgz', files_in(flowers)))
    assert not abandoned.exists()
    assert others.exists()
    assert [path.suffix for path in (cache / 'unpacked').glob('*')] == ['.tar'] * 2


def test_nothing_stays_of_a_compressed_tar_that_is_damaged_inside(
    flowers: Path, tmp_path: Path, cache: Path
) -> None:
    whole = tar_writer('w')(tmp_path / 'a.tar', files_in(flowers)).read_bytes()
    archive = tmp_path / 'a.tgz'
    archive.write_bytes(gzip.compress(whole + whole))
    with pytest.raises(InputError, match='another archive begins behind its end'):
        listed(archive)
    assert not list((cache / 'unpacked').glob('*'))


def test_a_zip_that_lies_about_a_size(tmp_path: Path) -> None:
    """No more is inflated than the size that it gives."""
    path = write_zip(tmp_path / 'a.zip', {'a/1.bmp': bytes(200 << 20), 'a/2.bmp': b'x'})
    content = bytearray(path.read_bytes())
    at = content.index(b'PK\1\2') + 24
    content[at : at + 4] = (1000).to_bytes(4, 'little')
    path.write_bytes(content)
    tree = ArchiveTree(Archive(str(path)))
    tracemalloc.start()
    with pytest.raises(OSError, match='its checksum is wrong'):
        tree.read('1.bmp')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_tar_whose_headers_are_damaged(flowers: Path, tmp_path: Path) -> None:
    """tarfile takes a bad header for the end, and would leave out all that follows."""
    archive = tar_writer('w')(tmp_path / 'a.tar', files_in(flowers))
    whole = archive.read_bytes()
    with tarfile.open(archive) as opened:
        at = opened.getmembers()[20].offset
    for content, reason in (
        (whole[:at] + b'?' + whole[at + 1 :], f'there is no header at byte {at:,}'),
        (whole[: at + 100], 'its end is missing'),
        (whole + whole, 'another archive begins behind its end; were they joined?'),
    ):
        archive.write_bytes(content)
        with pytest.raises(InputError) as raised:
            listed(archive)
        assert raised.value.with_dashes == (
            f'--image_dir: {archive} is damaged or no archive ({reason}): download or copy it '
            'again.'
        )


def test_a_tar_without_a_mark_at_its_end(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = tar_writer('w')(tmp_path / 'a.tar', files_in(flowers))
    with tarfile.open(archive) as opened:
        last = opened.getmembers()[-1]
    os.truncate(archive, last.offset_data + -(-last.size // 512) * 512)
    assert len(listed(archive).pictures) == 36
    assert f'{archive} has no mark at its end: perhaps it is cut off.' in caplog.text


@pytest.mark.parametrize('extension', ['zip', 'tar'])
def test_any_damage_ends_in_one_line_or_in_skipped_images(
    flowers: Path, tmp_path: Path, extension: str
) -> None:
    """Bytes at random: no traceback, no endless loop."""
    archive = WRITERS[extension](tmp_path / f'a.{extension}', files_in(flowers))
    whole, random_ = archive.read_bytes(), random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(random_.choice([1, 3, 30])):
            at = random_.randrange(len(content) // 2 * (extension == 'zip'), len(content))
            content[at] = random_.randrange(256)
        archive.write_bytes(content)
        tree = ArchiveTree(Archive(str(archive)))
        with contextlib.suppress(InputError):
            for folder in tree.scan(''):
                for entry in tree.scan(folder.name) if folder.is_dir else ():
                    with contextlib.suppress(OSError):
                        tree.read(f'{folder.name}/{entry.name}')


@pytest.mark.parametrize(
    ('above', 'beside', 'found'),
    [
        ('', [], ''),
        ('pets/', [], ''),
        ('Pets/', ['__MACOSX/Pets/cats/._1.jpg', 'readme.txt'], ''),
        ('pets/', ['docs/readme.txt', '.DS_Store'], ''),
        ('home/ann/pets/', [], ''),
        ('./', [], ''),
        ('', ['pets\\owls\\1.jpg'], None),
        ('val/', [], ''),
        ('train/', [], 'train/'),
    ],
)
def test_the_folder_that_holds_everything_is_the_root(
    tmp_path: Path, above: str, beside: list[str], found: str | None
) -> None:
    files = {f'{above}{name}/{n}.jpg': b'x' for name in ('cats', 'dogs') for n in range(6)}
    archive = tar_writer('w')(tmp_path / 'a.tar', {**files, **dict.fromkeys(beside, b'x')})
    listing = listed(archive)
    if found is None:  # two folders hold images: then neither is the root
        assert {c.folder for c in listing.classes} == {'cats', 'dogs'}
        assert 'pets/owls/1.jpg' not in splits_of(listing)
        return
    assert set(splits_of(listing)) == {f'{found}{name[len(above) :]}' for name in files}
    assert listing.ignored == len(beside)


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (['x/1.jpg', 'pets/cats/1.jpg', 'pets/dogs/1.jpg'],
         "(The one found is 'x'.) Its folder pets looks right: unpack it and name that."),
        (['1.jpg', '2.jpg'], 'It holds 2 images without class folders: put those of each class'),
        (['cats/1.jpg'], 'It holds 1 images without class folders: put those of each class'),
        ([], 'a.zip. It must hold one folder of images for each class.'),
    ],
)  # fmt: skip
def test_archives_without_classes(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        listed(write_zip(tmp_path / 'a.zip', dict.fromkeys(files, b'x')))
    assert message in raised.value.with_dashes


def test_names_of_a_mac_that_are_not_flagged_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / 'a.zip'
    names = ['k\u00e4tzchen', 'hunde']
    with zipfile.ZipFile(path, 'w') as archive:
        for name in names:
            for number in range(6):
                archive.writestr(f'{name}/{number}.jpg', b'x')
    content = bytearray(path.read_bytes())
    for mark, at in (b'PK\3\4', 7), (b'PK\1\2', 9):
        found = content.find(mark)
        while found >= 0:
            content[found + at] &= ~8  # the flag
            found = content.find(mark, found + 1)
    path.write_bytes(content)
    assert [c.folder for c in listed(path).classes] == sorted(names)


def test_of_files_of_one_name_the_last_is_taken(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = files_in(flowers)
    archive = tar_writer('w')(tmp_path / 'a.tar', files)
    with tarfile.open(archive, 'a') as opened:
        info = tarfile.TarInfo('bluebells/000.png')
        info.size = 3
        opened.addfile(info, io.BytesIO(b'new'))
    listing = listed(archive)
    assert len(listing.pictures) == 36
    assert ArchiveTree(Archive(str(archive))).read('bluebells/000.png') == b'new'
    assert caplog.text.count('files that stand in it twice: 1; the last is taken (bluebells') == 1


def test_the_content_tells_how_it_is_compressed(flowers: Path, tmp_path: Path) -> None:
    wanted = splits_of(listed(flowers))
    for mode, name in ('w:gz', 'a.tar'), ('w:xz', 'b.tgz'), ('w', 'c.tar.bz2'):
        assert splits_of(listed(tar_writer(mode)(tmp_path / name, files_in(flowers)))) == wanted
    assert splits_of(listed(write_zip(tmp_path / 'd.tar', files_in(flowers)))) == wanted


def test_methods_that_are_not_supported_are_skipped(flowers: Path, tmp_path: Path) -> None:
    path = write_zip(tmp_path / 'a.zip', files_in(flowers))
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_LZMA) as archive:
        archive.writestr('bluebells/odd.png', b'x')
    assert [p.fault for p in listed(path).pictures if p.fault] == [
        'compressed by method 14, which is not supported: unpack the archive'
    ]


def test_a_damaged_index_is_made_again(flowers: Path, tmp_path: Path, cache: Path) -> None:
    archive = write_zip(tmp_path / 'a.zip', files_in(flowers))
    wanted = listed(archive)
    (index,) = (cache / 'sources').glob('*')
    whole = index.read_bytes()
    half = len(whole) // 2
    for damage in b'', b'{"stamp":1}', b'[]', whole[:half] + b'1' + whole[half + 1 :]:
        index.write_bytes(damage)
        assert listed(archive) == wanted
    shutil.rmtree(cache)
    assert listed(archive) == wanted


@pytest.mark.parametrize('above', ['', 'images/', 'pets/images/'])
@pytest.mark.parametrize('written', ['', 'images/', 'pets/images/'])
def test_a_list_beside_an_archive(tmp_path: Path, above: str, written: str) -> None:
    """It may name the images as the archive does, or as they lie in its folder."""
    names = [f'{number}.jpg' for number in range(12)]
    archive = write_zip(tmp_path / 'a.zip', {f'{above}{name}': b'x' for name in names})
    rows = [f'{written}{name},{"ab"[number % 2]}' for number, name in enumerate(names)]
    (tmp_path / 'labels.csv').write_text('\n'.join(['file_name,label', *rows]))
    if written in ('', above):
        listing = listed(archive, labels_file=str(tmp_path / 'labels.csv'))
        assert splits_of(listing).keys() == set(names)
    else:
        with pytest.raises(InputError, match='none of its 12 images is below image_dir'):
            listed(archive, labels_file=str(tmp_path / 'labels.csv'))
