"""The rows of a GPU: how fast it computes, how fast it is fed, and what feeding it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.data import Data
from benchmarks.measuring import Row, Work, against, median_rates
from poets_tfr import parallel
from poets_tfr.backbones.forward import compile_forward, features_of
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import Precision
from poets_tfr.extraction.settings import OnOff

_IMAGES_S = 'images/s'
_PUBLISHED, _PUBLISHED_RATE = 'A100, XLA, float16, published', 4354.0  # Inception v3, 299 px
_CALLS = 8
_PICTURES_FED = 16_384


class Mode(NamedTuple):
    """tf32: whether float32 multiplications may round their inputs to 10 bits of mantissa."""

    name: str
    precision: Precision
    tf32: bool


MODES = (
    Mode('float32', 'float32', False),
    Mode('tf32', 'float32', True),
    Mode('bfloat16', 'bfloat16', True),
    Mode('float16', 'float16', True),
)
SWITCHES: tuple[OnOff, ...] = 'off', 'on'
BATCH_SIZES = 32, 128, 512


def gpu(data: Data) -> list[Row]:
    import tensorflow as tf

    if not tf.config.list_physical_devices('GPU'):
        print('gpu: not measured: TensorFlow finds no GPU here.', file=sys.stderr)
        return []
    inception = data.inception()
    rows = forward_rows(inception, BATCH_SIZES)
    return rows + fed_rows(data, inception, MODES[2], max(BATCH_SIZES), _PICTURES_FED)


def forward_rows(network: Backbone, batch_sizes: Sequence[int]) -> list[Row]:
    """Pictures that lie in the device's memory -> features, in every mode and batch size."""
    rows = []
    for batch_size, mode, xla in itertools.product(batch_sizes, MODES, SWITCHES):
        with _tf32(mode.tf32):
            work = forward_work(_in(network, mode), batch_size, xla)
            rate = median_rates({'': work}, repeats=3)['']
        name = f'gpu {mode.name}, batch {batch_size}, XLA {xla}'
        rows.append(against(name, _IMAGES_S, rate, _PUBLISHED, _PUBLISHED_RATE))
    return rows


def fed_rows(
    data: Data, network: Backbone, mode: Mode, batch_size: int, pictures: int
) -> list[Row]:
    """The same from records: against each side alone, and the cores that would keep pace."""
    network = _in(network, mode)
    forward = compile_forward(network, batch_size, 'auto')
    passes = -(-pictures // sum(data.shards[1]))

    def fed(compute: Callable[[Any], Any]) -> Work:
        def work() -> int:
            count = 0
            for _ in range(passes):
                batches = data.one_pass(network.preprocessing, batch_size)
                for batch in features_of(compute, batches):
                    count += int((batch.what.numpy() >= 0).sum())
            return count

        return work

    with gpu_load() as load:
        rates = median_rates({'': fed(forward)}, repeats=2)
    cores = parallel.cores()
    rates['decode'] = median_rates({'': fed(lambda batch: batch[0, 0, 0])}, repeats=2)['']
    rates['forward'] = median_rates({'': forward_work(network, batch_size, 'auto')}, repeats=2)['']
    name = f'gpu from records, {mode.name}'
    wanted = cores * rates['forward'] / rates['decode']
    rows = [
        against(name, _IMAGES_S, rates[''], 'forward only', rates['forward']),
        against(name, _IMAGES_S, rates[''], f'decode only, {cores} cores', rates['decode']),
        against('gpu, cores that feed it', 'cores', wanted, 'cores here', cores),
    ]
    if load:
        rows.append(against('gpu, busy while fed', '%', statistics.mean(load), 'always', 100.0))
    return rows


def forward_work(network: Backbone, batch_size: int, xla: Any, calls: int = _CALLS) -> Work:
    """Calls on one batch that lies on the device, as many at once as for pictures of a job."""
    import tensorflow as tf

    size = network.preprocessing.size
    forward = compile_forward(network, batch_size, xla)
    batch = tf.random.stateless_uniform([batch_size, size, size, 3], [0, 0], -1, 1)

    def work() -> int:
        for _ in features_of(forward, itertools.repeat((None, batch), calls)):
            pass
        return calls * batch_size

    return work


def _in(network: Backbone, mode: Mode) -> Backbone:
    return dataclasses.replace(network, precision=mode.precision)


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    import tensorflow as tf

    former = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(former)


@contextlib.contextmanager
def gpu_load() -> Iterator[list[float]]:
    """Fills the list with the device's load in percent, five times a second, as the block ends."""
    load: list[float] = []
    program = shutil.which('nvidia-smi')
    if not program:
        print('gpu: how busy it is is not measured: there is no nvidia-smi.', file=sys.stderr)
        yield load
        return
    query = ['--query-gpu=utilization.gpu', '--format=csv,noheader,nounits', '--loop-ms=200']
    process = subprocess.Popen([program, *query], stdout=subprocess.PIPE, text=True)
    try:
        yield load
    finally:
        process.terminate()
        output, _ = process.communicate()
        load += [float(line) for line in output.split('\n')[:-1] if line.strip().isdigit()]
