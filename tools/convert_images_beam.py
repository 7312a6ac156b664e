"""A folder of pictures -> sharded TFRecords, as an Apache Beam pipeline on any of its runners.

python tools/convert_images_beam.py --image_dir gs://pictures --records_dir gs://records \\
    --runner DataflowRunner --project my-project --region europe-west1

The flags of convert_images.py are taken; all others are Beam's.
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import files
from poets_tfr.config import ConversionConfig, InputError
from poets_tfr.records import image_dir
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(flags.define_conversion, _main, __doc__ or '', argv, keep_unknown=True)


def _main(values: absl_flags.FlagValues, beam_flags: list[str]) -> None:
    try:
        from poets_tfr.records import beam
    except ImportError as error:
        raise InputError(
            f"{error}: install the extra beam (pip install 'apache-beam>=2.77')."
        ) from None
    config = flags.build(ConversionConfig, values)
    for name in 'image_dir', 'records_dir':
        if not getattr(config, name):
            raise InputError(f'Must set flag --{name}.')
    listing = image_dir.list_image_dir(config)
    files.check_writable_dir(config.records_dir, 'records_dir')
    beam.convert(config, listing, beam_flags)


if __name__ == '__main__':
    sys.exit(main())
