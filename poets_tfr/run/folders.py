"""Numbered folders of runs: DIR/1, DIR/2 ..., and DIR/latest, which names the last that succeeded.

`latest` is a small file, not a link: TensorBoard would show a linked run twice.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from poets_tfr import files, locks, writable
from poets_tfr.errors import InputError
from poets_tfr.reporting import report
from poets_tfr.run import flagfile

LATEST = 'latest'


@contextlib.contextmanager
def taken(run_dir: str, resume: bool = False) -> Iterator[str]:
    """A run's own folder, which no other run takes while it lasts: new, or to go on in.

    Where it ends with an error, and nothing was kept in it, the folder goes, and those that were
    made for it.
    """
    path = os.path.abspath(run_dir)
    made = [each for each in (path, *map(str, Path(path).parents)) if not os.path.isdir(each)]
    latest_file = os.path.join(run_dir, LATEST)
    writable.refuse(
        [writable.folder_fault(run_dir, 'run_dir'), writable.file_fault(latest_file, 'run_dir')]
    )
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
    names = [name for name in files.list_names(run_dir) if re.fullmatch('[1-9][0-9]*', name)]
    paths = [os.path.join(run_dir, name) for name in sorted(names, key=int)]
    return [path for path in paths if os.path.isdir(path)]


def finished(folder: str) -> bool:
    """Whether a run ended well there: its report is written, and its exports passed the test."""
    return bool(_finished_at(folder))


def finished_in(place: str) -> list[str]:
    """The folders of the finished runs at `place`, see `find`."""
    return [folder for folder in find(place) if finished(folder)]


def find(place: str) -> list[str]:
    """The folders of all runs at `place`: a `run_dir`, a run's own, or a folder of these.

    A `run_dir` is told by its file `latest`, or by what runs leave in its numbered folders: a
    SavedModel has such folders too.
    """
    if os.path.basename(place) == LATEST and os.path.isfile(place):
        number = files.read_bytes(place)[:32].decode(errors='replace').strip()
        place = os.path.join(os.path.dirname(place), number)
        if not number.isdecimal() or not os.path.isdir(place):
            raise InputError(f'{os.path.dirname(place)}: {LATEST} names no run: name its folder.')
    left = [os.path.join(place, name) for name in (report.JSON, flagfile.NAME)]
    if not _is_run_dir(place) and any(map(os.path.exists, left)):
        return [place]
    below = [os.path.join(place, name) for name in files.list_names(place)]
    return [run for run_dir in (place, *below) if _is_run_dir(run_dir) for run in numbered(run_dir)]


def latest(place: str) -> str:
    """The folder of the run at `place` that succeeded last.

    Raises:
      InputError: there is none.
    """
    done = finished_in(place)
    if not done:
        raise InputError(f'{place}: no finished run there. Train first, or name another folder.')
    return max(done, key=_finished_at)


def holds_run(place: str) -> bool:
    """Whether the report of a run, or runs, are kept in this very folder."""
    return _is_run_dir(place) or finished(place)


def _is_run_dir(place: str) -> bool:
    if not os.path.isdir(place):
        return False
    left = [os.path.join(folder, flagfile.NAME) for folder in numbered(place)]
    return any(map(os.path.exists, [os.path.join(place, LATEST), *left]))


def _finished_at(folder: str) -> tuple[str, int] | tuple[()]:
    """When, and its number; () where no run of ours ended well there."""
    path = os.path.join(folder, report.JSON)
    try:
        value = files.read_json(path)
        tested, when = value['self_test'], value['finished']
        if not value['outputs']['output_graph'] or (tested and not tested['passed']):
            return ()
    except (OSError, InputError, KeyError, TypeError, RecursionError):
        return ()
    number = os.path.basename(folder)
    return str(when), int(number) if number.isdecimal() else 0


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
