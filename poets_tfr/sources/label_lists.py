"""A list of images and their labels beside one folder of them: CSV, TSV, JSONL or Parquet.

No TensorFlow.
"""

from __future__ import annotations

import collections
import csv
import io
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources import names, remarks
from poets_tfr.sources.class_folders import scan_root
from poets_tfr.sources.folders import Folders, PictureFile
from poets_tfr.sources.headers import one_line
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Tree
from poets_tfr.sources.split_folders import split_named

log = logging.getLogger('poets_tfr')

PATH_NAMES = 'file_name', 'filename', 'file', 'path', 'image', 'image_id', 'id'
LABEL_NAMES = 'label', 'class', 'category', 'target'
SPLIT_NAMES = 'split', 'set', 'subset'
NO_COLUMN = 'none'
METADATA = 'metadata.csv', 'metadata.jsonl'  # Hugging Face's ImageFolder
_DELIMITERS = ',;\t|'
_MOST_SHOWN = 20


class _Row(NamedTuple):
    """number: of the line, as an editor counts, or of the row."""

    number: int
    path: str
    label: str
    split: str


class Table(NamedTuple):
    """columns: their names. rows: (number, the values in the columns' order)."""

    where: str
    columns: list[str]
    rows: list[tuple[int, Sequence[Any]]]


def metadata_in(tree: Tree) -> str:
    """The name of Hugging Face's list at the top of a tree, if it has labels; else ''."""
    top = {entry.name for entry in scan_root(tree) if entry.is_file}
    for name in METADATA:
        if name in top:
            try:
                table = _read(f'{tree.where}/{name}', tree.read(name))
            except (
                InputError
            ) as error:  # class folders may hold a file of this name that is no list
                log.warning('WARNING: not taken as a list of labels: %s', error.with_dashes)
                continue
            if _found(table.columns, LABEL_NAMES) and 'file_name' in table.columns:
                return name
    return ''


def list_labels(config: SourceConfig, tree: Tree, metadata: str = '') -> Inventory:
    """The images of a tree that a list names, with the labels and splits that it gives.

    Args:
      metadata: the list's name in the tree, in place of `config.labels_file`.

    Raises:
      InputError: the list cannot be read or understood, or contradicts itself.
    """
    if metadata:
        log.info('Labels: from %s in %s.', metadata, tree.where)
        table = _read(f'{tree.where}/{metadata}', tree.read(metadata))
        where = table.where
    else:
        where = f'--labels_file={config.labels_file}'
        table = _read(where, _content(config, tree))
    on_disk, ignored = _files_in(config, tree)
    listed = _Names(on_disk, where, tree.above)
    label_of_number = names.read(config.label_names) if config.label_names else None
    images: dict[str, Listed] = {}
    first_row: dict[str, _Row] = {}
    again = 0
    for row in _rows(config, table):
        path = listed.path_of(row)
        label = names.named(label_of_number, row.label, f'{where}, row {row.number}')
        former = first_row.setdefault(path, row._replace(label=label))
        if former.number != row.number:
            if (former.label, former.split) != (label, row.split):
                raise InputError(
                    f'{where}: {printable(path)} has two labels or splits: '
                    f'{_shown(former)} in row {former.number}, {_shown(row)} in row {row.number}. '
                    'Delete one.'
                )
            again += 1
            continue
        images[path] = _listed(path, label, row.split, on_disk.get(path))
    _check_splits(where, first_row.values())
    _tell(where, images, on_disk, again)
    ignored += sum(path not in images for path in on_disk)
    is_given = any(image.split for image in images.values())
    by = f'the column {_split_column(config, table)}' if is_given else ''
    return Inventory([*images.values()], ignored, by)


def _listed(path: str, label: str, split: str, file: PictureFile | None) -> Listed:
    if file is None:
        return Listed(path, label, 0, 0, split, 'in the list of labels, but there is no such file')
    return Listed(path, label, file.size, file.mtime_ns, split, file.fault)


def _shown(row: _Row) -> str:
    return f'{row.label!r} ({row.split})' if row.split else repr(row.label)


