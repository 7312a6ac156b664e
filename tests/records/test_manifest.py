"""The files beside the shards, and what later stages are told when one is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import colours
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conversion import contents, converted, index_of, listed

from poets_tfr.errors import InputError
from poets_tfr.records import manifest as manifests
from poets_tfr.records.codecs import store
from poets_tfr.records.manifest import (
    IndexEntry,
    Manifest,
    ShardIndex,
    check_settings,
    check_shards,
    digest_of,
    load_indexes,
    load_manifest,
    skipped_tsv,
    summed_up,
    table,
    told_left_out,
)

SPLITS = ['train', 'validation', 'test']


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture folder of three colours with two bad files, and its records. Read only."""
    image_dir = colours.write(tmp_path_factory.mktemp('pictures'), per_class=30)
    (image_dir / 'bluebells/bad\tname\n.jpg').write_bytes(b'<html>\t\n')
    (image_dir / 'bluebells/empty.png').touch()
    (image_dir / 'bluebells/notes.txt').touch()
    records_dir = tmp_path_factory.mktemp('records')
    converted(image_dir, records_dir, num_shards=2)
    return image_dir, records_dir


@pytest.fixture
def records_dir(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(made[1], tmp_path / 'records'))


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    value['sha256'] = digest_of(value)
    path.write_text(json.dumps(value))


def test_manifest_adds_up(made: tuple[Path, Path]) -> None:
    image_dir, records_dir = made
    manifest = load_manifest(str(records_dir))
    assert manifest.found == sum(p.is_file() for p in image_dir.rglob('*')) == 93
    assert (manifest.skipped, manifest.ignored) == (2, 1)
    assert sum(split.pictures for split in manifest.splits.values()) == 90
    assert manifest.skip_reasons == {
        'a web page, not an image': 1, 'the file is empty': 1
    }  # fmt: skip
    assert manifest.outcomes == {'as is': 90, 'skipped': 2}
    for name, split in manifest.splits.items():
        assert sum(split.pictures_per_class) == split.pictures
        assert sum(shard.records for shard in split.shards) == split.pictures
        for shard in split.shards:
            assert (records_dir / shard.file).stat().st_size == shard.bytes
            entries = index_of(records_dir, shard.file).entries
            assert sum(entry.is_record for entry in entries) == shard.records
            wanted = {p.path for p in listed(image_dir).pictures if p.split == name}
            assert {entry.path for entry in entries} <= wanted


def test_manifest_survives_the_way_through_its_file(made: tuple[Path, Path]) -> None:
    path = made[1] / 'manifest.json'
    manifest = load_manifest(str(made[1]))
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert list(manifest.splits) == list(SPLITS), 'not the sorted order of the file'
    assert json.loads(path.read_bytes()) == json.loads(json.dumps(manifest.to_json()))
    assert manifest.classes == (
        ('Green Grass', 'green grass'), ('Red_Roses', 'red roses'), ('bluebells', 'bluebells')
    )  # fmt: skip
    assert manifest.labels == colours.LABELS


def test_nothing_written_names_a_time_or_a_place(made: tuple[Path, Path]) -> None:
    image_dir, records_dir = made
    for name, content in contents(records_dir).items():
        if 'tfrecord' not in name or name.endswith('.jsonl'):
            assert str(image_dir.parent).encode() not in content, name
            assert not re.search(rb'\b20[0-9]{2}-[01][0-9]-', content), name


def test_skipped_tsv_has_one_escaped_line_for_each(made: tuple[Path, Path]) -> None:
    header, *lines = (made[1] / 'skipped.tsv').read_text().splitlines()
    assert header.split('\t') == ['path', 'reason', 'bytes', 'first_bytes']
    assert [line.split('\t') for line in lines] == [
        [
            'bluebells/bad\\tname\\n.jpg',
            'a web page, not an image',
            '8',
            '3c 68 74 6d 6c 3e 09 0a',
        ],
        ['bluebells/empty.png', 'the file is empty', '0', ''],
    ]


def test_skipped_tsv_is_sorted_and_can_be_read_back() -> None:
    odd = ['z', 'a\\b', 'a"b', 'é', '\udcff', 'line\r\n']
    content = skipped_tsv(IndexEntry(path, 0, '', reason='x\ty') for path in odd).decode('ascii')
    rows = [line.split('\t') for line in content.splitlines()[1:]]
    assert [json.loads(f'"{row[0]}"') for row in rows] == sorted(odd)
    assert {json.loads(f'"{row[1]}"') for row in rows} == {'x\ty'}
    assert all(len(row) == 4 for row in rows)


