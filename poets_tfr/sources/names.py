"""Labels that are numbers, and the file that names them. No TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.errors import InputError


def read(path: str) -> list[str]:
    """The names in a file, one a line; the first is that of the first number.

    Raises:
      InputError: there is no such file, or it has empty lines or a name twice.
    """
    try:
        text = files.read_bytes(path).decode('utf-8-sig')
    except OSError:
        raise InputError(f'--label_names: {path} not found.') from None
    except UnicodeDecodeError:
        raise InputError(f'--label_names: {path} is not UTF-8 text.') from None
    found = [line.strip() for line in text.rstrip().splitlines()]
    seen = set()
    for number, name in enumerate(found, 1):
        if not name:
            raise InputError(f'--label_names: line {number} of {path} is empty.')
        if name in seen:
            raise InputError(f'--label_names: {path} has {name!r} twice.')
        seen.add(name)
    if not found:
        raise InputError(f'--label_names: {path} is empty.')
    return found


def named(names: Sequence[str] | None, label: str, where: str) -> str:
    """The name of a label that is a number from 0; without names, the label as it is.

    Raises:
      InputError: no number, or one that has no name; `where` begins the message.
    """
    if names is None:
        return label
    number = int(label) if label.isascii() and label.isdigit() else -1
    if not 0 <= number < len(names):
        raise InputError(
            f'{where}: the label {label!r} is no number from 0 to {len(names) - 1}, as the '
            f'{len(names)} lines of --label_names would have it.'
        )
    return names[number]


def pyarrow_parquet(where: str) -> Any:
    """The module pyarrow.parquet. Raises InputError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f'{where}: Parquet is read by pyarrow: install it (pip install pyarrow, or the extra '
            'parquet).'
        ) from None
    return pyarrow.parquet
