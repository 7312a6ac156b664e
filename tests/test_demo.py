"""The demo means something: what its network has learned elsewhere is worth a lot here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from archive_files import files_in
from command_line import ROOT, Places, call, start

from tools import drawing, inventing

NETWORK = ROOT / 'configs/demo_network.keras'


def test_the_network_is_small_and_has_seen_none_of_the_four() -> None:
    import tensorflow as tf

    assert NETWORK.stat().st_size < 2 << 20
    kinds = [inventing.recipe(number) for number in range(100)]
    assert len(set(kinds)) == 100
    model = tf.keras.models.load_model(NETWORK, compile=False)
    assert model.output_shape == (None, 100), 'the invented kinds, and no others'


def test_the_invented_kinds_can_be_drawn_again(tmp_path: Path) -> None:
    flags = '--kind=invented', '--num_classes=3', '--per_class=2', '--width=48', '--height=36'
    folders = [tmp_path / name for name in ('first', 'second')]
    for folder in folders:
        ended = call('draw_pictures', f'--out_dir={folder}', *flags)
        assert ended.out == f'{folder}: 6 images, 6 of them drawn now.\n'
    first, second = map(files_in, folders)
    assert first == second
    assert len(set(first.values())) == 6
    assert '0 of them drawn now' in call('draw_pictures', f'--out_dir={folders[0]}', *flags).out
    ended = call('draw_pictures', f'--out_dir={folders[0]}', *flags, '--held_back=1')
    assert (ended.status, ended.err.count('\n')) == (1, 1)
    assert '--held_back goes with --kind=flowers only.' in ended.err


@pytest.mark.slow
def test_the_demo_and_what_it_is_without_transfer_learning(tmp_path: Path) -> None:
    drawing.write_flowers(str(tmp_path / 'pictures'), per_class=60)
    accuracy = {}
    for config in 'demo', 'demo_inception':
        places = Places(tmp_path / config)
        ended = start(
            ROOT / 'tools/retrain.py', f'--flagfile=configs/{config}.flags', '--run_dir=',
            f'--image_dir={tmp_path}/pictures', f'--model_dir={tmp_path}/models',
            '--self_test_pictures=0', *places.flags(), timeout=280,
        )  # fmt: skip
        assert ended.status == 0, ended.err
        found = re.search(r'^Final test accuracy = ([\d.]+)% \(N=57\)$', ended.out, re.MULTILINE)
        assert found
        accuracy[config] = float(found[1])
    assert accuracy['demo'] >= 95
    assert accuracy['demo_inception'] <= accuracy['demo'] - 15
