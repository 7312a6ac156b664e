"""WebDataset shards: what they hold, which split is theirs, and what is wrong with them."""

from __future__ import annotations

import json
import logging
import os
import resource
from pathlib import Path

import colours
import pytest
from archive_files import files_in, tar_writer
from command_line import call
from conversion import config, contents, converted, identities, listed, splits_of

from poets_tfr.errors import InputError
from poets_tfr.sources.opening import source_of

pytestmark = pytest.mark.usefixtures('cache')
write = tar_writer('w')


@pytest.fixture(scope='module')
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('webdataset') / 'flowers', per_class=12)


def samples(directory: Path, kind: str = 'cls') -> dict[str, bytes]:
    """key.jpg and key.cls of every image in class folders; the label is the folder's name."""
    files: dict[str, bytes] = {}
    for path, content in files_in(directory).items():
        label = path.split('/')[0]
        text = json.dumps({'label': label, 'author': 'x'}) if kind == 'json' else f'{label}\n'
        files |= {path: content, f'{path.rpartition(".")[0]}.{kind}': text.encode()}
    return files


def write_shards(directory: Path, files: dict[str, bytes], name: str = 'shard') -> str:
    """Three shards; the pattern that names them."""
    directory.mkdir(exist_ok=True)
    keys = sorted({path.rpartition('.')[0] for path in files})
    for number in range(3):
        chosen = {p: c for p, c in files.items() if p.rpartition('.')[0] in keys[number::3]}
        write(directory / f'{name}-{number:03d}.tar', chosen)
    return str(directory / f'{name}-{{000..002}}.tar')


@pytest.mark.parametrize('kind', ['cls', 'json', 'txt'])
def test_shards_give_the_same_records_as_folders(flowers: Path, tmp_path: Path, kind: str) -> None:
    converted(flowers, tmp_path / 'wanted')
    place = write_shards(tmp_path / 'in', samples(flowers, kind))
    converted(place, tmp_path / 'records')
    wanted, found = contents(tmp_path / 'wanted'), contents(tmp_path / 'records')
    assert {n: c for n, c in found.items() if '.tfrecord' in n} == {
        n: c for n, c in wanted.items() if '.tfrecord' in n
    }
    shards = identities(tmp_path / 'records')
    converted(place.replace('{000..002}', '*'), tmp_path / 'records')
    assert identities(tmp_path / 'records') == shards


def test_a_single_tar_is_recognised(flowers: Path, tmp_path: Path) -> None:
    write(tmp_path / 'a.tar', samples(flowers))
    assert splits_of(listed(tmp_path / 'a.tar')) == splits_of(listed(flowers))


def test_the_names_of_shards_give_splits(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = samples(flowers)
    write_shards(tmp_path / 'in', files, 'pets-train')
    write(tmp_path / 'in/pets-val-000.tar', {f'v{p}': c for p, c in files.items() if '/00' in p})
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        listing = listed(tmp_path / 'in/*.tar')
    by_name = {p.path: p.split == 'validation' for p in listing.pictures}
    assert by_name == {path: path.startswith('v') for path in by_name}
    assert 'Splits: train and validation given by the names of the shards; 10 % of' in caplog.text
    assert not listed(tmp_path / 'in/*.tar', split_by='relative_path').given
    write(tmp_path / 'in/more.tar', files)
    with pytest.raises(InputError, match=r'others do not: more\.tar\. Rename them, or draw all'):
        listed(tmp_path / 'in/*.tar')


def test_numbers_and_names_that_repeat(tmp_path: Path) -> None:
    for shard in range(2):
        files: dict[str, bytes] = {}
        for number in range(6):
            files |= {
                f'{number}.jpg': bytes([shard, number]),
                f'{number}.cls': b'%d' % (number % 2),
            }
        write(tmp_path / f's{shard}.tar', files)
    (tmp_path / 'names.txt').write_text('dogs\ncats\n')
    listing = listed(f'{tmp_path}/s{{0..1}}.tar', label_names=str(tmp_path / 'names.txt'))
    assert {p.path: listing.classes[p.label].label for p in listing.pictures} == {
        f's{shard}/{number}.jpg': ['dogs', 'cats'][number % 2]
        for shard in range(2)
        for number in range(6)
    }


@pytest.mark.parametrize('name', ['{}/0.tar', 's.{}.tar'])
def test_shards_of_one_name_keep_their_images_apart(tmp_path: Path, name: str) -> None:
    files = {f'{n}.{e}': b'ab'[n % 2 :][:1] for n in range(8) for e in ('jpg', 'cls')}
    for split in 'train', 'val', 'test':
        path = tmp_path / 'in' / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, files)
    listing = listed(tmp_path / 'in' / name.format('*'))
    assert listing.counts() == {split: [4, 4] for split in ('train', 'validation', 'test')}
    assert splits_of(listing)[f'{name.format("val").removesuffix(".tar")}/3.jpg'] == 'validation'


