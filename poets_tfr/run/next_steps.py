"""The commands that a run's report names: what can be typed as it stands, from any folder."""

from __future__ import annotations

import os
import shlex

from poets_tfr import files, runtime
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.run import flagfile
from poets_tfr.run.settings import RunConfig, is_path
from poets_tfr.settings import names_of


def again(config: RunConfig) -> str:
    """The same run; flags behind it change it."""
    path = files.absolute(files.join(config.reporting.summaries_dir, flagfile.NAME))
    return f'{runtime.command("poets-retrain")} --flagfile={shlex.quote(path)}'


def examine(config: RunConfig) -> str:
    """Looks over the images of the run, by the features that it kept: nothing is computed twice."""
    places = {
        'records_dir': config.conversion.records_dir,
        'bottleneck_dir': config.extraction.bottleneck_dir,
    }
    default = BackboneConfig()
    network = {
        name: value
        for name in names_of(BackboneConfig)
        if (value := getattr(config.backbone, name)) != getattr(default, name)
    }
    if config.backbone.tfhub_module:
        network.pop('architecture', None)
    given = [
        f'--{name}={_absolute(name, value)}' for name, value in (*places.items(), *network.items())
    ]
    return f'{runtime.command("poets-examine")} {shlex.join(given)}'


def _absolute(name: str, value: object) -> str:
    if isinstance(value, str) and is_path(RunConfig, name, value):
        return files.absolute(os.path.expanduser(value))
    return str(value)
