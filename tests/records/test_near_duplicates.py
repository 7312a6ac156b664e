"""--near_duplicates: groups that are kept in one split, or dropped but for the first."""

from __future__ import annotations

import logging
from pathlib import Path

import colours
import pytest
from conversion import converted, identities, index_of, listed, splits_of

from poets_tfr import tables
from poets_tfr.errors import InputError
from poets_tfr.records.manifest import Manifest
from poets_tfr.records.reading import Records
from poets_tfr.sources import splits

SHARDS = {'num_shards': 1}


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    return colours.write(tmp_path / 'flowers', per_class=24)


def write_table(tmp_path: Path, *groups: list[str]) -> str:
    path = tmp_path / 'near_duplicates.tsv'
    rows = [(number, each) for number, group in enumerate(groups) for each in group]
    path.write_bytes(tables.tsv(('group', 'path'), rows))
    return str(path)


def converted_with(image_dir: Path, table: str, **settings: object) -> Manifest:
    return converted(
        image_dir, image_dir.parent / 'records', near_duplicates=table, **SHARDS, **settings
    )


def split_of(image_dir: Path) -> dict[str, str]:
    """Of the records."""
    records = Records.open(image_dir.parent / 'records')
    return {path: split for split in records.splits for path in records[split].paths}


def first_by_hash(paths: list[str]) -> str:
    return min(paths, key=splits.split_percentage)


def test_a_group_takes_the_split_of_its_smallest_hash_and_all_others_stay(
    image_dir: Path, tmp_path: Path
) -> None:
    before = splits_of(listed(image_dir))
    by_split: dict[str, list[str]] = {}
    for path, split in before.items():
        by_split.setdefault(split, []).append(path)
    # Of two classes, and joined through a picture that is in both.
    validation, *_ = by_split['validation']
    one = [by_split['train'][0], by_split['test'][0], by_split['train'][-1]]
    groups = [one, [one[2], validation]]
    table = write_table(tmp_path, *groups)
    manifest = converted_with(image_dir, table)
    together = {*one, validation}
    wanted = before[first_by_hash(sorted(together))]
    found = split_of(image_dir)
    assert {found[path] for path in together} == {wanted}
    assert {p: s for p, s in found.items() if p not in together} == {
        p: s for p, s in before.items() if p not in together
    }
    assert len(manifest.settings['near_duplicates']) == 16
    stands = identities(image_dir.parent / 'records')
    assert converted_with(image_dir, table) == manifest
    assert identities(image_dir.parent / 'records') == stands


def test_files_that_agree_up_to_nohash_move_along(image_dir: Path, tmp_path: Path) -> None:
    content = (image_dir / 'bluebells/001.jpg').read_bytes()
    mates = ['bluebells/mate_nohash_1.jpg', 'bluebells/mate_nohash_2.jpg']
    for mate in mates:
        (image_dir / mate).write_bytes(content)
    mate_at = splits.split_percentage('bluebells/mate')
    elsewhere, leader = next(
        (split, path)
        for path, split in splits_of(listed(image_dir)).items()
        if splits.split_percentage(path) < mate_at
        and split != splits_of(listed(image_dir))[mates[0]]
    )
    converted_with(image_dir, write_table(tmp_path, [mates[0], leader]))
    found = split_of(image_dir)
    assert [found[path] for path in (*mates, leader)] == [elsewhere] * 3


def test_dropped_are_all_but_the_first_by_path(
    image_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = ['bluebells/003.jpg', 'bluebells/001.jpg', 'Red_Roses/004.jpg']
    table = write_table(tmp_path, group, ['bluebells/008.jpg', 'bluebells/009.jpg'])
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        manifest = converted_with(image_dir, table, on_near_duplicate='drop')
    gone = {'bluebells/003.jpg', 'bluebells/001.jpg', 'bluebells/009.jpg'}
    assert splits_of(listed(image_dir)).keys() - split_of(image_dir).keys() == gone
    assert manifest.outcomes['dropped'] == 3
    assert manifest.skip_reasons == {'is a near duplicate of another image': 3}
    skipped = (image_dir.parent / 'records/skipped.tsv').read_text()
    assert 'is a near duplicate of Red_Roses/004.jpg' in skipped
    assert 'Near duplicates: 2 groups, 3 images dropped.' in caplog.text
    assert 'Skipped' not in caplog.text
    # Without the table they are back.
    assert converted(image_dir, image_dir.parent / 'records', **SHARDS).skipped == 0
    assert split_of(image_dir) == splits_of(listed(image_dir))


def test_paths_that_are_gone_are_counted(
    image_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_table(tmp_path, ['bluebells/001.jpg', 'bluebells/gone.jpg', '../x'])
    converted_with(image_dir, table)
    assert f'--near_duplicates={table}: 2 of its paths are not among the images' in caplog.text
    assert split_of(image_dir) == splits_of(listed(image_dir))


def test_splits_that_are_given_stay(image_dir: Path, tmp_path: Path) -> None:
    root = tmp_path / 'in_splits'
    for split in 'train', 'test':
        colours.write(root / split, per_class=12, seed=len(split))
    near = [f'{split}/bluebells/001.jpg' for split in ('test', 'train')]
    table = write_table(tmp_path, near)
    with pytest.raises(InputError, match=r'near_duplicates=.*on_near_duplicate=drop'):
        converted_with(root, table)
    converted_with(root, table, on_near_duplicate='drop')
    assert near[1] not in split_of(root)
    assert split_of(root)[near[0]] == 'test'


@pytest.mark.parametrize(
    ('content', 'said'),
    [(None, 'there is no such file'), (b'path\n', "names no column 'group'"), (b'', 'no column')],
)
def test_what_is_no_table_is_refused(
    content: bytes | None, said: str, image_dir: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'table.tsv'
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(InputError, match=f'near_duplicates: .*table.tsv.*{said}'):
        converted_with(image_dir, str(table))


def test_a_flag_that_would_do_nothing_is_refused(image_dir: Path) -> None:
    with pytest.raises(InputError, match='on_near_duplicate=drop would do nothing'):
        converted_with(image_dir, '', on_near_duplicate='drop')
    assert not (image_dir.parent / 'records').exists()


def test_without_the_table_the_manifest_says_nothing_of_it(image_dir: Path) -> None:
    manifest = converted_with(image_dir, '')
    assert not {'near_duplicates', 'on_near_duplicate'} & manifest.settings.keys()
    (shard, *_) = identities(image_dir.parent / 'records')
    assert index_of(image_dir.parent / 'records', shard).records > 0
