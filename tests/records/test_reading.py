"""Single pictures out of the shards: the right ones, and none that is damaged."""

from __future__ import annotations

from pathlib import Path

import colours
import conversion
import pytest

from poets_tfr.errors import InputError
from poets_tfr.records import codecs, schema
from poets_tfr.records.manifest import Manifest, load_indexes
from poets_tfr.records.reading import RecordReader, read_pictures

Converted = tuple[Path, Path, Manifest]


@pytest.fixture
def converted(tmp_path: Path) -> Converted:
    pictures = colours.write(tmp_path / 'pictures', per_class=8)
    records = tmp_path / 'records'
    return pictures, records, conversion.converted(pictures, records, num_shards=3)


def paths_of(records: Path, manifest: Manifest, split: str) -> list[str]:
    indexes = load_indexes(str(records), manifest, split)
    return [entry.path for index in indexes for entry in index.entries]


def test_each_path_gives_its_own_picture(converted: Converted) -> None:
    pictures, records, manifest = converted
    wanted = paths_of(records, manifest, 'train')[::3]
    found = read_pictures(str(records), manifest, 'train', wanted)
    assert len(wanted) > 3
    assert found == {path: codecs.store((pictures / path).read_bytes()).encoded for path in wanted}


def test_a_picture_of_another_split_is_no_find(converted: Converted) -> None:
    _, records, manifest = converted
    (path, *_) = paths_of(records, manifest, 'test')
    with pytest.raises(KeyError, match=path):
        read_pictures(str(records), manifest, 'train', [path])


@pytest.mark.parametrize('fault', ['changed', 'cut'])
def test_a_damaged_record_is_named(converted: Converted, fault: str) -> None:
    _, records, manifest = converted
    index = load_indexes(str(records), manifest, 'train')[0]
    entry, shard = index.entries[-1], records / index.shard
    content = bytearray(shard.read_bytes())
    place = entry.offset + entry.bytes // 2
    if fault == 'cut':
        del content[place:]
    else:
        content[place] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=f'{index.shard} is damaged'):
        read_pictures(str(records), manifest, 'train', [entry.path])
    if len(index.entries) > 1:
        read_pictures(str(records), manifest, 'train', [index.entries[0].path])


def test_each_row_gives_its_own_record(converted: Converted) -> None:
    _, records, manifest = converted
    paths = paths_of(records, manifest, 'train')
    read = RecordReader.of(str(records), load_indexes(str(records), manifest, 'train'))
    for row in len(paths) - 1, 0, 5:
        assert schema.parse_all(read(row))['image/filename'] == paths[row].encode()
