"""An archive as a tree of folders and files, for every layout. No TensorFlow."""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Collection, Iterable, Sequence

from poets_tfr.files import Entry
from poets_tfr.sources import remarks
from poets_tfr.sources.archive_members import Member
from poets_tfr.sources.archives import Archive
from poets_tfr.sources.folders import is_left_alone, is_picture
from poets_tfr.sources.kept import kept
from poets_tfr.sources.split_folders import split_named

log = logging.getLogger('poets_tfr')

_LISTS = '.csv', '.tsv', '.txt', '.jsonl', '.ndjson', '.parquet'
_LONGEST_LIST = 64 << 20  # bytes


class ArchiveTree:
    """The files of an archive.

    A single folder that holds everything is passed over, unless one of the `lists` lies beside it.
    """

    files_root = ''

    def __init__(self, archive: Archive, lists: Collection[str] = ()):
        self.where = archive.path
        self._archive = archive
        self._lists = lists

    @property
    def above(self) -> str:
        return self._root

    @property
    def left_out(self) -> int:
        """How many files are not in the tree: they lead out of it, or lie beside its root."""
        found = self._archive.found
        return len(found.outside) + len(found.members) - len(self._members)

    def tell(self) -> None:
        """Warns of what is left out."""
        self._archive.tell()
        members, root = self._archive.found.members, self._root
        if not root:
            return
        name = root.rstrip('/')
        log.info('%s: the images lie in its folder %s.', self.where, name)
        if beside := [member.path for member in members if not member.path.startswith(root)]:
            log.warning(
                '%s: files beside the folder %s: %d, ignored (%s).',
                self.where, name, len(beside), remarks.some(beside),
            )  # fmt: skip

    def scan(self, path: str) -> list[Entry]:
        folder = self._folders.get(path)
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted(folder.values())

    def read(self, path: str) -> bytes:
        member = self._member(path)
        is_list = path.lower().endswith(_LISTS) and member.size <= _LONGEST_LIST
        if is_list and self._archive.is_compressed:  # so that listing again unpacks nothing
            text: str = kept(
                f'list 1 {member.path}', [self.where], lambda: self._archive.read(member).hex()
            )
            return bytes.fromhex(text)
        return self._archive.read(member)

    def beginning(self, path: str, size: int) -> bytes:
        member = self._member(path)
        known = self._archive.beginnings.get(member.path)
        return known[:size] if known is not None else self._archive.beginning(member, size)

    def real(self, path: str) -> str:
        return ''

    def close(self) -> None:
        pass

    def clean_up(self) -> None:
        self._archive.clean_up()

    def _member(self, path: str) -> Member:
        """Raises FileNotFoundError; OSError where it must not be read."""
        member = self._members.get(path)
        if member is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if member.fault:
            raise OSError(errno.EACCES, member.fault, path)
        return member

    @functools.cached_property
    def _root(self) -> str:
        return _root_of((member.path for member in self._archive.found.members), self._lists)

    @functools.cached_property
    def _members(self) -> dict[str, Member]:
        """Path below the root -> the file."""
        root = self._root
        return {
            member.path[len(root) :]: member
            for member in self._archive.found.members
            if member.path.startswith(root)
        }

    @functools.cached_property
    def _folders(self) -> dict[str, dict[str, Entry]]:
        """Folder -> name -> what lies there."""
        folders: dict[str, dict[str, Entry]] = {'': {}}
        for path, member in self._members.items():
            above, _, name = path.rpartition('/')
            entry = Entry(
                name, False, not member.fault, member.size, member.stamp, False, member.fault
            )
            folders.setdefault(above, {}).setdefault(name, entry)
            while above:
                outer, _, name = above.rpartition('/')
                folders.setdefault(outer, {})[name] = Entry(name, True, False, 0, 0)
                above = outer
        return folders


def _root_of(paths: Iterable[str], lists: Collection[str]) -> str:
    """'pets/' where all images lie below the one folder `pets`; '' where they do not.

    A folder named train stays: it says which split its images are.
    """
    wanted = [path for path in paths if not any(map(is_left_alone, path.split('/')))]
    images = _images_in(wanted) or wanted
    known = set(wanted)
    root = ''
    while True:
        tops = {path[len(root) :].partition('/')[::2] for path in images}
        names = {name if rest else '' for name, rest in tops}
        if len(names) != 1 or any(f'{root}{name}' in known for name in lists):
            return root
        (name,) = names
        if not name or split_named(name) == 'train':
            return root
        root = f'{root}{name}/'


def _images_in(paths: Sequence[str]) -> list[str]:
    return [p for p in paths if is_picture(Entry(os.path.basename(p), False, True, 0, 0))]
