"""All that can go wrong and can be known before any long work."""

from __future__ import annotations

import logging
import os

from poets_tfr import files, writable
from poets_tfr.backbones import frozen
from poets_tfr.errors import InputError
from poets_tfr.export.settings import ExportConfig
from poets_tfr.export.writing import output_faults
from poets_tfr.records import manifest as manifests
from poets_tfr.records.reading import Records
from poets_tfr.run.settings import RunConfig
from poets_tfr.sources.listing import Listing, list_images
from poets_tfr.training import head_checkpoints

log = logging.getLogger('poets_tfr')


def check_inputs(config: RunConfig, is_chief: bool) -> Listing | None:
    """What is known without TensorFlow; the listing of image_dir, where the chief converts it.

    Raises:
      InputError: something the user can mend.
    """
    writable.refuse(_place_faults(config, is_chief))
    listing = None
    if is_chief:
        listing = _check_records(config)
        _warn_of_idle(config)
    if config.head.warm_start and not files.exists(config.head.warm_start):
        raise InputError(f'--warm_start: {config.head.warm_start} not found.')
    frozen.check_available(config.backbone)
    return listing


def check_validation(config: RunConfig, records: Records) -> None:
    """What is chosen by the validation split needs one: raises InputError without."""
    asked = {
        '--head_search': config.head.head_search == 'auto',
        '--early_stopping_patience': config.head.early_stopping_patience > 0,
        '--fine_tune_from': config.fine_tune.is_on,
        '--calibrate': config.confidence.calibrate,
        '--target_precision': config.confidence.target_precision > 0,
        '--refuse_unlike': config.confidence.refuse_unlike > 0,
    }
    for flag, is_on in asked.items():
        if is_on and not records.splits['validation']:
            raise InputError(
                f'{flag} chooses by validation images, and there are none: give '
                '--validation_percentage.'
            )


def _check_records(config: RunConfig) -> Listing | None:
    conversion = config.conversion
    if conversion.place:
        return list_images(conversion)
    records = Records.open(conversion.records_dir)
    manifests.check_settings(conversion.records_dir, records.manifest, config.demanded)
    records.check_indexes()
    return None


def _place_faults(config: RunConfig, is_chief: bool) -> list[str]:
    """Of every place that this process will write to; '' where all is well."""
    conversion, export = config.conversion, config.export
    folders = [(config.extraction.bottleneck_dir, 'bottleneck_dir')]
    if is_chief:
        head = head_checkpoints.directory_of(config.checkpoint.checkpoint_path)
        folders += [(config.reporting.summaries_dir, 'summaries_dir'), (head, 'checkpoint_path')]
        if conversion.place:
            folders.append((conversion.records_dir, 'records_dir'))
        if export.intermediate_store_frequency:
            directory = export.intermediate_output_graphs_dir
            folders.append((directory, 'intermediate_output_graphs_dir'))
    return [
        *(output_faults(export) if is_chief else ()),
        *(writable.folder_fault(path, flag) for path, flag in folders),
        frozen.place_fault(config.backbone),
    ]


def _warn_of_idle(config: RunConfig) -> None:
    directory = config.export.intermediate_output_graphs_dir
    if config.export.intermediate_store_frequency or config.folder.run_dir:
        return
    if directory and not _is_default(directory):
        log.warning(
            'WARNING: nothing will be written to --intermediate_output_graphs_dir=%s: give '
            '--intermediate_store_frequency too.', directory,
        )  # fmt: skip


def _is_default(directory: str) -> bool:
    default = ExportConfig.intermediate_output_graphs_dir
    return os.path.abspath(directory) == os.path.abspath(default)  # as flagfiles have it
