"""A conversion that is killed, again and again, ends with the bytes of an undisturbed one."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archive_files import ARCHIVERS
from command_line import ROOT
from conversion import contents
from record_files import of_files, write_records

from tools import drawing

KILLS = 20


@pytest.fixture(scope='module')
def image_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('pictures') / 'flowers'
    drawing.write_photo_like(str(root), per_class=4, num_classes=2, seed=0, width=640, height=480)
    for folder in root.iterdir():
        drawn = sorted(folder.iterdir())
        for i in range(200):
            os.link(drawn[i % 4], folder / f'copy_{i:03d}.jpg')
    return root


def start(image_dir: Path, records_dir: Path, flag: str = 'image_dir') -> subprocess.Popen[bytes]:
    flags = [f'--{flag}={image_dir}', f'--records_dir={records_dir}', '--num_shards=6']
    return subprocess.Popen(
        [sys.executable, 'tools/convert_images.py', *flags],
        cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_writing(process: subprocess.Popen[bytes], records_dir: Path) -> None:
    while process.poll() is None and not (records_dir / '.unfinished').exists():
        time.sleep(0.01)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it had ended just before
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finished_shards(records_dir: Path) -> dict[str, int]:
    """The shards whose index stands beside them -> inode."""
    found = {}
    for directory in (records_dir, records_dir / '.unfinished'):
        for index in directory.glob('*.index.jsonl'):
            shard = directory / index.name.removesuffix('.index.jsonl')
            with contextlib.suppress(FileNotFoundError):
                found[shard.name] = shard.stat().st_ino
    return found


@pytest.fixture(scope='module')
def undisturbed(
    image_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], float]:
    """The bytes of an undisturbed conversion, and the seconds that its writing took."""
    records_dir = tmp_path_factory.mktemp('undisturbed')
    process = start(image_dir, records_dir)
    wait_for_writing(process, records_dir)
    begun = time.monotonic()
    finish(process)
    return contents(records_dir), time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize('seed', range(KILLS))
def test_killed_at_a_random_moment(
    image_dir: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path, seed: int
) -> None:
    wanted, seconds = undisturbed
    process = start(image_dir, tmp_path)
    wait_for_writing(process, tmp_path)
    time.sleep(random.Random(seed).random() * seconds)
    kill(process)
    finished = finished_shards(tmp_path)
    for name, content in contents(tmp_path).items():
        if (tmp_path / 'manifest.json').exists():
            assert content == wanted[name], 'what a manifest vouches for is whole'
    finish(start(image_dir, tmp_path))
    assert contents(tmp_path) == wanted
    now = finished_shards(tmp_path)
    assert {name: now[name] for name in finished} == finished, 'made again'
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == '.') == [
        '.lock', '.seen.json'
    ]  # fmt: skip


@pytest.fixture(scope='module')
def archives(image_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same pictures, each copy for itself."""
    root = tmp_path_factory.mktemp('archives')
    return {name: archive(image_dir, root / f'flowers.{name}') for name, archive in ARCHIVERS}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('kind', [name for name, _ in ARCHIVERS])
def test_killed_while_an_archive_is_converted(
    archives: dict[str, Path],
    undisturbed: tuple[dict[str, bytes], float],
    tmp_path: Path,
    kind: str,
    seed: int,
) -> None:
    """It ends with the bytes that the folder gives."""
    wanted, seconds = undisturbed
    records_dir = tmp_path / 'records'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
        process = start(archives[kind], records_dir)
        if seed:
            wait_for_writing(process, records_dir)
        time.sleep(random.Random(seed).random() * seconds)  # of seed 0, while it is looked through
        kill(process)
        finished = finished_shards(records_dir)
        finish(start(archives[kind], records_dir))
    assert contents(records_dir) == wanted
    now = finished_shards(records_dir)
    assert {name: now[name] for name in finished} == finished, 'made again'
    assert not [*(tmp_path / 'cache/poets_tfr').glob('unpacked/*')]


@pytest.fixture(scope='module')
def more(
    image_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """A larger folder, which shares its first pictures with image_dir, and its records' bytes."""
    root = tmp_path_factory.mktemp('more')
    flowers = Path(shutil.copytree(image_dir, root / 'flowers', copy_function=os.link))
    for folder in flowers.iterdir():
        for i in range(100):
            os.link(folder / 'copy_000.jpg', folder / f'more_{i:03d}.jpg')
    finish(start(flowers, root / 'records'))
    return flowers, contents(root / 'records')


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize('seed', range(4))
def test_killed_while_an_addition_is_converted(
    undisturbed: tuple[dict[str, bytes], float],
    more: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    seed: int,
) -> None:
    """The old records stand, whole, until the new ones do."""
    before, seconds = undisturbed
    flowers, after = more
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    process = start(flowers, tmp_path)
    wait_for_writing(process, tmp_path)
    time.sleep(random.Random(seed).random() * seconds)
    kill(process)
    if (tmp_path / 'manifest.json').exists():
        assert contents(tmp_path) in (before, after)
    finish(start(flowers, tmp_path))
    assert contents(tmp_path) == after


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize('seed', range(2))
def test_killed_while_tfrecords_are_converted(
    image_dir: Path,
    undisturbed: tuple[dict[str, bytes], float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """It ends with the bytes that the folder gives."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    wanted, seconds = undisturbed
    place = write_records(tmp_path / 'flowers.tfrecord', of_files(image_dir))
    records_dir = tmp_path / 'records'
    process = start(place, records_dir, 'image_tfrecords')
    if seed:
        wait_for_writing(process, records_dir)
    time.sleep(random.Random(seed).random() * seconds)  # of seed 0, while they are looked through
    kill(process)
    finished = finished_shards(records_dir)
    finish(start(place, records_dir, 'image_tfrecords'))
    assert contents(records_dir) == wanted
    now = finished_shards(records_dir)
    assert {name: now[name] for name in finished} == finished, 'made again'
