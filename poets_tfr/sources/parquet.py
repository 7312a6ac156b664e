"""Parquet files of Hugging Face's kind: a column of images, and one of labels. No TensorFlow.

Records are made in the order of a hash, and one row cannot be read without its whole row group. So
on the first read the images of all files are copied, one after another, into one file in the user's
cache, which goes when the records stand.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.places import user_cache_dir
from poets_tfr.sources import names, numbering, record_splits
from poets_tfr.sources.headers import BEGINNING, kind_of
from poets_tfr.sources.kept import kept
from poets_tfr.sources.label_tables import LABEL_NAMES
from poets_tfr.sources.record_paths import RecordPaths
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Readable
from poets_tfr.sources.tfrecords import files_of

_ROWS_AT_A_TIME = 64
_FREE = 256 << 20  # bytes that stay free on the drive


class _Row(NamedTuple):
    """begins: where the image's bytes begin among those of all files."""

    file: int
    begins: int
    size: int
    number: int | None
    text: str
    name: str
    kind: str


class Parquet:
    """A source of Parquet files. An image's place is where it begins among all images."""

    files_root = ''

    def __init__(self, config: SourceConfig):
        self._config = config
        self._flag = f'--image_parquet={config.image_parquet}'
        self._lock = threading.Lock()
        self._open: Any = None

    def inventory(self) -> Inventory:
        config, paths = self._config, self._files
        split_of = record_splits.of_files(config, paths)
        found = kept(self._what, paths, self._look_through)
        rows = [_Row(*row) for row in found['rows']]
        if not rows:
            raise InputError(f'{self._flag}: there are no rows in {len(paths)} files.')
        given = names.read(config.label_names) if config.label_names else found['names']
        numbers = [row.number for row in rows]
        if not given and all(row.text for row in rows):
            labels = [row.text for row in rows]
        else:
            name_of = numbering.name_of(self._flag, '0', numbers, given or None)
            labels = [name_of(row) for row in rows]
        own = RecordPaths([os.path.basename(path) for path in paths], rows)
        stamps = [os.stat(path).st_mtime_ns for path in paths]
        images = [
            Listed(
                own.path(number), labels[number], row.size, stamps[row.file], split_of[row.file],
                '' if row.size else 'the row has no image', place=row.begins,
            )
            for number, row in enumerate(rows)
        ]  # fmt: skip
        return Inventory(images, 0, 'the names of the files' if any(split_of) else '')

    def read(self, image: Readable) -> bytes:
        with self._lock:
            if self._open is None:
                if not os.path.exists(self._copy):
                    self._copy_images()
                self._open = open(self._copy, 'rb')  # noqa: SIM115
        content = os.pread(self._open.fileno(), image.size, image.place)
        if len(content) < image.size:
            raise OSError(5, 'the image is not where it was', self._copy)
        return content

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open.close()
            self._open = None

    def clean_up(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            os.remove(self._copy)

    @functools.cached_property
    def _files(self) -> list[str]:
        return files_of(self._config.image_parquet, self._flag, _is_named_so, '.parquet')

    @property
    def _what(self) -> str:
        return json.dumps(['parquet 1', self._config.image_key, self._config.label_column])

    @property
    def _copy(self) -> str:
        stats = [[os.path.abspath(path), os.path.getmtime(path)] for path in self._files]
        name = hashlib.sha256(json.dumps([self._what, stats]).encode()).hexdigest()[:32]
        return os.path.join(user_cache_dir(), 'unpacked', f'{name}.images')

    def _look_through(self) -> dict[str, Any]:
        rows: list[_Row] = []
        begins, label_names = 0, None
        for number, (image, label, schema_names, batches) in enumerate(self._each_file()):
            label_names = label_names or schema_names
            for batch in batches:
                images, labels = batch.column(image).to_pylist(), batch.column(label).to_pylist()
                for content, value in zip(images, labels, strict=True):
                    encoded, name = _parts(content)
                    row = _row(number, begins, encoded, value, name)
                    begins += row.size
                    rows.append(row)
        return {'rows': rows, 'names': label_names}

    def _copy_images(self) -> None:
        with files.replacing(self._copy) as part, open(part, 'wb') as target:
            for image, _, _, batches in self._each_file():
                for batch in batches:
                    for content in batch.column(image).to_pylist():
                        encoded, _ = _parts(content)
                        if shutil.disk_usage(os.path.dirname(part)).free < _FREE + len(encoded):
                            raise InputError(
                                f'{self._flag}: its images are copied to '
                                f'{os.path.dirname(self._copy)}, where no room is left: make room, '
                                'or name another place with XDG_CACHE_HOME.'
                            )
                        target.write(encoded)

    def _each_file(self) -> Iterator[tuple[str, str, list[str] | None, Iterator[Any]]]:
        """(column of the images, of the labels, names of the labels, batches of both)."""
        arrow = names.pyarrow_parquet(self._flag)
        total = sum(map(os.path.getsize, self._files)) >> 20
        with progress.bar(total, 'MiB', 'Reading Parquet') as bar:
            for path in self._files:
                try:
                    file = arrow.ParquetFile(path)
                except Exception as error:
                    raise InputError(
                        f'--image_parquet: {path} is no Parquet file ({names.one_line(error)}).'
                    ) from None
                with file:
                    image, label = self._columns(path, file.schema_arrow)
                    batches = file.iter_batches(_ROWS_AT_A_TIME, columns=[image, label])
                    yield image, label, _names_in(file.schema_arrow, label), batches
                bar.update(os.path.getsize(path) >> 20)

    def _columns(self, path: str, schema: Any) -> tuple[str, str]:
        """Raises InputError: it cannot be told which columns hold the images and the labels."""
        kinds = {field.name: str(field.type) for field in schema}
        images = [name for name, kind in kinds.items() if _holds_images(kind)]
        labels = [n for n in kinds if n.lower() in (*LABEL_NAMES, 'labels', 'fine_label')]
        chosen = []
        for flag, given, found in (
            ('image_key', self._config.image_key, images),
            ('label_column', self._config.label_column, labels),
        ):
            column = given or (found[0] if len(found) == 1 else '')
            if column not in kinds:
                shown = ', '.join(f'{name} ({kind})' for name, kind in kinds.items())
                raise InputError(
                    f'{path}: {f"there is no column {given}." if given else "which column is it?"} '
                    f'Name it with --{flag}. The columns are {shown}.'
                )
            chosen.append(column)
        return chosen[0], chosen[1]


def _is_named_so(path: str) -> bool:
    return path.lower().endswith('.parquet')


def _holds_images(kind: str) -> bool:
    return kind in ('binary', 'large_binary') or (kind.startswith('struct<') and 'bytes: ' in kind)


def _parts(content: Any) -> tuple[bytes, str]:
    """(the image file, its name) of a cell."""
    if isinstance(content, dict):
        return content.get('bytes') or b'', content.get('path') or ''
    return content or b'', ''


def _row(file: int, begins: int, encoded: bytes, label: Any, name: str) -> _Row:
    number = label if isinstance(label, int) and not isinstance(label, bool) else None
    text = '' if label is None or number is not None else str(label)
    kind = kind_of(encoded[:BEGINNING]) or ''
    return _Row(file, begins, len(encoded), number, text, name, kind)


def _names_in(schema: Any, label: str) -> list[str] | None:
    """Those of a ClassLabel, in what Hugging Face adds to the schema."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        about = json.loads((schema.metadata or {})[b'huggingface'])
        found: Sequence[str] = about['info']['features'][label]['names']
        return list(found)
    return None
