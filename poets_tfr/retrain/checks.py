"""All that can go wrong and can be known before any long work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poets_tfr import files, flagfile
from poets_tfr.backbones import frozen
from poets_tfr.config import ConversionConfig, InputError, OutputConfig, RetrainConfig
from poets_tfr.export.writing import check_outputs
from poets_tfr.records import manifest as manifests
from poets_tfr.records.image_dir import Listing, list_image_dir
from poets_tfr.records.manifest import Manifest


def check_inputs(
    config: RetrainConfig, insisted: Mapping[str, Any], is_chief: bool
) -> Listing | None:
    """What is known without TensorFlow; the listing of image_dir, where the chief converts it.

    Raises:
      InputError: something the user can mend.
    """
    if not config.conversion.image_dir and not config.conversion.records_dir:
        raise InputError('Must set flag --image_dir (a folder with one folder per class).')
    listing = None
    if is_chief:
        listing = _check_records(config.conversion, insisted)
        _check_output(config.output)
        files.check_writable_dir(config.checkpoint.checkpoint_path, 'checkpoint_path')
    files.check_writable_dir(config.output.bottleneck_dir, 'bottleneck_dir')
    frozen.check_available(config.backbone)
    if config.head.warm_start and not files.exists(config.head.warm_start):
        raise InputError(f'--warm_start: {config.head.warm_start} not found.')
    if is_chief:
        flagfile.save(config, insisted)
    return listing


def check_validation(config: RetrainConfig, manifest: Manifest) -> None:
    """What is chosen by the validation split needs one: raises InputError without."""
    asked = {
        '--head_search': config.head.head_search == 'auto',
        '--early_stopping_patience': config.head.early_stopping_patience > 0,
        '--fine_tune_from': config.fine_tune.is_on,
    }
    for flag, is_on in asked.items():
        if is_on and not manifest.splits['validation'].pictures:
            raise InputError(
                f'{flag} chooses by validation pictures, and there are none: give '
                '--validation_percentage.'
            )


def _check_records(config: ConversionConfig, insisted: Mapping[str, Any]) -> Listing | None:
    if config.image_dir:
        listing = list_image_dir(config)
        files.check_writable_dir(config.records_dir, 'records_dir')
        return listing
    manifest = manifests.load_manifest(config.records_dir)
    manifests.check_settings(config.records_dir, manifest, insisted)
    manifests.check_shards(config.records_dir, manifest)
    return None


def _check_output(output: OutputConfig) -> None:
    check_outputs(output)
    files.check_writable_dir(output.summaries_dir, 'summaries_dir')
    if output.intermediate_store_frequency:
        directory = output.intermediate_output_graphs_dir
        files.check_writable_dir(directory, 'intermediate_output_graphs_dir')
