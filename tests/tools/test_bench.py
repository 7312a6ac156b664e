"""The benchmark's own machinery, on a handful of pictures; what its figures say is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poets_tfr import drawing
from poets_tfr.tools import bench
from poets_tfr.tools.benchmarks import measuring


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
    assert bench.main(argv) == 0
    rows = json.loads(result.read_text())
    assert [row['row'] for row in rows] == ['decode, 128 px', 'decode, 299 px']
    for row in rows:
        assert set(row) == set('row rate unit peer peer_rate ratio goal peak_mb'.split())
        assert row['ratio'] == pytest.approx(row['rate'] / row['peer_rate'])
        assert row['peak_mb'] > 100


def test_unknown_row_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bench.main(['bench.py', 'decoed', f'--work_dir={tmp_path}']) == 1
    assert "'decoed' is no row of the benchmark" in capsys.readouterr().err


def test_sides_are_run_in_turn_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []

    def side(name: str) -> measuring.Work:
        def work() -> int:
            calls.append(name)
            return 1

        return work

    rates = measuring.median_rates({'a': side('a'), 'b': side('b')}, repeats=2)
    assert calls == ['a', 'b'] * 3
    assert set(rates) == {'a', 'b'}


def test_the_table_marks_a_goal_that_is_missed() -> None:
    met = measuring.against('row', 'x/s', 2.0, 'peer', 1.0, {'peer': 1.5})
    missed = measuring.against('row', 'x/s', 1.0, 'peer', 1.0, {'peer': 1.5})
    lines = measuring.table([met, missed]).splitlines()
    assert '2.00  ' in lines[1]
    assert '1.00! ' in lines[2]
