import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from poets_tfr import parallel
from poets_tfr.parallel import ordered


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='cores are not to be chosen here')
def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    def on_one_core() -> tuple[int, int]:
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])  # of this thread alone
        return parallel.cores(), parallel.decoding_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(on_one_core).result() == (1, 2)


def test_ordered_keeps_the_order_and_bounds_what_waits() -> None:
    taken = []

    def items() -> object:
        for i in range(50):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(4) as pool:
        results = ordered(pool, lambda i: i * i, items(), 8)  # type: ignore[arg-type]
        for i, result in enumerate(results):
            assert result == i * i
            assert len(taken) <= i + 1 + 8


def test_ordered_passes_errors_on() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = ordered(pool, lambda i: 1 // (3 - i), range(100), 4)
        with pytest.raises(ZeroDivisionError):
            list(results)
