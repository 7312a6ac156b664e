"""Measures each stage beside a peer or a limit, in one run.

    python -m benchmarks [read|decode|convert|pipeline|backbone|features|head|job|memory|gpu ...]
    python -m benchmarks large    # 120 pictures of 12 megapixels, which take minutes to draw
    python -m benchmarks examine  # poets-examine: its time, changed labels found, near duplicates

BENCH_IMAGES=DIR and BENCH_MODELS=DIR in the environment name real pictures and models.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from typing import Any, ClassVar

from benchmarks.data import Data
from benchmarks.measuring import Row, peak_mb, table
from benchmarks.rows import ONLY_IF_NAMED, ROWS
from poets_tfr import files
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, build, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Settings):
    TITLE: ClassVar[str] = 'The benchmark'

    json: str = setting('', 'Write the rows to this file too.', path='path')
    work_dir: str = setting(
        'build/bench', 'Where images, records and networks of it are kept.', path='path'
    )


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [BenchmarkConfig], argv)


def _main(given: dict[str, Any], names: list[str]) -> None:
    values = build(BenchmarkConfig, given)
    if unknown := [name for name in names if name not in ROWS]:
        raise InputError(f'{unknown[0]!r} is no row of the benchmark: {", ".join(ROWS)}.')
    os.makedirs(values.work_dir, exist_ok=True)
    names = names or [name for name in ROWS if name not in ONLY_IF_NAMED]
    rows = []
    for name in names:
        rows += _measure(name, values.work_dir, alone=len(names) == 1)
        if len(names) > 1:
            print(f'{name} measured', file=sys.stderr)
    print(table(rows))
    if values.json:
        files.write_json(values.json, [dataclasses.asdict(row) for row in rows])


def _measure(name: str, work_dir: str, alone: bool) -> list[Row]:
    """Every row in a process of its own, so that its peak memory is its own."""
    if alone:
        data = Data(
            os.path.abspath(work_dir),
            images=os.environ.get('BENCH_IMAGES', ''),
            models=os.environ.get('BENCH_MODELS', ''),
        )
        measured = ROWS[name](data)
        return [dataclasses.replace(row, peak_mb=peak_mb()) for row in measured]
    with tempfile.TemporaryDirectory() as directory:
        result = os.path.join(directory, 'rows.json')
        command = [sys.executable, '-m', 'benchmarks.__main__', name, f'--json={result}']
        command += [f'--work_dir={work_dir}', '--logging_verbosity=WARN']
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with open(result, encoding='ascii') as file:
            return [Row(**row) for row in json.load(file)]


if __name__ == '__main__':
    sys.exit(main())
