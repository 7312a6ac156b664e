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

SECTIONS = tuple(sections_of(RunConfig).values())


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, SECTIONS, argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    # The original's places, unless told otherwise.
    poets_tfr.train(**{'run_dir': '', **command.with_folder(given, positional)})


if __name__ == '__main__':
    sys.exit(main())