def test_index_survives_the_way_through_its_file(tmp_path: Path) -> None:
    entry = IndexEntry('\udcff/a\n.jpg', 1, 'aa', 'bb', 0, 20, 'as is')
    index = ShardIndex('x', 'contract', 1, 20, 'cc', (entry, IndexEntry('b', 0, '', reason='no')))
    saved = index.save(str(tmp_path / 'index'))
    assert saved.file_sha256 == hashlib.sha256((tmp_path / 'index').read_bytes()).hexdigest()
    assert ShardIndex.load(str(tmp_path / 'index')) == saved
    assert len((tmp_path / 'index').read_bytes().splitlines()) == 3


# What is wrong is named


@pytest.mark.parametrize('content', ['', '{"shard": 1', '[1]', '{"shard": "x"}', '\xff'])
def test_a_damaged_index_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / 'x.index.jsonl'
    path.write_bytes(content.encode('latin-1'))
    with pytest.raises(InputError, match=re.escape(f'{path} is damaged')):
        ShardIndex.load(str(path))


def test_no_manifest_means_no_conversion(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'has no manifest\.json: no conversion finished there'):
        load_manifest(str(tmp_path))


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        ('{', 'is damaged'),
        ('[]', 'its format is None'),
        ('{"format": "other 7"}', "its format is 'other 7'"),
        (json.dumps({'format': manifests.FORMAT}), 'is damaged'),
        (json.dumps({'format': manifests.FORMAT, 'splits': [], 'classes': []}), 'is damaged'),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / 'manifest.json').write_text(content)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / 'manifest.json'))) as error:
        load_manifest(str(tmp_path))
    assert says in str(error.value)


def test_a_missing_or_short_shard_is_named_with_what_to_run(records_dir: Path) -> None:
    manifest = load_manifest(str(records_dir))
    check_shards(str(records_dir), manifest)
    shard = records_dir / manifest.splits['train'].shards[1].file
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=r'has \d+ bytes, not \d+.*tools/convert_images\.py') as e:
        check_shards(str(records_dir), manifest)
    assert str(shard) in str(e.value)
    shard.unlink()
    with pytest.raises(InputError, match=re.escape(f'{shard} is missing')):
        check_shards(str(records_dir), manifest)


def test_a_missing_or_foreign_index_is_named(records_dir: Path) -> None:
    manifest = load_manifest(str(records_dir))
    first, second = (records_dir / f'{s.file}.index.jsonl' for s in manifest.splits['train'].shards)
    assert [i.shard for i in load_indexes(str(records_dir), manifest, 'train')] == [
        shard.file for shard in manifest.splits['train'].shards
    ]
    first.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match=re.escape(f'{first} is damaged or was changed')):
        list(load_indexes(str(records_dir), manifest, 'train'))
    edit(records_dir / 'manifest.json', _as_of_version_0_1)
    with pytest.raises(InputError, match=re.escape(f'{first} is of another shard')):
        list(load_indexes(str(records_dir), load_manifest(str(records_dir)), 'train'))
    first.unlink()
    with pytest.raises(InputError, match=re.escape(f'{first} is missing')):
        list(load_indexes(str(records_dir), manifest, 'train'))


def _as_of_version_0_1(manifest: dict[str, Any]) -> None:
    for split in manifest['splits'].values():
        for shard in split['shards']:
            del shard['index_sha256']


@pytest.mark.parametrize(
    ('insisted', 'agrees'),
    [
        ({}, True),
        ({'validation_percentage': 10, 'classes': []}, True),
        ({'validation_percentage': 20}, False),
        ({'split_by': 'given_path'}, False),
        ({'split_prefix': 'tf_files/flower_photos'}, False),
        ({'classes': ['bluebells']}, False),
    ],
)
def test_settings_that_contradict_the_records(
    records_dir: Path, insisted: dict[str, Any], agrees: bool
) -> None:
    manifest = load_manifest(str(records_dir))
    if agrees:
        check_settings(str(records_dir), manifest, insisted)
        return
    (name,) = insisted
    with pytest.raises(InputError, match=f'^{name}=.*{re.escape(str(records_dir))}'):
        check_settings(str(records_dir), manifest, insisted)


def test_the_order_of_classes_does_not_matter(records_dir: Path) -> None:
    edit(records_dir / 'manifest.json', lambda m: m['settings'].update(classes=['a', 'b']))
    manifest = load_manifest(str(records_dir))
    check_settings(str(records_dir), manifest, {'classes': ['b', 'a', 'b']})
    with pytest.raises(InputError):
        check_settings(str(records_dir), manifest, {'classes': ['a']})


def test_table() -> None:
    lines = table(['daisy', '\udcff'], {'train': [1234, 5], 'test': [6, 7]}).splitlines()
    assert [line.split() for line in lines] == [
        ['class', 'train', 'test'],
        ['daisy', '1,234', '6'],
        ['\\udcff', '5', '7'],
        ['total', '1,239', '13'],
    ]
    assert len({len(line) for line in lines}) == 1


