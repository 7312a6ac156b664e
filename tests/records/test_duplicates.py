"""Pictures of the same content: found, told, dropped or refused."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import colours
import pytest
from conversion import contents, converted, identities, index_of, listed, splits_of

from poets_tfr.errors import InputError
from poets_tfr.records.duplicates import Member, find

SHARDS = {'num_shards': 2}


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    return colours.write(tmp_path / 'flowers', per_class=24)


def copy_into(image_dir: Path, path: str, split: str, folder: str = 'bluebells') -> str:
    """A copy of the picture under a later name that falls into `split`."""
    for i in range(200):
        name = f'{folder}/zz_{i}.jpg'
        if (image_dir / name).exists():
            continue
        shutil.copy(image_dir / path, image_dir / name)
        if splits_of(listed(image_dir))[name] == split:
            return name
        (image_dir / name).unlink()
    raise AssertionError


def of_split(image_dir: Path, split: str, folder: str = 'bluebells') -> str:
    found = splits_of(listed(image_dir))
    return next(p for p, s in found.items() if s == split and p.startswith(folder) and '.j' in p)


def paths(records_dir: Path) -> set[str]:
    """The pictures that are records."""
    return {
        entry.path
        for name in identities(records_dir)
        for entry in index_of(records_dir, name).entries
        if entry.is_record
    }


def test_find_takes_the_first_by_path_whatever_the_order() -> None:
    members = [
        Member('b/2', 1, 'test', 'x'), Member('a/9', 0, 'train', 'x'), Member('c', 2, 'train', 'y'),
        Member('a/10', 0, 'train', 'x'),
    ]  # fmt: skip
    for order in members, members[::-1]:
        assert [(copy.path, first.path) for copy, first in find(order)] == [
            ('a/9', 'a/10'), ('b/2', 'a/10')
        ]  # fmt: skip


def test_keep_warns_of_two_classes_and_of_two_splits(
    image_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained, tested = of_split(image_dir, 'train'), of_split(image_dir, 'test')
    same_split = copy_into(image_dir, trained, 'train')
    other_split = copy_into(image_dir, tested, 'train')
    other_class = copy_into(image_dir, trained, 'train', 'Red_Roses')
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        manifest = converted(image_dir, tmp_path / 'records')
    assert manifest.duplicates == 3
    assert sum(split.pictures for split in manifest.splits.values()) == 75
    warnings = [r.getMessage() for r in caplog.records if 'The same image' in r.getMessage()]
    assert warnings == [
        f'The same image in two classes (red roses and bluebells): {other_class} and {path}.'
        for path in sorted([trained, same_split])
    ] + [f'The same image in two splits (test and train): {tested} and {other_split}.']
    assert 'Duplicates, with the content of another image: 3;' in caplog.text
    _, *lines = (tmp_path / 'records/duplicates.tsv').read_text().splitlines()
    assert [line.split('\t') for line in lines] == sorted(
        [
            [trained, 'train', other_class, 'train'],
            [same_split, 'train', other_class, 'train'],
            [other_split, 'train', tested, 'test'],
        ]
    )


def test_drop_keeps_the_first_by_path(image_dir: Path, tmp_path: Path) -> None:
    trained = of_split(image_dir, 'train')
    copies = {copy_into(image_dir, trained, split) for split in ('train', 'validation')}
    every = set(splits_of(listed(image_dir)))
    for workers in 1, 4:
        records_dir = tmp_path / f'records_{workers}'
        manifest = converted(
            image_dir, records_dir, on_duplicate='drop', workers=workers, **SHARDS,
            max_bad_fraction=0, on_bad_image='fail',  # a copy is not bad
        )  # fmt: skip
        assert paths(records_dir) == every - copies
        assert manifest.outcomes == {'as is': 72, 'dropped': 2}
        assert (manifest.found, manifest.skipped, manifest.duplicates) == (74, 2, 0)
        _, *lines = (records_dir / 'skipped.tsv').read_text().splitlines()
        assert {line.split('\t')[0] for line in lines} == copies
        assert all(line.split('\t')[1] == f'has the content of {trained}' for line in lines)
    assert contents(tmp_path / 'records_1') == contents(tmp_path / 'records_4')


def test_drop_stays_right_when_pictures_come_and_go(image_dir: Path, tmp_path: Path) -> None:
    records_dir, number = tmp_path / 'records', 0

    def same_as_fresh() -> None:
        nonlocal number
        number += 1
        converted(image_dir, records_dir, on_duplicate='drop', **SHARDS)
        converted(image_dir, tmp_path / f'fresh_{number}', on_duplicate='drop', **SHARDS)
        assert contents(records_dir) == contents(tmp_path / f'fresh_{number}')

    same_as_fresh()
    trained = of_split(image_dir, 'train')
    later = copy_into(image_dir, trained, 'train')
    same_as_fresh()
    assert later not in paths(records_dir)
    before = identities(records_dir)
    same_as_fresh()
    assert identities(records_dir) == before, 'nothing is written again'
    (image_dir / trained).unlink()  # its copy takes its place
    same_as_fresh()
    assert later in paths(records_dir)
    shutil.copy(image_dir / later, image_dir / 'Green Grass/000.jpg')  # comes before it
    same_as_fresh()
    assert later not in paths(records_dir)
    assert 'Green Grass/000.jpg' in paths(records_dir)
    converted(image_dir, records_dir, **SHARDS)  # keep
    converted(image_dir, tmp_path / 'kept', **SHARDS)
    assert contents(records_dir) == contents(tmp_path / 'kept')


def test_fail_names_both_before_anything_is_written(image_dir: Path, tmp_path: Path) -> None:
    converted(image_dir, tmp_path / 'records', on_duplicate='fail')
    before = contents(tmp_path / 'records')
    trained = of_split(image_dir, 'train')
    copy = copy_into(image_dir, trained, 'train')
    with pytest.raises(InputError, match='on_duplicate=fail') as error:
        converted(image_dir, tmp_path / 'records', on_duplicate='fail')
    assert f'{copy} has the content of {trained}; 1 images are such copies' in str(error.value)
    assert contents(tmp_path / 'records') == before
    assert not (tmp_path / 'records/.unfinished').exists()


def test_a_split_that_held_copies_only_is_filled(image_dir: Path, tmp_path: Path) -> None:
    first = of_split(image_dir, 'train', 'Green Grass')
    for path, split in splits_of(listed(image_dir)).items():
        if split == 'test' and path.startswith('bluebells'):
            shutil.copy(image_dir / first, image_dir / path)
    manifest = converted(image_dir, tmp_path / 'records', on_duplicate='drop')
    assert manifest.splits['test'].pictures_per_class[2] == 1


def test_empty_files_are_no_copies(image_dir: Path, tmp_path: Path) -> None:
    for name in 'empty_1.jpg', 'empty_2.jpg':
        (image_dir / 'bluebells' / name).touch()
    for policy in 'keep', 'drop', 'fail':
        manifest = converted(image_dir, tmp_path / policy, on_duplicate=policy)
        assert manifest.outcomes == {'as is': 72, 'skipped': 2}
