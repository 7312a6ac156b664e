"""Tables for people and programs: tab-separated text with a header, safe whatever names it holds.

In a cell a backslash stands before what would break the table or run in a spreadsheet: tabs and
line ends, other characters that cannot be shown, bytes that are not UTF-8, a backslash, and a
leading = + - @. `read` takes it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable

_ESCAPED = re.compile(r'\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)')
_RUN = '=', '+', '-', '@'
_NAMED = {'t': '\t', 'n': '\n', 'r': '\r'}


def tsv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """The header and a line for each row, in UTF-8."""
    lines = [header, *rows]
    return ''.join('\t'.join(_cell(cell) for cell in line) + '\n' for line in lines).encode()


def read(path: str, wanted: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table of ours, by the header's names, as they were before they were escaped.

    Raises:
      InputError: no such file, not UTF-8, a wanted column is missing, or a row has too few cells
        or too many.
    """
    try:
        text = files.read_bytes(path).decode()
    except FileNotFoundError:
        raise InputError(f'{path}: there is no such file.') from None
    except UnicodeDecodeError:
        raise InputError(f'{path}: not a table in UTF-8.') from None
    header, *rows = (line.removesuffix('\r').split('\t') for line in text.split('\n'))
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InputError(f'{path}: its first line names no column {missing[0]!r}.')
    found = []
    for number, row in enumerate(rows, 2):
        if row == ['']:
            continue
        if len(row) != len(header):
            raise InputError(
                f'{path}, line {number}: {len(row)} cells, but the header has {len(header)}.'
            )
        found.append(dict(zip(header, map(_read_cell, row), strict=True)))
    return found


def json_cell(text: str) -> str:
    """A cell escaped as a JSON string is, in ASCII; and so is a leading = + - @.

    Older tables of ours are written so: records' skipped.tsv, say.
    """
    escaped = json.dumps(text)[1:-1]
    return f'\\u{ord(text[0]):04x}{escaped[1:]}' if text[:1] in _RUN else escaped


def _cell(value: object) -> str:
    """A number is written as it is: only text can run."""
    if isinstance(value, int | float):
        return str(value)
    text = printable(str(value).replace('\\', '\\\\'))
    return f'\\{text}' if text[:1] in _RUN else text


def _read_cell(text: str) -> str:
    def meant(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _NAMED.get(code, code)

    return _ESCAPED.sub(meant, text)