def test_what_has_no_label_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f'{n}.{e}': b'ab'[n % 2 :][:1] for n in range(8) for e in ('jpg', 'cls')}
    write(tmp_path / 's0.tar', {**files, 'alone.jpg': b'x', 'readme.md': b'x'})
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(tmp_path / 's*.tar')
    assert (len(listing.pictures), listing.ignored) == (8, 2)
    assert 'Images without .cls, .txt or .json beside them: 1, left out (alone.jpg).' in caplog.text


@pytest.mark.parametrize(
    ('files', 'place', 'message'),
    [
        (
            {'1.jpg': b'x', '1.json': b'{"caption": 1, "x": 2}'},
            's*.tar',
            '1.json: no label, class, cls, category, target: which of its keys is the label? Name '
            'it with --label_column. They are caption, x.',
        ),
        (
            {'1.jpg': b'x', '1.json': b'{"label": 1, "class": "cat"}'},
            's*.tar',
            '1.json: label and class differ: which of its keys is the label?',
        ),
        (
            {'1.jpg': b'x', '1.json': b'{"label": [1, 2]}'},
            's*.tar',
            "1.json: the label '[1, 2]' is neither a name nor a number.",
        ),
        ({'1.jpg': b'x', '1.json': b'nothing'}, 's*.tar', '1.json is not JSON.'),
        ({'1.jpg': b'x', '1.cls': b''}, 's*.tar', '1.cls is empty: a label is wanted.'),
        ({'1.jpg': b'x', '1.md': b''}, 's*.tar', 'no key.jpg with key.cls, key.txt or key.json'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's{0..1}.tar', '/s1.tar not found.'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's{0..5}.tar', ': 5 shards not found: '),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's{0..9999999}.tar', 'gives 10,000,000 shards'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's{1..0}.tar', 'gives 0 shards'),
        ({'1.jpg': b'x', '1.cls': b'1'}, '{s0.tar,x.zip}', '/x.zip not found.'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's0.t*', "the only one is '1'"),
        ({'1.jpg': b'x', '1.cls': b'1'}, 'x*.tar', 'x*.tar matches no file.'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's*.tar', "the only one is '1'"),
        (
            {f'{n}.{e}': b'a photo of %d' % n for n in range(20) for e in ('jpg', 'txt')},
            's*.tar',
            "20 images have 20 different labels, such as 'a photo of 0': captions, perhaps.",
        ),
    ],
)
def test_shards_that_are_not_understood(
    tmp_path: Path, files: dict[str, bytes], place: str, message: str
) -> None:
    write(tmp_path / 's0.tar', files)
    ended = call('convert_images', f'--image_dir={tmp_path}/{place}', f'--records_dir={tmp_path}/r')
    assert ended.status == 1
    assert message in ended.err
    assert 'Traceback' not in ended.err


def few(*names: str) -> dict[str, bytes]:
    """Twelve samples of two classes; of each, a file with each extension."""
    return {
        f'{n}.{e}': b'x' if e == 'jpg' else b'ab'[n % 2 :][:1] for n in range(12) for e in names
    }


def test_json_whose_key_is_named_and_may_be_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files: dict[str, bytes] = {}
    for number in range(13):
        label = ['cat', 'dog'][number % 2] if number < 12 else None
        text = json.dumps({'label': number, 'class': label, 'kind': label})
        files |= {f'{number}.jpg': b'x', f'{number}.json': text.encode()}
    write(tmp_path / 's.tar', files)
    listing = listed(tmp_path / 's.tar', label_column='kind')
    assert [c.folder for c in listing.classes] == ['cat', 'dog']
    assert (len(listing.pictures), listing.ignored) == (12, 2)
    assert 'Images without .cls, .txt or .json beside them: 1, left out (12.jpg).' in caplog.text


