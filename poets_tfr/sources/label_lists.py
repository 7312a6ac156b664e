"""A list of images and their labels beside one folder of them: CSV, TSV, JSONL or Parquet.

No TensorFlow.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources import label_tables, names, remarks
from poets_tfr.sources.class_folders import scan_root
from poets_tfr.sources.folders import Folders, PictureFile, is_left_alone
from poets_tfr.sources.label_tables import (
    LABEL_NAMES,
    PATH_NAMES,
    SPLIT_NAMES,
    Table,
    column_of,
    columns_named,
)
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Tree
from poets_tfr.sources.split_folders import split_named

log = logging.getLogger('poets_tfr')

NO_COLUMN = 'none'
METADATA = 'metadata.csv', 'metadata.jsonl'  # Hugging Face's ImageFolder


class _Row(NamedTuple):
    """number: of the line, as an editor counts, or of the row. where: what begins messages."""

    where: str
    number: int
    path: str
    label: str
    split: str


def metadata_in(tree: Tree) -> list[str]:
    """Hugging Face's lists that have labels: at the top of a tree, or in its split folders."""
    top = scan_root(tree)
    try:
        found = _metadata_below(tree, '')
    except InputError as error:  # class folders may hold a file of this name that is none of ours
        log.warning('WARNING: not taken as a list of labels: %s', error.with_dashes)
        return []
    if found:
        return found
    folders = [entry.name for entry in top if entry.is_dir and not is_left_alone(entry.name)]
    if not all(map(split_named, folders)):
        return []
    of_folder = {folder: _metadata_below(tree, folder) for folder in folders}
    is_one = any(of_folder[folder] and split_named(folder) == 'train' for folder in folders)
    return [path for found in of_folder.values() for path in found] if is_one else []


def _metadata_below(tree: Tree, folder: str) -> list[str]:
    prefix = f'{folder}/' if folder else ''
    there: set[str] = set()
    with contextlib.suppress(OSError):
        there = {entry.name for entry in tree.scan(folder) if entry.is_file}
    for name in METADATA:
        if name in there:
            table = _of_tree(tree, f'{prefix}{name}')
            if columns_named(table.columns, LABEL_NAMES) and 'file_name' in table.columns:
                return [f'{prefix}{name}']
    return []


def _of_tree(tree: Tree, path: str) -> Table:
    return label_tables.read(f'{tree.where}/{path}', tree.read(path))


def list_labels(config: SourceConfig, tree: Tree, metadata: Sequence[str] = ()) -> Inventory:
    """The images of a tree that lists name, with the labels and splits that these give.

    Args:
      metadata: the lists' paths in the tree, in place of `config.labels_file`; the names in them
        are below their own folders.

    Raises:
      InputError: a list cannot be read or understood, or contradicts itself.
    """
    if metadata:
        log.info('Labels: from %s in %s.', ' and '.join(metadata), tree.where)
        tables = [(os.path.dirname(path), _of_tree(tree, path)) for path in metadata]
    else:
        where = f'--labels_file={config.labels_file}'
        tables = [('', label_tables.read(where, _content(config, tree)))]
    on_disk, ignored = _files_in(config, tree)
    rows, again = _row_of_each(config, tables, _Names(on_disk, tree.above))
    by = next((f'the column {c}' for _, t in tables if (c := _split_column(config, t))), '')
    if metadata and not by and config.split_column != NO_COLUMN:
        rows, by = _with_splits_of_folders(config, rows)
    _check_splits(rows.values())
    images = {path: _listed(path, row, on_disk.get(path)) for path, row in rows.items()}
    _tell(tables[0][1].where, images, on_disk, again)
    ignored += sum(path not in images for path in on_disk)
    return Inventory([*images.values()], ignored, by if any(r.split for r in rows.values()) else '')


def _row_of_each(
    config: SourceConfig, tables: Sequence[tuple[str, Table]], listed: _Names
) -> tuple[dict[str, _Row], int]:
    """Path -> its row, with the label's name; and how many rows say the same as one before."""
    label_of_number = names.read(config.label_names) if config.label_names else None
    found: dict[str, _Row] = {}
    again = 0
    for folder, table in tables:
        for row in _rows(config, table):
            path = listed.path_of(row, folder)
            label = names.named(label_of_number, row.label, f'{row.where}, row {row.number}')
            row = row._replace(label=label)
            former = found.setdefault(path, row)
            if (former.label, former.split) != (row.label, row.split):
                raise InputError(
                    f'{row.where}: {printable(path)} has two labels or splits: '
                    f'{_shown(former)} in row {former.number}, {_shown(row)} in row {row.number}. '
                    'Delete one.'
                )
            again += former is not row
    return found, again


