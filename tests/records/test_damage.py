"""Small classes with damaged files: their splits are filled from what is whole."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path

import colours
import numpy as np
import pytest
from conversion import contents, converted, identities, index_of, listed, splits_of

from poets_tfr.errors import InputError
from poets_tfr.sources.splits import split_percentage

SHARDS = {'num_shards': 2, 'max_bad_fraction': 0.9}


def names_in(split: str, count: int, stem: str = 'p') -> list[str]:
    """Names of files of the class `daisy` that the hash puts into a split."""
    bounds = {'validation': (0, 10), 'test': (10, 20), 'train': (20, 101)}
    low, high = bounds[split]
    found = (f'{stem}{i}.png' for i in range(10_000))
    inside = [n for n in found if low <= split_percentage(f'daisy/{n}') < high]
    return inside[:count]


def write(image_dir: Path, folder: str, names: list[str]) -> None:
    rng = np.random.default_rng(len(names))
    (image_dir / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = rng.integers(0, 255, (8, 9, 3), np.uint8)
        (image_dir / folder / name).write_bytes(colours.encoded(pixels, 'PNG'))


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    """daisy: five for training and one for each other split; two classes that stay whole."""
    image_dir = tmp_path / 'flowers'
    for split, count in (('train', 5), ('validation', 1), ('test', 1)):
        write(image_dir, 'daisy', names_in(split, count))
    for folder in 'roses', 'tulips':
        write(image_dir, folder, [f'{i}.png' for i in range(40)])
    return image_dir


def damage(image_dir: Path, *paths: str) -> None:
    for path in paths:
        (image_dir / path).write_bytes(b'<!DOCTYPE html>')


def stored_in(records_dir: Path) -> dict[str, str]:
    """Path -> split of every picture that is a record."""
    return {
        entry.path: name.split('.')[0].rpartition('-')[2]
        for name in identities(records_dir)
        for entry in index_of(records_dir, name).entries
        if entry.is_record
    }


def test_the_nearest_whole_picture_fills_a_split(
    image_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = splits_of(listed(image_dir))
    tested, *_ = names_in('test', 1)
    damage(image_dir, f'daisy/{tested}')
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        manifest = converted(image_dir, tmp_path / 'records', **SHARDS)
    nearest = min(names_in('train', 5), key=lambda name: split_percentage(f'daisy/{name}'))
    wanted = {path: split for path, split in before.items() if path != f'daisy/{tested}'}
    assert stored_in(tmp_path / 'records') == {**wanted, f'daisy/{nearest}': 'test'}
    assert manifest.skipped == 1
    told = 'Moved from train to test, where no whole image of its class was left: daisy/'
    assert told + nearest in caplog.text


def test_damage_that_leaves_every_split_something_moves_nothing(
    image_dir: Path, tmp_path: Path
) -> None:
    before = splits_of(listed(image_dir))
    trained = [f'daisy/{name}' for name in names_in('train', 4)]
    damage(image_dir, *trained)
    converted(image_dir, tmp_path / 'records', **SHARDS)
    assert stored_in(tmp_path / 'records') == {p: s for p, s in before.items() if p not in trained}


def test_the_outcome_does_not_depend_on_what_was_converted_before(
    image_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records_dir, whole = tmp_path / 'records', tmp_path / 'whole'
    converted(image_dir, whole, **SHARDS)
    shutil.copytree(whole, records_dir)
    kept = {path: path.read_bytes() for path in (image_dir / 'daisy').iterdir()}
    lost = [f'daisy/{n}' for n in names_in('test', 1) + names_in('validation', 1)]
    damage(image_dir, *lost)
    with pytest.raises(InputError, match='on_bad_image=fail'):  # it leaves finished shards
        converted(image_dir, records_dir, **SHARDS, on_bad_image='fail')
    converted(image_dir, records_dir, **SHARDS)
    converted(image_dir, tmp_path / 'fresh', **SHARDS, workers=1)
    assert contents(records_dir) == contents(tmp_path / 'fresh')
    assert Counter(s for p, s in stored_in(records_dir).items() if 'daisy' in p) == {
        'train': 3, 'validation': 1, 'test': 1
    }  # fmt: skip
    before = identities(records_dir)
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        converted(image_dir, records_dir, **SHARDS)
    assert f'Records in {records_dir} are up to date.' in caplog.text
    assert identities(records_dir) == before
    (shard,) = (n for n in before if lost[0] in [e.path for e in index_of(records_dir, n).entries])
    (records_dir / f'{shard}.index.jsonl').unlink()  # so that the damage is not known at first
    converted(image_dir, records_dir, **SHARDS)
    assert contents(records_dir) == contents(tmp_path / 'fresh')
    for path, content in kept.items():
        path.write_bytes(content)
    converted(image_dir, records_dir, **SHARDS)
    assert contents(records_dir) == contents(whole)


def test_a_run_that_ends_between_the_rounds_is_gone_on_with(
    image_dir: Path, tmp_path: Path
) -> None:
    """Finished shards of both rounds lie in the hidden folder, and of another number of shards."""
    damage(image_dir, *(f'daisy/{name}' for name in names_in('test', 1)))
    converted(image_dir, tmp_path / 'fresh', **SHARDS)
    records_dir = tmp_path / 'records'
    for shards in 3, 2:
        in_the_way = records_dir / f'flowers-test.tfrecord-00000-of-0000{shards}'
        in_the_way.mkdir(parents=True)
        with pytest.raises(IsADirectoryError):
            converted(image_dir, records_dir, num_shards=shards, max_bad_fraction=0.9)
        in_the_way.rmdir()
    assert len(identities(records_dir / '.unfinished')) == 3 * (3 + 2)
    converted(image_dir, records_dir, **SHARDS)
    assert contents(records_dir) == contents(tmp_path / 'fresh')


def test_all_classes_and_files_are_told_at_once(image_dir: Path, tmp_path: Path) -> None:
    converted(image_dir, tmp_path / 'records', **SHARDS)
    before = contents(tmp_path / 'records')
    write(image_dir, 'ferns', ['a.png', 'b.png', 'c.png'])
    damaged = [f'daisy/{path.name}' for path in sorted((image_dir / 'daisy').iterdir())[:5]]
    damage(image_dir, 'ferns/b.png', *damaged)
    for _ in range(2):
        with pytest.raises(InputError) as error:
            converted(image_dir, tmp_path / 'records', **SHARDS)
        message = str(error.value)
        assert message.startswith(
            "image_dir: 2 classes are too small: 'daisy' has 2 whole images, 'ferns' has 2 "
            'whole images, and 3 are the least for validation, test, train: '
        )
        for path in 'ferns/b.png', *damaged:
            assert f'{path} (a web page, not an image)' in message
        assert contents(tmp_path / 'records') == before


def test_a_split_that_is_promised_to_the_picture_is_not_filled(
    image_dir: Path, tmp_path: Path
) -> None:
    settings = {**SHARDS, 'split_prefix': 'x', 'testing_percentage': 0}
    write(image_dir, 'daisy', [f'more{i}.png' for i in range(30)])
    damaged = [
        p.path
        for p in listed(image_dir, split_prefix='x', testing_percentage=0).pictures
        if p.path.startswith('daisy') and p.split == 'validation'
    ]
    damage(image_dir, *damaged)
    with pytest.raises(InputError) as error:
        converted(image_dir, tmp_path / 'records', **settings)
    assert "split_prefix=x: the class 'daisy' has no whole image in validation: add" in str(
        error.value
    )
    assert all(path in str(error.value) for path in damaged)


def test_given_splits_stay_and_drawn_ones_are_filled(tmp_path: Path) -> None:
    image_dir = tmp_path / 'flowers'
    for folder in 'daisy', 'roses':
        write(image_dir, f'train/{folder}', [f'{i}.png' for i in range(40)])
        write(image_dir, f'val/{folder}', ['0.png', 'v.png'])
    before = splits_of(listed(image_dir))
    tested = [path for path, split in before.items() if split == 'test' and 'daisy' in path]
    assert all(path.startswith('train/daisy/') for path in tested)
    damage(image_dir, *tested, 'val/daisy/0.png')
    converted(image_dir, tmp_path / 'records', **SHARDS)
    after = stored_in(tmp_path / 'records')
    (moved,) = [path for path, split in after.items() if split != before[path]]
    assert (before[moved], after[moved]) == ('train', 'test')
    assert moved.startswith('train/daisy/')
    assert len(after) == len(before) - len(tested) - 1
    shards = identities(tmp_path / 'records')
    converted(image_dir, tmp_path / 'records', **SHARDS)
    assert identities(tmp_path / 'records') == shards
