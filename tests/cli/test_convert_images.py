"""The command lines of conversion and inspection, as typed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import colours
import command_line
import pytest
from command_line import ROOT, Ended, call
from conversion import contents

from poets_tfr import locks
from tools import drawing


@pytest.fixture(scope='module')
def image_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('pictures') / 'Wild Flowers', per_class=30)


def convert(image_dir: Path, records_dir: Path, *flags: str) -> Ended:
    arguments = f'--image_dir={image_dir}', f'--records_dir={records_dir}', *flags
    return call('convert_images', *arguments)


def test_convert_prints_a_table_and_says_what_was_found(image_dir: Path, tmp_path: Path) -> None:
    ended = convert(image_dir, tmp_path / 'records')
    assert (ended.status, ended.err) == (0, '')
    lines = [line.split() for line in ended.out.splitlines()]
    assert ['class', 'train', 'validation', 'test'] in lines
    manifest = json.loads((tmp_path / 'records/manifest.json').read_bytes())
    assert manifest['dataset_name'] == 'wild_flowers'
    for label, name in enumerate(['bluebells', 'green grass', 'red roses']):
        row = next(line for line in lines if line[: len(name.split())] == name.split())
        index = [c['label'] for c in manifest['classes']].index(name)
        splits = manifest['splits']
        assert row[-3:] == [
            str(splits[s]['pictures_per_class'][index]) for s in ('train', 'validation', 'test')
        ], label
    assert 'Found 90 files: 90 as is, 0 ignored.' in ended.out


def test_a_second_run_says_that_the_records_stand(image_dir: Path, tmp_path: Path) -> None:
    convert(image_dir, tmp_path)
    before = contents(tmp_path)
    ended = convert(image_dir, tmp_path)
    assert f'Records in {tmp_path} are up to date.' in ended.out
    assert contents(tmp_path) == before


def test_flags_arrive(image_dir: Path, tmp_path: Path) -> None:
    ended = convert(
        image_dir,
        tmp_path,
        '--dataset_name=weeds',
        '--classes=bluebells,Red_Roses',
        '--num_shards=2',
        '--split_prefix=/x',
        '--validation_percentage=20',
        '--testing_percentage=25',
    )
    assert ended.status == 0, ended.err
    assert (tmp_path / 'weeds-train.tfrecord-00001-of-00002').is_file()
    settings = json.loads((tmp_path / 'manifest.json').read_bytes())['settings']
    assert settings['classes'] == ['Red_Roses', 'bluebells']
    assert settings['split_prefix'] == '/x'
    assert (settings['validation_percentage'], settings['testing_percentage']) == (20, 25)


@pytest.mark.parametrize(
    ('flags', 'says'),
    [
        ([], 'Must set flag --image_dir.'),
        (['--image_dir=/no/such/folder'], 'Must set flag --records_dir.'),
        (['--image_dir=/no/such', '--records_dir=r'], "directory '/no/such' not found"),
        (['--image_dir=x', '--records_dir=r', '--testing_percentage=100'], '--testing_percentage'),
        (['--image_dir=x', '--records_dir=r', '--num_shard=2'], 'num_shard'),
        (['--image_dir=y', '--records_dir=r', 'x'], "'x' is not a flag"),
    ],
)
def test_what_the_user_can_mend_is_one_line(flags: list[str], says: str) -> None:
    ended = call('convert_images', *flags)
    assert ended.status == 1
    assert ended.err.startswith('convert_images.py: error: ')
    assert says in ended.err
    assert len(ended.err.strip().splitlines()) == 1 or 'num_shard' in says


def test_a_records_dir_that_is_a_file(image_dir: Path, tmp_path: Path) -> None:
    (tmp_path / 'records').touch()
    ended = convert(image_dir, tmp_path / 'records')
    assert ended.status == 1
    assert ended.err.startswith('convert_images.py: error: --records_dir: ')
    assert 'a file is in the way' in ended.err


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(image_dir: Path, tmp_path: Path) -> None:
    whole = tmp_path / 'whole'
    convert(image_dir, whole, '--num_shards=2')
    largest = max(path.stat().st_size for path in whole.iterdir())
    # A limit on the size of files stands for a full disk: writing fails in the same place.
    script = (
        'import resource, sys\n'
        f'resource.setrlimit(resource.RLIMIT_FSIZE, ({largest - 1}, {largest - 1}))\n'
        'from poets_tfr.cli import convert_images\n'
        'sys.exit(convert_images.main())\n'
    )
    flags = f'--image_dir={image_dir}', f'--records_dir={tmp_path / "r"}', '--num_shards=2'
    ended = command_line.start('-c', script, *flags)
    assert ended.status == 1
    assert ended.err.startswith('-c: error: ')
    assert len(ended.err.splitlines()) == 1, ended.err
    assert contents(tmp_path / 'r') == {}
    assert not list((tmp_path / 'r').rglob('*.part'))
    assert convert(image_dir, tmp_path / 'r', '--num_shards=2').status == 0
    assert contents(tmp_path / 'r') == contents(whole)


def test_names_that_are_not_utf_8_do_not_stop_it(image_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(image_dir, tmp_path / 'pictures'))
    (copy / 'bluebells').rename(copy / os.fsdecode(b'blue\xff'))
    (copy / 'Red_Roses/new\nline\udcfe.jpg').touch()
    flags = f'--image_dir={copy}', f'--records_dir={tmp_path / "records"}'
    environment = {**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'}
    ended = subprocess.run(
        [sys.executable, 'tools/convert_images.py', *flags],
        cwd=ROOT, env=environment, capture_output=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert b'Traceback' not in ended.stderr
    assert b'blue\\udcff' in ended.stdout
    inspected = call('inspect_records', f'--records_dir={tmp_path / "records"}', '--verify')
    assert inspected.status == 0, inspected.out
    inspected.out.encode()


def test_what_a_terminal_cannot_show_is_escaped(
    image_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(image_dir, tmp_path / 'pictures'))
    (copy / 'bluebells').rename(copy / 'glöckchen')
    (copy / 'glöckchen/größe.jpg').touch()
    monkeypatch.setenv('PYTHONIOENCODING', 'ascii')
    flags = f'--image_dir={copy}', f'--records_dir={tmp_path / "r"}'
    everything = '--validation_percentage=0', '--testing_percentage=0'
    ended = command_line.start('tools/convert_images.py', *flags, *everything)
    assert ended.status == 0, ended.err
    assert ended.err.splitlines()[0].startswith(r'Skipped gl\xf6ckchen/gr\xf6\xdfe.jpg: ')
    assert 'Logging error' not in ended.err
    ended = command_line.start('tools/convert_images.py', *flags, '--classes=blöd')
    assert ended.status == 1
    assert r'bl\xf6d' in ended.err
    assert 'Traceback' not in ended.err


# Other people's drives


def test_a_drive_that_syncs_no_folder_and_has_no_locks(
    image_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')
        real(handle)

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(fcntl, 'flock', flock)
    ended = convert(image_dir, tmp_path)
    assert ended.status == 0
    assert ended.err.startswith(f'{tmp_path}: this drive has no file locks (Function not ')
    assert ended.err.count('\n') == 1
    again = convert(image_dir, tmp_path)
    assert (again.status, again.err) == (0, ''), 'nothing to write, nothing to lock'


class Waiting:
    """A conversion that has said that it waits for this process."""

    def __init__(self, *flags: str):
        self.process = subprocess.Popen(
            [sys.executable, '-u', 'tools/convert_images.py', *flags],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said: list[str] = []
        while not self.said or not self.said[-1].startswith('Waiting for '):
            self.said.append(self.process.stdout.readline())
            assert self.said[-1], self.process.communicate()

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=100)
        return Ended(self.process.returncode, out, err)


def test_a_run_waits_for_another_and_takes_what_it_made(image_dir: Path, tmp_path: Path) -> None:
    convert(image_dir, tmp_path / 'made')
    records_dir = tmp_path / 'records'
    with locks.only_writer(str(records_dir)):
        waiting = Waiting(f'--image_dir={image_dir}', f'--records_dir={records_dir}')
        assert waiting.said[-1] == (
            f'Waiting for process {os.getpid()} on {socket.gethostname()} to finish writing '
            f'{records_dir}, for up to 3600 s (--lock_timeout).\n'
        )
        shutil.copytree(tmp_path / 'made', records_dir, dirs_exist_ok=True)
        before = {path.name: path.stat().st_ino for path in records_dir.iterdir()}
    ended = waiting.end()
    assert (ended.status, ended.err) == (0, '')
    assert f'Records in {records_dir} are up to date.' in ended.out
    assert {path.name: path.stat().st_ino for path in records_dir.iterdir()} == before


def test_interrupt_ends_the_waiting(image_dir: Path, tmp_path: Path) -> None:
    with locks.only_writer(str(tmp_path)):
        waiting = Waiting(f'--image_dir={image_dir}', f'--records_dir={tmp_path}')
        waiting.process.send_signal(signal.SIGINT)
        ended = waiting.end()
    assert ended.status == 130
    assert 'Traceback' not in ended.err
    assert contents(tmp_path) == {}


# Signals


@pytest.fixture(scope='module')
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Pictures that take some seconds to convert with one worker, and their records."""
    root = tmp_path_factory.mktemp('large')
    drawing.write_photo_like(
        str(root / 'pictures'), per_class=2, num_classes=2, seed=0, width=1600, height=1200
    )
    for folder in (root / 'pictures').iterdir():
        first, second = sorted(folder.iterdir())
        for i in range(40):
            os.link((first, second)[i % 2], folder / f'copy_{i}.jpg')
    assert convert(root / 'pictures', root / 'records', '--num_shards=8').status == 0
    return root / 'pictures', contents(root / 'records')


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_it_soon_and_the_next_run_goes_on(
    large: tuple[Path, dict[str, bytes]], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    image_dir, wanted = large
    flags = [f'--image_dir={image_dir}', f'--records_dir={tmp_path}', '--num_shards=8']
    process = subprocess.Popen(
        [sys.executable, 'tools/convert_images.py', *flags, '--workers=1'],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    staging = tmp_path / '.unfinished'
    deadline = time.monotonic() + 100
    while not list(staging.glob('*.index.jsonl')) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 2, 'a second, and one more for a busy machine'
    assert process.returncode == status, err
    assert 'Traceback' not in err
    assert 'stopped after' in out
    assert contents(tmp_path) == {}
    assert not list(tmp_path.rglob('*.part'))
    finished = {p.name: p.stat().st_ino for p in staging.glob('*.tfrecord-*[0-9]')}
    assert finished
    assert call('convert_images', *flags).status == 0
    assert contents(tmp_path) == wanted
    assert {name: (tmp_path / name).stat().st_ino for name in finished} == finished


# Inspecting


def test_inspect_prints_what_is_there(image_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(image_dir, tmp_path / 'flowers'))
    (copy / 'bluebells/bad.jpg').write_bytes(b'x')
    (copy / 'bluebells/notes.txt').touch()
    convert(copy, tmp_path / 'records', '--num_shards=2')
    ended = call('inspect_records', f'--records_dir={tmp_path / "records"}')
    assert (ended.status, ended.err) == (0, '')
    assert 'Data set flowers, 3 classes:' in ended.out
    assert "'green grass' from Green Grass/" in ended.out
    assert ended.out.count('flowers-train.tfrecord-0000') == 2
    assert '92 files found, 1 skipped, 1 ignored.' in ended.out
    assert 'Verified' not in ended.out


def test_verify_ends_with_1_when_something_is_wrong(image_dir: Path, tmp_path: Path) -> None:
    convert(image_dir, tmp_path)
    flags = f'--records_dir={tmp_path}', '--verify'
    whole = call('inspect_records', *flags)
    assert whole.status == 0
    assert whole.out.endswith('Verified: everything is as it was written.\n')
    shard = tmp_path / 'wild_flowers-train.tfrecord-00000-of-00001'
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    damaged = call('inspect_records', *flags)
    assert damaged.status == 1
    assert 'Verified' not in damaged.out
    findings = [line for line in damaged.out.splitlines() if line.startswith(f'{shard.name}: ')]
    assert len(findings) >= 2
    assert any(': record ' in line for line in findings)
    assert all('run the conversion again' in line for line in findings)


@pytest.mark.parametrize(
    ('flags', 'says'),
    [
        ([], 'Must set flag --records_dir.'),
        (['--records_dir=/no/such'], 'has no manifest.json: no conversion finished there'),
    ],
)
def test_inspect_says_what_is_missing(flags: list[str], says: str) -> None:
    ended = call('inspect_records', *flags)
    assert ended.status == 1
    assert ended.err.startswith('inspect_records.py: error: ')
    assert says in ended.err
