"""The splits that the names of record files give. No TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.split_folders import split_named

_SHOWN = 3
# As TensorFlow Datasets has it: the name of the data set, which may be any, and then the split.
_TFDS = re.compile(r'.+-([^-.]+)\.[a-z_]+-\d{5}-of-\d{5}')


def of_files(config: SourceConfig, paths: Sequence[str]) -> list[str]:
    """The split of each file: 'flowers-train-00.tar', 'x.val.parquet', 'test/0.tfrecord'.

    '' for all where none has one, or where the flags want other splits.

    Raises:
      InputError: some have one and others none.
    """
    if config.draws_all_splits:
        return [''] * len(paths)
    found = [_of_name(os.path.basename(path)) or _of_folder(path) for path in paths]
    lacking = [path for path, split in zip(paths, found, strict=True) if not split]
    if lacking and any(found):
        shown = ', '.join(printable(os.path.basename(path)) for path in lacking[:_SHOWN])
        raise InputError(
            f'{config.place_flag}: the names of some files say train, validation or test, others '
            f'do not: {shown}{", ..." if len(lacking) > _SHOWN else ""}. Rename them, or draw '
            'all splits with --split_by=relative_path, or take some files with a pattern.'
        )
    return found


def _of_name(name: str) -> str:
    if match := _TFDS.fullmatch(name):
        return split_named(match[1])
    words = [split_named(word) for word in re.split(r'[-_.]', name)]
    return next(filter(None, reversed(words)), '')  # before it stands what the data set is called


def _of_folder(path: str) -> str:
    return split_named(os.path.basename(os.path.dirname(path)))
