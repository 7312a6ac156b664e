"""Batch after batch through a network: in order, two at once where one takes long."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from command_line import ROOT

from poets_tfr.backbones import forward


class Clock:
    """Goes on only when it is told to. `read` counts what other threads than the first read."""

    def __init__(self) -> None:
        self.now, self.read = 0.0, threading.Semaphore(0)

    def __call__(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.read.release()
        return self.now


class Network:
    """Doubles the pictures, takes its time, and knows how many batches it had at once."""

    def __init__(self, clock: Clock, seconds: float):
        self.clock, self.seconds, self.at_once, self.most = clock, seconds, 0, 0
        self.lock = threading.Lock()

    def __call__(self, pictures: Any) -> Any:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02)  # for another to come
        with self.lock:
            self.clock.now += self.seconds
            self.at_once -= 1
        return pictures * 2


def batches(count: int) -> Iterator[tuple[int, Any]]:
    for number in range(count):
        yield number, tf.constant([float(number)])


@pytest.mark.parametrize(('seconds', 'at_once'), [(0.3, 2), (0.2, 1)])
def test_two_are_computed_at_once_where_one_takes_long(seconds: float, at_once: int) -> None:
    clock = Clock()
    network = Network(clock, seconds)
    computed = list(forward.features_of(network, batches(12), clock))
    assert [batch.what for batch in computed] == list(range(12))
    values = np.concatenate([batch.features for batch in computed])
    np.testing.assert_array_equal(values, 2 * np.arange(12))
    assert network.most == at_once


def test_a_first_batch_takes_long_for_it_is_compiled() -> None:
    clock = Clock()
    network = Network(clock, 10.0)

    def slow_at_first(pictures: Any) -> Any:
        result = network(pictures)
        network.seconds = 0.0
        return result

    for _ in range(2):  # it lasts as long as what was compiled
        list(forward.features_of(slow_at_first, batches(6), clock))
    assert network.most == 1


def test_waiting_is_where_nothing_is_computed_for_want_of_pictures() -> None:
    clock, begun, may_end = Clock(), threading.Semaphore(0), threading.Semaphore(0)

    def network(pictures: Any) -> Any:
        begun.release()
        assert may_end.acquire(timeout=60)
        return pictures

    def data() -> Iterator[tuple[int, Any]]:
        picture = tf.constant([0.0])
        clock.now += 4.0  # nothing is computed
        yield 0, picture
        assert begun.acquire(timeout=60)
        clock.now += 1.0  # batch 0 is computed
        may_end.release()
        for _ in range(3):  # its thread looks at the clock when it begins, ends and leaves
            assert clock.read.acquire(timeout=60)
        clock.now += 2.0  # nothing is computed
        yield 1, picture
        assert begun.acquire(timeout=60)
        clock.now += 1.0  # batch 1 is computed
        yield 2, picture
        may_end.release(2)

    computed = list(forward.features_of(network, data(), clock))
    assert [batch.waited for batch in computed] == [4.0, 2.0, 0.0]


INTERRUPTED = """
import itertools, sys, threading, time
import numpy as np
from poets_tfr.backbones import forward
from poets_tfr.cli import command

under_way = threading.Semaphore(0)

class Pictures:
    def numpy(self):
        return np.zeros(1)

def network(pictures):
    if pictures >= 2:
        under_way.release()
        time.sleep(600)
    return Pictures()

def say():
    under_way.acquire(), under_way.acquire()
    print('two are under way', flush=True)

def main(*_):
    threading.Thread(target=say, daemon=True).start()
    every_batch_takes_long = itertools.count().__next__
    list(forward.features_of(network, zip(range(9), range(9)), every_batch_takes_long))

sys.exit(command.run(main, '', []))
"""


def test_an_interrupt_does_not_wait_for_the_batches_under_way() -> None:
    process = subprocess.Popen(
        [sys.executable, '-c', INTERRUPTED],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == 'two are under way\n'
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (
        130, '-c: interrupted.\n'
    )  # fmt: skip
