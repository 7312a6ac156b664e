"""Converting needs no more memory for many pictures than for few."""

from __future__ import annotations

from pathlib import Path

import colours
import command_line
import numpy as np
import pytest
from archive_files import ARCHIVERS
from record_files import Values, write_records

MANY, FEW = 20_000, 1_000
# What convert_images.py does, and then its own peak, in KiB.
CONVERT = (
    'import resource\n'
    'from poets_tfr.cli import convert_images\n'
    'import sys\n'
    'assert convert_images.main(sys.argv) == 0\n'
    "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def peak_kib(image_dir: Path, records_dir: Path, flag: str = 'image_dir') -> int:
    flags = f'--{flag}={image_dir}', f'--records_dir={records_dir}'
    ended = command_line.start('-c', CONVERT, *flags, '--shard_mib=4', timeout=280)
    assert ended.status == 0, ended.err
    return int(ended.out.split('peak ')[1])


@pytest.mark.slow
@pytest.mark.usefixtures('cache')
@pytest.mark.parametrize('kind', ['folder', 'zip', 'tar'])
def test_peak_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    drawn = [
        colours.encoded(rng.integers(0, 256, (90, 120, 3), np.uint8), 'JPEG') for _ in range(50)
    ]
    archive_of = {**dict(ARCHIVERS), 'folder': lambda folder, path: folder}
    peaks = []
    for number in FEW, MANY:
        image_dir = tmp_path / f'pictures_{number}'
        for i in range(number):
            folder = image_dir / f'class_{i % 4}'
            folder.mkdir(parents=True, exist_ok=True)
            # Behind its end a JPEG may hold anything: no two files are the same.
            (folder / f'{i:05d}.jpg').write_bytes(drawn[i % 50] + i.to_bytes(4, 'big'))
        place = archive_of[kind](image_dir, image_dir.with_suffix(f'.{kind}'))
        peaks.append(peak_kib(place, tmp_path / f'records_{number}'))
    few, many = peaks
    assert many <= 1.2 * few, f'{few} KiB for {FEW} images, {many} KiB for {MANY}'


@pytest.mark.slow
@pytest.mark.usefixtures('cache')
def test_peak_memory_does_not_grow_with_the_number_of_tfrecords(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    drawn = [
        colours.encoded(rng.integers(0, 256, (90, 120, 3), np.uint8), 'JPEG') for _ in range(50)
    ]

    def record(i: int) -> Values:
        return {'image/encoded': drawn[i % 50] + i.to_bytes(4, 'big'),
                'image/class/text': b'class_%d' % (i % 4)}  # fmt: skip

    peaks = []
    for number in FEW, MANY:
        path = write_records(tmp_path / f'{number}.tfrecord', map(record, range(number)))
        peaks.append(peak_kib(path, tmp_path / f'records_{number}', 'image_tfrecords'))
    few, many = peaks
    assert many <= 1.2 * few, f'{few} KiB for {FEW} records, {many} KiB for {MANY}'
