"""One writer at a time in a folder, also where the drive has no file locks."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import command_line
import pytest

from poets_tfr import locks
from poets_tfr.errors import InputError

ROOT = Path(locks.__file__).parents[1]


def test_the_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    script = (
        'import sys\n'
        'sys.path.insert(0, sys.argv[2])\n'
        'from poets_tfr import locks\n'
        'with locks.only_writer(sys.argv[1]):\n'
        '    print("held", flush=True)\n'
        '    sys.stdin.read()\n'
    )
    folder = str(tmp_path / 'x')
    arguments = [sys.executable, '-c', script, folder, str(ROOT)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b'held\n'
        with pytest.raises(InputError) as error, locks.only_writer(folder):
            pass
        assert f'{folder} is being written by process {holder.pid} on ' in str(error.value)
        with pytest.raises(InputError, match=r'after 0\.1 s \(lock_timeout\): wait'):
            with locks.only_writer(folder, timeout=0.1):
                pass
        holder.kill()
        holder.wait()
        with locks.only_writer(folder):  # the lock has died with its process
            pass
    with locks.only_writer(folder), locks.only_writer(str(tmp_path / 'y')):
        pass


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / '.lock').mkdir()
    with pytest.raises(
        InputError, match=r'\.lock is a folder, where a lock file is wanted: rename'
    ):
        with locks.only_writer(str(tmp_path)):
            pass


def test_a_remote_folder_has_no_lock() -> None:
    remote = 'ram://test_locks/x'
    with locks.only_writer(remote), locks.only_writer(remote):
        pass


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def no_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Lustre, or on NFS without lockd."""

    def flock(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, 'flock', flock)


@pytest.mark.usefixtures('no_flock')
def test_without_flock_a_file_keeps_others_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, guard = str(tmp_path), tmp_path / '.lock.held'
    with locks.only_writer(folder):
        assert f'{tmp_path}: this drive has no file locks (' in caplog.text
        assert f'{guard} keeps other runs out' in caplog.text
        with pytest.raises(InputError) as error, locks.only_writer(folder):
            pass
        assert f'is being written by process {os.getpid()} on ' in str(error.value)
        assert f'(if that has ended, delete {guard})' in str(error.value)
        assert guard.exists(), 'who was refused leaves it to its owner'
    assert not guard.exists()
    guard.touch()  # of a killed process that could not even write its name
    with pytest.raises(InputError, match='by another process'), locks.only_writer(folder):
        pass
    guard.unlink()
    with locks.only_writer(folder):
        pass


def test_any_other_fault_of_flock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(fcntl, 'flock', flock)
    with pytest.raises(OSError, match='Input/output') as raised, locks.only_writer(str(tmp_path)):
        pass
    assert raised.value.filename == str(tmp_path / '.lock')


def test_outputs_are_held_one_by_one_and_nothing_stays(tmp_path: Path) -> None:
    graph, logs = str(tmp_path / 'new' / 'graph.pb'), str(tmp_path / 'logs')
    with locks.only_run({'output_graph': graph, 'summaries_dir': logs, 'checkpoint_path': logs}):
        with locks.only_run({'output_graph': str(tmp_path / 'other.pb')}):
            pass
        (tmp_path / 'link').symlink_to(tmp_path / 'new')
        same = {'tflite_output': str(tmp_path / 'link' / 'graph.pb')}
        with pytest.raises(InputError) as error, locks.only_run(same):
            pass
        assert f'--tflite_output: {graph} is being written by process {os.getpid()} on ' in (
            error.value.with_dashes
        )
        assert '--run_dir' in error.value.with_dashes
    assert [path.name for path in tmp_path.iterdir()] == ['link']


def test_a_lock_that_its_holder_removes_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has opened it, and waits at the door, has to see that it is gone."""
    lock, output = tmp_path / '.x.lock', {'output_graph': str(tmp_path / 'x')}
    flock, calls = fcntl.flock, list[tuple[int, ...]]()

    def removed_before_the_first(*arguments: int) -> None:
        if not calls:
            lock.unlink()
        calls.append(arguments)
        flock(*arguments)

    monkeypatch.setattr(fcntl, 'flock', removed_before_the_first)
    with locks.only_run(output):
        assert lock.exists()
        with pytest.raises(InputError, match='is being written by'), locks.only_run(output):
            pass
    assert list(tmp_path.iterdir()) == []


def test_what_another_users_killed_run_left_does_no_harm() -> None:
    """In a sticky folder it can be read only, and stays. (Root becomes another user first.)"""
    code = (
        'import fcntl, os, sys, uuid\n'  # now: the other user may not read our Python
        'from poets_tfr import locks\n'
        'if os.getuid() == 0: os.setuid(65534)\n'
        'output = {"output_graph": sys.argv[1] + "/x"}\n'
        'with locks.only_run(output):\n'
        '    try:\n'
        '        with locks.only_run(output): pass\n'
        '    except locks.InputError as error: print(error)\n'
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        lock = Path(folder) / '.x.lock'
        lock.write_text('process 7 on there')
        lock.chmod(0o444)
        ended = command_line.start('-c', code, folder)
        assert (ended.status, ended.err) == (0, '')
        assert 'is being written by process 7 on there' in ended.out
        assert lock.read_text() == 'process 7 on there'
