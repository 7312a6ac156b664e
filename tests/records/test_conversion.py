"""Pictures -> shards: same bytes always, and only what has changed is written."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import colours
import pytest
import tensorflow as tf
from conversion import (
    config,
    contents,
    converted,
    copies_of,
    identities,
    index_of,
    listed,
    made_in,
    splits_of,
)

from poets_tfr import files, locks
from poets_tfr.errors import InputError
from poets_tfr.records import codecs, conversion, schema, shards
from poets_tfr.records.manifest import load_manifest
from poets_tfr.records.shards import plan_shards

SHARDS = 3


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture folder and its records, three shards for each split. Read only."""
    return made_in(tmp_path_factory, SHARDS)


@pytest.fixture
def copies(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both that the test may change."""
    return copies_of(made, tmp_path)


def fresh(image_dir: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a conversion of image_dir into an empty folder gives."""
    shutil.rmtree(tmp_path / 'fresh', ignore_errors=True)
    converted(image_dir, tmp_path / 'fresh', num_shards=SHARDS)
    return contents(tmp_path / 'fresh')


def shard_of(records_dir: Path, path: str) -> str:
    """The shard whose index names the picture."""
    (name,) = [
        name
        for name in identities(records_dir)
        if path in [entry.path for entry in index_of(records_dir, name).entries]
    ]
    return name


def rewritten(before: dict[str, tuple[int, int]], records_dir: Path) -> set[str]:
    """The shards that are other files than before, or new."""
    after = identities(records_dir)
    return {name for name in after if before.get(name) != after[name]}


# What is written


def test_shards_are_named_as_tensorflow_datasets_names_them(made: tuple[Path, Path]) -> None:
    assert sorted(contents(made[1])) == sorted(
        [
            f'flowers-{split}.tfrecord-{i:05d}-of-00003{suffix}'
            for split in ('train', 'validation', 'test')
            for i in range(SHARDS)
            for suffix in ('', '.index.jsonl')
        ]
        + ['manifest.json', 'skipped.tsv', 'duplicates.tsv', 'dataset_info.json', 'features.json']
        + ['image-class-label.labels.txt']
    )


def test_pictures_stand_in_hash_order_across_the_shards(made: tuple[Path, Path]) -> None:
    image_dir, records_dir = made
    for split, of_split in load_manifest(str(records_dir)).splits.items():
        found = []
        for number, shard in enumerate(of_split.shards):
            for entry in index_of(records_dir, shard.file).entries:
                position = int.from_bytes(hashlib.sha256(entry.path.encode()).digest()[:8], 'big')
                assert position * SHARDS // 2**64 == number
                found.append(position)
        assert found == sorted(found)
        assert len(found) == list(splits_of(listed(image_dir)).values()).count(split)


def test_index_offsets_point_at_records(made: tuple[Path, Path]) -> None:
    image_dir, records_dir = made
    for name in identities(records_dir):
        content = (records_dir / name).read_bytes()
        index = index_of(records_dir, name)
        assert index.sha256 == hashlib.sha256(content).hexdigest()
        offset = 0
        for entry in index.entries:
            assert entry.offset == offset
            length, length_crc = struct.unpack_from('<QI', content, offset)
            data = content[offset + 12 : offset + 12 + length]
            (data_crc,) = struct.unpack_from('<I', content, offset + 12 + length)
            assert length_crc == masked_crc32c(content[offset : offset + 8])
            if entry is index.entries[0]:  # in Python it is slow
                assert data_crc == masked_crc32c(data)
            values = schema.parse_all(data)
            source = (image_dir / entry.path).read_bytes()
            assert values['image/filename'] == entry.path.encode()
            assert values['image/encoded'] == source
            assert values['image/sha256'] == hashlib.sha256(source).hexdigest().encode()
            assert values['image/class/label'] == entry.label
            assert values['image/class/text'] == colours.LABELS[entry.label].encode()
            assert entry.encoded_sha256 == entry.source_sha256 == hashlib.sha256(source).hexdigest()
            offset += entry.bytes
        assert offset == index.bytes == len(content)


def masked_crc32c(data: bytes) -> int:
    """TFRecord's checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize('extra', [-1, 1])
def test_a_shard_is_read_back_before_it_counts(made: tuple[Path, Path], extra: int) -> None:
    shard = load_manifest(str(made[1])).splits['train'].shards[0]
    path, entries = str(made[1] / shard.file), index_of(made[1], shard.file).entries
    assert shards._read_back(path, entries) == shard.sha256
    longer = dataclasses.replace(entries[2], bytes=entries[2].bytes + extra)
    with pytest.raises(OSError, match='was not written as it should be'):
        shards._read_back(path, [*entries[:2], longer, *entries[3:]])
    with pytest.raises(OSError, match='more was written'):
        shards._read_back(path, entries[:-1])


def test_tf_data_reads_the_shards(made: tuple[Path, Path]) -> None:
    for split, of_split in load_manifest(str(made[1])).splits.items():
        dataset = tf.data.TFRecordDataset(sorted(map(str, made[1].glob(f'*-{split}.tfrecord*3'))))
        assert sum(1 for _ in dataset) == of_split.pictures


def test_workers_and_place_do_not_change_the_bytes(made: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = made
    for workers in (1, 4):
        elsewhere = tmp_path / f'records_{workers}'
        converted(image_dir, elsewhere, num_shards=SHARDS, workers=workers)
        assert contents(elsewhere) == contents(records_dir)


def test_an_empty_shard_is_an_empty_file(made: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = converted(made[0], tmp_path, num_shards=25)
    empty = [shard for shard in manifest.splits['test'].shards if not shard.records]
    assert empty
    for shard in empty:
        assert (tmp_path / shard.file).read_bytes() == b''
        assert (shard.bytes, shard.sha256) == (0, hashlib.sha256().hexdigest())


def test_the_number_of_shards_comes_from_the_sizes(tmp_path: Path) -> None:
    image_dir = colours.write(tmp_path, per_class=20)
    trained = [p.path for p in listed(image_dir).pictures if p.split == 'train']
    for path in trained[:5]:
        os.truncate(image_dir / path, 600_000)  # sparse; not decoded here
    listing = listed(image_dir)

    def shards(**settings: Any) -> dict[str, int]:
        names = [plan.split for plan in plan_shards(config(image_dir, **settings), listing)]
        return {split: names.count(split) for split in set(names)}

    assert shards() == {'train': 1, 'validation': 1, 'test': 1}
    assert shards(shard_mib=1) == {'train': 3, 'validation': 1, 'test': 1}  # of 2.9 MiB
    assert shards(num_shards=4) == {'train': 4, 'validation': 4, 'test': 4}


# A second run


def test_a_second_run_writes_nothing(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    before = {path: path.stat().st_mtime_ns for path in records_dir.iterdir()}
    first = converted(image_dir, records_dir, num_shards=SHARDS)  # other mtimes: digests decide
    assert converted(image_dir, records_dir, num_shards=SHARDS) == first
    hidden = {'.seen.json', '.lock'}
    for path, mtime_ns in before.items():
        assert path.name in hidden or path.stat().st_mtime_ns == mtime_ns, path
    assert set(before) == set(records_dir.iterdir())


def test_a_second_run_reads_no_picture(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    converted(image_dir, records_dir, num_shards=SHARDS)
    for path in image_dir.rglob('*.jpg'):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))  # what nobody can decode, of the same size and time
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert converted(image_dir, records_dir, num_shards=SHARDS).skipped == 0


def test_a_picture_edited_in_place_is_seen_by_its_time_where_its_size_stays(
    copies: tuple[Path, Path], tmp_path: Path
) -> None:
    image_dir, records_dir = copies
    converted(image_dir, records_dir, num_shards=SHARDS)  # which remembers this folder's files
    path = image_dir / change_with_the_same_size(image_dir)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == fresh(image_dir, tmp_path)


def add(image_dir: Path) -> str:
    """A training picture: validation and test keep theirs."""
    for i in range(100):
        path = f'bluebells/new_{i}.jpg'
        (image_dir / path).write_bytes((image_dir / 'bluebells/001.jpg').read_bytes())
        if splits_of(listed(image_dir))[path] == 'train':
            return path
        (image_dir / path).unlink()
    raise AssertionError


def change_with_the_same_size(image_dir: Path) -> str:
    path = 'bluebells/002.jpg'
    content = bytearray((image_dir / path).read_bytes())
    content[-30] ^= 1
    (image_dir / path).write_bytes(content)
    return path


def spoil(image_dir: Path) -> str:
    (image_dir / 'bluebells/003.jpg').write_bytes(b'<html>')
    return 'bluebells/003.jpg'


def rename(image_dir: Path) -> str:
    (image_dir / 'Red_Roses/001.jpg').unlink()
    return add(image_dir)


@pytest.mark.parametrize(
    ('alter', 'shards'),
    [(add, 1), (change_with_the_same_size, 1), (spoil, 1), (rename, 2)],
)
def test_only_the_shards_concerned_are_written_anew(
    copies: tuple[Path, Path], tmp_path: Path, alter: Callable[[Path], str], shards: int
) -> None:
    image_dir, records_dir = copies
    before = identities(records_dir)
    path = alter(image_dir)
    converted(image_dir, records_dir, num_shards=SHARDS)
    found = rewritten(before, records_dir)
    assert shard_of(records_dir, path) in found
    assert len(found) <= shards
    assert contents(records_dir) == fresh(image_dir, tmp_path)


def test_a_deleted_picture_is_gone(copies: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = copies
    trained = next(p.path for p in listed(image_dir).pictures if p.split == 'train')
    concerned = shard_of(records_dir, trained)
    before = identities(records_dir)
    (image_dir / trained).unlink()
    manifest = converted(image_dir, records_dir, num_shards=SHARDS)
    assert rewritten(before, records_dir) == {concerned}
    assert manifest.found == 119
    assert contents(records_dir) == fresh(image_dir, tmp_path)


@pytest.mark.parametrize(
    ('folder', 'labels'),
    [('Alder', ['alder', *colours.LABELS]), ('zinnia', [*colours.LABELS, 'zinnia'])],
)
def test_another_set_of_classes_rewrites_all(
    copies: tuple[Path, Path], tmp_path: Path, folder: str, labels: list[str]
) -> None:
    image_dir, records_dir = copies
    before = identities(records_dir)
    shutil.copytree(image_dir / 'bluebells', image_dir / folder)
    manifest = converted(image_dir, records_dir, num_shards=SHARDS)
    assert manifest.labels == labels
    assert len(rewritten(before, records_dir)) == 3 * SHARDS
    assert contents(records_dir) == fresh(image_dir, tmp_path)


def test_a_class_of_another_name_rewrites_all(copies: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = copies
    (image_dir / 'bluebells').rename(image_dir / 'blue-bells')
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == fresh(image_dir, tmp_path)


def test_other_labels_are_told_of(
    copies: tuple[Path, Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """As of records of 0.1, which had other labels for names beyond ASCII."""
    image_dir, records_dir = copies
    wanted = contents(records_dir)
    settings = {'num_shards': SHARDS, 'label_style': 'folder'}
    assert converted(image_dir, records_dir, **settings).settings['label_style'] == 'folder'
    converted(image_dir, tmp_path / 'fresh', **settings)
    assert contents(records_dir) == contents(tmp_path / 'fresh')
    caplog.clear()
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == wanted
    assert caplog.messages == [
        'Labels of records that stand have changed: 2 (Green Grass -> green grass, Red_Roses -> '
        'red roses); all shards are made again.'
    ]


def test_another_number_of_shards_leaves_no_old_ones(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    (records_dir / 'flowers-notes.txt').write_text('mine')
    converted(image_dir, records_dir, num_shards=2)
    shards = {name for name in contents(records_dir) if '.tfrecord-' in name}
    assert len(shards) == 3 * 2 * 2
    assert all('-of-00002' in name for name in shards)
    assert (records_dir / 'flowers-notes.txt').read_text() == 'mine', 'not ours, not touched'


def test_other_percentages_change_the_manifest(copies: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = copies
    for percentage in (30, 0):
        settings: dict[str, Any] = {'num_shards': SHARDS, 'testing_percentage': percentage}
        manifest = converted(image_dir, records_dir, **settings)
        assert manifest.settings['testing_percentage'] == percentage
        converted(image_dir, tmp_path / str(percentage), **settings)
        assert contents(records_dir) == contents(tmp_path / str(percentage))
    assert manifest.splits['test'].shards == ()


@pytest.mark.parametrize(
    'name', ['manifest.json', 'skipped.tsv', 'dataset_info.json', 'features.json']
)
def test_a_lost_file_comes_back(copies: tuple[Path, Path], name: str) -> None:
    image_dir, records_dir = copies
    before, shards = contents(records_dir), identities(records_dir)
    (records_dir / name).unlink()
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == before
    assert not rewritten(shards, records_dir)


@pytest.mark.parametrize('suffix', ['', '.index.jsonl'])
@pytest.mark.parametrize('damage', ['missing', 'cut'])
def test_a_damaged_shard_alone_is_made_again(
    copies: tuple[Path, Path], suffix: str, damage: str
) -> None:
    image_dir, records_dir = copies
    before, shards = contents(records_dir), identities(records_dir)
    name = 'flowers-train.tfrecord-00001-of-00003'
    if damage == 'missing':
        (records_dir / (name + suffix)).unlink()
    else:
        os.truncate(records_dir / (name + suffix), 100)
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == before
    assert rewritten(shards, records_dir) == {name}


# Pictures that cannot be used


def test_bad_pictures_are_skipped_and_listed(
    copies: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    image_dir, records_dir = copies
    jpeg = (image_dir / 'bluebells/001.jpg').read_bytes()
    bad = {
        'empty.jpg': b'',
        'cut.jpg': jpeg[: len(jpeg) * 2 // 3],
        'text.jpg': b'not found',
        'cut.png': (image_dir / 'bluebells/000.png').read_bytes()[:-200],
    }
    for name, content in bad.items():
        (image_dir / 'bluebells' / name).write_bytes(content)
    png_named_jpg = image_dir / 'bluebells/png.jpg'
    png_named_jpg.write_bytes((image_dir / 'bluebells/000.png').read_bytes())
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        manifest = converted(image_dir, records_dir, num_shards=SHARDS)
    assert (manifest.found, manifest.skipped, manifest.ignored) == (125, 4, 0)
    assert sum(split.pictures for split in manifest.splits.values()) == 121
    lines = (records_dir / 'skipped.tsv').read_text().splitlines()[1:]
    assert [line.split('\t')[0] for line in lines] == sorted(f'bluebells/{n}' for n in bad)
    assert 'Images skipped: 4;' in caplog.text
    assert 'Found 125 files: 121 as is, 4 skipped, 0 ignored.' in caplog.text
    entry = next(
        entry
        for entry in index_of(records_dir, shard_of(records_dir, 'bluebells/png.jpg')).entries
        if entry.path == 'bluebells/png.jpg'
    )
    assert entry.outcome == 'as is'


def test_an_unreadable_picture_is_skipped_until_it_can_be_read(
    copies: tuple[Path, Path], tmp_path: Path
) -> None:
    image_dir, records_dir = copies
    picture = image_dir / 'bluebells/004.jpg'
    listing = listed(image_dir)
    picture.rename(tmp_path / 'aside')
    picture.mkdir()  # root may read every file, but no folder
    wanted = config(image_dir, records_dir, dataset_name='flowers', num_shards=SHARDS)
    manifest = conversion.convert(wanted, listing)
    assert manifest.skip_reasons == {'unreadable: Is a directory': 1}
    picture.rmdir()
    (tmp_path / 'aside').rename(picture)  # of the size and time that the listing gave
    assert converted(image_dir, records_dir, num_shards=SHARDS).skipped == 0


def test_what_0_1_skipped_for_its_end_alone_is_tried_again(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    (image_dir / 'bluebells/x.jpg').write_bytes((image_dir / 'bluebells/001.jpg').read_bytes()[:-2])
    manifest = converted(image_dir, records_dir, num_shards=SHARDS)
    assert (manifest.skipped, manifest.outcomes['as JPEG']) == (0, 1)
    wanted = contents(records_dir)
    index = records_dir / f'{shard_of(records_dir, "bluebells/x.jpg")}.index.jsonl'
    reason = 'damaged or truncated JPEG data (jpeg::Uncompress failed. Invalid JPEG data or crop.)'
    skipped = f'"outcome":"skipped","reason":"{reason}"'
    index.write_text(index.read_text().replace('"outcome":"as JPEG","reason":""', skipped))
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == wanted
    assert not codecs.is_outdated('damaged or truncated JPEG data')


def test_too_many_bad_pictures_change_nothing(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    before, shards = contents(records_dir), identities(records_dir)
    for path in sorted(image_dir.glob('*/00*.jpg'))[:13]:
        path.write_bytes(b'')
    with pytest.raises(InputError, match=r'max_bad_fraction=0\.1: 13 .* of 120 images') as e:
        converted(image_dir, records_dir, num_shards=SHARDS)
    assert re.search(r'\w+/00\d\.jpg: the file is empty', str(e.value))
    assert contents(records_dir) == before
    assert not rewritten(shards, records_dir)
    manifest = converted(image_dir, records_dir, num_shards=SHARDS, max_bad_fraction=0.2)
    assert manifest.skipped == 13
    with pytest.raises(InputError, match=r'max_bad_fraction=0\.1'):
        converted(image_dir, records_dir, num_shards=SHARDS)  # also when the shards stand


def test_on_bad_image_fail_names_the_picture(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    before = contents(records_dir)
    (image_dir / 'bluebells/005.png').write_bytes(b'GIF89a')
    for _ in range(2):
        with pytest.raises(InputError, match=r'=fail: bluebells/005\.png: damaged GIF header'):
            converted(image_dir, records_dir, num_shards=SHARDS, on_bad_image='fail')
    assert contents(records_dir) == before
    converted(image_dir, records_dir, num_shards=SHARDS)
    with pytest.raises(InputError, match=r'bluebells/005\.png'):
        converted(image_dir, records_dir, num_shards=SHARDS, on_bad_image='fail')


def test_what_a_failed_run_staged_is_not_taken_for_newer(
    copies: tuple[Path, Path], tmp_path: Path
) -> None:
    image_dir, records_dir = copies
    # A changed picture's shard is finished; then the run fails, and the change is undone.
    path = next(
        p.path for p in listed(image_dir).pictures if p.split == 'train' and p.path.endswith('jpg')
    )
    original = (image_dir / path).read_bytes()
    (image_dir / path).write_bytes((image_dir / 'Red_Roses/001.jpg').read_bytes())
    tested = [p for p in listed(image_dir).pictures if (p.label, p.split) == (2, 'test')]
    kept = {p.path: (image_dir / p.path).read_bytes() for p in tested}
    for name in kept:
        (image_dir / name).write_bytes(b'x')
    with pytest.raises(InputError, match='on_bad_image=fail'):
        converted(image_dir, records_dir, num_shards=SHARDS, on_bad_image='fail')
    for name, content in {path: original, **kept}.items():
        (image_dir / name).write_bytes(content)
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == fresh(image_dir, tmp_path)
    assert not (records_dir / '.unfinished').exists()


def test_finished_shards_of_a_failed_run_are_not_made_again(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    image_dir = Path(shutil.copytree(made[0], tmp_path / 'flowers'))
    records_dir = tmp_path / 'records'
    tested = [p for p in listed(image_dir).pictures if p.split == 'test'][0]
    content = (image_dir / tested.path).read_bytes()
    (image_dir / tested.path).write_bytes(b'')
    with pytest.raises(InputError, match='on_bad_image=fail'):
        converted(image_dir, records_dir, num_shards=SHARDS, on_bad_image='fail')
    staged = identities(records_dir / '.unfinished')
    assert any('train' in name for name in staged)
    (image_dir / tested.path).write_bytes(content)
    converted(image_dir, records_dir, num_shards=SHARDS)
    after = identities(records_dir)
    assert {name: after[name] for name in staged} == staged
    assert contents(records_dir) == contents(made[1])


# One writer, no trace of others


def add_picture(image_dir: Path) -> None:
    folder = image_dir / 'bluebells'
    shutil.copy(next(folder.iterdir()), folder / 'another.jpg')


def test_records_that_stand_need_no_lock(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    before = identities(records_dir)
    with locks.only_writer(str(records_dir)):
        converted(image_dir, records_dir, num_shards=SHARDS, lock_timeout=0)
        assert identities(records_dir) == before
        add_picture(image_dir)
        with pytest.raises(InputError, match=f'is being written by process {os.getpid()} on '):
            converted(image_dir, records_dir, num_shards=SHARDS, lock_timeout=0)
        assert identities(records_dir) == before
    converted(image_dir, records_dir, num_shards=SHARDS, lock_timeout=0)
    assert identities(records_dir) != before


def test_what_hides_among_records_that_stand_is_told_every_time(
    copies: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    image_dir, records_dir = copies
    (image_dir / 'bluebells/bad.jpg').write_bytes(b'not an image')
    add_picture(image_dir)
    told = []
    for _ in range(2):
        caplog.clear()
        converted(image_dir, records_dir, num_shards=SHARDS)
        told.append([r.message for r in caplog.records if r.levelno == logging.WARNING])
    assert told[0] == told[1]
    assert any(line.startswith('Skipped bluebells/bad.jpg: ') for line in told[0])
    with pytest.raises(InputError, match='on_bad_image=fail'):
        converted(image_dir, records_dir, num_shards=SHARDS, on_bad_image='fail')


def test_parts_of_killed_containers_are_removed(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    parts = [records_dir / '.x.elsewhere.7.0123abcd.part', records_dir / '.y.part']
    for part in parts:
        part.touch()
    add_picture(image_dir)
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert [part.exists() for part in parts] == [False, True], 'the second is not ours'


def test_a_remote_records_dir_holds_the_same_bytes(made: tuple[Path, Path]) -> None:
    image_dir, records_dir = made
    remote = 'ram://test_writing/records'
    for _ in range(2):
        converted(image_dir, remote, num_shards=SHARDS)
        names = [name for name in files.list_names(remote) if not name.startswith('.')]
        found = {name: files.read_bytes(f'{remote}/{name}') for name in names}
        assert found == contents(records_dir)
        assert '.unfinished' not in files.list_names(remote)


def test_a_remote_image_dir_gives_the_same_bytes(made: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = made
    remote = 'ram://test_writing/flowers'
    for path in image_dir.glob('*/*'):
        files.write_bytes(f'{remote}/{path.parent.name}/{path.name}', path.read_bytes())
    converted(remote, tmp_path / 'records', num_shards=SHARDS)
    assert contents(tmp_path / 'records') == contents(records_dir)
    # This file system tells no times: a change must be seen all the same.
    changed = bytearray(files.read_bytes(f'{remote}/bluebells/001.jpg'))
    changed[-30] ^= 1
    files.write_bytes(f'{remote}/bluebells/001.jpg', bytes(changed))
    converted(remote, tmp_path / 'records', num_shards=SHARDS)
    assert contents(tmp_path / 'records') != contents(records_dir)


# The pool


# What is stored is part of the contract


def test_another_size_rewrites_all(copies: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = copies
    before = identities(records_dir)
    settings: dict[str, Any] = {'num_shards': SHARDS, 'store_max_side': 45}
    manifest = converted(image_dir, records_dir, **settings)
    assert manifest.settings['store_max_side'] == 45
    assert manifest.outcomes['scaled down'] > 50
    assert manifest.outcomes['as is'] > 0
    assert len(rewritten(before, records_dir)) == 3 * SHARDS
    converted(image_dir, tmp_path / 'fresh', **settings, workers=1)
    assert contents(records_dir) == contents(tmp_path / 'fresh')
    for name in identities(records_dir):
        for record in tf.data.TFRecordDataset(str(records_dir / name)):
            values = schema.parse_all(record.numpy())
            encoded = values['image/encoded']
            assert isinstance(encoded, bytes)
            assert max(codecs.decoded(encoded).shape) <= 45
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert contents(records_dir) == fresh(image_dir, tmp_path)


def test_another_way_of_scaling_makes_only_scaled_records_anew(
    copies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image_dir, records_dir = copies
    before = identities(records_dir)
    monkeypatch.setattr(codecs, 'SCALING_VERSION', codecs.SCALING_VERSION + 1)
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert rewritten(before, records_dir) == set()
    converted(image_dir, records_dir, num_shards=SHARDS, store_max_side=45)
    before = identities(records_dir)
    monkeypatch.setattr(codecs, 'SCALING_VERSION', codecs.SCALING_VERSION + 1)
    converted(image_dir, records_dir, num_shards=SHARDS, store_max_side=45)
    assert len(rewritten(before, records_dir)) == 3 * SHARDS


def test_a_raised_limit_takes_what_was_too_large(copies: tuple[Path, Path], tmp_path: Path) -> None:
    image_dir, records_dir = copies
    with pytest.raises(InputError, match='too large: .* 2000 are the limit'):
        converted(image_dir, records_dir, num_shards=SHARDS, max_pixels=2000)
    few: dict[str, Any] = {'num_shards': SHARDS, 'max_pixels': 3500, 'max_bad_fraction': 0.9}
    manifest = converted(image_dir, records_dir, **few)
    assert 0 < manifest.skipped < 60
    assert manifest.skip_reasons == {'too large': manifest.skipped}
    listed = (records_dir / 'skipped.tsv').read_text()
    assert listed.count('3500 are the limit') == manifest.skipped
    assert converted(image_dir, records_dir, num_shards=SHARDS).skipped == 0
    assert contents(records_dir) == fresh(image_dir, tmp_path)


def test_a_nested_picture_keeps_its_path(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    (image_dir / 'bluebells/2019/june').mkdir(parents=True)
    shutil.copy(image_dir / 'bluebells/001.jpg', image_dir / 'bluebells/2019/june/a.jpg')
    manifest = converted(image_dir, records_dir, num_shards=SHARDS, recursive=True)
    assert (manifest.found, manifest.ignored) == (121, 0)
    shard = shard_of(records_dir, 'bluebells/2019/june/a.jpg')
    names = {
        schema.parse_all(record.numpy())['image/filename']
        for record in tf.data.TFRecordDataset(str(records_dir / shard))
    }
    assert b'bluebells/2019/june/a.jpg' in names
    assert converted(image_dir, records_dir, num_shards=SHARDS).ignored == 1


def test_a_pipe_is_skipped_and_taken_once_it_is_a_picture(copies: tuple[Path, Path]) -> None:
    image_dir, records_dir = copies
    pipe = image_dir / 'bluebells/pipe.jpg'
    os.mkfifo(pipe)
    for _ in range(2):
        manifest = converted(image_dir, records_dir, num_shards=SHARDS)
        assert manifest.skip_reasons == {'a named pipe, not a file': 1}
    with pytest.raises(InputError, match=r'bluebells/pipe\.jpg: a named pipe'):
        converted(image_dir, records_dir, num_shards=SHARDS, on_bad_image='fail')
    pipe.unlink()
    shutil.copy(image_dir / 'bluebells/001.jpg', pipe)
    assert converted(image_dir, records_dir, num_shards=SHARDS).skipped == 0
