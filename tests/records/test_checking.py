"""Whatever is wrong with a records_dir is found, and the shard and record named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import colours
import pytest
import tensorflow as tf
from conversion import contents, converted, index_of

from poets_tfr import files
from poets_tfr.records import checking, schema
from poets_tfr.records.manifest import (
    IndexEntry,
    ShardIndex,
    digest_of,
    load_manifest,
    tfds_metadata,
)

SHARD = 'flowers-train.tfrecord-00001-of-00002'


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    image_dir = colours.write(tmp_path_factory.mktemp('pictures'), per_class=30)
    (image_dir / 'bluebells/empty.jpg').touch()
    records_dir = tmp_path_factory.mktemp('records')
    converted(image_dir, records_dir, num_shards=2)
    return image_dir, records_dir


@pytest.fixture
def records_dir(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / 'records'))


def findings(records_dir: Path) -> list[str]:
    return checking.verify(str(records_dir), load_manifest(str(records_dir)))


def the_finding(records_dir: Path) -> str:
    found = findings(records_dir)
    assert len(found) == 1, found
    return found[0]


def entries(records_dir: Path) -> list[IndexEntry]:
    return [entry for entry in index_of(records_dir, SHARD).entries if entry.is_record]


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def replace_records(
    records_dir: Path, change: Callable[[int, IndexEntry, bytes], tuple[IndexEntry, bytes]]
) -> None:
    """Writes SHARD, its index and the manifest's sums anew, as a wrong converter might have."""
    path = records_dir / SHARD
    frames = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    changed = [change(i, e, r) for i, (e, r) in enumerate(zip(entries(records_dir), frames))]  # noqa: B905
    placed, offset = [], 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for entry, record in changed:
            writer.write(record)
            placed.append(dataclasses.replace(entry, offset=offset, bytes=len(record) + 16))
            offset += len(record) + 16
    skipped = [e for e in index_of(records_dir, SHARD).entries if not e.is_record]
    index = ShardIndex(
        SHARD, index_of(records_dir, SHARD).contract, len(placed), offset,
        files.sha256_of(str(path)), (*placed, *skipped),
    )  # fmt: skip
    index = index.save(f'{path}.index.jsonl')
    manifest = json.loads((records_dir / 'manifest.json').read_bytes())
    for shard in manifest['splits']['train']['shards']:
        if shard['file'] == SHARD:
            shard.update(bytes=offset, sha256=index.sha256, index_sha256=index.file_sha256)
    write_manifest(records_dir, manifest)
    metadata = tfds_metadata(load_manifest(str(records_dir)))
    for name, content in metadata.items():
        (records_dir / name).write_bytes(content)


def write_manifest(records_dir: Path, manifest: dict[str, object]) -> None:
    manifest['sha256'] = digest_of(manifest)
    (records_dir / 'manifest.json').write_text(json.dumps(manifest))


# What is whole


def test_a_fresh_conversion_has_no_findings(made: tuple[Path, Path], tmp_path: Path) -> None:
    assert findings(made[1]) == []
    converted(made[0], tmp_path, num_shards=20, testing_percentage=0)  # empty shards, no test split
    assert findings(tmp_path) == []


def test_verifying_writes_nothing(records_dir: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in records_dir.iterdir()}
    findings(records_dir)
    assert {path: path.stat().st_mtime_ns for path in records_dir.iterdir()} == before


def test_describe_names_classes_counts_and_shards(made: tuple[Path, Path]) -> None:
    manifest = load_manifest(str(made[1]))
    lines = checking.describe(manifest).splitlines()
    assert lines[0] == 'Data set flowers, 3 classes:'
    assert "  1  'red roses' from Red_Roses/" in lines
    train = manifest.splits['train']
    assert any(line.split()[:2] == ['total', str(train.pictures)] for line in lines)
    shard = train.shards[0]
    assert f'  {shard.file}: {shard.records} records, {shard.bytes:,} bytes' in lines
    assert lines[-2:] == [
        '91 files found, 1 skipped, 0 ignored.', '  skipped 1: the file is empty'
    ]  # fmt: skip


# Damage


