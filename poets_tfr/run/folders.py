"""Numbered folders of runs: DIR/1, DIR/2 ..., and DIR/latest, which names the last that succeeded.

`latest` is a small file, not a link: TensorBoard would show a linked run twice.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from poets_tfr import files, locks, writable
from poets_tfr.errors import InputError
from poets_tfr.reporting import report

LATEST = 'latest'


@contextlib.contextmanager
def taken(run_dir: str, resume: bool = False) -> Iterator[str]:
    """A run's own folder, which no other run takes while it lasts: new, or to go on in.

    Where it ends with an error, and nothing was kept in it, the folder goes, and those that were
    made for it.
    """
    path = os.path.abspath(run_dir)
    made = [each for each in (path, *map(str, Path(path).parents)) if not os.path.isdir(each)]
    writable.refuse([writable.folder_fault(run_dir, 'run_dir')])
    files.make_dirs(run_dir)
    folder = (resume and _newest_unfinished(run_dir)) or _next(run_dir)
    with locks.only_writer(folder):
        try:
            yield folder
        except BaseException:
            _remove_where_empty(folder)
            for each in made:
                files.remove_empty_dir(each)
            raise


def succeeded(folder: str) -> None:
    """The run in this folder is the latest from now on."""
    run_dir, number = os.path.split(os.path.abspath(folder))
    files.write_bytes(os.path.join(run_dir, LATEST), f'{number}\n'.encode())


def numbered(run_dir: str) -> list[str]:
    """The folders of the runs in `run_dir`, finished or not, in their order."""
    numbers = sorted(int(name) for name in files.list_names(run_dir) if name.isdecimal())
    return [os.path.join(run_dir, str(number)) for number in numbers]


def finished(folder: str) -> bool:
    """Whether a run ended well there: its report is written, and its exports passed the test."""
    path = os.path.join(folder, report.JSON)
    if not os.path.exists(path):
        return False
    tested = files.read_json(path).get('self_test')
    return tested is None or tested['passed']


def find(place: str) -> list[str]:
    """The folders of all runs at `place`: a run's own, a `run_dir`, or a folder of these.

    A `run_dir` is told by its file `latest`: a SavedModel has numbered folders too.
    """
    if os.path.basename(place) == LATEST and os.path.isfile(place):
        place = os.path.join(os.path.dirname(place), files.read_bytes(place).decode().strip())
    if os.path.exists(os.path.join(place, report.JSON)):
        return [place]
    below = [os.path.join(place, name) for name in files.list_names(place)]
    run_dirs = [d for d in (place, *below) if os.path.exists(os.path.join(d, LATEST))]
    return [run for run_dir in run_dirs for run in numbered(run_dir)]


def latest(place: str) -> str:
    """The folder of the run at `place` that succeeded last.

    Raises:
      InputError: there is none.
    """
    done = [folder for folder in find(place) if finished(folder)]
    if not done:
        raise InputError(f'{place}: no finished run there. Train first, or name another folder.')
    return max(done, key=_finished_at)


def _finished_at(folder: str) -> tuple[str, int]:
    number = os.path.basename(folder)
    when = files.read_json(os.path.join(folder, report.JSON))['finished']
    return when, int(number) if number.isdecimal() else 0


def _next(run_dir: str) -> str:
    number = max((int(os.path.basename(folder)) for folder in numbered(run_dir)), default=0)
    while True:
        number += 1
        folder = os.path.join(run_dir, str(number))
        with contextlib.suppress(FileExistsError):  # another run has taken it
            os.mkdir(folder)
            return folder


def _newest_unfinished(run_dir: str) -> str:
    folders = numbered(run_dir)
    return folders[-1] if folders and not finished(folders[-1]) else ''


def _remove_where_empty(folder: str) -> None:
    """Folders that hold nothing but the lock."""
    for parent, _, names in os.walk(folder, topdown=False):
        if parent == folder and names == ['.lock'] and os.listdir(parent) == ['.lock']:
            files.remove(os.path.join(parent, '.lock'))
        files.remove_empty_dir(parent)