def _check_splits(where: str, rows: Collection[_Row]) -> None:
    """All rows have a split, or none has."""
    lacking = next((row for row in rows if not row.split), None)
    if lacking and any(row.split for row in rows):
        raise InputError(
            f'{where}, row {lacking.number}: the split is empty, though that of other rows is '
            'not: fill it in, or leave the column out with --split_column=none.'
        )


def _tell(
    where: str, images: dict[str, Listed], on_disk: dict[str, PictureFile], again: int
) -> None:
    missing = [path for path in images if path not in on_disk]
    unlisted = [path for path in on_disk if path not in images]
    if missing and len(missing) == len(images):
        raise InputError(
            f'{where}: none of its {len(images)} images is below --image_dir; the first is '
            f'{printable(missing[0])}'
            + (f', and there is {printable(unlisted[0])}' if unlisted else '')
            + '. --image_dir must be the folder from which its names lead to the images.'
        )
    for what, paths in (
        ('in the list of labels, but not below image_dir, skipped', missing),
        ('below image_dir, but not in the list of labels, ignored', unlisted),
    ):
        if paths:
            log.warning('Images %s: %d (%s).', what, len(paths), remarks.some(paths))
    if again:
        log.warning('Rows of the list of labels that say the same as one before: %d.', again)


def _files_in(config: SourceConfig, tree: Tree) -> tuple[dict[str, PictureFile], int]:
    """Path -> the file, of all images at any depth; and how many other files there are."""
    scan_root(tree)
    walk = Folders(tree, recursive=True, follow_links=config.follow_links)
    contents = walk.look_into('')
    remarks.check_open('--image_dir', walk)
    remarks.of_folders(walk)
    return {file.name: file for file in contents.pictures}, contents.ignored


class _Names:
    """What a list calls the images -> their paths."""

    def __init__(self, on_disk: dict[str, PictureFile], where: str, above: str):
        self._on_disk, self._where, self._above = on_disk, where, above
        self._without_extension: dict[str, list[str]] = collections.defaultdict(list)
        for path in on_disk:
            self._without_extension[os.path.splitext(path)[0]].append(path)

    def path_of(self, row: _Row) -> str:
        """Raises InputError: the name leads out of image_dir, or may be several files."""
        name = row.path.replace('\\', '/')
        if name.startswith('/') or re.match('[a-zA-Z]:', name) or '..' in name.split('/'):
            raise InputError(
                f'{self._where}, row {row.number}: {printable(row.path)} is not a name below '
                '--image_dir: write it as it stands there.'
            )
        name = '/'.join(part for part in name.split('/') if part not in ('', '.'))
        if name not in self._on_disk:  # the list may begin higher up in an archive
            name = name.removeprefix(self._above)
        if name in self._on_disk:
            return name
        completed = self._without_extension.get(name, [])
        if len(completed) > 1:
            raise InputError(
                f'{self._where}, row {row.number}: {printable(name)} may be '
                f'{" or ".join(map(printable, completed[:3]))}: give the extension.'
            )
        return completed[0] if completed else name


def _rows(config: SourceConfig, table: Table) -> Iterator[_Row]:
    """Raises InputError: a column is missing or ambiguous, or a row lacks a value."""
    path = _column(table, 'path_column', config.path_column, PATH_NAMES)
    label = _column(table, 'label_column', config.label_column, LABEL_NAMES)
    split = _split_column(config, table)
    at = {name: table.columns.index(name) for name in (path, label, split) if name}
    for number, values in table.rows:
        if len(values) > len(table.columns):
            raise InputError(
                f'{table.where}, row {number} has {len(values)} values, the header names '
                f'{len(table.columns)}: put a value with the delimiter in it into quotes.'
            )
        cells = {
            column: _cell(f'{table.where}, row {number}: the column {column}', values, place)
            for column, place in at.items()
        }
        for column in path, label:
            if not cells[column]:
                raise InputError(f'{table.where}, row {number}: the column {column} is empty.')
        word = cells.get(split, '')
        named = split_named(word)
        if word and not named:
            raise InputError(
                f'{table.where}, row {number}: the split {word!r} is not understood: train, '
                'validation or test are. --split_column=none leaves the column out.'
            )
        yield _Row(number, cells[path], cells[label], named)


