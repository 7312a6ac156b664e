"""A folder of pictures -> a classifier, in one command.

python tools/retrain.py --image_dir ~/flower_photos
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import retrain
from poets_tfr.config import (
    BackboneConfig,
    CheckpointConfig,
    ConversionConfig,
    DistortionConfig,
    DistributionConfig,
    FineTuneConfig,
    HeadConfig,
    InputError,
    OutputConfig,
    RetrainConfig,
    default_records_dir,
)
from poets_tfr.records.manifest import settings_of
from poets_tfr.tools import flags

_RECORDS_FLAGS = (
    'validation_percentage', 'testing_percentage', 'split_by', 'split_prefix', 'classes',
    'recursive', 'follow_links', 'store_max_side', 'max_pixels', 'on_duplicate',
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    flags.define_conversion(values)
    flags.define_backbone(values)
    flags.define_distortion(values)
    flags.define_head(values)
    flags.define_checkpoint(values)
    flags.define_fine_tune(values)
    flags.define_output(values)
    flags.define_distribution(values)


def _main(values: absl_flags.FlagValues, positional: list[str]) -> None:
    flags.no_stray_arguments(positional)
    if values['tfhub_module'].value and values['architecture'].present:
        raise InputError('--tfhub_module and --architecture exclude each other: give one.')
    image_dir = values['image_dir'].value
    records_dir = values['records_dir'].value or (image_dir and default_records_dir(image_dir))
    config = RetrainConfig(
        conversion=flags.build(ConversionConfig, values, records_dir=records_dir),
        backbone=flags.build(BackboneConfig, values),
        head=flags.build(HeadConfig, values),
        checkpoint=flags.build(CheckpointConfig, values),
        output=flags.build(OutputConfig, values),
        distortions=flags.build(DistortionConfig, values),
        distribution=flags.build(DistributionConfig, values),
        fine_tune=flags.build(FineTuneConfig, values),
    )
    settings = settings_of(config.conversion)
    insisted = {name: settings[name] for name in flags.typed(values, _RECORDS_FLAGS)}
    retrain.retrain(config, insisted)


if __name__ == '__main__':
    sys.exit(main())
