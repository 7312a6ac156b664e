"""Parquet files of Hugging Face's kind: a column of images, and one of labels. No TensorFlow.

Records are made in the order of a hash, and one row cannot be read without its whole row group. So
on the first read the images of all files are copied, one after another, into one file in the user's
cache, which goes when the records stand.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import itertools
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.places import user_cache_dir
from poets_tfr.progress import printable
from poets_tfr.sources import names, numbering, record_splits
from poets_tfr.sources.headers import BEGINNING, kind_of, one_line
from poets_tfr.sources.kept import kept
from poets_tfr.sources.parquet_columns import columns_of, label_names_in
from poets_tfr.sources.record_files import files_of
from poets_tfr.sources.record_paths import RecordPaths
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Readable

log = logging.getLogger('poets_tfr')

_ROWS_AT_A_TIME = 64
_BUFFER = 1 << 20  # bytes of a file
_FREE = 256 << 20  # bytes that stay free on the drive


class _Row(NamedTuple):
    """begins: where the image's bytes begin among those of all files.

    number: the label, where it is one. text: the label's name; neither where there is no label.
    """

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
        rows = [_Row(*row) for row in kept(self._what, paths, self._look_through)]
        if not rows:
            raise InputError(f'{self._flag}: there are no rows in {len(paths)} files.')
        if not any(row.size for row in rows):
            raise InputError(
                f'{self._flag}: no row holds an image, only names at most. Images in files of '
                'their own are taken with a list of labels: --image_dir and --labels_file.'
            )
        labelled = _labelled(paths, rows)
        labels = self._labels(labelled)
        own = RecordPaths(paths, labelled)
        stamps = [os.stat(path).st_mtime_ns for path in paths]
        images = [
            Listed(
                own.path(number), labels[number], row.size, stamps[row.file], split_of[row.file],
                '' if row.size else 'the row has no image', place=row.begins,
            )
            for number, row in enumerate(labelled)
        ]  # fmt: skip
        by = 'the names of the files' if any(split_of) else ''
        return Inventory(images, len(rows) - len(labelled), by)

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
        place = self._config.image_parquet
        below = [p for p in glob.glob(os.path.join(glob.escape(place), '*', '*')) if _is_one(p)]
        if below and not any(map(_is_one, os.listdir(place))):
            raise InputError(
                f'{self._flag}: the .parquet files are in folders in it, such as '
                f"{os.path.dirname(below[0])}: name them, or all with '{place}/*/*.parquet'."
            )
        return files_of(place, self._flag, _is_one, '.parquet')

    def _labels(self, rows: Sequence[_Row]) -> list[str]:
        """The name of each row's class."""
        if self._config.label_names:
            given = names.read(self._config.label_names)
            texts = (row.text if row.number is None else str(row.number) for row in rows)
            return [names.named(given, text, self._flag) for text in texts]
        nameless = [row for row in rows if not row.text]
        if not nameless:
            return [row.text for row in rows]
        if len(nameless) < len(rows):
            raise InputError(
                f'{self._files[nameless[0].file]}: its labels are numbers without names, and those '
                'of other files have names: take them one by one, or give --label_names.'
            )
        numbers = [row.number for row in rows]
        name_of = numbering.name_of(
            '0', numbers, None, lambda row: self._files[rows[row].file], 'label_column'
        )
        return [name_of(row) for row in rows]

    @property
    def _what(self) -> str:
        return json.dumps(['parquet 2', self._config.image_key, self._config.label_column])

    @property
    def _copy(self) -> str:
        stats = [[os.path.abspath(path), os.path.getmtime(path)] for path in self._files]
        name = hashlib.sha256(json.dumps([self._what, stats]).encode()).hexdigest()[:32]
        return os.path.join(user_cache_dir(), 'unpacked', f'{name}.images')

    def _look_through(self) -> list[_Row]:
        rows: list[_Row] = []
        begins = 0
        for number, (image, label, label_names, batches) in enumerate(self._each_file()):
            first = len(rows)
            for batch in batches:
                images, labels = batch.column(image).to_pylist(), batch.column(label).to_pylist()
                for content, value in zip(images, labels, strict=True):
                    encoded, name = _parts(content)
                    where = f'{self._files[number]}, row {len(rows) - first}'
                    text = _text_of(value, label_names, where)
                    row = _row(number, begins, encoded, value, text, name)
                    begins += row.size
                    rows.append(row)
        return rows

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
                    # By default pyarrow keeps all row groups in memory.
                    file = arrow.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
                except Exception as error:
                    raise InputError(
                        f'--image_parquet: {path} is no Parquet file ({one_line(error)}).'
                    ) from None
                with file:
                    image, label = columns_of(
                        path, file.schema_arrow, self._config.image_key, self._config.label_column
                    )
                    batches = _batches(path, file, [image, label])
                    yield image, label, label_names_in(file.schema_arrow).get(label), batches
                bar.update(os.path.getsize(path) >> 20)


def _batches(path: str, file: Any, columns: list[str]) -> Iterator[Any]:
    """Raises InputError: the file is damaged."""
    batches = file.iter_batches(_ROWS_AT_A_TIME, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except Exception as error:  # pyarrow's are of many types
            raise InputError(
                f'--image_parquet: {path} is damaged ({one_line(error)}): fetch or make it again.'
            ) from None
        if batch is None:
            return
        yield batch


def _labelled(paths: Sequence[str], rows: Sequence[_Row]) -> list[_Row]:
    """The rows but for those of files in which none has a label: the test split, often.

    Raises:
      InputError: some rows of a file have a label, and others none.
    """
    found: list[_Row] = []
    for number, of_file in itertools.groupby(rows, key=lambda row: row.file):
        every = list(of_file)
        lacking = [place for place, row in enumerate(every) if row.number is None and not row.text]
        if not lacking:
            found += every
        elif len(lacking) == len(every):
            log.warning(
                '%s: %d images without labels (no value, or -1): left alone.',
                printable(paths[number]), len(every),
            )  # fmt: skip
        else:
            raise InputError(
                f'{paths[number]}, row {lacking[0]}: there is no label (no value, or -1), as in '
                f'{len(lacking)} of its {len(every)} rows: give them one, or leave them out.'
            )
    return found


def _is_one(path: str) -> bool:
    return path.lower().endswith('.parquet')


def _parts(content: Any) -> tuple[bytes, str]:
    """(the image file, its name) of a cell."""
    if isinstance(content, dict):
        return content.get('bytes') or b'', content.get('path') or ''
    return content or b'', ''


def _text_of(label: Any, label_names: Sequence[str] | None, where: str) -> str:
    """The name of a label; '' where it has none.

    Raises:
      InputError: a number that is none of the names'.
    """
    # -1 is Hugging Face's number where there is no label; pandas has NaN.
    if label is None or label == -1 or label != label:
        return ''
    if not isinstance(label, int) or isinstance(label, bool):
        return str(label).strip()
    if label_names is None:
        return ''
    if not 0 <= label < len(label_names):
        raise InputError(
            f'{where}: the label is {label}, and the names in the file are those of 0 to '
            f'{len(label_names) - 1}.'
        )
    return label_names[label]


def _row(file: int, begins: int, encoded: bytes, label: Any, text: str, name: str) -> _Row:
    is_number = isinstance(label, int) and not isinstance(label, bool) and label != -1
    kind = kind_of(encoded[:BEGINNING]) or ''
    return _Row(file, begins, len(encoded), label if is_number else None, text, name, kind)
