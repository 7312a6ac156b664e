"""What images are called that are records, and no files of their own. No TensorFlow."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Sequence
from typing import Any

_EXTENSION = {'JPEG': '.jpg', '': ''}


def short_names(paths: Sequence[str]) -> list[str]:
    """The base names; where two are alike, with as many folders before each as tell them apart.

    '/'-separated. The same file twice keeps one name.
    """
    parts = [os.path.abspath(path).split(os.sep) for path in paths]
    depth, wanted = 1, len({*map(tuple, parts)})
    while len({tuple(each[-depth:]) for each in parts}) < wanted:
        depth += 1
    return ['/'.join(each[-depth:]) for each in parts]


class RecordPaths:
    """Paths for records, from the names that they hold where these are clean and unique.

    Else `<file>/<number in the file>.jpg`.
    """

    def __init__(self, files: Sequence[str], records: Sequence[Any]):
        """files: their paths. records: with `file`, the number of theirs; `name`, '' for none; and
        `kind`, the image's format.
        """
        self._files, self._records = short_names(files), records
        self._names = [_clean(record.name) for record in records]
        self._uses = collections.Counter(self._names)
        self._first: dict[int, int] = {}
        for row, record in enumerate(records):
            self._first.setdefault(record.file, row)

    def path(self, row: int) -> str:
        name, record = self._names[row], self._records[row]
        if name and self._uses[name] == 1:
            return name
        number = row - self._first[record.file]
        extension = _EXTENSION.get(record.kind, f'.{record.kind.lower()}')
        return f'{self._files[record.file]}/{number:08d}{extension}'


def _clean(name: str) -> str:
    """The name as a path that leads nowhere else; '' for none."""
    name = name.replace('\\', '/')
    parts = [part for part in name.split('/') if part not in ('', '.')]
    if name.startswith('/') or '..' in parts or re.match('[a-zA-Z]:', name):
        parts = parts[-1:]
    return '' if parts in ([], ['..']) or '\0' in name else '/'.join(parts)
