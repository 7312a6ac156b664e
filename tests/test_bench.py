"""The benchmark's own machinery, on a handful of pictures; what its figures say is not tested."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import colours
import graphs
import pytest
from PIL import Image

from benchmarks import __main__, examining, gpu, large, measuring
from benchmarks.data import Data
from poets_tfr import parallel
from poets_tfr.backbones import frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from tools import drawing


@pytest.fixture
def few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / 'few'
    drawing.write_photo_like(str(folder), per_class=4, num_classes=2, width=64, height=48)
    monkeypatch.setenv('BENCH_IMAGES', str(folder))
    monkeypatch.delenv('BENCH_MODELS', raising=False)
    return folder


def test_a_row_is_measured_beside_its_peer_and_written_as_json(
    few_pictures: Path, tmp_path: Path
) -> None:
    result = tmp_path / 'rows.json'
    argv = ['bench.py', 'decode', f'--json={result}', f'--work_dir={tmp_path / "work"}']
    assert __main__.main(argv) == 0
    rows = json.loads(result.read_text())
    assert [row['row'] for row in rows] == ['decode, 128 px', 'decode, 299 px']
    for row in rows:
        assert set(row) == set('row rate unit peer peer_rate ratio goal peak_mb'.split())
        assert row['ratio'] == pytest.approx(row['rate'] / row['peer_rate'])
        assert row['peak_mb'] > 100


def test_unknown_row_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert __main__.main(['bench.py', 'decoed', f'--work_dir={tmp_path}']) == 1
    assert "'decoed' is no row of the benchmark" in capsys.readouterr().err


def test_sides_are_run_in_turn_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []

    def side(name: str) -> measuring.Work:
        def work() -> int:
            calls.append(name)
            return 1

        return work

    sides = {'a': side('a'), 'b': side('b')}
    rates = measuring.median_rates(sides, repeats=2, clear=lambda: calls.append('clear'))
    assert calls == ['a', 'clear', 'b', 'clear'] * 3
    assert set(rates) == {'a', 'b'}


def test_the_table_marks_a_goal_that_is_missed() -> None:
    met = measuring.against('row', 'x/s', 2.0, 'peer', 1.0, {'peer': 1.5})
    missed = measuring.against('row', 'x/s', 1.0, 'peer', 1.0, {'peer': 1.5})
    lines = measuring.table([met, missed]).splitlines()
    assert '2.00  ' in lines[1]
    assert '1.00! ' in lines[2]


def test_photos_as_large_as_a_phone_s_are_measured_when_they_are_asked_for(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir))
    monkeypatch.setattr(Data, 'mobilenet_config', lambda data: config)
    rows = large.large(Data(str(tmp_path)), per_class=5, width=320, repeats=1)
    peers = {row.row.replace(graphs.MOBILENET, 'network'): row.peer for row in rows}
    assert peers == {
        'convert 12 MP to 1024 px': 'Pillow: draft, thumbnail, save',
        'convert 12 MP': 'decode only, all cores',
        'features network, 12 MP': 'decode only, all cores',
        'features network, 12 MP at 1024 px': 'records of 12 MP',
    }
    assert all(row.rate > 0 for row in rows)
    photos = sorted((tmp_path / 'phone-photos-320').glob('*/*.jpg'))
    assert len({path.read_bytes() for path in photos}) == 5 * 5
    with Image.open(photos[0]) as photo:
        assert photo.size == (320, 240)


@pytest.mark.slow
def test_an_examination_is_measured_and_what_is_not_installed_is_said(
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir))
    monkeypatch.setattr(Data, 'mobilenet_config', lambda data: config)
    monkeypatch.setitem(sys.modules, 'cleanlab', None)
    images = colours.write(tmp_path / 'pictures', per_class=20)
    data = Data(str(tmp_path / 'work'), images=str(images), models=str(model_dir))
    rows = {row.row: row for row in examining.examine(data, seeds=1, sizes=(40, 80))}
    assert list(rows) == [
        'examine 60 images', 'changed labels, precision', 'changed labels, recall in twice',
        'near duplicates of 40', 'near duplicates of 80',
    ]  # fmt: skip
    # Three labels of colours as far apart as these.
    assert rows['changed labels, precision'].rate == 100
    assert rows['changed labels, recall in twice'].rate == 100
    assert all(row.rate > 0 for row in rows.values())
    assert capsys.readouterr().err.endswith(
        'examine: cleanlab is not installed: not measured beside it.\n'
    )


@pytest.fixture
def network(model_dir: Path) -> Backbone:
    return frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir)))


def test_without_a_gpu_its_rows_are_not_measured_and_it_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: [])
    assert __main__.main(['bench.py', 'gpu', f'--work_dir={tmp_path}']) == 0
    assert capsys.readouterr().err.startswith('gpu: not measured: TensorFlow finds no GPU here.\n')


def test_the_rows_of_a_gpu_are_computed_in_every_mode(network: Backbone) -> None:
    import tensorflow as tf

    allowed = tf.config.experimental.tensor_float_32_execution_enabled()
    rows = gpu.forward_rows(network, [2])
    names = [row.row for row in rows]
    assert names[:2] == ['gpu float32, batch 2, XLA off', 'gpu float32, batch 2, XLA on']
    assert len(set(names)) == 8
    assert all(row.rate > 0 for row in rows)
    assert tf.config.experimental.tensor_float_32_execution_enabled() == allowed


def test_a_gpu_is_fed_from_records_and_watched(
    network: Backbone, few_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own `nvidia-smi` is stood in for: it says that the device is half busy."""
    program = tmp_path / 'bin' / 'nvidia-smi'
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho 40; echo 60; exec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{program.parent}{os.pathsep}{os.environ["PATH"]}')
    data = Data(str(tmp_path), images=str(few_pictures))
    rows = gpu.fed_rows(data, network, gpu.MODES[0], batch_size=4, pictures=16)
    by_peer = {row.peer: row for row in rows}
    forward, decode = by_peer['forward only'], by_peer[f'decode only, {parallel.cores()} cores']
    assert forward.rate == decode.rate > 0
    cores = by_peer['cores here']
    assert cores.ratio == pytest.approx(forward.peer_rate / decode.peer_rate)
    assert by_peer['always'].rate == 50


def test_a_gpu_nobody_can_watch_is_still_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', '')
    with gpu.gpu_load() as load:
        pass
    assert load == []
    assert 'there is no nvidia-smi' in capsys.readouterr().err
