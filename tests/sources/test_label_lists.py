"""--labels_file and Hugging Face's metadata.csv: a list of images and labels beside one folder."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import colours
import pyarrow.parquet
import pytest
from command_line import call
from conversion import contents, converted, identities, listed, splits_of, touch

from poets_tfr.errors import InputError


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    """Twelve images in one folder."""
    return touch(tmp_path / 'pets', [f'{number}.jpg' for number in range(12)])


def table(*rows: str, header: str = 'file_name,label') -> str:
    return '\n'.join(
        [header, *(rows or (f'{n}.jpg,{"cat" if n % 2 else "dog"}' for n in range(12)))]
    )


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def labels_of(image_dir: Path, labels_file: str = '', **settings: Any) -> dict[str, str]:
    listing = listed(image_dir, labels_file=labels_file, **settings)
    return {p.path: listing.classes[p.label].label for p in listing.pictures if not p.fault}


WANTED = {f'{n}.jpg': 'cat' if n % 2 else 'dog' for n in range(12)}
WITHOUT_EXTENSION = table(*(f'{n},{WANTED[f"{n}.jpg"]}' for n in range(12)), header='id,target')
LINES = [json.dumps({'file_name': path, 'label': label}) for path, label in WANTED.items()]


@pytest.mark.parametrize(
    ('name', 'content', 'settings'),
    [
        ('a.csv', table(), {}),
        ('a.csv', b'\xef\xbb\xbf' + table().replace('\n', '\r\n').encode() + b'\r\n\r\n', {}),
        ('a.csv', table().encode('utf-16'), {}),
        ('a.csv', table().replace(',', ';'), {}),
        ('a.tsv', table().replace(',', '\t'), {}),
        ('a.csv', table().replace('file_name,label', 'Image,Class'), {}),
        ('a.csv', WITHOUT_EXTENSION, {}),
        ('a.csv', table().replace('file_name', 'id,file_name').replace('\n', '\n7,'), {}),
        ('a.csv', table(header='what,who'), {'path_column': 'what', 'label_column': 'who'}),
        ('a.jsonl', '\n'.join(LINES), {}),
        ('a.csv', '\n'.join(f'"./{line}' if i else line for i, line in enumerate(
            table().replace('.jpg', '.jpg"').splitlines())), {}),
        ('a.csv', '\n\n' + table().replace(',', ';'), {}),
        ('a.csv', table().replace(',', ';').replace('label', 'label;"x, y, z"', 1), {}),
        ('a.jsonl', '\n'.join(line[:-1] + ', "text": "\u2028\x85"}' for line in LINES), {}),
    ],
    ids=['csv', 'windows', 'utf-16', 'semicolons', 'tsv', 'other-names', 'ids', 'id-beside-names',
         'named-columns', 'jsonl', 'quoted', 'empty-lines', 'commas-in-the-header',
         'separators-in-json'],
)  # fmt: skip
def test_a_list_is_understood(
    image_dir: Path, tmp_path: Path, name: str, content: str | bytes, settings: dict[str, Any]
) -> None:
    assert labels_of(image_dir, write(tmp_path / name, content), **settings) == WANTED


def test_a_list_in_parquet(image_dir: Path, tmp_path: Path) -> None:
    columns = {'file_name': list(WANTED), 'label': list(WANTED.values())}
    path = tmp_path / 'a.parquet'
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert labels_of(image_dir, str(path)) == WANTED


@pytest.mark.parametrize('name', ['metadata.csv', 'metadata.jsonl'])
def test_hugging_faces_list_needs_no_flag(
    image_dir: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(image_dir / name, table() if name.endswith('csv') else '\n'.join(LINES))
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        assert labels_of(image_dir) == WANTED
    assert f'Labels: from {name} in {image_dir}.' in caplog.text


def test_metadata_without_labels_is_none(tmp_path: Path) -> None:
    image_dir = touch(tmp_path, [f'{c}/{n}.jpg' for c in 'ab' for n in range(5)])
    write(image_dir / 'metadata.csv', 'file_name,text\na/1.jpg,one\n')
    assert {*labels_of(image_dir).values()} == {'a', 'b'}


@pytest.mark.parametrize('content', [b'', b'caf\xe9', b'file_name,label\na/1.jpg,x,y\n'])
def test_metadata_that_is_no_list_leaves_class_folders_as_they_are(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    image_dir = touch(tmp_path, [f'{c}/{n}.jpg' for c in 'ab' for n in range(5)])
    (image_dir / 'metadata.csv').write_bytes(content)
    assert {*labels_of(image_dir).values()} == {'a', 'b'}
    assert f'WARNING: not taken as a list of labels: {image_dir}/metadata.csv' in caplog.text


@pytest.mark.parametrize('is_at_the_top', [True, False])
def test_hugging_faces_lists_of_split_folders(
    tmp_path: Path, is_at_the_top: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folders = 'train', 'Valid', 'test'
    image_dir = touch(tmp_path, [f'{folder}/{n}.jpg' for folder in folders for n in range(12)])
    if is_at_the_top:
        rows = [f'{folder}/{path},{WANTED[path]}' for folder in folders[:2] for path in WANTED]
        write(image_dir / 'metadata.csv', table(*rows))
    else:
        write(image_dir / 'train/metadata.csv', table())
        write(image_dir / 'Valid/metadata.jsonl', '\n'.join(LINES))
        write(image_dir / 'test/metadata.csv', 'file_name\n1.jpg\n')
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        listing = listed(image_dir, testing_percentage=0)
    assert listing.counts() == {'train': [6, 6], 'validation': [6, 6], 'test': [0, 0]}
    assert [name for name, _ in listing.classes] == ['cat', 'dog']
    assert splits_of(listing)['Valid/3.jpg'] == 'validation'
    assert 'Splits: train and validation given by folders' in caplog.text
    assert 'not in the list of labels, ignored: 12 (test/0.jpg' in caplog.text
    assert not is_at_the_top or not listed(image_dir, split_by='relative_path').given


def test_a_broken_list_of_a_split_folder(tmp_path: Path) -> None:
    image_dir = touch(tmp_path, [f'{folder}/{n}.jpg' for folder in ('train', 'test') for n in '12'])
    write(image_dir / 'train/metadata.csv', b'caf\xe9')
    with pytest.raises(InputError, match=r'train/metadata\.csv is not UTF-8 text'):
        listed(image_dir)


def test_other_labels_are_taken_when_the_list_changes(tmp_path: Path) -> None:
    image_dir = colours.write(tmp_path / 'pets', per_class=4)
    paths = sorted(str(p.relative_to(image_dir)) for p in image_dir.glob('*/*'))
    for first in 'dog', 'cat':
        labels = [first, *('cat' if n % 2 else 'dog' for n in range(1, len(paths)))]
        rows = [f'{path},{label}' for path, label in zip(paths, labels, strict=True)]
        path = write(tmp_path / 'a.csv', table(*rows))
        manifest = converted(image_dir, tmp_path / 'records', labels_file=path)
        counts = [split.pictures_per_class for split in manifest.splits.values()]
        found = [sum(of_class) for of_class in zip(*counts, strict=True)]
        assert found == [labels.count('cat'), labels.count('dog')]


def test_json_lines(image_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / 'a.jsonl'
    described = [{**json.loads(line), 'text': 'one\u2028two'} for line in LINES]
    write(path, '\n'.join(json.dumps(each, ensure_ascii=False) for each in described))
    assert labels_of(image_dir, str(path)) == WANTED
    write(path, json.dumps({'file_name': '1.jpg', 'label': ['cat', 'dog']}))
    with pytest.raises(InputError, match='the column label holds a list; a text or a number'):
        labels_of(image_dir, str(path))


def test_splits_are_those_of_the_list(
    image_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ['train', 'Valid', 'TEST', 'training']
    rows = [f'{n}.jpg,{WANTED[f"{n}.jpg"]},{words[n // 2 % 4]}' for n in range(12)]
    path = write(tmp_path / 'a.csv', table(*rows, header='image,label,set'))
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        found = splits_of(listed(image_dir, labels_file=path))
    splits = ['train', 'validation', 'test', 'train']
    assert found == {f'{n}.jpg': splits[n // 2 % 4] for n in range(12)}
    assert 'train, validation and test given by the column set.' in caplog.text
    for settings in {'split_by': 'relative_path'}, {'split_column': 'none'}:
        drawn = listed(image_dir, labels_file=path, **settings)
        assert (drawn.given, drawn.counts()['test']) == (frozenset(), [1, 1])


def test_numbers_get_the_names_of_a_file(image_dir: Path, tmp_path: Path) -> None:
    path = write(tmp_path / 'a.csv', table().replace(',cat', ',1').replace(',dog', ',0'))
    names = write(tmp_path / 'names.txt', '\ufeffdog\r\ncat\r\n')
    assert labels_of(image_dir, path, label_names=names) == WANTED
    assert {*labels_of(image_dir, path).values()} == {'0', '1'}
    with pytest.raises(
        InputError, match=r"row 2: the label '0' is no number|row 3: the label '1' is"
    ):
        labels_of(image_dir, path, label_names=write(tmp_path / 'names.txt', 'dog\n'))


def test_what_is_missing_is_skipped_and_what_is_not_listed_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image_dir = colours.write(tmp_path / 'pets', per_class=4)
    rows = [f'{p.relative_to(image_dir)},{p.parent.name}' for p in image_dir.glob('*/00[0-2].*')]
    lost = [f'lost/{number}.jpg,bluebells' for number in range(2)]
    path = write(tmp_path / 'a.csv', table(*rows, *lost, rows[0]))
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        manifest = converted(
            image_dir, tmp_path / 'records', labels_file=path, max_bad_fraction=0.5
        )
    assert (manifest.found, manifest.skipped, manifest.ignored) == (14, 2, 3)
    assert manifest.skip_reasons == {'in the list of labels, but there is no such image': 2}
    assert b'lost/1.jpg' in contents(tmp_path / 'records')['skipped.tsv']
    assert 'Images in the list of labels, but not below image_dir, skipped: 2 (lost/0.jpg' in (
        caplog.text
    )
    assert 'below image_dir, but not in the list of labels, ignored: 3 (' in caplog.text
    assert 'Rows of the list of labels that say the same as one before: 1.' in caplog.text
    shards = identities(tmp_path / 'records')
    converted(image_dir, tmp_path / 'records', labels_file=path, max_bad_fraction=0.5)
    assert identities(tmp_path / 'records') == shards


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'is empty.'),
        ('file_name,label\n', 'multiple classes are needed'),
        ('a,b\n1.jpg,cat\n', 'Name it with --path_column. Its columns are a, b.'),
        ('file,b\n1.jpg,cat\n', 'Name it with --label_column. Its columns are file, b.'),
        ('file,path,label\n1.jpg,1.jpg,cat\n', 'file and path may both be meant'),
        ('1.jpg,cat\n2.jpg,dog\n', 'put a line with the names of the columns above'),
        ('file_name,label\n/etc/passwd,cat\n', 'row 2: /etc/passwd is not a name below'),
        ('file_name,label\n../1.jpg,cat\n', 'row 2: ../1.jpg is not a name below'),
        ('file_name,label\nC:\\1.jpg,cat\n', 'is not a name below --image_dir'),
        ('file_name,label\n1.jpg,cat\n1.jpg,dog\n',
         "1.jpg has two labels or splits: 'cat' in row 2, 'dog' in row 3."),
        ('file_name,label\n1.jpg,\n', 'row 2: the column label is empty.'),
        ('file_name,label\n1.jpg\n', 'row 2: the column label is empty.'),
        ('file_name,label,split\n1.jpg,cat,future\n', "row 2: the split 'future' is not"),
        ('file_name,label,split\n1.jpg,cat,train\n2.jpg,dog,\n', 'row 3: the split is empty'),
        ('file_name,label\nx.jpg,cat\ny.jpg,dog\n', 'first is x.jpg, and there is 0.jpg.'),
        ('file_name,label\n1.jpg,"cat\n', 'is not a table ('),
        (b'file_name,label\n1.jpg,caf\xe9\n', 'is not UTF-8 text (byte 25): save it as UTF-8.'),
        ('file_name,label\n1.jpg,cat\n2.jpg,cat\n', "the only one is 'cat'."),
        ('file_name,label\n1.jpg,big, red cat\n', 'row 2 has 3 values, and there are 2 columns: '),
        ('file,label,label\n1.jpg,cat,dog\n', '2 columns are called label: rename all but one.'),
        ('file,Label,label\n1.jpg,cat,dog\n', 'Label and label may both be meant'),
        ('image,MEL,NV\n1,0.0,1.0\n2,1.0,0.0\n', 'MEL, NV hold only 0 and 1, a column for each'),
    ],
)  # fmt: skip
def test_a_list_that_is_not_understood(
    image_dir: Path, tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = write(tmp_path / 'a.csv', content)
    ended = call('convert_images', f'--image_dir={image_dir}', f'--labels_file={path}',
                 f'--records_dir={tmp_path / "records"}')  # fmt: skip
    assert ended.status == 1
    assert message in ended.err
    assert 'Traceback' not in ended.err
    assert not (tmp_path / 'records').exists()


def test_flags_of_a_list(image_dir: Path, tmp_path: Path) -> None:
    path = write(tmp_path / 'a.csv', table())
    for settings, message in (
        ({'labels_file': str(tmp_path / 'no.csv')}, '--labels_file: .*no.csv not found'),
        ({'labels_file': str(image_dir)}, 'is a folder: name the list'),
        ({'labels_file': write(tmp_path / 'a.xlsx', 'x')}, r'\.csv, \.tsv, \.jsonl and'),
        ({'labels_file': path, 'label_column': 'x'}, 'has no such column; it has file_name, label'),
        (
            {'labels_file': write(tmp_path / 'a.jsonl', '{"path": "1.jpg", "label": ["cat"]}')},
            'row 1: the column label holds a list; a text or a number is wanted',
        ),
        ({'labels_file': path, 'classes': ('owl',)}, "has no class 'owl'; it has cat, dog"),
    ):
        with pytest.raises(InputError) as raised:
            listed(image_dir, **settings)
        assert re.search(message, raised.value.with_dashes), raised.value.with_dashes
