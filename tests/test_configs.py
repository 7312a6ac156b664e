"""The flagfiles of configs/: every flag is known, every value is accepted, typed flags win."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import ROOT, call

CONFIGS = sorted((ROOT / 'configs').glob('*.flags'))


def flags_of(config: Path) -> dict[str, str]:
    lines = [line for line in config.read_text().splitlines() if line.startswith('--')]
    return {name: value for name, _, value in (x.removeprefix('--').partition('=') for x in lines)}


def test_there_is_one_for_each_way_of_the_tutorial() -> None:
    assert {path.stem for path in CONFIGS} == {
        'demo', 'demo_inception', 'demo_network', 'flowers', 'two_flowers', 'fine_tune_gpu',
        'best_head', 'best_head_distorted',
    }  # fmt: skip
    two = flags_of(ROOT / 'configs/two_flowers.flags')
    assert two['classes'] == 'daisy,roses'
    assert two['how_many_training_steps'] == '500'
    assert two['split_prefix'] == '/tf_files/flower_photos'
    assert flags_of(ROOT / 'configs/flowers.flags')['split_prefix'] == 'tf_files/flower_photos'


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_retrain_takes_it_and_typed_flags_win(config: Path, tmp_path: Path) -> None:
    ended = call('retrain', f'--image_dir={tmp_path / "typed"}', f'--flagfile={config}')
    assert ended.status == 1
    assert f"image directory '{tmp_path / 'typed'}' not found" in ended.err


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_it_opens_with_its_command_time_and_accuracy_or_split(config: Path) -> None:
    opening = config.read_text().partition('\n--')[0]
    assert '#   make ' in opening
    assert '# Time: ' in opening
