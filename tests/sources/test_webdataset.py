"""WebDataset shards: what they hold, which split is theirs, and what is wrong with them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import colours
import pytest
from archive_files import files_in, tar_writer
from command_line import call
from conversion import contents, converted, identities, listed, splits_of

from poets_tfr.errors import InputError

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
        ({'1.jpg': b'x', '1.json': b'{"caption": 1}'}, 's*.tar', '1.json has no label, class, cls'),
        ({'1.jpg': b'x', '1.json': b'nothing'}, 's*.tar', '1.json is not JSON.'),
        ({'1.jpg': b'x', '1.cls': b''}, 's*.tar', '1.cls is empty: a label is wanted.'),
        ({'1.jpg': b'x', '1.md': b''}, 's*.tar', 'no key.jpg with key.cls, key.txt or key.json'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's{0..2}.tar', 's1.tar not found.'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's{0..9999999}.tar', 'gives 10,000,000 shards'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 'x*.tar', 'x*.tar matches no file.'),
        ({'1.jpg': b'x', '1.cls': b'1'}, 's*.tar', "the only one is '1'"),
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
