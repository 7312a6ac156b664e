"""Splits by rank: of each class its share, also where there are few images."""

from __future__ import annotations

from pathlib import Path

import pytest
from conversion import listed, splits_of, touch

from poets_tfr.errors import InputError
from poets_tfr.sources.splits import split_percentage


def named(count: int, *classes: str) -> list[str]:
    return [f'{name}/{number}.jpg' for name in classes for number in range(count)]


@pytest.mark.parametrize(
    ('count', 'validation', 'test', 'wanted'),
    [
        (24, 10, 10, (20, 2, 2)),
        (24, 25, 0, (18, 6, 0)),
        (25, 10, 10, (19, 3, 3)),  # of 2.5 either would do
        (3, 10, 10, (1, 1, 1)),
        (4, 1, 1, (2, 1, 1)),
        (10, 50, 49, (1, 5, 4)),
        (200, 15, 20, (130, 30, 40)),
    ],
)
def test_each_class_has_its_share(
    tmp_path: Path, count: int, validation: int, test: int, wanted: tuple[int, int, int]
) -> None:
    image_dir = touch(tmp_path, named(count, 'cats', 'dogs'))
    listing = listed(
        image_dir, split_by='stratified', validation_percentage=validation, testing_percentage=test
    )
    of_split = dict(zip(('train', 'validation', 'test'), wanted, strict=True))
    assert listing.counts() == {split: [number] * 2 for split, number in of_split.items()}
    percentage = {path: split_percentage(path) for path in splits_of(listing)}
    splits = ['validation', 'test', 'train'] if test else ['validation', 'train']
    for name in 'cats', 'dogs':
        found = [s for p, s in sorted(splits_of(listing).items(), key=lambda i: percentage[i[0]])
                 if p.startswith(name)]  # fmt: skip
        assert found == [split for split in splits for _ in range(of_split[split])]


def test_images_that_come_move_few_others(tmp_path: Path) -> None:
    image_dir = touch(tmp_path, named(20, 'cats', 'dogs'))
    before = splits_of(listed(image_dir, split_by='stratified'))
    moved = 0
    for number in range(20, 80):
        touch(image_dir, [f'cats/{number}.jpg'])
        after = splits_of(listed(image_dir, split_by='stratified'))
        changed = [path for path in before if before[path] != after[path]]
        assert len(changed) <= 3
        assert not any(path.startswith('dogs') for path in changed)
        moved += len(changed)
        before = after
    assert moved == 33, 'about half an image for each that comes'


def test_what_belongs_together_stays_together(tmp_path: Path) -> None:
    paths = [f'{c}/{n}_nohash_{i}.jpg' for c in ('cats', 'dogs') for n in range(20) for i in '123']
    listing = listed(touch(tmp_path, paths), split_by='stratified')
    assert listing.counts() == {'train': [48, 48], 'validation': [6, 6], 'test': [6, 6]}
    of_group: dict[str, set[str]] = {}
    for path, split in splits_of(listing).items():
        of_group.setdefault(path.partition('_nohash_')[0], set()).add(split)
    assert {len(splits) for splits in of_group.values()} == {1}


def test_too_few_groups(tmp_path: Path) -> None:
    paths = [f'{c}/{n % 2}_nohash_{n}.jpg' for c in ('cats', 'dogs') for n in range(20)]
    with pytest.raises(InputError, match="'dogs' has no image for validation: files that agree"):
        listed(touch(tmp_path, paths), split_by='stratified')


def test_splits_that_are_given_are_drawn_anew(tmp_path: Path) -> None:
    rows = [f'in/{n}.jpg,{"cats" if n % 2 else "dogs"},train' for n in range(48)]
    image_dir = touch(tmp_path / 'x', [f'in/{n}.jpg' for n in range(48)])
    path = tmp_path / 'labels.csv'
    path.write_text('\n'.join(['path,label,split', *rows]))
    listing = listed(image_dir, labels_file=str(path), split_by='stratified')
    assert listing.counts() == {'train': [20, 20], 'validation': [2, 2], 'test': [2, 2]}
    with pytest.raises(InputError, match='stratified and split_prefix exclude each other'):
        listed(image_dir, split_prefix='a', split_by='stratified')
