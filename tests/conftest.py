"""Fixtures that every wing of the tests may use, and the rule about skips."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    import command_line

    Trained: TypeAlias = tuple[command_line.Places, command_line.Ended]

# TensorFlow reads them once, when it is loaded. Its start-up lines would drown a failing test's
# own; oneDNN is on in the tools, and so it is here.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

# Importing the commands changes what ^C does, as a command wants it and the tests do not.
import poets_tfr.cli  # noqa: F401

# A shell that starts the tests in the background has them, and so every tool that they start,
# ignore ^C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where the environment variable CI is set, a skip for any other reason fails the run: a test that
# quietly stops running is no test. Each pattern is searched in the reason of the skip.
ALLOWED_SKIPS = (
    # The real photos and the real MobileNet are not part of the repository.
    r'POETS_TEST_PHOTOS is not set',
    r'POETS_TEST_MODELS is not set',
    # It loads beside TensorFlow 2.16 only; make test runs there, make test-newest does not.
    r'tensorflow[-_]io',
    # The extra onnx; make test installs it.
    r'could not import .(tf2)?onnx(runtime)?.:',
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


@pytest.fixture(autouse=True)
def _log_as_imported() -> Iterator[None]:
    """A tool's main sets the log up for its own output; the next test gets it untouched."""
    yield
    log = logging.getLogger('poets_tfr')
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.NOTSET)


@pytest.fixture(scope='session')
def colours_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 24 small pictures, each class of its own colour."""
    import colours

    return colours.write(tmp_path_factory.mktemp('pictures') / 'colours', per_class=24)


@pytest.fixture(scope='session')
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated archives of graphs.MOBILENET and inception_2015_12_05, as if downloaded."""
    import graphs

    directory = tmp_path_factory.mktemp('models')
    graphs.write_mobilenet(directory)
    graphs.write_inception_2015(directory)
    return directory


@pytest.fixture(scope='session')
def trained(
    tmp_path_factory: pytest.TempPathFactory, colours_dir: Path, model_dir: Path
) -> Trained:
    """A whole run of retrain.py: colours_dir, the generated MobileNet. Nobody may change it."""
    import command_line
    import graphs

    places = command_line.Places(tmp_path_factory.mktemp('trained'))
    ended = command_line.call(
        'retrain',
        f'--image_dir={colours_dir}',
        f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}',
        f'--saved_model_dir={places.root / "saved_model"}',
        '--how_many_training_steps=200',
        '--testing_percentage=25',
        '--num_shards=2',
        *places.flags(),
    )
    assert ended.status == 0, ended.err
    return places, ended


@pytest.fixture(scope='session')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A selenium WebDriver of a headless Chromium. Long tests only: it takes seconds to start."""
    import browser as browsers

    with browsers.started(tmp_path_factory.mktemp('chromium')) as driver:
        yield driver


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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test's own cache, in place of the user's."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/poets_tfr'
