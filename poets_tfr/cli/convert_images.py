"""A folder of images -> sharded TFRecords.

python tools/convert_images.py --image_dir ~/flower_photos --records_dir ~/flower_records
"""

from __future__ import annotations

import sys
from typing import Any

import poets_tfr
from poets_tfr.cli import command
from poets_tfr.records.settings import ConversionConfig


def main(argv: list[str] | None = None) -> int:
    return command.run(
        _main, __doc__, [ConversionConfig], argv, goes_on='The same command goes on from here.'
    )


def _main(given: dict[str, Any], positional: list[str]) -> None:
    given = command.with_folder(given, positional)
    command.require_images_and_records(given)
    poets_tfr.convert(**given)


if __name__ == '__main__':
    sys.exit(main())
