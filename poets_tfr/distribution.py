"""Several devices, several machines: who does what, who waits for whom, and what a death means.

One process is a worker. Worker 0, the chief, does alone what is done once: conversion, head,
exports, summaries. All compute features, and each meets the others' in bottleneck_dir.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, setting

log = logging.getLogger('poets_tfr')

Distribution = Literal['auto', 'off', 'mirrored', 'multi_worker']
Result = TypeVar('Result')

_TF_CONFIG = 'TF_CONFIG'
_QUIET_SECONDS, _SECONDS_BETWEEN_LINES = 2.0, 30.0
_CONNECT_SECONDS, _SECONDS_BETWEEN_CALLS = 2.0, 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributionConfig(Settings):
    """One device or several, on one machine or several."""

    TITLE: ClassVar[str] = 'Several devices and machines'

    distribution: Distribution = setting(
        'auto',
        'Which devices compute: off (one), mirrored (all GPUs of this machine), multi_worker (the '
        'machines that TF_CONFIG names) or auto (whichever there are).',
        affects='speed',
    )


@dataclasses.dataclass(frozen=True)
class Task:
    """This process's place among the workers.

    worker: 0-based; 0 is the chief. addresses: host:port of each worker; one process has none.
    """

    worker: int = 0
    addresses: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        return max(1, len(self.addresses))

    @property
    def is_chief(self) -> bool:
        return self.worker == 0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The devices of one run, as one of its processes sees them.

    strategy: a tf.distribute.Strategy; None where there is one device, which needs none.
    """

    strategy: Any = None
    task: Task = dataclasses.field(default_factory=Task)

    @property
    def worker(self) -> int:
        return self.task.worker

    @property
    def workers(self) -> int:
        return self.task.workers

    @property
    def is_chief(self) -> bool:
        return self.task.is_chief

    @property
    def replicas(self) -> int:
        """How many devices this process computes on."""
        return self.strategy.num_replicas_in_sync // self.workers if self.strategy else 1

    def share_of(self, wanted: np.ndarray) -> np.ndarray:
        """Which of the wanted rows (bool [n]) are this worker's: as many as everyone's, in a row.

        In a row, so that a worker reads only its own shards.
        """
        mine = np.zeros_like(wanted)
        mine[np.array_split(np.flatnonzero(wanted), self.workers)[self.worker]] = True
        return mine

    def on_every_replica(self, function: Callable[[Any], Any], batch_size: int) -> Any:
        """A function of `batch_size` pictures as one of `replicas` x `batch_size`, on all devices.

        Each device computes what one would, in the same shapes, and so the same bits.
        """
        if self.replicas == 1:
            return function
        import tensorflow as tf

        strategy, first = self.strategy, self.worker * self.replicas

        def of_one_replica(batch: Any) -> Any:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group - first
            return function(tf.ensure_shape(
                batch[number * batch_size : (number + 1) * batch_size],
                [batch_size, *batch.shape[1:]],
            ))  # fmt: skip

        @tf.function(autograph=False)
        def of_all(batch: Any) -> Any:
            parts = strategy.run(of_one_replica, (batch,))
            return tf.concat(strategy.experimental_local_results(parts), axis=0)

        return of_all

    def wait_for_all(self, what: str) -> None:
        """Returns once all workers have come here; meanwhile says that it waits for `what`.

        Raises:
          InputError: a worker is gone.
        """
        self.sum_of(0.0, what)

    def sum_of(self, value: float, what: str) -> float:
        """The sum of the values (exact below 2^53) that all workers come here with.

        Raises:
          InputError: a worker is gone.
        """
        if self.workers == 1:
            return value
        import tensorflow as tf

        with self.naming_the_lost():
            return _waiting(lambda: self._sum(tf.constant(value, tf.float64)).numpy().item(), what)

    def from_chief(self, value: float, what: str) -> float:
        """The chief's value, for all. Raises InputError: a worker is gone."""
        return self.sum_of(value if self.is_chief else 0.0, what)

    def arrays_from_chief(self, arrays: Iterable[np.ndarray], what: str) -> list[np.ndarray]:
        """The chief's arrays, for all; each comes here with as many of the same shapes and types.

        Floats, and integers below 2^53, arrive as they are. Raises InputError: a worker is gone.
        """
        given = list(arrays)
        if self.workers == 1:
            return given
        import tensorflow as tf

        def exchange() -> list[np.ndarray]:
            parts = [array if self.is_chief else np.zeros_like(array) for array in given]
            sums = [self._sum(tf.constant(part.astype(np.float64))).numpy() for part in parts]
            return [sum_.astype(array.dtype) for sum_, array in zip(sums, given, strict=True)]

        with self.naming_the_lost():
            return _waiting(exchange, what)

    @functools.cached_property
    def _sum(self) -> Any:
        import tensorflow as tf

        strategy, replicas = self.strategy, self.replicas

        def once_per_worker(value: Any) -> Any:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(number % replicas, 0), value, tf.zeros_like(value))

        @tf.function(autograph=False)
        def sum_(value: Any) -> Any:
            values = strategy.run(once_per_worker, (value,))
            return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

        return sum_

    @contextlib.contextmanager
    def naming_the_lost(self) -> Iterator[None]:
        """Inside, the failure of a collective operation is raised as InputError.

        TensorFlow's coordination service misses the heartbeats of a dead worker within about ten
        seconds, and then ends the operations that wait for it.
        """
        try:
            yield
        except Exception as error:
            if self.workers == 1 or not _says_lost(error):
                raise
            raise InputError(self._lost(str(error))) from None

    def _lost(self, reason: str) -> str:
        tasks = {int(number) for number in re.findall(r'/task:(\d+)', reason)} - {self.worker}
        who = f'worker {min(tasks)}' if len(tasks) == 1 else 'another worker'
        return (
            f'This is worker {self.worker} of {self.workers}: {who} has ended or does not answer. '
            'See what it said itself. Start all workers again with the same command: converted '
            'records and computed features are kept.'
        )

    def check_shared(self, directory: str, flag: str) -> None:
        """Raises InputError unless all workers see what the chief writes into a folder."""
        if self.workers == 1:
            return
        token = self.from_chief(time.time_ns() // 1_000_000, f'--{flag}')
        probe = files.join(directory, f'.shared-by-the-workers-{token:.0f}')
        if self.is_chief:
            files.write_bytes(probe, b'')
        self.wait_for_all(f'--{flag}')
        sees = files.exists(probe)
        blind = self.sum_of(not sees, f'--{flag}')
        if self.is_chief:
            files.remove(probe)
        if blind:
            who = f'worker {self.worker} does' if not sees else f'{blind:.0f} of the workers do'
            raise InputError(
                f'--{flag}={directory}: {who} not see there what worker 0 writes. All workers need '
                'one folder that they share: a network file system, or s3:// or gs://.'
            )


ONE_DEVICE = Cluster()


def task_of(mode: Distribution) -> Task:
    """This process's place, as TF_CONFIG says it; needs no TensorFlow.

    Raises:
      InputError: 'multi_worker' without TF_CONFIG, or a TF_CONFIG that says something else than
        {"cluster": {"worker": [address, ...]}, "task": {"type": "worker", "index": number}}.
    """
    if mode in ('off', 'mirrored'):
        return Task()
    text = os.environ.get(_TF_CONFIG, '')
    if not text:
        if mode == 'multi_worker':
            raise InputError(
                f'--distribution=multi_worker: the environment variable {_TF_CONFIG}, which names '
                'the machines, is not set (docs/scaling.md).'
            )
        return Task()
    try:
        task = _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise InputError(
            f'{_TF_CONFIG}={text!r} is not understood ({error}). Wanted: {{"cluster": {{"worker": '
            '["host:port", ...]}, "task": {"type": "worker", "index": 0}}; or give '
            '--distribution=off.'
        ) from None
    if fault := _fault_of(task.addresses):
        raise InputError(f'{_TF_CONFIG}: {fault} Set it anew, or give --distribution=off.')
    return task


def _fault_of(addresses: tuple[str, ...]) -> str:
    """A sentence on the first address that no worker can have; '' if all are well."""
    taken = set()
    for address in addresses:
        host, _, port = address.rpartition(':')
        if not re.fullmatch(r'[\w.-]+|\[[\da-fA-F:.]+(%\w+)?\]', host):
            return f'{address!r} is not host:port, such as 10.0.0.1:2222 or [fd00::1]:2222.'
        if not re.fullmatch('[0-9]{1,5}', port) or not 1 <= int(port) <= 65535:
            return f'{address!r}: the port must be a number from 1 to 65535.'
        if (place := (host.lower(), int(port))) in taken:
            return f'{address!r} is listed twice; each worker needs an address of its own.'
        taken.add(place)
    return ''


def _parse(tf_config: Any) -> Task:
    cluster = tf_config.get('cluster') or {}
    if not cluster:
        return Task()
    if unknown := set(cluster) - {'chief', 'worker'}:
        raise ValueError(f'there are workers and a chief here, no {sorted(unknown)[0]!r}')
    chiefs, workers = cluster.get('chief', []), cluster.get('worker', [])
    addresses = tuple(map(str, (*chiefs, *workers)))
    kind, index = tf_config['task']['type'], int(tf_config['task']['index'])
    if not 0 <= index < len(cluster[kind]):
        raise ValueError(f'there is no {kind} {index}')
    return Task(index + (len(chiefs) if kind == 'worker' else 0), addresses)


def start(mode: Distribution) -> Cluster:
    """Brings the devices of this run together; waits until all workers are there.

    With 'off', and where there is one device, it imports nothing and costs nothing; 'auto' imports
    TensorFlow to count the GPUs. With several workers it must come before anything is computed.

    Raises:
      InputError: see `task_of`; or the workers do not come together.
    """
    task = task_of(mode)
    if task.workers > 1:
        return _join(task)
    if mode == 'off':
        return ONE_DEVICE
    import tensorflow as tf

    if mode == 'auto' and len(tf.config.list_physical_devices('GPU')) < 2:
        return ONE_DEVICE
    devices = tf.config.list_logical_devices('GPU') or tf.config.list_logical_devices('CPU')
    if len(devices) < 2:
        log.info('Devices: one only; --distribution=mirrored changes nothing.')
        return ONE_DEVICE
    log.info('Devices: %d, each with its part of every batch.', len(devices))
    return Cluster(tf.distribute.MirroredStrategy([device.name for device in devices]))


def _join(task: Task) -> Cluster:
    log.info('This is worker %d of %d; worker 0 is the chief.', task.worker, task.workers)
    _wait_for_workers(task)
    import tensorflow as tf

    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except Exception as error:
        if not isinstance(error, tf.errors.OpError | RuntimeError):
            raise
        reason = str(error).split('\n')[0]
        raise InputError(
            f'Worker {task.worker} of {task.workers} cannot join the others: {reason} Start all '
            'workers again with the same command.'
        ) from None
    # TensorFlow's server has put its own handler, which only takes note, in front of Python's.
    with contextlib.suppress(ValueError):  # in another thread than the main one
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    cluster = Cluster(strategy, task)
    cluster.wait_for_all('the other workers')
    log.info('All %d workers are there.', task.workers)
    return cluster


def _wait_for_workers(task: Task) -> None:
    """Returns once every worker's port has answered.

    TensorFlow's own start also waits for all, but it holds Python's lock meanwhile: no line could
    be logged, and neither ^C nor SIGTERM would work. So every worker first listens at its own port
    until all others have answered; then TensorFlow's server takes over the port.
    """
    port = int(task.addresses[task.worker].rpartition(':')[2])
    missing = set(task.addresses) - {task.addresses[task.worker]}
    begun = said = time.monotonic()
    try:
        listening = _listen(port, backlog=2 * task.workers)
    except OSError as error:
        raise InputError(
            f'{_TF_CONFIG}: worker {task.worker} cannot listen at port {port} ({error.strerror}): '
            'another program has it, or this worker runs twice.'
        ) from None
    with listening:
        while missing:
            missing = {address for address in missing if not _answers(address)}
            now = time.monotonic()
            if missing and now - said > (
                _QUIET_SECONDS if said == begun else _SECONDS_BETWEEN_LINES
            ):
                said = now
                log.info(
                    'Waiting for %d of %d workers (%.0f s): %s',
                    len(missing), task.workers, now - begun, ', '.join(sorted(missing)[:3]),
                )  # fmt: skip
            if missing:
                time.sleep(_SECONDS_BETWEEN_CALLS)


def _listen(port: int, backlog: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ('', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog
            )
    return socket.create_server(('', port), backlog=backlog)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(':')
    try:
        socket.create_connection((host.strip('[]'), int(port)), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _waiting(collective: Callable[[], Result], what: str) -> Result:
    """The result of a collective operation; while it waits, ^C and SIGTERM work, and lines tell.

    It runs in a thread of its own: inside it Python would notice no signal.
    """
    outcome: list[Result | BaseException] = []

    def run() -> None:
        try:
            outcome.append(collective())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    begun = time.monotonic()
    thread.join(_QUIET_SECONDS)
    while thread.is_alive():
        log.info('Waiting for %s (%.0f s)', what, time.monotonic() - begun)
        thread.join(_SECONDS_BETWEEN_LINES)
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def _says_lost(error: Exception) -> bool:
    """Whether it is one of those that TensorFlow raises when a peer dies."""
    import tensorflow as tf

    kinds = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.FailedPreconditionError,
        tf.errors.InternalError,
    )
    return isinstance(error, kinds)
