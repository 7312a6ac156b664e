"""A folder of images -> sharded TFRecords, as an Apache Beam pipeline on any of its runners.

python tools/convert_images_beam.py --image_dir gs://pictures --records_dir gs://records \\
    --runner DataflowRunner --project my-project --region europe-west1

The flags of convert_images.py are taken; all others are Beam's.
"""

from __future__ import annotations

import sys
from typing import Any

from poets_tfr import runtime, writable
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.settings import build
from poets_tfr.sources.listing import list_images


def main(argv: list[str] | None = None) -> int:
    return command.run(
        _main,
        __doc__,
        [ConversionConfig],
        argv,
        goes_on='The same command goes on from here.',
        keep_unknown=True,
    )


def _main(given: dict[str, Any], beam_flags: list[str]) -> None:
    try:
        from poets_tfr.records import beam
    except ImportError as error:
        raise InputError(
            f"{error}: install the extra beam (pip install 'apache-beam>=2.77')."
        ) from None
    runtime.start()
    command.require_images_and_records(given)
    config = build(ConversionConfig, given)
    beam.check(config)
    listing = list_images(config)
    writable.refuse([writable.folder_fault(config.records_dir, 'records_dir')])
    beam.convert(config, listing, beam_flags)


if __name__ == '__main__':
    sys.exit(main())
