"""Batch after batch through a network: in order, two at once where one takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from poets_tfr.backbones import forward


class Network:
    """Doubles the pictures, takes its time, and knows how many batches it had at once."""

    def __init__(self, seconds: float):
        self.seconds, self.now, self.most = seconds, 0, 0
        self.lock = threading.Lock()

    def __call__(self, pictures: Any) -> Any:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return pictures * 2


def batches(count: int, seconds: float = 0.0) -> Iterator[tuple[int, Any]]:
    for number in range(count):
        time.sleep(seconds)
        yield number, tf.constant([float(number)])


@pytest.mark.parametrize(('long', 'at_once'), [(0.001, 2), (60.0, 1)])
def test_two_are_computed_at_once_where_one_takes_long(
    monkeypatch: pytest.MonkeyPatch, long: float, at_once: int
) -> None:
    monkeypatch.setattr(forward, '_LONG_SECONDS', long)
    network = Network(0.02)
    computed = list(forward.features_of(network, batches(12)))
    assert [batch.what for batch in computed] == list(range(12))
    values = np.concatenate([batch.features for batch in computed])
    np.testing.assert_array_equal(values, 2 * np.arange(12))
    assert network.most == at_once


def test_a_first_batch_takes_long_for_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, '_LONG_SECONDS', 1.0)
    network = Network(1.2)

    def slow_at_first(pictures: Any) -> Any:
        result = network(pictures)
        network.seconds = 0.0
        return result

    for _ in range(2):  # it lasts as long as what was compiled
        list(forward.features_of(slow_at_first, batches(6)))
    assert network.most == 1


def test_waiting_is_where_nothing_is_computed_for_want_of_pictures() -> None:
    slow_data = list(forward.features_of(Network(0.0), batches(5, seconds=0.02)))
    assert sum(batch.waited for batch in slow_data) > 4 * 0.02 * 0.9
    slow_network = list(forward.features_of(Network(0.02), batches(9)))
    assert [batch.waited for batch in slow_network[3:]] == [0.0] * 6