def test_patterns_that_a_shell_would_expand(tmp_path: Path) -> None:
    files, named = few('jpg', 'cls'), {}
    for name in 'train-08', 'train-09', 'train-10', 'val-08':
        write(tmp_path / f'{name}.tar', files)
        named[name] = len(files) // 2
    wanted = {f'{name}/{n}.jpg' for name in named for n in range(12)}
    for pattern in '{train,val}-*.tar', '*-[01]*.tar', '*.tar', '{train-08,*}.tar':
        assert splits_of(listed(tmp_path / pattern, testing_percentage=0)).keys() == wanted
    found = splits_of(listed(tmp_path / 'train-{08..10}.tar'))
    assert found.keys() == {path for path in wanted if 'train' in path}
    assert splits_of(listed(tmp_path / 'train-{08,10}.tar')).keys() == {
        path for path in wanted if 'train-08' in path or 'train-10' in path
    }
    ended = call(
        'convert_images', *(f'--image_dir={tmp_path}/{name}.tar' for name in named),
        f'--records_dir={tmp_path}/r',
    )  # fmt: skip
    assert ended.status == 1
    assert '--image_dir is given 4 times, as a shell does that expands a pattern' in ended.err


def test_shards_of_one_name_in_folders_of_splits(flowers: Path, tmp_path: Path) -> None:
    for split in 'train', 'val':
        (tmp_path / split).mkdir()
        write(tmp_path / f'{split}/000.tar', samples(flowers))
    listing = listed(tmp_path / '{train,val}/{000..000}.tar', testing_percentage=0)
    wanted = {f'{s}/000/{path}' for s in ('train', 'val') for path in files_in(flowers)}
    assert {p.path for p in listing.pictures} == wanted
    assert all((p.split == 'validation') == p.path.startswith('val/') for p in listing.pictures)


def test_numbers_without_names_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / 's.tar', {p: c.translate(bytes.maketrans(b'ab', b'07'))
                               for p, c in few('jpg', 'cls').items()})  # fmt: skip
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        listing = listed(tmp_path / 's.tar')
    assert [c.folder for c in listing.classes] == ['0', '7']
    assert 'Labels: numbers without names; --label_names=FILE gives them some.' in caplog.text
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    with pytest.raises(InputError, match=r"the label '7' is no number from 0 to 1"):
        listed(tmp_path / 's.tar', label_names=str(tmp_path / 'names.txt'))


@pytest.mark.parametrize(
    ('files', 'is_webdataset'),
    [
        (few('jpg', 'txt'), True),
        ({f'data/{path}': content for path, content in few('jpg', 'txt').items()}, True),
        ({f'{"ab"[int(p[0]) % 2]}/{p}': c for p, c in few('jpg', 'cls').items()}, True),
        ({f'{"ab"[int(p[0]) % 2]}/{p}': c for p, c in few('jpg', 'txt').items()}, False),
    ],
)
def test_a_tar_of_class_folders_with_texts_is_none(
    tmp_path: Path, files: dict[str, bytes], is_webdataset: bool
) -> None:
    listing = listed(write(tmp_path / 's.tar', files))
    assert [c.folder for c in listing.classes] == ['a', 'b']
    assert listing.ignored == (0 if is_webdataset else 12)


def test_a_second_run_opens_no_shard(flowers: Path, tmp_path: Path) -> None:
    for mode, name in ('w', 's.tar'), ('w:gz', 's.tgz'):
        archive = tar_writer(mode)(tmp_path / name, samples(flowers))
        manifest = converted(archive, tmp_path / f'of_{name}')
        stat = archive.stat()
        archive.write_bytes(archive.read_bytes()[:8] + bytes(stat.st_size - 8))
        os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert converted(archive, tmp_path / f'of_{name}') == manifest


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = few('jpg', 'cls')
    for number in range(60):
        write(tmp_path / f's{number:03d}.tar', files)
    source = source_of(config(tmp_path / 's{000..059}.tar'))
    images = source.inventory().images
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) + 30, hard))
    try:
        assert {source.read(image) for image in images} == {b'x'}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len({image.path for image in images}) == 720


def test_only_one_image_of_a_key_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / 's.tar', few('jpg', 'cls') | {'3.png': b'x', '__MACOSX/1.jpg': b'x'})
    listing = listed(tmp_path / 's.tar')
    assert (len(listing.pictures), listing.ignored) == (12, 2)
    assert 'Images beside another one of their key: 1, left out (3.png).' in caplog.text
