"""The records as other programs read them: TF-slim's keys, and DALI's index."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import colours
import pytest
import tensorflow as tf
from command_line import call
from conversion import contents, converted, identities, index_of, listed

from poets_tfr.records import checking
from poets_tfr.records.manifest import load_manifest

SHARD = 'flowers-train.tfrecord-00000-of-00002'


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    return colours.write(tmp_path / 'flowers', per_class=20)


def test_a_reader_with_tf_slim_s_keys(image_dir: Path, tmp_path: Path) -> None:
    """Keys and defaults as in TF-slim's datasets/flowers.py, and Model Garden's classification."""
    (image_dir / 'bluebells/empty.jpg').touch()
    manifest = converted(image_dir, tmp_path / 'records', num_shards=2)
    keys = {
        'image/encoded': tf.io.FixedLenFeature((), tf.string, default_value=''),
        'image/format': tf.io.FixedLenFeature((), tf.string, default_value='png'),
        'image/class/label': tf.io.FixedLenFeature(
            [], tf.int64, default_value=tf.zeros([], dtype=tf.int64)
        ),
    }
    seen = 0
    for split, of_split in manifest.splits.items():
        wanted = {p.path: p.label for p in listed(image_dir).pictures if p.split == split}
        source_of = {(image_dir / path).read_bytes(): path for path in wanted}
        pattern = str(tmp_path / f'records/flowers-{split}.tfrecord-*-of-*[0-9]')
        count = 0
        for record in tf.data.TFRecordDataset(tf.io.gfile.glob(pattern)):
            values = tf.io.parse_single_example(record, keys)
            encoded = values['image/encoded'].numpy()
            assert values['image/class/label'].numpy() == wanted[source_of[encoded]]
            # TF-slim's decoder takes 'jpeg', 'JPEG', 'png' and 'PNG'.
            wanted_format = b'JPEG' if source_of[encoded].endswith('.jpg') else b'PNG'
            assert values['image/format'].numpy() == wanted_format
            count += 1
        assert count == of_split.pictures
        seen += count
    assert seen == 60


def dali_reads(records_dir: Path, shard: str) -> list[bytes]:
    """As DALI's TFRecord reader does: seek, read so many bytes, strip the frame."""
    content = (records_dir / shard).read_bytes()
    records = []
    for line in (records_dir / f'{shard}.idx').read_text().splitlines():
        offset, size = map(int, line.split(' '))
        frame = content[offset : offset + size]
        assert struct.unpack('<Q', frame[:8]) == (size - 16,)
        records.append(frame[12:-4])
    return records


def test_dali_s_index_agrees_with_the_records(image_dir: Path, tmp_path: Path) -> None:
    (image_dir / 'bluebells/empty.jpg').touch()
    records_dir = tmp_path / 'records'
    flags = f'--image_dir={image_dir}', f'--records_dir={records_dir}', '--num_shards=2'
    assert call('convert_images', *flags, '--write_index').status == 0
    shards = identities(records_dir)
    assert len(shards) == 6
    for shard in shards:
        wanted = [r.numpy() for r in tf.data.TFRecordDataset(str(records_dir / shard))]
        assert dali_reads(records_dir, shard) == wanted
    assert call('inspect_records', f'--records_dir={records_dir}', '--verify').status == 0


def test_no_index_outlives_its_shard(image_dir: Path, tmp_path: Path) -> None:
    records_dir = tmp_path / 'records'
    converted(image_dir, records_dir, num_shards=2)
    before = identities(records_dir)
    converted(image_dir, records_dir, num_shards=2, write_index=True)
    assert identities(records_dir) == before, 'an index alone rewrites no shard'
    whole = contents(records_dir)
    (image_dir / index_of(records_dir, SHARD).entries[0].path).unlink()
    converted(image_dir, records_dir, num_shards=2)
    assert not (records_dir / f'{SHARD}.idx').exists(), 'its shard was rewritten, without --write'
    assert len(list(records_dir.glob('*.idx'))) == 5
    converted(image_dir, records_dir, num_shards=2, write_index=True)
    assert len(list(records_dir.glob('*.idx'))) == 6
    assert contents(records_dir).keys() == whole.keys()
    converted(image_dir, records_dir, num_shards=1)
    assert not list(records_dir.glob('*.idx'))


def test_an_index_that_does_not_fit_is_found(image_dir: Path, tmp_path: Path) -> None:
    converted(image_dir, tmp_path / 'records', num_shards=2, write_index=True)
    shutil.copy(
        tmp_path / f'records/{SHARD.replace("00000-of", "00001-of")}.idx',
        tmp_path / f'records/{SHARD}.idx',
    )
    findings = checking.verify(str(tmp_path / 'records'), load_manifest(str(tmp_path / 'records')))
    assert [finding.split(':')[0] for finding in findings] == [
        f'{SHARD}.idx does not fit its shard'
    ]
