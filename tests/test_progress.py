"""What a person sees while waiting."""

from __future__ import annotations

import logging
import sys
import time

import pytest

from poets_tfr import progress

INFO = logging.INFO


class Clock:
    """A clock that goes on by `step` seconds whenever somebody looks."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_without_a_terminal_a_plain_line_every_ten_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, 'monotonic', Clock(step=4.0))
    with caplog.at_level(INFO, 'poets_tfr'), progress.bar(100, 'images', 'Converting') as bar:
        for _ in range(9):
            bar.update(2)
    assert messages(caplog) == [
        'Converting: 6 of 100 images, 0.5 a second, 188 s left',
        'Converting: 12 of 100 images, 0.5 a second, 176 s left',
        'Converting: 18 of 100 images, 0.5 a second, 164 s left',
    ]


def test_a_quick_job_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(INFO, 'poets_tfr'), progress.bar(3, 'pictures', 'Converting') as bar:
        bar.update(3)
    assert messages(caplog) == []


def test_on_a_terminal_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    logging.getLogger('poets_tfr').setLevel(INFO)
    with progress.bar(4, 'pictures', 'Converting') as bar:
        for _ in range(4):
            bar.update()
    shown = capsys.readouterr()
    assert 'Converting: 100%' in shown.err
    assert '4/4' in shown.err
    assert ' pictures/s' in shown.err
    assert shown.out == ''


def test_a_quiet_log_shows_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    logging.getLogger('poets_tfr').setLevel(logging.WARNING)
    with progress.bar(4, 'pictures', 'Converting') as bar:
        bar.update(4)
    assert capsys.readouterr().err == ''


def test_a_stage_says_its_seconds_and_rate(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, 'perf_counter', Clock(step=2.5))
    with caplog.at_level(INFO, 'poets_tfr'):
        with progress.stage('Converting'):
            pass
        with progress.stage('Extracting') as outcome:
            outcome['done'] = 5000
    assert messages(caplog) == [
        'Converting ...', 'Converting: 2.5 s',
        'Extracting ...', 'Extracting: 2.5 s, 2,000 a second',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('error', 'how'),
    [(ValueError, 'FAILED'), (KeyboardInterrupt, 'stopped'), (SystemExit, 'stopped')],
)
def test_a_stage_that_fails_says_so(
    caplog: pytest.LogCaptureFixture, error: type[BaseException], how: str
) -> None:
    with caplog.at_level(INFO, 'poets_tfr'), pytest.raises(error), progress.stage('Converting'):
        raise error
    assert messages(caplog)[1].startswith(f'Converting: {how} after ')


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('daisy/a b.jpg', 'daisy/a b.jpg'),
        ('花/é.jpg', '花/é.jpg'),
        ('line\nbreak\t.jpg', 'line\\nbreak\\t.jpg'),
        ('\udcff.jpg', '\\udcff.jpg'),
        ('\x1b[31m', '\\x1b[31m'),  # would change the terminal's colour
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert progress.printable(text) == shown
    shown.encode()
