"""Every wait: a line when a stage starts and ends, a bar (or plain lines) while it lasts."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Protocol

log = logging.getLogger('poets_tfr')

_SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    def update(self, n: int = 1) -> object: ...


@contextlib.contextmanager
def bar(total: int, unit: str, label: str) -> Iterator[Progress]:
    """Shows rate and time left: tqdm's bar on a terminal, else a plain line every ten seconds."""
    if not log.isEnabledFor(logging.INFO):
        yield _Silent()
    elif sys.stderr.isatty():
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        with (
            tqdm(total=total, unit=f' {unit}', desc=label, dynamic_ncols=True) as progress,
            logging_redirect_tqdm([log]),  # a line of the log does not cut through the bar
        ):
            yield progress
    else:
        yield _Lines(total, unit, label)


@contextlib.contextmanager
def bar_beside_output(total: int, unit: str, label: str) -> Iterator[Progress]:
    """A bar where stderr is a terminal and stdout goes elsewhere: there the results are written."""
    if sys.stderr.isatty() and not sys.stdout.isatty():
        with bar(total, unit, label) as progress:
            yield progress
    else:
        yield _Silent()


@contextlib.contextmanager
def stage(name: str) -> Iterator[dict[str, float]]:
    """Logs `name` at its start and its seconds at its end, or that it failed.

    Yields a dict; a `done` count put there is reported as a rate.
    """
    log.info('%s ...', name)
    start = time.perf_counter()
    outcome: dict[str, float] = {}
    try:
        yield outcome
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        how = 'stopped' if stopped else 'FAILED'
        log.info('%s: %s after %.1f s', name, how, time.perf_counter() - start)
        raise
    seconds = time.perf_counter() - start
    rate = f', {outcome["done"] / seconds:,.0f} a second' if outcome.get('done') else ''
    log.info('%s: %.1f s%s', name, seconds, rate)


@contextlib.contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Adds the seconds that the block takes to `timings[name]`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = timings.get(name, 0.0) + time.perf_counter() - start


def printable(text: str) -> str:
    """A path on one line of any terminal: control characters, and what is not UTF-8, escaped."""
    if text.isprintable():  # and so UTF-8
        return text
    readable = text.encode('utf-8', 'backslashreplace').decode()
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in readable)


class _Silent:
    def update(self, n: int = 1) -> None:
        pass


class _Lines:
    def __init__(self, total: int, unit: str, label: str) -> None:
        self._total, self._unit, self._label = total, unit, label
        self._done = 0
        self._start = self._last = time.monotonic()

    def update(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate
        log.info(
            '%s: %d of %d %s, %.1f a second, %.0f s left',
            self._label, self._done, self._total, self._unit, rate, left,
        )  # fmt: skip
