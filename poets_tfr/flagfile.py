"""A run's settings as an absl flagfile that repeats the run, from any folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from poets_tfr import files
from poets_tfr.config import RetrainConfig

NAME = 'retrain.flags'
_OPENING = '# Repeats this run:  python tools/retrain.py --flagfile='

PATHS = frozenset({
    'image_dir', 'records_dir', 'model_dir', 'bottleneck_dir', 'output_graph', 'output_labels',
    'saved_model_dir', 'summaries_dir', 'intermediate_output_graphs_dir', 'checkpoint_path',
    'warm_start', 'tflite_output', 'keras_output',
})  # fmt: skip
MAYBE_PATHS = frozenset({'tfhub_module', 'weights'})  # or a URL, or a word
_NOT_REPEATED = frozenset({'resume'})  # the repeated run begins at the beginning


def save(config: RetrainConfig, insisted: Mapping[str, Any]) -> None:
    """Writes it into summaries_dir; a file of that name that is not ours stays as it is."""
    path = files.join(files.absolute(config.output.summaries_dir), NAME)
    if not files.may_replace(path, _OPENING.encode()):
        return
    lines = [f'{_OPENING}{path}', *flags_of(config, insisted)]
    files.write_bytes(path, '\n'.join([*lines, '']).encode('utf-8', 'surrogateescape'))


def flags_of(config: RetrainConfig, insisted: Mapping[str, Any]) -> list[str]:
    """`--name=value` for every setting, the paths absolute.

    insisted: the conversion settings that were asked for; of a run without pictures only these, for
    its records may have been made with others than the defaults.
    """
    values: dict[str, Any] = {}
    for section in dataclasses.fields(config):
        values |= dataclasses.asdict(getattr(config, section.name))
    conversion = config.conversion
    if not conversion.image_dir:
        settled = {*dataclasses.asdict(conversion)} - {'records_dir', *insisted}
        values = {name: value for name, value in values.items() if name not in settled}
    elif conversion.splits_by_given_path:
        values['split_prefix'] = conversion.hash_prefix  # image_dir as it was typed
    if values['tfhub_module']:
        del values['architecture']
    return [
        f'--{name}={_text(name, value)}'
        for name, value in sorted(values.items())
        if name not in _NOT_REPEATED and not (name in PATHS and not value)
    ]


def _text(name: str, value: Any) -> str:
    if name in PATHS or (name in MAYBE_PATHS and os.path.exists(value)):
        return files.absolute(os.path.expanduser(value))
    if isinstance(value, tuple):
        return ','.join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
