"""Single pictures out of the shards: the right ones, and none that is damaged."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import colours
import conversion
import numpy as np
import pytest

from poets_tfr.errors import InputError
from poets_tfr.records import codecs, reading, schema
from poets_tfr.records.manifest import Manifest
from poets_tfr.records.reading import Records

Converted = tuple[Path, Path, Manifest]


@pytest.fixture
def converted(tmp_path: Path) -> Converted:
    pictures = colours.write(tmp_path / 'pictures', per_class=8)
    records = tmp_path / 'records'
    return pictures, records, conversion.converted(pictures, records, num_shards=3)


def test_each_row_gives_its_own_picture(converted: Converted) -> None:
    pictures, records_dir, manifest = converted
    records = Records.open(str(records_dir))
    assert records.labels == colours.LABELS
    seen = []
    for split, count in records.splits.items():
        columns = records[split]
        assert len(columns) == count == manifest.splits[split].pictures
        for rows, images in columns.batches(batch_size=3):
            for row, image in zip(rows, images, strict=True):
                path = columns.paths[row]
                source = (pictures / path).read_bytes()
                assert image == codecs.store(source).encoded == columns.read(row)
                assert bytes.fromhex(sha256(image).hexdigest()) == columns.digests[row].ljust(
                    32, b'\0'
                )
                assert sha256(source).digest() == columns.source_digests[row].ljust(32, b'\0')
                folder = records.manifest.classes[columns.labels[row]].folder
                assert path.startswith(f'{folder}/')
                seen.append(path)
    assert sorted(seen) == sorted(str(p.relative_to(pictures)) for p in pictures.glob('*/*'))


def test_rows_are_read_in_the_order_asked_for(converted: Converted) -> None:
    train = Records.open(str(converted[1]))['train']
    rows = [len(train) - 1, 0, 5, 0]
    assert train.read_each(rows) == [train.read(row) for row in rows]
    paths = [train.paths[row] for row in (7, 2)]
    assert train.rows_of(paths) == [7, 2]


def test_a_picture_of_another_split_is_no_find(converted: Converted) -> None:
    records = Records.open(str(converted[1]))
    path = records['test'].paths[0]
    with pytest.raises(KeyError, match=path):
        records['train'].rows_of([path])


@pytest.mark.parametrize('fault', ['changed', 'cut'])
def test_a_damaged_record_is_named(converted: Converted, fault: str) -> None:
    records = Records.open(str(converted[1]))
    train = records['train']
    row = train.records_per_shard[0] - 1
    shard = Path(train.shards[0])
    content = bytearray(shard.read_bytes())
    place = int(train.offset[row] + train.size[row] // 2)
    if fault == 'cut':
        del content[place:]
    else:
        content[place] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=f'{shard.name} is damaged'):
        train.read(row)
    if row:
        train.read(0)


def test_each_row_gives_its_own_record(converted: Converted) -> None:
    train = Records.open(str(converted[1]))['train']
    for row in len(train) - 1, 0, 5:
        found = schema.parse_all(train.record(row))
        assert found['image/filename'] == train.paths[row].encode()


def test_paths_are_a_sequence_of_any_names() -> None:
    writer = reading._PathsWriter()
    names = ['a/b', '花/Gänse.jpg', os.fsdecode(b'bad/\xff'), '']
    for name in names:
        writer.append(name)
    paths = writer.done()
    assert (list(paths), len(paths), paths[-2], paths[1:3]) == (names, 4, names[2], names[1:3])
    assert list(paths.take([1, 1, 0])) == [names[1], names[1], names[0]]
    assert list(paths + paths) == names + names
    with pytest.raises(IndexError):
        paths[4]


@pytest.mark.parametrize(
    ('name', 'old', 'new'),
    [
        ('*train*.index.jsonl', '"label":1', '"label":2'),
        ('manifest.json', '"store_max_side": 0', '"store_max_side": 8'),
    ],
)
def test_what_was_changed_by_hand_is_refused(
    converted: Converted, name: str, old: str, new: str
) -> None:
    """Training would believe it without another word."""
    file = sorted(converted[1].glob(name))[0]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=f'{file.name} is damaged or was changed'):
        Records.open(str(converted[1])).check_indexes()


def test_records_that_were_converted_anew_are_not_read_by_old_columns(converted: Converted) -> None:
    pictures, records_dir, _ = converted
    records = Records.open(str(records_dir))
    records['train']
    records.check_current()
    (pictures / 'Red_Roses').rename(pictures / 'a_first_class')
    conversion.converted(pictures, records_dir, num_shards=3)
    with pytest.raises(InputError, match='another conversion has replaced the records'):
        records.check_current()
    with pytest.raises(InputError, match='another conversion has replaced the records'):
        records['train'].read_each(range(len(records['train'])))


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('"outcome":"as is"', '"outcome":"skipped"'),
        ('"records":', '"records":1'),
        ('"offset":0', '"offset":5'),
    ],
)
def test_a_damaged_index_is_not_taken_up_by_the_next_conversion(
    converted: Converted, old: str, new: str
) -> None:
    pictures, records_dir, _ = converted
    index = sorted(records_dir.glob('*train*.index.jsonl'))[0]
    before = {path.name: path.read_bytes() for path in records_dir.glob('*tfrecord*')}
    text = index.read_text()
    assert old in text
    index.write_text(text.replace(old, new, 1))
    conversion.converted(pictures, records_dir, num_shards=3)
    assert {path.name: path.read_bytes() for path in records_dir.glob('*tfrecord*')} == before


def test_files_of_others_are_not_replaced(converted: Converted, tmp_path: Path) -> None:
    site = tmp_path / 'site'
    site.mkdir()
    (site / 'manifest.json').write_text('{"name": "my web page"}')
    with pytest.raises(InputError, match='manifest.json was not written by this program'):
        conversion.converted(converted[0], site)
    assert [path.name for path in site.iterdir()] == ['manifest.json']


def test_seeds_are_the_first_eight_bytes_of_digests() -> None:
    digests = np.array([bytes(range(1, 33)), b'\xff' * 31 + b'\1'], 'S32')
    wanted = [int.from_bytes(bytes(range(1, 9)), 'little'), -1]
    assert reading.seeds_of(digests).tolist() == wanted
