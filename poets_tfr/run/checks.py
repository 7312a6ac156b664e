"""All that can go wrong and can be known before any long work."""

from __future__ import annotations

import logging
import os

from poets_tfr import files
from poets_tfr.backbones import frozen
from poets_tfr.errors import InputError
from poets_tfr.export.settings import ExportConfig
from poets_tfr.export.writing import check_outputs
from poets_tfr.records import manifest as manifests
from poets_tfr.records.image_dir import Listing, list_image_dir
from poets_tfr.records.reading import Records
from poets_tfr.run.settings import RunConfig

log = logging.getLogger('poets_tfr')


def check_inputs(config: RunConfig, is_chief: bool) -> Listing | None:
    """What is known without TensorFlow; the listing of image_dir, where the chief converts it.

    Raises:
      InputError: something the user can mend.
    """
    listing = None
    if is_chief:
        listing = _check_records(config)
        _check_output(config)
        files.check_writable_dir(config.checkpoint.checkpoint_path, 'checkpoint_path')
    files.check_writable_dir(config.extraction.bottleneck_dir, 'bottleneck_dir')
    frozen.check_available(config.backbone)
    if config.head.warm_start and not files.exists(config.head.warm_start):
        raise InputError(f'--warm_start: {config.head.warm_start} not found.')
    return listing


def check_validation(config: RunConfig, records: Records) -> None:
    """What is chosen by the validation split needs one: raises InputError without."""
    asked = {
        '--head_search': config.head.head_search == 'auto',
        '--early_stopping_patience': config.head.early_stopping_patience > 0,
        '--fine_tune_from': config.fine_tune.is_on,
    }
    for flag, is_on in asked.items():
        if is_on and not records.splits['validation']:
            raise InputError(
                f'{flag} chooses by validation pictures, and there are none: give '
                '--validation_percentage.'
            )


def _check_records(config: RunConfig) -> Listing | None:
    conversion = config.conversion
    if conversion.image_dir:
        listing = list_image_dir(conversion)
        files.check_writable_dir(conversion.records_dir, 'records_dir')
        return listing
    records = Records.open(conversion.records_dir)
    manifests.check_settings(conversion.records_dir, records.manifest, config.demanded)
    records.check_indexes()
    return None


def _check_output(config: RunConfig) -> None:
    check_outputs(config.export)
    files.check_writable_dir(config.reporting.summaries_dir, 'summaries_dir')
    directory = config.export.intermediate_output_graphs_dir
    if config.export.intermediate_store_frequency:
        files.check_writable_dir(directory, 'intermediate_output_graphs_dir')
    elif directory and not _is_default(directory) and not config.folder.run_dir:
        log.warning(
            'WARNING: nothing will be written to --intermediate_output_graphs_dir=%s: give '
            '--intermediate_store_frequency too.', directory,
        )  # fmt: skip


def _is_default(directory: str) -> bool:
    default = ExportConfig.intermediate_output_graphs_dir
    return os.path.abspath(directory) == os.path.abspath(default)  # as flagfiles have it
