"""A folder of images -> a classifier, in one command.

python tools/retrain.py FOLDER
python tools/retrain.py --image_dir ~/flower_photos --run_dir runs/flowers
"""

from __future__ import annotations

import sys
from typing import Any

import poets_tfr
from poets_tfr.cli import command
from poets_tfr.run.settings import RunConfig, sections_of

_GOES_ON = (
    'What was converted and computed is kept: the same command goes on from there. Training goes '
    'on from where it was with --resume, else it begins again.'
)
SECTIONS = tuple(sections_of(RunConfig).values())


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, SECTIONS, argv, goes_on=_GOES_ON)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    # The original's places, unless told otherwise.
    poets_tfr.train(
        **{'run_dir': '', 'log_steps': 'auto', **command.with_folder(given, positional)}
    )


if __name__ == '__main__':
    sys.exit(main())
