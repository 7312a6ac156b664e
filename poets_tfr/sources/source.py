"""What a source is: it lists images, each with a label and perhaps a split, and reads them.

A new source is a module of this folder and a line in `opening`. No TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from poets_tfr import files
from poets_tfr.files import Entry


class Listed(NamedTuple):
    """An image as its source lists it.

    path: its name in records and messages, '/'-separated: the same every time, and no other's.
    class_name: as the source has it: a folder's name, or a label in a list.
    size: in bytes. mtime_ns: changes when the image may have changed; 0: not known.
    split: 'train', 'validation', 'test'; '' where the source does not say.
    fault: why it must not be read, so that it is skipped; '' if it may be.
    key: what decides its split and its shard in place of `path`; of `train/cat/1.jpg`, `cat/1.jpg`.
    place: where the source finds it, if the path does not say.
    """

    path: str
    class_name: str
    size: int
    mtime_ns: int
    split: str = ''
    fault: str = ''
    key: str = ''
    place: int = 0


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What a source holds. ignored: the files beside the images.

    splits_by: what gave the splits, as in 'folders' or 'the column split'; '' where nothing did.
      Then each image has a split; else none has.
    """

    images: Sequence[Listed]
    ignored: int
    splits_by: str = ''


class Readable(Protocol):
    """What `Source.read` needs to know of an image; of `Listed` and `Picture` both."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def place(self) -> int: ...


class Source(Protocol):
    """Where images come from.

    files_root: the folder in which each path is a file; '' where images are no files of their own.
    """

    files_root: str

    def inventory(self) -> Inventory:
        """Raises InputError: what is there is not understood, or holds no images of two classes."""

    def read(self, image: Readable) -> bytes:
        """The image file's bytes. Any thread may call it. Raises OSError."""

    def close(self) -> None:
        """Closes what was opened; the source may still be read, as from new."""

    def clean_up(self) -> None:
        """Closes it, and removes what was unpacked for it. Read again, it is unpacked again."""


class Tree(Protocol):
    """Folders and files, on a drive or in an archive. Paths are '/'-separated, from its root ''.

    where: what people call it: the path that they gave.
    files_root: as `Source` has it.
    """

    where: str
    files_root: str

    @property
    def above(self) -> str:
        """The folders that hold everything and so were passed over: 'pets/'; '' for none."""

    def scan(self, path: str) -> list[Entry]:
        """What lies in a folder, sorted by name. Raises OSError."""

    def read(self, path: str) -> bytes:
        """Raises OSError."""

    def beginning(self, path: str, size: int) -> bytes:
        """The first bytes of a file. Raises OSError."""

    def real(self, path: str) -> str:
        """Where a path leads once links are followed; '' where there are no links."""

    def close(self) -> None:
        """As `Source` has it."""

    def clean_up(self) -> None:
        """As `Source` has it."""


class Drive:
    """The tree below a folder."""

    above = ''

    def __init__(self, root: str):
        self.where = self.files_root = root

    def at(self, path: str) -> str:
        return files.join(self.where, path) if path else self.where

    def scan(self, path: str) -> list[Entry]:
        return files.scan(self.at(path))

    def read(self, path: str) -> bytes:
        return files.read_bytes(self.at(path))

    def beginning(self, path: str, size: int) -> bytes:
        with files.open_read(self.at(path)) as file, files.os_errors(self.at(path)):
            return file.read(size)

    def real(self, path: str) -> str:
        return '' if files.is_remote(self.where) else os.path.realpath(self.at(path))

    def close(self) -> None:
        pass

    def clean_up(self) -> None:
        pass


# How the images of a tree lie: class folders, split folders, or beside a list of labels.
Layout = Callable[[Tree], Inventory]


class TreeSource:
    """The images of a tree, found by one of the layouts."""

    def __init__(self, tree: Tree, layout: Layout):
        self._tree, self._layout = tree, layout
        self.files_root = tree.files_root

    def inventory(self) -> Inventory:
        return self._layout(self._tree)

    def read(self, image: Readable) -> bytes:
        return self._tree.read(image.path)

    def close(self) -> None:
        self._tree.close()

    def clean_up(self) -> None:
        self._tree.clean_up()
