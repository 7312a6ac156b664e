"""Formats through a conversion: what lacks a library, what was decoded otherwise, equal bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import colours
import numpy as np
import odd_files
import odd_formats
import pytest
from command_line import call
from conversion import (
    contents,
    converted,
    copies_of,
    identities,
    index_of,
    made_in,
)

from poets_tfr.records import decoders
from poets_tfr.records.manifest import digest_of
from poets_tfr.sources import pillow

SHARDS = 3
DATA = Path(__file__).parents[1] / 'data/formats'


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture folder and its records, three shards for each split. Read only."""
    return made_in(tmp_path_factory, SHARDS)


@pytest.fixture
def copies(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both that the test may change."""
    return copies_of(made, tmp_path)


def shard_of(records_dir: Path, path: str) -> str:
    """The shard whose index names the picture."""
    (name,) = [
        name
        for name in identities(records_dir)
        if path in [entry.path for entry in index_of(records_dir, name).entries]
    ]
    return name


def test_what_lacked_a_decoder_is_tried_again_once_it_is_there(
    copies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    image_dir, records_dir = copies
    for i in range(3):
        content = odd_formats.heic(np.full((40, 40, 3), 90 + i, np.uint8))
        (image_dir / f'bluebells/IMG_{i}.HEIC').write_bytes(content)
        (image_dir / f'bluebells/IMG_{i}.MOV').write_bytes(b'the other half of a live photo')
    with monkeypatch.context() as without:
        without.setitem(sys.modules, 'pi_heif', None)
        pillow.lack.cache_clear()
        manifest = converted(image_dir, records_dir, num_shards=SHARDS)
    pillow.lack.cache_clear()
    ((reason, count),) = manifest.skip_reasons.items()
    assert (count, manifest.ignored) == (3, 3)
    assert reason.startswith(
        'HEIC needs pi-heif: pip install pi-heif, or have the phone write JPEG'
    )
    assert f'3 of 123 images were left out: 3 {reason}' in caplog.text
    assert (records_dir / 'skipped.tsv').read_text().count(reason) == 3
    without_it = identities(records_dir)
    manifest = converted(image_dir, records_dir, num_shards=SHARDS)
    assert (manifest.skipped, manifest.outcomes['as JPEG']) == (0, 3)
    made_anew = {shard_of(records_dir, f'bluebells/IMG_{i}.HEIC') for i in range(3)}
    after = identities(records_dir)
    assert {name for name in after if after[name] != without_it[name]} == made_anew


def as_made_before(records_dir: Path) -> None:
    """The indexes and the manifest as earlier versions wrote them, which named no decoders."""
    (records_dir / '.seen.json').unlink()
    manifest = json.loads((records_dir / 'manifest.json').read_bytes())
    for split in manifest['splits'].values():
        for shard in split['shards']:
            index = records_dir / f'{shard["file"]}.index.jsonl'
            lines = index.read_text().replace(f',"decoders":{decoders.VERSION}', '')
            index.write_text(lines)
            shard['index_sha256'] = hashlib.sha256(lines.encode()).hexdigest()
    manifest['sha256'] = digest_of(manifest)
    (records_dir / 'manifest.json').write_text(json.dumps(manifest))


def test_shards_of_pictures_that_were_decoded_otherwise_are_made_again_once(
    copies: tuple[Path, Path],
) -> None:
    image_dir, records_dir = copies
    grey = np.full((40, 40, 3), 99, np.uint8)
    webp, turned = 'bluebells/a webp.jpg', 'Red_Roses/on its side.jpg'
    (image_dir / webp).write_bytes(colours.encoded(grey, 'WEBP'))
    (image_dir / turned).write_bytes(odd_files.saved(grey, 'JPEG', exif=odd_files.exif(6)))
    converted(image_dir, records_dir, num_shards=SHARDS)
    wanted = contents(records_dir)
    as_made_before(records_dir)
    before = identities(records_dir)
    converted(image_dir, records_dir, num_shards=SHARDS)
    after = identities(records_dir)
    assert {n for n in after if after[n] != before[n]} == {shard_of(records_dir, webp)}
    assert shard_of(records_dir, turned) != shard_of(records_dir, webp)
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert identities(records_dir) == after
    shards = {name for name in wanted if '.tfrecord-' in name and not name.endswith('.jsonl')}
    assert {name: contents(records_dir)[name] for name in shards} == {n: wanted[n] for n in shards}


@pytest.mark.parametrize(
    ('reason', 'is_outdated'),
    [
        ('HEIC, which is not supported', True),
        ('TIFF is read through tensorflow-io, which is not here', True),
        ('damaged or truncated WebP data (of tensorflow-io)', True),
        ('a web page, not an image', False),
    ],
)
def test_what_was_skipped_by_other_decoders_is_tried_again_once(
    copies: tuple[Path, Path], reason: str, is_outdated: bool
) -> None:
    image_dir, records_dir = copies
    (image_dir / 'bluebells/x.jpg').write_bytes(b'no image')
    converted(image_dir, records_dir, num_shards=SHARDS)
    shard = shard_of(records_dir, 'bluebells/x.jpg')
    index = records_dir / f'{shard}.index.jsonl'
    index.write_text(index.read_text().replace('not an image of a known format', reason))
    as_made_before(records_dir)
    before = identities(records_dir)
    converted(image_dir, records_dir, num_shards=SHARDS)
    after = identities(records_dir)
    assert {n for n in after if after[n] != before[n]} == ({shard} if is_outdated else set())
    converted(image_dir, records_dir, num_shards=SHARDS)
    assert identities(records_dir) == after


def test_the_same_folder_gives_the_same_bytes_in_every_environment(tmp_path: Path) -> None:
    """Under any TensorFlow. Where a new library decodes otherwise, raise decoders.VERSION."""
    image_dir, records_dir = tmp_path / 'images', tmp_path / 'records'
    shutil.copytree(DATA / 'all', image_dir / 'all')
    shutil.copytree(DATA / 'all', image_dir / 'again')
    flags = f'--image_dir={image_dir}', f'--records_dir={records_dir}', '--num_shards=1'
    ended = call('convert_images', *flags)
    assert ended.status == 0, ended.err
    found = {
        Path(entry.path).name: [entry.outcome, entry.encoded_sha256]
        for name in identities(records_dir)
        for entry in index_of(records_dir, name).entries
    }
    assert found == json.loads((DATA / 'digests.json').read_bytes())
