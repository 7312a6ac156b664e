"""compare_settings.py: every setting on every split, and honest figures of the difference."""

from __future__ import annotations

import re
from pathlib import Path

import colours
import graphs
import pytest
from command_line import call

from poets_tfr.cli import compare_settings


def test_the_figures() -> None:
    base, other = [0.80, 0.70, 0.90], (0.82, 0.74, 0.90)
    assert compare_settings.summary(base) == '80.00 ± 5.77'  # sd 10, over the root of 3
    assert compare_settings.summary(compare_settings.paired(other, base)) == '2.00 ± 1.15'


def test_the_verdict_allows_for_splits_that_overlap() -> None:
    """Of three differences 2, 4 and 0 points: sd 2, t 4.303; with 1/3 + 1/8 in place of 1/3."""
    differences = [0.02, 0.04, 0.0]
    said = compare_settings.verdict('mine', 'default', differences, 1 / 8)
    half = 4.303 * 2 * (1 / 3 + 1 / 8) ** 0.5
    assert said.startswith('These images do not show whether mine is better or worse than default:')
    assert f'+2.0 points (95 % interval {2 - half:+.1f} to {2 + half:+.1f})' in said
    better = [0.05 + each / 10 for each in differences]
    assert 'mine is better than default on these images' in compare_settings.verdict(
        'mine', 'default', better, 1 / 8
    )
    worse = [-each for each in better]
    assert 'is worse than' in compare_settings.verdict('mine', 'default', worse, 1 / 8)


def test_the_first_split_is_the_tutorials() -> None:
    prefixes = compare_settings.split_prefixes('/some/where/flower_photos/', 3)
    first = 'tf_files/flower_photos'
    assert prefixes == [first, f'{first}_1', f'{first}_2']


@pytest.mark.slow
def test_it_runs_each_setting_on_each_split(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours.write(tmp_path / 'colours', per_class=60)
    (tmp_path / 'none.flags').write_text('--how_many_training_steps=0\n')
    monkeypatch.chdir(tmp_path)
    ended = call(
        'compare_settings', '--image_dir=colours', '--settings=default,none.flags', '--splits=2',
        '--work_dir=W', f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}',
        '--learning_rate=0.1',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    rows = re.findall(r'^\| (\S+) \| ([\d.]+) ± [\d.]+ \| ([\d.]+) ± [\d.]+ \|', ended.out, re.M)
    (default, trained, tested), (other, untrained, _) = rows
    assert (default, other) == ('default', 'none.flags')
    assert min(float(trained), float(tested)) > 90 > 70 > float(untrained)
    splits = sorted(path.name for path in (tmp_path / 'W').iterdir())
    assert splits == ['bottlenecks', 'colours', 'colours_1']
    first, second = (
        {
            path.name: path.read_bytes()
            for path in (tmp_path / 'W' / name / 'records').glob('*.tfr*')
        }
        for name in splits[1:]
    )
    assert first != second
    *_, said = ended.out.splitlines()
    assert re.match(r'(none.flags is worse|These images do not show)', said)


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    ended = call('compare_settings', f'--image_dir={tmp_path / "missing"}')
    assert ended.status == 1
    assert 'the run of default on the split tf_files/missing failed' in ended.err
