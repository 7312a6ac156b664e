"""Parquet files as Hugging Face has them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import colours
import pyarrow
import pyarrow.parquet
import pytest
from command_line import call
from conversion import contents, converted, identities, listed, splits_of

from poets_tfr.errors import InputError

pytestmark = pytest.mark.usefixtures('cache')

NAMES = ['Green Grass', 'Red_Roses', 'bluebells']


@pytest.fixture(scope='module')
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('parquet') / 'flowers', per_class=12)


def write(
    path: Path, columns: dict[str, Any], names: list[str] | None = None, label: str = 'label'
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if names:
        features = {label: {'names': names, '_type': 'ClassLabel'}}
        about = json.dumps({'info': {'features': features}})
        table = table.replace_schema_metadata({b'huggingface': about.encode()})
    pyarrow.parquet.write_table(table, path, row_group_size=5)
    return path


def columns_of(flowers: Path, first: int = 0) -> dict[str, Any]:
    paths = sorted(flowers.glob('*/*'))[first:]
    images = [{'bytes': p.read_bytes(), 'path': str(p.relative_to(flowers))} for p in paths]
    return {'image': images, 'label': [NAMES.index(p.parent.name) for p in paths]}


def test_the_same_records_as_of_the_folder(flowers: Path, tmp_path: Path, cache: Path) -> None:
    converted(flowers, tmp_path / 'wanted')
    path = write(tmp_path / 'in/a.parquet', columns_of(flowers), NAMES)
    for place in path, path.parent, path.parent / '*.parquet':
        converted('', tmp_path / 'records', image_parquet=str(place))
        assert contents(tmp_path / 'records') == contents(tmp_path / 'wanted')
    shards = identities(tmp_path / 'records')
    converted('', tmp_path / 'records', image_parquet=str(path))
    assert identities(tmp_path / 'records') == shards
    assert not list((cache / 'unpacked').glob('*')), 'removed once the records stand'


def test_file_names_give_splits(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, first in ('train-00000-of-00001', 0), ('test-00000-of-00001', 20):
        write(tmp_path / f'in/{name}.parquet', columns_of(flowers, first), NAMES)
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        listing = listed('', image_parquet=str(tmp_path / 'in'), validation_percentage=0)
    assert listing.counts() == {'train': [12, 12, 12], 'validation': [0] * 3, 'test': [0, 4, 12]}
    assert 'Splits: train and test given by the names of the files.' in caplog.text
    assert 'WARNING: classes without images in test: 1 (Green Grass).' in caplog.text
    assert 'train-00000-of-00001.parquet/00000020.jpg' in splits_of(listing), 'a name that repeats'


def test_folders_give_splits(flowers: Path, tmp_path: Path) -> None:
    for split in 'train', 'val', 'test':
        write(tmp_path / f'in/{split}/0.parquet', columns_of(flowers), NAMES)
    listing = listed('', image_parquet=str(tmp_path / 'in/*/*.parquet'))
    assert listing.counts() == {split: [12] * 3 for split in ('train', 'validation', 'test')}
    assert splits_of(listing)['val/0.parquet/00000020.jpg'] == 'validation'
    with pytest.raises(InputError, match=r"such as .*in/\w+: name them, or all with '.*/\*/\*\.p"):
        listed('', image_parquet=str(tmp_path / 'in'))


def test_each_file_has_its_own_names(flowers: Path, tmp_path: Path) -> None:
    columns = columns_of(flowers)
    write(tmp_path / 'in/a.parquet', columns, NAMES)
    other = {**columns, 'label': [2 - number for number in columns['label']]}
    write(tmp_path / 'in/b.parquet', other, NAMES[::-1])
    write(tmp_path / 'in/c.parquet', {**columns, 'label': [NAMES[n] for n in columns['label']]})
    listing = listed('', image_parquet=str(tmp_path / 'in'))
    found = {p.path: listing.classes[p.label].folder for p in listing.pictures}
    assert len(found) == 3 * 36
    for number, label in enumerate(columns['label']):
        for file in 'abc':
            (path,) = (p for p in found if p.startswith(f'{file}.parquet/{number:08d}'))
            assert found[path] == NAMES[label]


def test_a_class_label_of_any_name(flowers: Path, tmp_path: Path) -> None:
    columns = columns_of(flowers)
    columns['flower'] = columns.pop('label')
    path = write(tmp_path / 'a.parquet', columns, NAMES, label='flower')
    assert [name for name, _ in listed('', image_parquet=str(path)).classes] == NAMES


@pytest.mark.parametrize('nothing', [None, -1])
def test_a_file_without_labels_is_left_alone(
    flowers: Path, tmp_path: Path, nothing: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    columns = columns_of(flowers)
    write(tmp_path / 'in/train.parquet', columns, NAMES)
    columns['label'] = pyarrow.array([nothing] * 36, pyarrow.int64())
    path = write(tmp_path / 'in/test.parquet', columns, NAMES)
    listing = listed('', image_parquet=str(tmp_path / 'in'))
    assert (len(listing.pictures), listing.ignored, listing.given) == (36, 36, {'train'})
    assert f'{path}: 36 images without labels (no value, or -1): left alone.' in caplog.text
    columns['label'] = pyarrow.array([nothing, *[0, 1, 2] * 11, 0, 1], pyarrow.int64())
    write(path, columns, NAMES)
    with pytest.raises(InputError, match=r'test\.parquet, row 0: there is no label .* 1 of its 36'):
        listed('', image_parquet=str(tmp_path / 'in'))


def test_numbers_beside_names(flowers: Path, tmp_path: Path) -> None:
    write(tmp_path / 'in/a.parquet', columns_of(flowers), NAMES)
    write(tmp_path / 'in/b.parquet', columns_of(flowers))
    with pytest.raises(InputError, match=r'b\.parquet: its labels are numbers without names'):
        listed('', image_parquet=str(tmp_path / 'in'))
    columns = columns_of(flowers)
    columns['label'][4] = 3
    write(tmp_path / 'none.parquet', columns, NAMES)
    message = r'row 4: the label is 3, and the names in the file are those of 0 to 2\.'
    with pytest.raises(InputError, match=message):
        listed('', image_parquet=str(tmp_path / 'none.parquet'))
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join(NAMES))
    listing = listed('', image_parquet=str(tmp_path / 'in'), label_names=str(names))
    assert [name for name, _ in listing.classes] == NAMES
    names.write_text('one\ntwo')
    with pytest.raises(InputError, match="the label '2' is no number from 0 to 1"):
        listed('', image_parquet=str(tmp_path / 'in'), label_names=str(names))


def test_a_damaged_file(flowers: Path, tmp_path: Path) -> None:
    path = write(tmp_path / 'a.parquet', columns_of(flowers), NAMES)
    begins = pyarrow.parquet.read_metadata(path).row_group(3).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[begins : begins + 40] = b'\xff' * 40
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'a\.parquet is damaged \(.*\): fetch or make it again\.'):
        listed('', image_parquet=str(path))


@pytest.mark.parametrize('kind', ['text', 'file', 'numbers'])
def test_where_labels_come_from(flowers: Path, tmp_path: Path, kind: str) -> None:
    columns = columns_of(flowers)
    settings = {}
    if kind == 'text':
        columns['label'] = [NAMES[number] for number in columns['label']]
    if kind == 'file':
        (tmp_path / 'names.txt').write_text('\n'.join(NAMES))
        settings = {'label_names': str(tmp_path / 'names.txt')}
    columns['image'] = [each['bytes'] for each in columns['image']]
    path = write(tmp_path / 'a.parquet', columns)
    listing = listed('', image_parquet=str(path), **settings)
    wanted = ['0', '1', '2'] if kind == 'numbers' else NAMES
    assert [name for name, _ in listing.classes] == wanted
    assert listing.pictures[0].path == 'a.parquet/00000000.png'


def test_rows_without_an_image_are_skipped(flowers: Path, tmp_path: Path) -> None:
    columns = columns_of(flowers)
    columns['image'][3] = {'bytes': None, 'path': 'lost.jpg'}
    path = write(tmp_path / 'a.parquet', columns, NAMES)
    manifest = converted('', tmp_path / 'records', image_parquet=str(path))
    assert manifest.skip_reasons == {'the row has no image': 1}


@pytest.mark.parametrize(
    ('columns', 'flags', 'message'),
    [
        (
            {'a': [1], 'label': [1]},
            [],
            'with --image_key. The columns are a (int64), label',
        ),
        ({'a': [b'1'], 'b': [1]}, [], 'with --label_column. The columns are a (binary), b'),
        (
            {'a': [b'1'], 'label': [1]},
            ['--image_key=x'],
            'there is no column x. Name it with --im',
        ),
        ({'a': [b'1'], 'label': [1]}, ['--image_key=label'], 'the column label is int64, and'),
        ({'a': [b'1'], 'label': [[1]]}, [], 'the column label is list<element: int64>; a number'),
        ({'a': [b'1'], 'label': [1]}, ['--label_column=a'], 'the column a is binary; a number'),
        (
            {'a': [{'bytes': None, 'path': 'x.jpg'}], 'label': [1]},
            [],
            'no row holds an image, only names at most.',
        ),
        (None, [], 'a.parquet is no Parquet file ('),
    ],
)
def test_what_is_not_understood(
    tmp_path: Path, columns: dict[str, Any] | None, flags: list[str], message: str
) -> None:
    (tmp_path / 'a.parquet').write_bytes(b'nothing')
    if columns:
        write(tmp_path / 'a.parquet', columns)
    place = f'--image_parquet={tmp_path / "a.parquet"}'
    ended = call('convert_images', place, f'--records_dir={tmp_path}/r', *flags)
    assert ended.status == 1
    assert message in ended.err
    assert 'Traceback' not in ended.err


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'there is no file named \.parquet\.'):
        listed('', image_parquet=str(tmp_path))
