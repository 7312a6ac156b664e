"""What lies below a folder of a tree: its pictures, and what is left alone. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from poets_tfr.files import UNREADABLE, Entry
from poets_tfr.progress import printable
from poets_tfr.sources.headers import BEGINNING, begins_like_a_picture
from poets_tfr.sources.source import Tree

PICTURE_EXTENSIONS = frozenset(
    """
    .jpg .jpeg .jpe .jfif .mpo .png .gif .bmp .webp .tif .tiff .avif .heic .heif .hif
    .jp2 .j2k .jpc .jpf .jpx .jxl
    """.split()
)
# Files of other names are taken if their first bytes are a picture's. These are not looked at, to
# spare the read: texts, tables, documents, archives, programs, sound and films.
_OTHER_EXTENSIONS = frozenset(
    """
    .txt .md .rst .log .json .jsonl .xml .xmp .yaml .yml .toml .ini .cfg .conf .csv .tsv .html .htm
    .css .js .py .ipynb .sh .bat .pdf .doc .docx .xls .xlsx .ppt .pptx .odt .rtf .svg .ai .eps .psd
    .xcf .db .sqlite .npy .npz .h5 .pkl .mat .pb .tfrecord .zip .tar .gz .tgz .bz2 .xz .7z .rar
    .exe .dll .so .mp3 .wav .m4a .ogg .flac .mp4 .m4v .mov .avi .mkv .webm .wmv .mpg .mpeg .3gp .mts
    """.split()
)
# These do begin like a picture, and are another one's raw data, thumbnail, older version or half.
_NOT_FOR_THEMSELVES = frozenset(
    """
    .cr2 .nef .nrw .arw .sr2 .srf .dng .orf .pef .rw2 .srw .3fr .erf .kdc .dcr .iiq
    .thm .lrv .bak .old .orig .tmp .temp .part .partial .crdownload .download .jpg_original
    """.split()
)
# What storage devices, systems and programs keep among people's files: thumbnails, deleted
# pictures, older versions. A thumbnail in another split than its picture makes every figure too
# good. Those that begin with a dot (.Trash-1000, .ipynb_checkpoints) are hidden anyway.
SYSTEM_FOLDERS = frozenset(
    '@eadir|#recycle|#snapshot|$recycle.bin|system volume information|lost+found|__macosx|thumbs'
    .split('|')
)  # fmt: skip
_LEADS_OUT = 'a link out of image_dir; --follow_links takes it'


class PictureFile(NamedTuple):
    """A picture by its name. `fault`: why it must not be opened; '' if it may be."""

    name: str
    size: int
    mtime_ns: int
    fault: str


@dataclasses.dataclass
class Contents:
    """What was found below one folder.

    pictures: sorted; their names are paths from the folder, '/'-separated.
    ignored: how many other files lie there, links that were not followed, and system folders.
    other_extensions: of visible files that are no pictures; '' for those without.
    nested: folders whose pictures are among the ignored, for lack of --recursive.
    unfollowed: linked folders that were not followed.
    """

    pictures: list[PictureFile] = dataclasses.field(default_factory=list)
    ignored: int = 0
    other_extensions: Counter[str] = dataclasses.field(default_factory=Counter)
    nested: list[str] = dataclasses.field(default_factory=list)
    unfollowed: list[str] = dataclasses.field(default_factory=list)


class _Place(NamedTuple):
    """A folder to look into, as seen from the first one, and in the tree.

    real: the real paths that led to it, which no link may repeat.
    """

    name: str
    path: str
    real: tuple[str, ...]
    is_taken: bool


class Folders:
    """A tree and how to walk in it.

    What was met on the way, as paths in the tree:
    system: system folders, which were not entered.
    closed: folders that cannot be read, whose pictures would be taken; with the reason.
    unread: folders that cannot be read, and would not be taken.
    by_content: files that are taken though their names do not say that they are pictures.
    """

    def __init__(self, tree: Tree, recursive: bool, follow_links: bool):
        self.tree = tree
        self.system: list[str] = []
        self.closed: list[str] = []
        self.unread: list[str] = []
        self.by_content: list[str] = []
        self._recursive, self._follow_links = recursive, follow_links
        self._real_root = tree.real('')

    def look_into(self, name: str) -> Contents:
        """Everything below the folder `name`, at every depth; what cannot be read is noted."""
        found = Contents()
        if is_system_folder(name):
            self._pass_over(name, found)
            return found
        waiting = [_Place('', name, self._real(name), not is_hidden(name))]
        while waiting:
            waiting += self._look_at(waiting.pop(), found)
        found.pictures.sort()
        return found

    def leads_out(self, entry: Entry, path: str) -> bool:
        """Whether it is a link out of the tree, and such links are not followed."""
        return (
            entry.is_link
            and not self._follow_links
            and not _is_at_or_below(self.tree.real(path), self._real_root)
        )

    def _look_at(self, place: _Place, found: Contents) -> Iterator[_Place]:
        """Adds a folder's files to `found`; yields the folders in it."""
        holds_pictures, hidden = False, any(map(is_hidden, place.name.split('/')))
        entries, fault = _scan(self.tree, place.path)
        if fault:
            if place.is_taken:
                self.closed.append(f'{printable(place.path)} ({fault})')
            else:
                self.unread.append(place.path)
                found.ignored += 1
            return
        for entry in entries:
            name = f'{place.name}/{entry.name}' if place.name else entry.name
            path = f'{place.path}/{entry.name}' if place.path else entry.name
            if entry.is_dir:
                yield from self._inner(entry, place, name, path, found)
            elif place.is_taken and self._is_picture(entry, path):
                fault = _LEADS_OUT if self.leads_out(entry, path) else entry.fault
                found.pictures.append(PictureFile(name, entry.size, entry.mtime_ns, fault))
            else:
                found.ignored += 1
                if not (holds_pictures or hidden or place.is_taken):
                    holds_pictures = is_picture(entry) or holds_a_picture(self.tree, entry, path)
                if place.is_taken and not is_clutter(entry.name):
                    found.other_extensions[os.path.splitext(entry.name)[1].lower()] += 1
        if holds_pictures and place.name and not self._recursive:
            found.nested.append(place.name)

    def _is_picture(self, entry: Entry, path: str) -> bool:
        if is_picture(entry):
            return True
        if by_content := holds_a_picture(self.tree, entry, path):
            self.by_content.append(path)
        return by_content

    def _inner(
        self, entry: Entry, place: _Place, name: str, path: str, found: Contents
    ) -> Iterator[_Place]:
        if is_system_folder(entry.name):
            self._pass_over(path, found)
            return
        is_taken = place.is_taken and self._recursive and not is_hidden(entry.name)
        if not entry.is_link:
            yield _Place(name, path, place.real, is_taken)
            return
        (real,) = self._real(path)
        above = *place.real, self.tree.real(place.path)
        goes_round = any(_is_at_or_below(former, real) for former in above)
        if goes_round or self.leads_out(entry, path):
            found.ignored += 1
            found.unfollowed.append(name)
        else:
            yield _Place(name, path, (*place.real, real), is_taken)

    def _pass_over(self, path: str, found: Contents) -> None:
        self.system.append(path)
        found.ignored += 1

    def _real(self, path: str) -> tuple[str, ...]:
        real = self.tree.real(path)
        return (real,) if real else ()