def test_a_flipped_bit_in_a_picture_names_shard_and_record(records_dir: Path) -> None:
    entry = entries(records_dir)[3]
    content = (records_dir / SHARD).read_bytes()
    flip(records_dir / SHARD, content.index(b'\xff\xda', entry.offset) + 30)
    whole, *of_record = findings(records_dir)
    assert whole.startswith(f'{SHARD}: is not as it was written (sha256): delete the shard and run')
    assert all(f.startswith(f'{SHARD}: record 3 ({entry.path}): ') for f in of_record)
    assert any('its image is not the one that was written' in f for f in of_record)
    assert all('tools/convert_images.py' in f for f in [whole, *of_record])


@pytest.mark.parametrize('place', [8, -1])
def test_a_flipped_bit_in_a_checksum_names_shard_and_record(records_dir: Path, place: int) -> None:
    entry = entries(records_dir)[2]
    flip(records_dir / SHARD, entry.offset + (place if place > 0 else entry.bytes + place))
    whole, of_record = findings(records_dir)
    assert 'is not as it was written' in whole
    assert of_record.startswith(f'{SHARD}: record 2 ({entry.path}): its checksum is wrong')


def test_a_flipped_bit_in_a_length_names_shard_and_record(records_dir: Path) -> None:
    entry = entries(records_dir)[2]
    flip(records_dir / SHARD, entry.offset + 1)
    _, of_record = findings(records_dir)
    assert f'record 2 ({entry.path}): no record begins where the index says' in of_record


def test_a_cut_shard_names_the_first_record_that_is_cut(records_dir: Path) -> None:
    entry = entries(records_dir)[4]
    path = records_dir / SHARD
    path.write_bytes(path.read_bytes()[: entry.offset + 40])
    length, of_record = findings(records_dir)
    assert length.startswith(f'{SHARD}: has {entry.offset + 40} bytes, not ')
    assert f'{SHARD}: record 4 ({entry.path}): the shard ends inside it' in of_record


def test_a_missing_shard(records_dir: Path) -> None:
    (records_dir / SHARD).unlink()
    assert the_finding(records_dir).startswith(f'{SHARD}: is missing: run the conversion again')


@pytest.mark.parametrize('damage', [lambda p: p.unlink(), lambda p: p.write_text('{')])
def test_a_missing_or_damaged_index(records_dir: Path, damage: Callable[[Path], None]) -> None:
    damage(records_dir / f'{SHARD}.index.jsonl')
    wanted = f'{SHARD}.index.jsonl is missing or damaged: run the conversion again'
    assert the_finding(records_dir).startswith(wanted)


def test_an_index_of_another_shard(records_dir: Path) -> None:
    other = index_of(records_dir, SHARD.replace('00001-of', '00000-of'))
    other.save(str(records_dir / f'{SHARD}.index.jsonl'))
    wanted = f'{SHARD}.index.jsonl does not agree with the manifest: delete the shard and run'
    assert the_finding(records_dir).startswith(wanted)


@pytest.mark.parametrize('name', ['skipped.tsv', 'dataset_info.json'])
@pytest.mark.parametrize('damage', [lambda p: p.unlink(), lambda p: p.write_text('x')])
def test_a_missing_or_changed_file_beside_the_shards(
    records_dir: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(records_dir / name)
    assert the_finding(records_dir).startswith(f'{name} is not as it was written: run the conver')


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda m: m.update(skipped=2), '2 skipped; the indexes hold 1'),
        (lambda m: m.update(found=99), '99 files found; 91 images and 0 ignored'),
        (
            lambda m: m['splits']['test']['pictures_per_class'].reverse(),
            'test has ',
        ),
        (lambda m: m['splits']['test'].update(pictures=1), 'test has 1 images'),
    ],
)
def test_sums_that_do_not_add_up(
    records_dir: Path, change: Callable[[dict[str, object]], object], says: str
) -> None:
    manifest = json.loads((records_dir / 'manifest.json').read_bytes())
    change(manifest)
    write_manifest(records_dir, manifest)
    finding = the_finding(records_dir)
    assert finding.startswith('manifest.json: ')
    assert says in finding
    assert 'delete it and run the conversion again' in finding


