"""--profile_steps: one profile, of the steps asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from poets_tfr.errors import InputError
from poets_tfr.reporting.profiling import Profile
from poets_tfr.reporting.settings import ReportingConfig


def profiles(logs: Path) -> list[Path]:
    return sorted(logs.glob('train/plugins/profile/*/*.xplane.pb'))


def test_it_records_from_the_first_to_the_last(tmp_path: Path) -> None:
    import tensorflow as tf

    with Profile(str(tmp_path), (3, 5)) as profile:
        assert profile.pauses == (3, 6)
        for step in range(3):
            profile.before(step)
            assert not profiles(tmp_path)
        profile.before(3)
        tf.random.normal([10, 10]) @ tf.random.normal([10, 10])
        profile.before(6)
        assert len(profiles(tmp_path)) == 1
        profile.before(7)
    assert len(profiles(tmp_path)) == 1


def test_a_run_that_ends_early_keeps_what_it_has(tmp_path: Path) -> None:
    with Profile(str(tmp_path), (0, 1000)) as profile:
        profile.before(0)
    assert len(profiles(tmp_path)) == 1


def test_without_steps_nothing_is_recorded(tmp_path: Path) -> None:
    with Profile(str(tmp_path), None) as profile:
        profile.before(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('value', ['5', '7,3', 'a,b', '-1,3', '1,2,3', ','])
def test_steps_that_are_none(value: str) -> None:
    with pytest.raises(InputError, match=r'profile_steps=.*100,200'):
        ReportingConfig(profile_steps=value)


def test_the_steps() -> None:
    assert ReportingConfig().profiled is None
    assert ReportingConfig(profile_steps='100,200').profiled == (100, 200)
