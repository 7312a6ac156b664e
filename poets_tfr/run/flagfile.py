"""A run's settings as an absl flagfile that repeats the run, from any folder."""

from __future__ import annotations

import csv
import io
import logging
import os
from typing import Any

from poets_tfr import files
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.run.settings import IN_CACHE, IN_RUN, RunConfig, is_path
from poets_tfr.settings import names_of

log = logging.getLogger('poets_tfr')

NAME = 'retrain.flags'
_OPENING = '# Repeats this run:  python tools/retrain.py --flagfile='
_NOT_REPEATED = frozenset({'resume'})  # the repeated run begins at the beginning


def save(config: RunConfig) -> None:
    """Writes it into summaries_dir; a file of that name that is not ours stays as it is."""
    path = files.join(files.absolute(config.reporting.summaries_dir), NAME)
    if not files.may_replace(path, _OPENING.encode()):
        return
    if odd := [name for name, value in config.values.items() if not _survives(value)]:
        log.warning(
            '%s is not written: a flagfile cannot hold the value of --%s (line ends, spaces at its '
            'end, or bytes that are not UTF-8).', path, odd[0],
        )  # fmt: skip
        return
    lines = [f'{_OPENING}{path}', *flags_of(config)]
    files.write_bytes(path, '\n'.join([*lines, '']).encode('utf-8', 'surrogateescape'))


def flags_of(config: RunConfig) -> list[str]:
    """`--name=value` for every setting, the paths absolute.

    Of a run without images only those conversion settings that were asked for, because its records
    may have been made with others than the defaults. Of a run in a numbered folder not the places
    that follow from `run_dir`: repeated, it gets a folder of its own.
    """
    values = config.values
    left_out = set(_NOT_REPEATED)
    if not config.conversion.place:
        left_out |= {*names_of(ConversionConfig)} - {'records_dir', *config.demanded}
    elif config.conversion.splits_by_given_path:
        values['split_prefix'] = config.conversion.hash_prefix  # image_dir as it was typed
    if config.folder.run_dir:
        left_out |= {*IN_RUN, *IN_CACHE} - config.given
    if values['tfhub_module']:
        left_out.add('architecture')
    return [
        f'--{name}={_text(name, value)}'
        for name, value in sorted(values.items())
        if name not in left_out and (value or not is_always_path(name))
    ]


def _survives(value: Any) -> bool:
    """Whether absl reads the value back from a flagfile as it is."""
    texts = value if isinstance(value, tuple) else [value] if isinstance(value, str) else []
    return all(text == text.strip() and text.isprintable() for text in texts)


def is_always_path(name: str) -> bool:
    return is_path(RunConfig, name, 'a name that is no path')


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and is_path(RunConfig, name, value):
        return files.absolute(os.path.expanduser(value))
    if isinstance(value, tuple):
        line = io.StringIO()
        csv.writer(line, lineterminator='').writerow(value)
        return line.getvalue()
    return str(value).lower() if isinstance(value, bool) else str(value)