# TensorFlow Datasets


def test_tensorflow_datasets_reads_records_dir(made: tuple[Path, Path]) -> None:
    image_dir, records_dir = made
    manifest = load_manifest(str(records_dir))
    builder = tfds.builder_from_directory(str(records_dir))
    assert builder.info.features['image']['class']['label'].names == colours.LABELS
    for name, split in manifest.splits.items():
        assert builder.info.splits[name].num_examples == split.pictures
        seen = 0
        per_class = [0, 0, 0]
        for example in builder.as_dataset(name).as_numpy_iterator():
            image = example['image']
            path = image_dir / image['filename'].decode()
            label = image['class']['label']
            assert manifest.classes[label].folder == path.parent.name
            assert image['class']['text'].decode() == manifest.labels[label]
            stored = store(path.read_bytes())
            assert image['encoded'].shape == (stored.height, stored.width, 3)
            assert (image['height'], image['width']) == (stored.height, stored.width)
            wanted = np.array(colours.COLOURS[path.parent.name])
            mean = image['encoded'].reshape(-1, 3).mean(axis=0)
            assert np.argmax(mean) == np.argmax(wanted)
            seen += 1
            per_class[label] += 1
        assert seen == split.pictures
        assert tuple(per_class) == split.pictures_per_class


def test_tensorflow_datasets_reads_an_empty_shard(made: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = converted(made[0], tmp_path, num_shards=20)
    records = [shard.records for shard in manifest.splits['validation'].shards]
    assert 0 in records
    assert len(records) == 20
    builder = tfds.builder_from_directory(str(tmp_path))
    assert sum(1 for _ in builder.as_dataset('validation')) == sum(records) > 0


def test_labels_that_are_not_utf_8_are_kept_in_their_bytes(tmp_path: Path) -> None:
    image_dir = colours.write(tmp_path / 'pictures', per_class=4)
    (image_dir / 'bluebells').rename(image_dir / '\udcff')
    converted(image_dir, tmp_path / 'records')
    labels = (tmp_path / 'records/image-class-label.labels.txt').read_bytes()
    assert labels == b'green grass\nred roses\n\xff\n'


def test_min_class_size_is_stored_where_it_is_not_the_default(
    colours_dir: Path, tmp_path: Path
) -> None:
    assert 'min_class_size' not in converted(colours_dir, tmp_path).settings, 'as 0.1 wrote it'
    manifest = load_manifest(str(tmp_path))
    check_settings(str(tmp_path), manifest, {'min_class_size': 0})
    with pytest.raises(InputError, match=r'min_class_size=3: the records .* were made with 0'):
        check_settings(str(tmp_path), manifest, {'min_class_size': 3})
    manifest = converted(colours_dir, tmp_path, min_class_size=3)
    check_settings(str(tmp_path), manifest, {'min_class_size': 3})


def test_a_table_of_many_classes_has_the_largest_and_the_smallest() -> None:
    sizes = list(range(3000))
    lines = table([f'class {i}' for i in sizes], {'train': sizes, 'test': [1] * 3000}).splitlines()
    assert len(lines) == 1 + 10 + 1 + 10 + 2
    assert lines[1].split() == ['class', '2999', '2,999', '1']
    assert lines[11].strip() == '...'
    assert lines[21].split() == ['class', '0', '0', '1']
    assert lines[22].split() == ['total', '4,498,500', '3,000']
    assert lines[23] == 'Of 3,000 classes the 10 largest and the 10 smallest.'


def test_what_was_left_out_is_told_the_commonest_reason_first() -> None:
    reasons = {'too large': 1, 'HEIC needs pi-heif': 30, 'the file is empty': 3, 'a video': 2}
    assert told_left_out(53, 3, reasons) == (
        '36 of 50 images were left out: 30 HEIC needs pi-heif; 3 the file is empty; 2 a video; '
        '1 for other reasons'
    )
    assert told_left_out(53, 3, {}) == ''


@pytest.mark.parametrize(
    ('reason', 'told'),
    [
        ('damaged JPEG header (Truncated File Read)', 'damaged JPEG header'),
        ('damaged or truncated PNG data (of size 70)', 'damaged or truncated PNG data'),
        ('damaged or truncated JPEG data', 'damaged or truncated JPEG data'),
        ('too large: 9 x 9 pixels, 80 are the limit', 'too large'),
        ('unreadable: Is a directory', 'unreadable: Is a directory'),
        ('XML or SVG text, which is not supported', 'XML or SVG text, which is not supported'),
    ],
)  # fmt: skip
def test_reasons_that_differ_in_one_file_alone_are_counted_together(reason: str, told: str) -> None:
    assert summed_up(reason) == told
