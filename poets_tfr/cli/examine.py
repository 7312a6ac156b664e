"""What is wrong with a data set: likely wrong labels, near duplicates, odd images; what would help.

python tools/examine.py FOLDER                             (with one folder per class)
python tools/examine.py --records_dir ~/flower_records --architecture=mobilenet_0.25_128
"""

from __future__ import annotations

import sys
from typing import Any

import poets_tfr
from poets_tfr import files
from poets_tfr.api import EXAMINED
from poets_tfr.cli import command
from poets_tfr.examination import saying, writing
from poets_tfr.examination.settings import ExamineConfig
from poets_tfr.settings import build

_GOES_ON = 'The same command goes on with the features that are kept.'


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, EXAMINED, argv, goes_on=_GOES_ON)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    given = command.with_folder(given, positional)
    found = poets_tfr.examine(**given)
    print('\n'.join(saying.lines(found)))
    if examine_dir := build(ExamineConfig, given).examine_dir:
        print(f'All of it: {files.join(examine_dir, writing.PAGE)}')


if __name__ == '__main__':
    sys.exit(main())
