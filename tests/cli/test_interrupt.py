"""^C while a command is still being imported."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT

from poets_tfr.cli import command

SLOW_NUMPY = """
import time
print('numpy is imported', flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    raise ImportError('numpy: Something is wrong with the numpy installation.')  # as it does
"""


SIGNAL_IN_DESTRUCTOR = """
import os, signal, sys, time
from poets_tfr.cli import command

class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

def main(given, positional):
    Freed()
    time.sleep(600)

sys.exit(command.run(main, '', [], keep_unknown=True))
"""


def test_a_signal_that_is_lost_is_told_again() -> None:
    """What is raised while Python frees an object goes no further."""
    command_line = [sys.executable, '-c', SIGNAL_IN_DESTRUCTOR]
    ended = subprocess.run(
        command_line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert 'Exception ignored in' in ended.stderr
    assert ended.returncode == 143


@pytest.mark.parametrize('tool', ['retrain', 'label_image', 'serve', 'review'])
def test_an_interrupt_while_python_imports_is_no_traceback(tmp_path: Path, tool: str) -> None:
    (tmp_path / 'numpy.py').write_text(SLOW_NUMPY)
    process = subprocess.Popen(
        [sys.executable, ROOT / f'tools/{tool}.py'],
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == 'numpy is imported\n'
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, '')


def test_what_tensorflow_makes_of_a_signal_ends_as_the_signal_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its bindings make a RuntimeError of it, or a callback in C++ loses it."""

    def swallowed(given: object, positional: object) -> None:
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)

    def replaced(by: str) -> None:
        raise RuntimeError(f'ORIGINAL NotFoundError REPLACED BY {by}: <EMPTY MESSAGE>')

    assert command.run(swallowed, '', [], ['x']) == 143
    assert command.run(lambda *_: replaced('KeyboardInterrupt'), '', [], ['x']) == 130
    assert capsys.readouterr().err == 'x: interrupted.\n'
    with pytest.raises(SystemExit) as ended:
        command.run(lambda *_: replaced('SystemExit'), '', [], ['x'])
    assert ended.value.code == 143