def _scan(tree: Tree, path: str) -> tuple[list[Entry], str]:
    """What lies in a folder; or why that cannot be told."""
    try:
        entries = tree.scan(path)
    except OSError as error:
        return [], error.strerror or str(error)
    return entries, cannot_be_read(entries)


def cannot_be_read(entries: Sequence[Entry]) -> str:
    """Why nothing in a folder can be read, though its names can; '' where something can."""
    faults = [e.fault.removeprefix(UNREADABLE) for e in entries if e.fault.startswith(UNREADABLE)]
    return faults[0] if entries and len(faults) == len(entries) else ''


def is_picture(entry: Entry) -> bool:
    extension = os.path.splitext(entry.name)[1].lower()
    return not entry.is_dir and extension in PICTURE_EXTENSIONS and not is_hidden(entry.name)


def holds_a_picture(tree: Tree, entry: Entry, path: str) -> bool:
    """Whether a file is a picture by its content, whatever its name: `photo.jpg?w=640`, say."""
    if not entry.is_file or not may_be_a_picture(entry.name):
        return False
    try:
        return begins_like_a_picture(tree.beginning(path, BEGINNING))
    except OSError:
        return False


def may_be_a_picture(name: str) -> bool:
    """Whether a file's content has to tell, for its name does not."""
    if is_clutter(name) or name.endswith('~'):
        return False
    extension = os.path.splitext(name)[1].lower()
    all_known = PICTURE_EXTENSIONS, _OTHER_EXTENSIONS, _NOT_FOR_THEMSELVES
    return not any(extension in known for known in all_known)


def is_hidden(name: str) -> bool:
    return name.startswith('.')


def is_system_folder(name: str) -> bool:
    return name.lower() in SYSTEM_FOLDERS


def is_left_alone(folder: str) -> bool:
    """Whether no picture is taken from a folder of this name."""
    return is_hidden(folder) or is_system_folder(folder)


def is_clutter(name: str) -> bool:
    """What file managers leave in every folder."""
    return is_hidden(name) or name.lower() in ('thumbs.db', 'desktop.ini')


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(os.path.join(directory, ''))
