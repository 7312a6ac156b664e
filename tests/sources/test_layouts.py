"""What people have, layout by layout, and exactly what becomes of it: counts, or the error."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from archive_files import tar_writer, write_zip
from conversion import listed
from record_files import Values, write_records

from poets_tfr.errors import InputError
from poets_tfr.sources.listing import Listing

pytestmark = pytest.mark.usefixtures('cache')
JPEG = b'\xff\xd8\xff'  # enough for a listing


def some(folder: str, count: int, first: int = 0) -> list[str]:
    return [f'{folder}/{number}.jpg' for number in range(first, first + count)]


def pets(
    train: int = 6, validation: int = 3, test: int = 2, names: str = 'train val test'
) -> list[str]:
    """Split folders, the classes `cats` and `dogs` in each; the same file names in all."""
    counts = zip(names.split(), (train, validation, test), strict=False)
    return [
        path
        for split, count in counts
        for name in ('cats', 'dogs')
        for path in some(f'{split}/{name}', count)
    ]


Files = dict[str, bytes]


def folder(files: Files, path: Path) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(files: Files, path: Path) -> Path:
    return write_zip(path.with_suffix('.zip'), files)


def tgz(files: Files, path: Path) -> Path:
    return tar_writer('w:gz')(path.with_suffix('.tgz'), files)


def in_files(files: Files) -> list[tuple[str, list[tuple[str, str, bytes]]]]:
    """File of records -> (label, name, content), of `<file>/<label>/<name>`."""
    rows = [(*name.split('/'), content) for name, content in files.items()]
    groups = itertools.groupby(sorted(rows), key=lambda row: row[0])
    return [(str(file), [row[1:] for row in of_file]) for file, of_file in groups]  # type: ignore[misc]


def shards(files: Files, path: Path) -> Path:
    """WebDataset's."""
    for file, rows in in_files(files):
        of_shard: Files = {}
        for label, name, content in rows:
            stem = name.partition('.')[0]
            of_shard |= {f'{label}_{stem}.jpg': content, f'{label}_{stem}.cls': label.encode()}
        path.mkdir(exist_ok=True)
        tar_writer('w')(path / f'{file}.tar', of_shard)
    return path / '*.tar'


def tfrecords(files: Files, path: Path) -> Path:
    """TF-slim's."""
    for file, rows in in_files(files):
        records: list[Values] = [
            {'image/encoded': content, 'image/class/text': label.encode()}
            for label, _, content in rows
        ]
        write_records(path / f'{file}.tfrecord', records)
    return path


def parquet(files: Files, path: Path) -> Path:
    """Hugging Face's, with names for labels."""
    path.mkdir()
    for file, rows in in_files(files):
        images = [{'bytes': content, 'path': None} for _, _, content in rows]
        table = pyarrow.table({'image': images, 'label': [label for label, _, _ in rows]})
        pyarrow.parquet.write_table(table, path / f'{file}.parquet')
    return path


def table(name: str) -> str:
    """Eight images, named by their numbers: cats and dogs in turn, in splits."""
    splits = ['train'] * 4 + ['val'] * 2 + ['test'] * 2
    rows = [f'{name.format(n)},{"dogs" if n % 2 else "cats"},{s}' for n, s in enumerate(splits)]
    return '\n'.join(['file_name,label,split', *rows, ''])


@dataclasses.dataclass(frozen=True)
class Layout:
    """Files, given in this order; and what a listing says of them.

    counts: split -> images of each class, in label order. told: parts of log lines. texts: of
    files that are no images. made: what becomes of the files; `place` names its setting.
    """

    name: str
    files: list[str]
    counts: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    ignored: int = 0
    classes: str = 'cats dogs'
    told: tuple[str, ...] = ()
    error: str = ''
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    made: Callable[[Files, Path], Path] = folder
    place: str = 'image_dir'


def counts(train: list[int], validation: list[int], test: list[int]) -> dict[str, list[int]]:
    return {'train': train, 'validation': validation, 'test': test}