def _cell(where: str, values: Sequence[Any], place: int) -> str:
    """A value as text; '' where the row is shorter. Raises InputError: it is several values."""
    found = values[place] if place < len(values) else None
    if isinstance(found, list | dict):
        raise InputError(f'{where} holds {found!r}; one value is wanted.')
    return '' if found is None else str(found).strip()


def _split_column(config: SourceConfig, table: Table) -> str:
    if config.split_column == NO_COLUMN or config.split_by in ('relative_path', 'given_path'):
        return ''
    if config.split_column or _found(table.columns, SPLIT_NAMES):
        return _column(table, 'split_column', config.split_column, SPLIT_NAMES)
    return ''


def _column(table: Table, flag: str, given: str, usual: Sequence[str]) -> str:
    """The column that a flag names, or the one that has a usual name."""
    header = ', '.join(map(printable, table.columns[:_MOST_SHOWN]))
    if given:
        if given in table.columns:
            return given
        raise InputError(f'--{flag}={given}: {table.where} has no such column; it has {header}.')
    found = _found(table.columns, usual)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f'{table.where}: {" and ".join(found)} may both be meant: choose with --{flag}. Its '
            f'columns are {header}.'
        )
    raise InputError(
        f'{table.where}: which column is it? Name it with --{flag}. Its columns are {header}.'
    )


def _found(columns: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The columns of the usual names, in any case; of path and id, the more telling one."""
    of_name = {column.strip().lower(): column for column in reversed(columns)}
    found = [of_name[name] for name in usual if name in of_name]
    if usual is PATH_NAMES:  # `id` beside `file_name` numbers the rows
        telling = [name for name in found if name.strip().lower() not in ('id', 'image_id')]
        return telling or found[:1]
    return found


def _content(config: SourceConfig, tree: Tree) -> bytes:
    """The list lies on the drive, or in the tree."""
    path = config.labels_file
    if files.exists(path):
        if os.path.isdir(path):
            raise InputError(f'--labels_file: {path} is a folder: name the list.')
        return files.read_bytes(path)
    try:
        return tree.read(path)
    except OSError:
        raise InputError(
            f'--labels_file: {path} not found (looked at {files.absolute(path)}).'
        ) from None


def _read(where: str, content: bytes) -> Table:
    extension = os.path.splitext(where)[1].lower()
    if extension == '.parquet':
        return _read_parquet(where, content)
    if extension not in ('.csv', '.tsv', '.txt', '.jsonl', '.ndjson'):
        raise InputError(f'{where}: .csv, .tsv, .jsonl and .parquet can be read.')
    text = _text(where, content)
    return _read_jsonl(where, text) if 'json' in extension else _read_csv(where, text)


def _text(where: str, content: bytes) -> str:
    encoding = 'utf-16' if content[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f'{where} is not UTF-8 text (byte {error.start}): save it as UTF-8.'
        ) from None


def _read_csv(where: str, text: str) -> Table:
    header = text.partition('\n')[0]
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(f'{where} is not a table ({error}, line {reader.line_num}).') from None
    if not rows:
        raise InputError(f'{where} is empty.')
    columns = [name.strip() for name in rows[0][1]]
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise InputError(f'{where}: two columns are named {twice[0]!r}: rename one.')
    if re.search(r'\.(jpe?g|png|webp|heic|tiff?|bmp|gif|avif)$', columns[0], re.IGNORECASE):
        raise InputError(
            f'{where}: its first line ({header.strip()[:80]}) names an image: put a line with the '
            'names of the columns above it, such as file_name,label.'
        )
    return Table(where, columns, list(rows[1:]))


def _read_jsonl(where: str, text: str) -> Table:
    columns: dict[str, None] = {}
    objects = []
    for number, line in enumerate(text.split('\n'), 1):  # a string may hold other line ends
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