def test_a_damaged_shard_deleted_as_advised_is_made_again(
    made: tuple[Path, Path], records_dir: Path
) -> None:
    flip(records_dir / SHARD, 100)
    assert 'delete the shard and run the conversion again' in findings(records_dir)[0]
    (records_dir / SHARD).unlink()
    converted(made[0], records_dir, num_shards=2)
    assert findings(records_dir) == []
    assert contents(records_dir) == contents(made[1])


# Records that a wrong converter wrote: all checksums fit


def edited(record: bytes, key: str, value: bytes | int) -> bytes:
    example = tf.train.Example.FromString(record)
    values = getattr(example.features.feature[key], schema.KEYS[key]).value
    del values[:]
    values.append(value)
    return example.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ('key', 'value', 'says'),
    [
        ('image/height', 7, 'image/height and image/width are not '),
        ('image/width', 7, 'image/height and image/width are not '),
        ('image/class/label', 9, 'image/class/label is 9, not '),
        ('image/class/text', b'cats', "image/class/text is b'cats', not "),
        ('image/filename', b'x.jpg', "image/filename is b'x.jpg', not "),
        ('image/format', b'GIF', "image/format is b'GIF', not "),
        ('image/sha256', b'00', "image/sha256 is b'00', not "),
        ('image/channels', 1, 'image/channels is 1, not 3'),
    ],
)
def test_a_value_that_disagrees_is_named(
    records_dir: Path, key: str, value: bytes | int, says: str
) -> None:
    replace_records(records_dir, lambda i, e, r: (e, edited(r, key, value) if i == 1 else r))
    finding = the_finding(records_dir)
    assert finding.startswith(f'{SHARD}: record 1 ({entries(records_dir)[1].path}): {says}')


def test_a_class_that_there_is_not_is_named(records_dir: Path) -> None:
    replace_records(records_dir, lambda i, e, r: (
        dataclasses.replace(e, label=3) if i == 1 else e, r
    ))  # fmt: skip
    assert 'its index says class 3, of 3' in ' '.join(findings(records_dir))


def test_a_missing_key_is_named(records_dir: Path) -> None:
    def without(i: int, entry: IndexEntry, record: bytes) -> tuple[IndexEntry, bytes]:
        example = tf.train.Example.FromString(record)
        del example.features.feature['image/sha256']
        return entry, example.SerializeToString(deterministic=True) if i == 0 else record

    replace_records(records_dir, without)
    assert ': image/sha256 holds 0 values of bytes_list, not one:' in the_finding(records_dir)


def test_a_picture_that_cannot_be_decoded_is_named(records_dir: Path) -> None:
    def cut(i: int, entry: IndexEntry, record: bytes) -> tuple[IndexEntry, bytes]:
        encoded = schema.parse_all(record)['image/encoded']
        assert isinstance(encoded, bytes)
        return entry, edited(record, 'image/encoded', encoded[:-200]) if i == 2 else record

    replace_records(records_dir, cut)
    wrong_digest, undecodable = findings(records_dir)
    assert 'its image is not the one that was written' in wrong_digest
    assert ': record 2 (' in undecodable
    assert 'damaged or truncated' in undecodable


def test_a_picture_in_two_shards_is_named(records_dir: Path) -> None:
    other = index_of(records_dir, SHARD.replace('00001-of', '00000-of')).entries[0]

    def twice(i: int, entry: IndexEntry, record: bytes) -> tuple[IndexEntry, bytes]:
        if i:
            return entry, record
        record = edited(record, 'image/filename', other.path.encode())
        return dataclasses.replace(entry, path=other.path), record

    replace_records(records_dir, twice)
    wanted = f'holds {other.path}, as {SHARD.replace("00001-of", "00000-of")} does'
    assert wanted in the_finding(records_dir)


def test_an_index_that_was_changed_is_blamed_itself(records_dir: Path) -> None:
    """Its entries say what every later stage believes: outcomes and labels too."""
    path = records_dir / f'{SHARD}.index.jsonl'
    path.write_text(path.read_text().replace('"outcome":"as is"', '"outcome":"as PNG"', 1))
    assert the_finding(records_dir).startswith(f'{path.name} is not as it was written (sha256): ')