GIVEN = counts([6, 6], [3, 3], [2, 2])
CATS_AND_DOGS = counts([2, 2], [1, 1], [1, 1])
LISTED = {'labels_file': 'labels.csv'}
FOLDERS = 'Splits: train, validation and test given by folders.'
LAYOUTS = [
    Layout('class folders', some('cats', 10) + some('dogs', 10), counts([5, 6], [1, 2], [4, 2])),
    Layout('train, val, test', pets(), GIVEN, told=(FOLDERS,)),
    Layout('in capitals', pets(names='TRAIN Validation TEST'), GIVEN, told=(FOLDERS,)),
    Layout('other words', pets(names='training dev testing'), GIVEN, told=(FOLDERS,)),
    Layout('valid', pets(names='train valid test'), GIVEN),
    Layout('demanded', pets(), GIVEN, settings={'split_by': 'folders'}),
    Layout(
        'no test: drawn from train', pets(20, 3, names='train val'),
        counts([12, 18], [3, 3], [8, 2]),
        told=('Splits: train and validation given by folders; 10 % of train become test.',),
    ),
    Layout(
        'no validation: drawn from train', pets(20, 3, names='train test'),
        counts([19, 17], [1, 3], [3, 3]),
        told=('Splits: train and test given by folders; 10 % of train become validation.',),
    ),
    Layout(
        'train alone', pets(20, names='train'), counts([12, 15], [1, 3], [7, 2]),
        told=('given by folders; 10 % of train become validation; 10 % of train become test.',),
    ),
    Layout(
        'no test wanted', pets(20, 3, names='train val'), counts([20, 20], [3, 3], [0, 0]),
        told=('Splits: train and validation given by folders.',),
        settings={'testing_percentage': 0},
    ),
    Layout(
        'test without labels', pets(20, 3, names='train val') + some('test', 9),
        counts([12, 18], [3, 3], [8, 2]), ignored=9,
        told=('test: 9 images in no class folders, so without labels: left alone.',),
    ),
    Layout(
        'a class that lacks in test', [*pets(), *some('train/owls', 5), *some('val/owls', 2)],
        counts([6, 6, 5], [3, 3, 2], [2, 2, 0]), classes='cats dogs owls',
        told=('WARNING: classes without images in test: 1 (owls).',),
    ),
    Layout(
        'a class in test alone', pets() + some('test/owls', 3),
        error='classes without training images: owls. Add some to train',
    ),
    Layout(
        'that class left out', pets() + some('test/owls', 3), GIVEN,
        settings={'classes': ('cats', 'dogs')},
    ),
    Layout(
        'a fourth folder of images', pets() + some('extra', 3),
        error='splits are given by folders (train is train, val is validation, test is test), and '
        'the images in extra belong to no split',
    ),
    Layout(
        'a fourth folder of classes', pets() + some('more/cats', 3),
        error='the images in more belong to no split',
    ),
    Layout('a fourth folder without images', [*pets(), 'docs/readme.txt'], GIVEN, ignored=1),
    Layout('what a NAS keeps', [*pets(), *some('@eaDir/cats', 3)], GIVEN, ignored=1),
    Layout(
        'two folders for one split', pets() + some('valid/cats', 3),
        error='val and valid are both for validation: merge them',
    ),
    Layout(
        'files beside the splits', [*pets(), 'data.yaml', 'train/readme.txt'], GIVEN, ignored=2,
    ),
    Layout(
        'one class in train', some('train/cats', 5) + some('val/cats', 2),
        error='Only one valid folder of images found at',
    ),
    Layout(
        'a percentage for a given split', pets(), settings={'validation_percentage': 20},
        error='--validation_percentage=20: the validation split is given by folders: leave',
    ),
    Layout(
        'a hash for given splits', pets(), settings={'split_prefix': 'tf_files/pets'},
        error='and here they are given by folders: leave the flag out.',
    ),
    Layout(
        'split folders demanded of class folders', some('cats', 9) + some('dogs', 9),
        settings={'split_by': 'folders'},
        error='has no folders train, validation or test with class folders in them.',
    ),
    Layout(
        'taken for classes on demand', pets(20, 20, 20), counts([30, 34, 26], [6, 3, 5], [4, 3, 9]),
        classes='test train val', settings={'split_by': 'relative_path', 'recursive': True},
    ),
    Layout(
        'a class named train', some('train', 9) + some('bus', 9), counts([7, 4], [1, 1], [1, 4]),
        classes='bus train',
    ),
    Layout(
        'a class named test', some('test', 9) + some('result', 9), counts([7, 7], [1, 1], [1, 1]),
        classes='result test',
    ),
    Layout(
        'nested classes', [p for s in ('train', 'val') for c in ('cats', 'dogs')
                           for p in some(f'{s}/{c}/tabby', 20)],
        counts([18, 17], [20, 20], [2, 3]), settings={'recursive': True},
    ),
    Layout('nothing', [], error='No valid folders of images found at'),
    Layout('one class', some('cats', 9), error='Only one valid folder of images found at'),
    Layout('loose images', ['1.jpg', '2.jpg'], error='It holds 2 images itself'),
    Layout('one level too high', some('pets/cats', 5) + some('pets/dogs', 5), error='looks right'),
    Layout(
        'a list of labels', some('in', 8), CATS_AND_DOGS, ignored=1,
        texts={'labels.csv': table('in/{}.jpg')},
        settings=LISTED, told=('Splits: train, validation and test given by the column split.',),
    ),
    Layout(
        'a list with names of no extension', some('in', 8), CATS_AND_DOGS, ignored=1,
        texts={'labels.csv': table('in/{}')}, settings=LISTED,
    ),
    Layout(
        'a list beside images that it does not name', some('in', 10), CATS_AND_DOGS, ignored=3,
        texts={'labels.csv': table('in/{}.jpg')}, settings=LISTED,
        told=('below image_dir, but not in the list of labels, ignored: 2 (in/8.jpg, in/9.jpg)',),
    ),
    Layout(
        'a list without a header', some('in', 8), settings=LISTED,
        texts={'labels.csv': table('in/{}.jpg').partition('\n')[2]},
        error='its first line (in/0.jpg,cats,train) names an image: put a line with the names',
    ),
    Layout(
        'a list with two labels for an image', some('in', 8), settings=LISTED,
        texts={'labels.csv': table('in/{}.jpg') + 'in/3.jpg,cats,train\n'},
        error="in/3.jpg has two labels or splits: 'dogs' (train) in row 5, 'cats' (train) in row",
    ),
    Layout(
        'a list that leads outside', some('in', 8), settings=LISTED,
        texts={'labels.csv': table('../{}.jpg')}, error='../0.jpg is not a name below --image_dir',
    ),
    Layout(
        'metadata of Hugging Face', some('in', 8), CATS_AND_DOGS, ignored=1,
        texts={'metadata.csv': table('in/{}.jpg')}, told=('Labels: from metadata.csv in',),
    ),
    Layout(
        'metadata in split folders', [*some('train', 8), *some('test', 8)],
        counts([4, 4], [0, 0], [4, 4]), ignored=2, settings={'validation_percentage': 0},
        texts={f'{s}/metadata.csv': 'file_name,label\n' + ''.join(
            f'{n}.jpg,{"dogs" if n % 2 else "cats"}\n' for n in range(8)
        ) for s in ('train', 'test')},
    ),
    Layout('a zip', pets(), GIVEN, told=(FOLDERS,), made=zipped),
    Layout(
        'a zip of a folder in a folder', [f'home/ann/{path}' for path in pets()], GIVEN,
        made=zipped, told=('the images lie in its folder home/ann',),
    ),
    Layout(
        'a zip that a Mac made', [*pets(), *[f'__MACOSX/{path}' for path in pets()]], GIVEN,
        ignored=1, made=zipped,
    ),
    Layout(
        'a zip with names that lead out', [*pets(), '../1.jpg', '/2.jpg'], GIVEN, ignored=2,
        made=zipped, told=('names that lead out of the archive: 2, left out (../1.jpg, /2.jpg)',),
    ),
    Layout(
        'a tgz with a list of labels', some('in', 8), CATS_AND_DOGS, ignored=1, made=tgz,
        texts={'metadata.csv': table('in/{}.jpg')},
    ),
    Layout(
        'a tgz without images', ['docs/readme.txt'], made=tgz,
        error='No valid folders of images found at',
    ),
    Layout(
        'WebDataset', pets(names='train-000 val-000 test-000'), GIVEN, made=shards,
        told=('Splits: train, validation and test given by the names of the shards.',),
    ),
    Layout('TFRecords', pets(names='train-0 valid-0 test-0'), GIVEN, made=tfrecords,
           place='image_tfrecords'),
    Layout('TFRecords of some splits', pets(names='train-0 valid-0 more-0'), made=tfrecords,
           place='image_tfrecords', error='the names of some files say train, validation or test'),
    Layout('Parquet', pets(names='train-0 validation-0 test-0'), GIVEN, made=parquet,
           place='image_parquet', told=('test given by the names of the files.',)),
    Layout('Parquet without a file', [], made=parquet, place='image_parquet',
           error='there is no file named .parquet'),
]  # fmt: skip


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: layout.name.replace(' ', '-'))
def test_layout(layout: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = dict.fromkeys(layout.files, JPEG)
    texts = {name: text.encode() for name, text in layout.texts.items()}
    place = layout.made(files | texts, tmp_path / 'in')
    settings = dict(layout.settings)
    if name := settings.get('labels_file'):
        settings['labels_file'] = str(place / name)
    settings |= {layout.place: str(place)} if layout.place != 'image_dir' else {}

    def found() -> Listing:
        return listed(place if layout.place == 'image_dir' else '', **settings)

    if layout.error:
        with pytest.raises(InputError) as raised:
            found()
        assert layout.error in str(raised.value.with_dashes)
        return
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        listing = found()
    assert [name for name, _ in listing.classes] == layout.classes.split()
    assert listing.counts() == layout.counts
    assert listing.ignored == layout.ignored
    for line in layout.told:
        assert line in caplog.text
