"""A folder of all that people's folders hold, converted by the command: each file's outcome."""

from __future__ import annotations

import collections
import json
import os
import socket
from pathlib import Path

import numpy as np
import odd_files
import odd_formats
import pytest
import tensorflow as tf
from command_line import call
from odd_files import OddFile

from poets_tfr.records import codecs, schema
from poets_tfr.records.manifest import IndexEntry, ShardIndex

FILES = odd_formats.all_files()
# What is not opened, or cannot be read -> the reason.
NO_FILES = {
    'pipe.jpg': 'a named pipe, not a file',
    'socket.jpg': 'a socket, not a file',
    'endless.jpg': 'a device, not a file',
    'dangling.jpg': 'a link to nothing',
    'circle.jpg': 'a link to nothing',
    'unreadable.jpg': 'unreadable: Input/output error',
}
IGNORED = ['.hidden.jpg', 'Thumbs.db', 'notes.txt', 'no_extension', 'folder.jpg/inside.jpg']

Converted = tuple[dict[str, IndexEntry], dict[str, bytes], Path, str]


def make_no_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / 'pipe.jpg')
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind('socket.jpg')
    (folder / 'endless.jpg').symlink_to('/dev/zero')
    (folder / 'dangling.jpg').symlink_to('nothing')
    (folder / 'circle.jpg').symlink_to('circle.jpg')
    (folder / 'unreadable.jpg').symlink_to('/proc/self/mem')  # root, too, cannot read it
    for name in IGNORED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


@pytest.fixture(scope='module')
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Name -> index entry, name -> `image/encoded`; the records; what the command said."""
    root = tmp_path_factory.mktemp('odd')
    image_dir, records_dir = root / 'pictures', root / 'records'
    odd, plain = image_dir / 'odd', image_dir / 'plain'
    for folder in odd, plain:
        folder.mkdir(parents=True)
    for file in FILES:
        (odd / file.name).write_bytes(file.content)
    for i in range(3):
        (plain / f'{i}.png').write_bytes(odd_files.saved(odd_files.GREY + np.uint8(i), 'PNG'))
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_no_files(odd, monkeypatch)
    flags = f'--image_dir={image_dir}', f'--records_dir={records_dir}', '--max_bad_fraction=1'
    ended = call('convert_images', *flags, '--num_shards=2')
    assert ended.status == 0, ended.err
    entries: dict[str, IndexEntry] = {}
    pictures: dict[str, bytes] = {}
    for path in sorted(records_dir.glob('*.index.jsonl')):
        index = ShardIndex.load(str(path))
        entries.update({entry.path: entry for entry in index.entries})
        for record in tf.data.TFRecordDataset(str(records_dir / index.shard)):
            values = schema.parse_all(record.numpy())
            name, encoded = values['image/filename'], values['image/encoded']
            assert isinstance(name, bytes)
            assert isinstance(encoded, bytes)
            pictures[os.fsdecode(name)] = encoded
    assert set(pictures) == {path for path, entry in entries.items() if entry.is_record}
    return entries, pictures, records_dir, ended.err


def test_the_table_is_long_and_names_each_file_once() -> None:
    counts = collections.Counter(file.name for file in FILES)
    assert len(counts) >= 190
    assert max(counts.values()) == 1


@pytest.mark.parametrize('file', FILES, ids=lambda file: ascii(file.name[:40]))
def test_each_file_has_the_outcome_that_the_table_says(converted: Converted, file: OddFile) -> None:
    entries, pictures, *_ = converted
    entry = entries[f'odd/{file.name}']
    if file.pixels is None:
        assert (entry.outcome, entry.reason[: len(file.outcome)]) == ('skipped', file.outcome)
        assert entry.source_bytes == len(file.content)
    else:
        assert (entry.outcome, entry.reason) == (file.outcome, '')
        encoded = pictures[entry.path]
        assert (encoded == file.content) == (file.outcome == 'as is')
        assert codecs.kind_of(encoded) == ('JPEG' if 'JPEG' in file.outcome else encoded_kind(file))
        pixels = tf.io.decode_jpeg(encoded, channels=3).numpy().astype(np.float64)
        assert pixels.shape == file.pixels.shape
        assert np.abs(pixels - file.pixels).mean(axis=(0, 1)).max() <= file.limit


def encoded_kind(file: OddFile) -> str | None:
    return codecs.kind_of(file.content) if file.outcome == 'as is' else 'PNG'


@pytest.mark.parametrize('name', NO_FILES)
def test_what_is_no_file_is_listed_and_never_waited_for(converted: Converted, name: str) -> None:
    entry = converted[0][f'odd/{name}']
    assert (entry.outcome, entry.reason) == ('skipped', NO_FILES[name])


def test_every_file_is_accounted_for(converted: Converted) -> None:
    entries, pictures, records_dir, err = converted
    manifest = json.loads((records_dir / 'manifest.json').read_bytes())
    there = sum(
        len(files) for _, _, files in os.walk(records_dir.parent / 'pictures')
    )  # links and pipes are among them
    assert manifest['found'] == there == len(FILES) + len(NO_FILES) + len(IGNORED) + 3
    assert manifest['ignored'] == len(IGNORED)
    assert manifest['found'] == len(pictures) + manifest['skipped'] + manifest['ignored']
    assert sum(manifest['outcomes'].values()) == len(entries)
    assert sum(manifest['skip_reasons'].values()) == manifest['skipped']
    assert 'odd: 1 folders (folder.jpg) hold images that are ignored: --recursive' in err


def test_skipped_tsv_is_one_line_of_four_cells_for_each(converted: Converted) -> None:
    entries, _, records_dir, _ = converted
    text = (records_dir / 'skipped.tsv').read_bytes().decode('ascii')
    _, *lines, end = text.split('\n')
    assert end == ''
    rows = [line.split('\t') for line in lines]
    assert all(len(row) == 4 for row in rows)
    listed = {json.loads(f'"{path}"'): json.loads(f'"{reason}"') for path, reason, *_ in rows}
    skipped = {path: entry.reason for path, entry in entries.items() if not entry.is_record}
    assert listed == skipped
    empty = next(row for row in rows if row[0] == 'odd/text.jpg')
    assert empty[2:] == ['11', '3d 31 2b 31 09 6c 61 74 65 72 0a']


def test_a_second_run_changes_nothing_and_everything_verifies(converted: Converted) -> None:
    *_, records_dir, _ = converted
    image_dir = records_dir.parent / 'pictures'
    before = {path: path.stat().st_mtime_ns for path in records_dir.iterdir()}
    flags = f'--image_dir={image_dir}', f'--records_dir={records_dir}', '--max_bad_fraction=1'
    ended = call('convert_images', *flags, '--num_shards=2')
    assert f'Records in {records_dir} are up to date.' in ended.out
    after = {path: path.stat().st_mtime_ns for path in records_dir.iterdir()}
    assert {p: t for p, t in after.items() if p.name[0] != '.'} == {
        p: t for p, t in before.items() if p.name[0] != '.'
    }
    inspected = call('inspect_records', f'--records_dir={records_dir}', '--verify')
    assert inspected.status == 0, inspected.out
