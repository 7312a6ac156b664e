"""Contact sheets: each class's own pictures, where and how many was asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import colours
import numpy as np
import pytest
from command_line import call
from conversion import converted
from PIL import Image


@pytest.fixture(scope='module')
def records_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image_dir = colours.write(tmp_path_factory.mktemp('pictures') / 'flowers', per_class=12)
    deep = np.full([50, 50], 70 * 257, np.uint16)  # 16 bits, which Pillow would show as white
    shutil.copytree(image_dir / 'bluebells', image_dir / '玫瑰')
    for path in (image_dir / '玫瑰').iterdir():
        path.unlink()
        Image.fromarray(deep).save(path.with_suffix('.png'))
    directory = tmp_path_factory.mktemp('records')
    converted(image_dir, directory)
    return directory


def coloured_squares(sheet: np.ndarray) -> int:
    """How many of the sheet's columns and rows of thumbnails hold something."""
    return sum(
        bool((sheet[top : top + 40, left : left + 40] < 250).any(-1).all())
        for top in range(8, len(sheet), 160 + 2 * 14 + 8)
        for left in range(8, sheet.shape[1], 160 + 8)
    )


@pytest.mark.parametrize(('count', 'shown'), [(3, 3), (10, 10), (100, 12)])
def test_a_sheet_for_each_class(records_dir: Path, tmp_path: Path, count: int, shown: int) -> None:
    flags = f'--records_dir={records_dir}', f'--show={count}', f'--show_dir={tmp_path}/sheets'
    ended = call('inspect_records', *flags)
    assert ended.status == 0, ended.err
    names = ['0-green_grass', '1-red_roses', '2-bluebells', '3']
    assert sorted(path.name for path in (tmp_path / 'sheets').iterdir()) == [
        f'flowers-{name}.png' for name in names
    ]
    for name, colour in zip(names, [*colours.COLOURS.values(), (70, 70, 70)], strict=True):
        path = tmp_path / f'sheets/flowers-{name}.png'
        assert f'Contact sheet: {path}' in ended.out
        sheet = np.asarray(Image.open(path))
        assert coloured_squares(sheet) == shown
        first = sheet[8:48, 8:48].reshape(-1, 3).mean(0)
        assert first.argmax() == np.argmax(colour)
        assert np.abs(first - colour).max() < 80
    assert not list(records_dir.glob('*.png')), 'nothing is written among the records'


def test_sheets_lie_beside_the_records(records_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(records_dir, tmp_path / 'records'))
    before = sorted(os.listdir())
    ended = call('inspect_records', f'--records_dir={copy}/', '--show=1')
    assert ended.status == 0, ended.err
    assert len(list((tmp_path / 'records_contact_sheets').glob('*.png'))) == 4
    assert sorted(os.listdir()) == before


def test_a_damaged_shard_is_named(records_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(records_dir, tmp_path / 'records'))
    shard = copy / 'flowers-train.tfrecord-00000-of-00001'
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    flags = f'--records_dir={copy}', '--show=100', f'--show_dir={tmp_path}/sheets'
    ended = call('inspect_records', *flags)
    assert ended.status == 1
    assert f'the shard {shard} is damaged' in ended.err
