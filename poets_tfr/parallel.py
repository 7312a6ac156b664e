"""How many threads there are to be, and what they make, in order."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator
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


@contextlib.contextmanager
def left_on_interrupt(threads: int) -> Iterator[concurrent.futures.Executor]:
    """A pool whose tasks may take seconds; ^C does not wait for those that are under way.

    Only for tasks that leave nothing half done when the process ends in the middle of them.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    wait = True
    try:
        yield pool
    except BaseException as error:
        wait = isinstance(error, Exception)
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)


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
