"""Fixtures that every wing of the tests may use, and the rule about skips."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# TensorFlow reads it once, when it is loaded; its start-up lines would drown a failing test's own.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

# Where the environment variable CI is set, a skip for any other reason fails the run: a test that
# quietly stops running is no test. Each pattern is searched in the reason of the skip.
ALLOWED_SKIPS = (
    # The real photos and the real MobileNet are not part of the repository.
    r'POETS_TEST_PHOTOS is not set',
    r'POETS_TEST_MODELS is not set',
    # It loads beside TensorFlow 2.16 only; make test runs there, make test-newest does not.
    r'tensorflow[-_]io',
)

_refused_skips: list[str] = []


def _folder_named_by(variable: str, holds: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f'{variable} is not set: it names a folder that holds {holds}')
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f'{variable}={value}: no such folder; it has to hold {holds}')
    return folder


@pytest.fixture(scope='session')
def photos_dir() -> Path:
    """Real flower photos, a folder for each of the five classes."""
    return _folder_named_by('POETS_TEST_PHOTOS', 'real flower photos, one folder per class')


@pytest.fixture(scope='session')
def models_dir() -> Path:
    """The real mobilenet_v1_0.25_128_frozen.tgz."""
    return _folder_named_by('POETS_TEST_MODELS', 'mobilenet_v1_0.25_128_frozen.tgz')


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped too.
    if not report.skipped or hasattr(report, 'wasxfail'):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(re.search(pattern, reason) for pattern in ALLOWED_SKIPS):
        _refused_skips.append(f'{report.nodeid}: {reason}')


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    if os.environ.get('CI') and _refused_skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get('CI') and _refused_skips:
        terminalreporter.section('skips that tests/conftest.py does not allow', red=True)
        for line in _refused_skips:
            terminalreporter.line(line)
