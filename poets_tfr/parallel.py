"""How many threads there are to be, and what they make, in order."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def decoding_threads() -> int:
    """One more than cores: while one waits for a disk, or for Python's lock, the others decode.

    Not tf.data's AUTOTUNE: it begins with one thread and is still learning when a small set ends.
    """
    return cores() + 1


def ordered(
    pool: concurrent.futures.Executor, function: Callable[[T], R], items: Iterable[T], window: int
) -> Generator[R, None, None]:
    """Like `pool.map`, but no more than `window` results wait at a time: memory stays flat."""
    iterator = iter(items)
    waiting = [pool.submit(function, item) for item in itertools.islice(iterator, window)]
    waiting.reverse()
    try:
        while waiting:
            result = waiting.pop().result()
            for item in itertools.islice(iterator, 1):
                waiting.insert(0, pool.submit(function, item))
            yield result
    finally:
        for future in waiting:
            future.cancel()
