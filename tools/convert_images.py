"""A folder of pictures -> sharded TFRecords.

python tools/convert_images.py --image_dir ~/flower_photos --records_dir ~/flower_records
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import files
from poets_tfr.config import ConversionConfig, InputError
from poets_tfr.records import image_dir, writing
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(flags.define_conversion, _main, __doc__ or '', argv)


def _main(values: absl_flags.FlagValues, positional: list[str]) -> None:
    flags.no_stray_arguments(positional)
    config = flags.build(ConversionConfig, values)
    for name in 'image_dir', 'records_dir':
        if not getattr(config, name):
            raise InputError(f'Must set flag --{name}.')
    listing = image_dir.list_image_dir(config)
    files.check_writable_dir(config.records_dir, 'records_dir')
    writing.convert(config, listing)


if __name__ == '__main__':
    sys.exit(main())
