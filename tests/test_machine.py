import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from poets_tfr import machine


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='cores are not to be chosen here')
def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    def on_one_core() -> tuple[int, int]:
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])  # of this thread alone
        return machine.cores(), machine.decoding_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(on_one_core).result() == (1, 2)
