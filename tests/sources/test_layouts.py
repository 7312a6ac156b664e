"""What people have, layout by layout, and exactly what becomes of it: counts, or the error."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
from conversion import listed, touch

from poets_tfr.errors import InputError


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


@dataclasses.dataclass(frozen=True)
class Layout:
    """Files, given in this order; and what a listing says of them.

    counts: split -> images of each class, in label order. told: parts of log lines.
    """

    name: str
    files: list[str]
    counts: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    ignored: int = 0
    classes: str = 'cats dogs'
    told: tuple[str, ...] = ()
    error: str = ''
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def counts(train: list[int], validation: list[int], test: list[int]) -> dict[str, list[int]]:
    return {'train': train, 'validation': validation, 'test': test}


GIVEN = counts([6, 6], [3, 3], [2, 2])
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
    Layout('loose images', ['1.jpg', '2.jpg'], error='It holds 2 pictures itself'),
    Layout('one level too high', some('pets/cats', 5) + some('pets/dogs', 5), error='looks right'),
]  # fmt: skip


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: layout.name.replace(' ', '-'))
def test_layout(layout: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_dir = touch(tmp_path / 'in', layout.files)
    image_dir.mkdir(exist_ok=True)
    if layout.error:
        with pytest.raises(InputError) as raised:
            listed(image_dir, **layout.settings)
        assert layout.error in str(raised.value.with_dashes)
        return
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        listing = listed(image_dir, **layout.settings)
    assert [name for name, _ in listing.classes] == layout.classes.split()
    assert listing.counts() == layout.counts
    assert listing.ignored == layout.ignored
    for line in layout.told:
        assert line in caplog.text
