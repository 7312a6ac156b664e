"""A table of runs: what differs between them, how good they are, how long they took.

python tools/runs.py --run_dir runs/pets
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import poets_tfr
from poets_tfr.api import RUNS
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.run.result import Run
from poets_tfr.run.settings import RunConfig
from poets_tfr.settings import Settings, build, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunsConfig(Settings):
    TITLE: ClassVar[str] = 'The runs'

    run_dir: str = setting(
        RUNS, 'Where runs are kept: a --run_dir, or a folder of several.', path='path'
    )


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [RunsConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    command.no_stray_arguments(positional)
    run_dir = build(RunsConfig, given).run_dir
    runs = poets_tfr.runs(run_dir)
    if not runs:
        raise InputError(f'--run_dir={run_dir}: no finished run there. Train first.')
    print(table(runs, run_dir))


def table(runs: Sequence[Run], run_dir: str) -> str:
    """A row for each run; of the settings only those that are not the same in all."""
    names = _differing(runs)
    rows = [['run', 'images', *names, 'test accuracy', '95 % range', 'seconds', 'finished']]
    for run in runs:
        rows.append(
            [
                os.path.relpath(run.folder, run_dir),
                f'{sum(sum(counts.values()) for counts in run.images.values()):,}',
                *(str(run.settings.get(name, '')) for name in names),
                *_accuracy(run),
                f'{sum(run.timings.values()):.0f}',
                run.finished[:16].replace('T', ' '),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ['  '.join(map(str.ljust, map(printable, row), widths)).rstrip() for row in rows]
    return '\n'.join(lines)


def _differing(runs: Sequence[Run]) -> list[str]:
    """The settings that may change a result, and do not agree."""
    names = RunConfig().chosen('records', 'result')
    return [n for n in names if len({str(run.settings.get(n)) for run in runs}) > 1]


def _accuracy(run: Run) -> tuple[str, str]:
    if run.accuracy is None or run.accuracy_interval is None:
        return '-', '-'
    low, high = run.accuracy_interval
    return f'{run.accuracy:.1%}', f'{low:.1%} to {high:.1%}'


if __name__ == '__main__':
    sys.exit(main())
