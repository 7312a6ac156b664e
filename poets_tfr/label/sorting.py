"""Images into folders by label: copied or linked, never moved, and nothing is replaced.

Labels come from an export that anybody may have made: what of one cannot be a folder's name becomes
`_`, and nothing is written outside the folder that was named.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType

from poets_tfr import files
from poets_tfr.confined import Folder
from poets_tfr.errors import InputError
from poets_tfr.label.output import UNSURE
from poets_tfr.label.settings import SortBy
from poets_tfr.progress import printable
from poets_tfr.sources.settings import is_inside

_NOT_IN_NAMES = '/\\:*?"<>|'  # some of them not on every drive
_NAME_BYTES = 200


class Sorter:
    """Puts images into the folders of their labels, below one folder.

    counts: folder -> how many images belong there. already: how many of them were there.
    """

    def __init__(self, directory: str, labels: Sequence[str], by: SortBy):
        """Raises InputError, OSError: there can be no such folder."""
        self._by = by
        self._names = dict(zip((*labels, None), folder_names([*labels, UNSURE]), strict=True))
        self._directory = Folder.open(directory)
        self._folders: dict[str, Folder] = {}
        self.counts: Counter[str] = Counter()
        self.already = 0

    def __enter__(self) -> Sorter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        for folder in (*self._folders.values(), self._directory):
            folder.close()

    def put(self, path: str, label: str | None) -> None:
        """Copies or links an image; label: None for `unsure`.

        Raises:
          InputError: a link or a file is where the label's folder is to be. OSError.
        """
        name = self._names[label]
        if name not in self._folders:
            self._folders[name] = self._directory.folder(name)
        folder, base = self._folders[name], path.rsplit('/', 1)[-1]
        if self._by == 'link':
            is_new = folder.put_link(base, os.path.abspath(path))
        else:
            is_new = folder.put(base, files.read_regular(path))
        self.counts[name] += 1
        self.already += not is_new

    def told(self) -> str:
        """How many images went where, in one line."""
        counts = ', '.join(f'{count} {printable(name)}' for name, count in self.counts.items())
        done = 'Linked' if self._by == 'link' else 'Copied'
        there = f' ({self.already} were there already)' if self.already else ''
        where = printable(self._directory.path)
        return f'{done} {self.counts.total()} images into {where}{there}: {counts or "none"}.'


def folder_names(labels: Iterable[str]) -> list[str]:
    """A folder's name for each label, no two the same, on drives that know no case either.

    The last label has its name as it is; those before it give way.
    """
    *others, last = labels
    taken = {_compared(last)}
    names = []
    for label in others:
        name = first = _safe(label)
        number = 1
        while _compared(name) in taken:
            number += 1
            name = f'{first}_{number}'
        taken.add(_compared(name))
        names.append(name)
    return [*names, last]


def without_sorted(paths: Sequence[str], directory: str) -> list[str]:
    """Those that do not lie in the folder into which is sorted.

    Raises:
      InputError: all do; the folder is not on this computer.
    """
    if files.is_remote(directory):
        raise InputError(f'--sort_into={directory}: only a folder of this computer can be taken.')
    left = [path for path in paths if files.is_remote(path) or not is_inside(path, directory)]
    if not left:
        raise InputError(f'--sort_into={directory}: all images lie in it already.')
    return left


def check_links(paths: Iterable[str]) -> None:
    """Raises InputError for an image to which no link can lead."""
    for path in paths:
        if files.is_remote(path):
            raise InputError(f'--sort_by=link: {path} is not on this computer: use --sort_by=copy.')


def _safe(label: str) -> str:
    kept = ''.join(
        c if c.isprintable() and c not in _NOT_IN_NAMES else '_'
        for c in unicodedata.normalize('NFC', label)
    )
    cut = kept.encode()[:_NAME_BYTES].decode('utf-8', 'ignore').rstrip(' .')
    return f'_{cut[1:]}' if cut[:1] in ('', '.') else cut


def _compared(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()
