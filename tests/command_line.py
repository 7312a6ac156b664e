"""The tools as a person starts them: in this process, or as one of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def call(tool: str, *arguments: object) -> Ended:
    """Runs the command in this process."""
    package = 'tools' if tool == 'draw_pictures' else 'poets_tfr.cli'
    module = importlib.import_module(f'{package}.{tool}')
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = module.main([f'{tool}.py', *map(str, arguments)])
    return Ended(status, out.getvalue(), err.getvalue())


def start(*arguments: object, cwd: Path | None = None, timeout: float = 120) -> Ended:
    """Runs `python ARGUMENTS` as a process of its own."""
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
    del environment['TF_CPP_MIN_LOG_LEVEL']  # the tools' own setting is wanted, not the tests'
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd or ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Ended(ended.returncode, ended.stdout, _without_chatter(ended.stderr))


@contextlib.contextmanager
def page_of(tool: str, *flags: object, first: Sequence[str] = ()) -> Iterator[int]:
    """Starts a tool that shows a page, as a process of its own; yields its port.

    first: patterns of the lines that it prints before it says where the page is.
    """
    environment = {k: v for k, v in os.environ.items() if k != 'TF_CPP_MIN_LOG_LEVEL'}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / f'tools/{tool}.py'), '--port=0', *map(str, flags)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        try:
            assert process.stdout
            for pattern in first:
                line = process.stdout.readline()
                assert re.fullmatch(pattern, line), line
            line = process.stdout.readline()
            match = re.fullmatch(r'Open http://127\.0\.0\.1:(\d+)/ in the browser.*\n', line)
            assert match, line
            yield int(match[1])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(30) == 0, '^C is how it ends'
            finally:
                process.kill()


def without_few_images(err: str) -> str:
    """Small test sets are warned of, at the end of every run."""
    return ''.join(line for line in err.splitlines(True) if ' test images are too few ' not in line)


def _without_chatter(err: str) -> str:
    """TensorFlow 2.21 says some things before it reads the setting that silences it."""
    chatter = re.compile(r'WARNING: All log messages before absl::|[IWE]\d{4} [\d:.]+ ')
    return ''.join(line for line in err.splitlines(True) if not chatter.match(line))


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a run of retrain.py writes, all below one folder."""

    root: Path

    @property
    def graph(self) -> Path:
        return self.root / 'output_graph.pb'

    @property
    def labels(self) -> Path:
        return self.root / 'output_labels.txt'

    @property
    def records(self) -> Path:
        return self.root / 'records'

    @property
    def bottlenecks(self) -> Path:
        return self.root / 'bottlenecks'

    @property
    def summaries(self) -> Path:
        return self.root / 'logs'

    @property
    def checkpoints(self) -> Path:
        return self.root / 'checkpoints'

    def flags(self) -> list[str]:
        return [
            f'--output_graph={self.graph}',
            f'--output_labels={self.labels}',
            f'--records_dir={self.records}',
            f'--bottleneck_dir={self.bottlenecks}',
            f'--summaries_dir={self.summaries}',
            f'--checkpoint_path={self.checkpoints}',
            '--self_test_pictures=0',  # a process of its own; tests of it come after and win
        ]