def _with_splits_of_folders(
    config: SourceConfig, rows: dict[str, _Row]
) -> tuple[dict[str, _Row], str]:
    """The same rows with the splits of the folders; as they are if one is in no split's folder."""
    splits = {path: split_named(path.split('/')[0]) if '/' in path else '' for path in rows}
    if config.draws_all_splits or not all(splits.values()):
        return rows, ''
    return {path: row._replace(split=splits[path]) for path, row in rows.items()}, 'folders'


def _listed(path: str, row: _Row, file: PictureFile | None) -> Listed:
    if file is None:
        fault = 'in the list of labels, but there is no such image'
        return Listed(path, row.label, 0, 0, row.split, fault)
    return Listed(path, row.label, file.size, file.mtime_ns, row.split, file.fault)


def _shown(row: _Row) -> str:
    return f'{row.label!r} ({row.split})' if row.split else repr(row.label)


def _check_splits(rows: Collection[_Row]) -> None:
    """All rows have a split, or none has."""
    lacking = next((row for row in rows if not row.split), None)
    if lacking and any(row.split for row in rows):
        raise InputError(
            f'{lacking.where}, row {lacking.number}: the split is empty, though that of other rows '
            'is not: fill it in, or leave the column out with --split_column=none.'
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

    def __init__(self, on_disk: dict[str, PictureFile], above: str):
        """above: the folder of an archive that is the root of the tree, with '/' at its end."""
        self._on_disk, self._above = on_disk, above
        self._without_extension: dict[str, list[str]] = collections.defaultdict(list)
        for path in on_disk:
            self._without_extension[os.path.splitext(path)[0]].append(path)

    def path_of(self, row: _Row, folder: str) -> str:
        """The path from the top, of a name below `folder`.

        Raises InputError: the name leads out of image_dir, or may be several files.
        """
        name = row.path.replace('\\', '/')
        if name.startswith('/') or re.match('[a-zA-Z]:', name) or '..' in name.split('/'):
            raise InputError(
                f'{row.where}, row {row.number}: {printable(row.path)} is not a name below '
                '--image_dir: write it as it stands there.'
            )
        parts = (part for part in [*folder.split('/'), *name.split('/')] if part not in ('', '.'))
        name = '/'.join(parts)
        if name not in self._on_disk:  # the list may begin higher up in an archive
            name = name.removeprefix(self._above)
        if name in self._on_disk:
            return name
        completed = self._without_extension.get(name, [])
        if len(completed) > 1:
            raise InputError(
                f'{row.where}, row {row.number}: {printable(name)} may be '
                f'{" or ".join(map(printable, completed[:3]))}: give the extension.'
            )
        return completed[0] if completed else name


def _rows(config: SourceConfig, table: Table) -> Iterator[_Row]:
    """Raises InputError: a column is missing or ambiguous, or a row lacks a value."""
    path = column_of(table, 'path_column', config.path_column, PATH_NAMES)
    label = column_of(table, 'label_column', config.label_column, LABEL_NAMES)
    split = _split_column(config, table)
    at = {name: table.columns.index(name) for name in (path, label, split) if name}
    for number, values in table.rows:
        texts = {}
        for column, place in at.items():
            value = values[place] if place < len(values) else None
            if isinstance(value, (list, dict, bytes)):
                raise InputError(
                    f'{table.where}, row {number}: the column {column} holds a '
                    f'{type(value).__name__}; a text or a number is wanted.'
                )
            texts[column] = '' if value is None or value != value else str(value).strip()
        for column in path, label:
            if not texts[column]:
                raise InputError(f'{table.where}, row {number}: the column {column} is empty.')
        word = texts.get(split, '')
        named = split_named(word)
        if word and not named:
            raise InputError(
                f'{table.where}, row {number}: the split {word!r} is not understood: train, '
                'validation or test are. --split_column=none leaves the column out.'
            )
        yield _Row(table.where, number, texts[path], texts[label], named)


def _split_column(config: SourceConfig, table: Table) -> str:
    if config.split_column == NO_COLUMN or config.draws_all_splits:
        return ''
    if config.split_column or columns_named(table.columns, SPLIT_NAMES):
        return column_of(table, 'split_column', config.split_column, SPLIT_NAMES)
    return ''


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
