"""A table with named columns: CSV, TSV, JSON lines or Parquet; and which column holds what.

No TensorFlow.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources import names
from poets_tfr.sources.headers import one_line

PATH_NAMES = 'file_name', 'filename', 'file', 'path', 'image', 'image_id', 'id'
LABEL_NAMES = 'label', 'class', 'category', 'target'
SPLIT_NAMES = 'split', 'set', 'subset'
_DELIMITERS = ',;\t|'
_MOST_SHOWN = 20


class Table(NamedTuple):
    """columns: their names. rows: (number, the values in the columns' order)."""

    where: str
    columns: list[str]
    rows: Sequence[tuple[int, Sequence[Any]]]


def read(where: str, content: bytes) -> Table:
    """The table in a file; the extension of `where` says of which kind it is.

    Raises:
      InputError: it cannot be read or understood.
    """
    extension = os.path.splitext(where)[1].lower()
    if extension == '.parquet':
        return _read_parquet(where, content)
    if extension not in ('.csv', '.tsv', '.txt', '.jsonl', '.ndjson'):
        raise InputError(f'{where}: .csv, .tsv, .jsonl and .parquet can be read.')
    text = _text(where, content)
    return _read_jsonl(where, text) if 'json' in extension else _read_csv(where, text)


def column_of(table: Table, flag: str, given: str, usual: Sequence[str]) -> str:
    """The column that a flag names, or the one that has a usual name."""
    header = ', '.join(map(printable, table.columns[:_MOST_SHOWN]))
    found = [given] if given else columns_named(table.columns, usual)
    if given and given not in table.columns:
        raise InputError(f'--{flag}={given}: {table.where} has no such column; it has {header}.')
    if not found:
        if flag == 'label_column' and (one_hot := _one_hot(table)):
            raise InputError(
                f'{table.where}: {", ".join(map(printable, one_hot[:_MOST_SHOWN]))} hold only 0 '
                'and 1, a column for each class: in their place, one column is wanted that names '
                'the class, called label.'
            )
        raise InputError(
            f'{table.where}: which column is it? Name it with --{flag}. Its columns are {header}.'
        )
    if len({*found}) > 1:
        raise InputError(
            f'{table.where}: {" and ".join(found)} may both be meant: choose with --{flag}. Its '
            f'columns are {header}.'
        )
    if table.columns.count(found[0]) > 1:
        raise InputError(
            f'{table.where}: {table.columns.count(found[0])} columns are called '
            f'{printable(found[0])}: rename all but one. Its columns are {header}.'
        )
    return found[0]


def _one_hot(table: Table) -> list[str]:
    """The columns of which each row has 0 or 1, if they are two or more."""
    found = []
    for place, column in enumerate(table.columns):
        values = {str(row[place]).strip() for _, row in table.rows if place < len(row)}
        if values and values <= {'0', '1', '0.0', '1.0'}:
            found.append(column)
    return found if len(found) > 1 else []


def columns_named(columns: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The columns of the usual names, in any case; of path and id, the more telling one."""
    found = [column for name in usual for column in columns if column.strip().lower() == name]
    if usual is PATH_NAMES:  # `id` beside `file_name` numbers the rows
        telling = [name for name in found if name.strip().lower() not in ('id', 'image_id')]
        return telling or [name for name in found if name.lower() == found[0].lower()]
    return found


def _text(where: str, content: bytes) -> str:
    encoding = 'utf-16' if content[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f'{where} is not UTF-8 text (byte {error.start}): save it as UTF-8.'
        ) from None


def _read_csv(where: str, text: str) -> Table:
    header = text.lstrip('\r\n').partition('\n')[0]
    delimiter = max(_DELIMITERS, key=re.sub('"[^"]*"', '', header).count)
    try:
        reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(f'{where} is not a table ({error}, line {reader.line_num}).') from None
    if not rows:
        raise InputError(f'{where} is empty.')
    columns = [name.strip() for name in rows[0][1]]
    if re.search(r'\.(jpe?g|png|webp|heic|tiff?|bmp|gif|avif)$', columns[0], re.IGNORECASE):
        raise InputError(
            f'{where}: its first line ({header.strip()[:80]}) names an image: put a line with the '
            'names of the columns above it, such as file_name,label.'
        )
    for number, row in rows[1:]:
        if any(map(str.strip, row[len(columns) :])):
            raise InputError(
                f'{where}, row {number} has {len(row)} values, and there are {len(columns)} '
                f'columns: a value that holds {delimiter!r} has to stand in double quotes.'
            )
    return Table(where, columns, rows[1:])


def _read_jsonl(where: str, text: str) -> Table:
    columns: dict[str, None] = {}
    objects = []
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f'{where}, line {number} is not JSON ({error}).') from None
        if not isinstance(value, dict):
            raise InputError(f'{where}, line {number}: an object is wanted, {{"file_name": ...}}.')
        objects.append((number, value))
        columns |= dict.fromkeys(value)
    if not objects:
        raise InputError(f'{where} is empty.')
    return Table(where, [*columns], [(n, [v.get(c) for c in columns]) for n, v in objects])


def _read_parquet(where: str, content: bytes) -> Table:
    arrow = names.pyarrow_parquet(where)
    try:
        table = arrow.read_table(io.BytesIO(content))
    except Exception as error:
        raise InputError(f'{where} is not a Parquet file ({one_line(error)}).') from None
    columns = [table.column(name).to_pylist() for name in table.column_names]
    return Table(where, table.column_names, list(enumerate(zip(*columns, strict=True), 1)))
