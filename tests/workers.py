"""Several worker processes of tools/retrain.py on this machine, as TF_CONFIG makes them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from command_line import ROOT

# Generous: only a machine that hangs needs so long.
SECONDS = 240


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


def tf_config(worker: int, ports: list[int]) -> str:
    addresses = [f'127.0.0.1:{port}' for port in ports]
    task = {'type': 'worker', 'index': worker}
    return json.dumps({'cluster': {'worker': addresses}, 'task': task})


class Worker:
    """One process; its output, errors included, grows in a file."""

    def __init__(self, log: Path, environment: dict[str, str], *arguments: object):
        self.log = log
        variables = {**os.environ, 'PYTHONUNBUFFERED': '1', **environment}
        variables.pop('TF_CPP_MIN_LOG_LEVEL', None)
        with open(log, 'wb') as file:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.005)

    def ends(self) -> int:
        return self.process.wait(timeout=SECONDS)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def retrain(
    root: Path, *flags: object, own_flags: Callable[[int], list[str]] = lambda worker: []
) -> Iterator[list[Worker]]:
    """Two workers of one run: they share records and features, and each may have its own outputs.

    What is still alive at the end of the block is killed.
    """
    ports = free_ports(2)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                Worker(
                    root / f'log_{worker}',
                    {'TF_CONFIG': tf_config(worker, ports)},
                    'tools/retrain.py',
                    f'--records_dir={root / "records"}',
                    f'--bottleneck_dir={root / "bottlenecks"}',
                    f'--output_graph={root / f"out_{worker}" / "graph.pb"}',
                    f'--output_labels={root / f"out_{worker}" / "labels.txt"}',
                    f'--summaries_dir={root / f"out_{worker}" / "logs"}',
                    *flags,
                    *own_flags(worker),
                )
            )
            for worker in range(2)
        ]


def computed(said: str) -> list[int]:
    """How many features a worker computed, stage by stage."""
    return [int(number) for number in re.findall(r'Creating (\d+) bottlenecks with \S+: ', said)]
