"""A picture folder -> its classes, its pictures, and the split of each. No TensorFlow.

One folder per class, as the original retrain.py takes them. The split is the original's hash of a
path, so it needs no state and does not change when pictures are added.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.records import remarks, splits
from poets_tfr.records.folders import (
    Contents,
    Folders,
    cannot_be_read,
    is_left_alone,
    is_picture,
)
from poets_tfr.records.labels import composed, label_of
from poets_tfr.records.remarks import Remarks
from poets_tfr.records.settings import SPLITS, ConversionConfig
from poets_tfr.records.splits import UnsplittableError

log = logging.getLogger('poets_tfr')


class ClassFolder(NamedTuple):
    """A class: its folder's name as it is, and the label that the labels file shows."""

    folder: str
    label: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """A file that is to become a record.

    path: relative to image_dir, '/'-separated: `<class folder>/<file>`.
    label: 0-based index of the class.
    size, mtime_ns: as the file system gives them, to see whether the file changed.
    fault: why the file must not be opened, so that it is skipped; '' if it may be.
    copy_of: the path of the picture of the same content that is taken in its place; '' if none.
    """

    path: str
    label: int
    split: str
    size: int
    mtime_ns: int
    fault: str = ''
    copy_of: str = ''

    @property
    def is_left_out(self) -> bool:
        return bool(self.fault or self.copy_of)


@dataclasses.dataclass(frozen=True)
class Listing:
    """What was found below image_dir: every file is one of the pictures or `ignored`.

    Folders that `--classes` leaves out are not looked into.
    """

    classes: tuple[ClassFolder, ...]
    pictures: tuple[Picture, ...]
    ignored: int

    def counts(self) -> dict[str, list[int]]:
        """Split -> number of pictures of each class, in label order; those with a fault not."""
        counter = Counter((p.split, p.label) for p in self.pictures if not p.fault)
        return {s: [counter[s, label] for label in range(len(self.classes))] for s in SPLITS}


def list_image_dir(config: ConversionConfig) -> Listing:
    """Finds the classes and pictures of `config.image_dir` and decides every picture's split.

    Raises:
      InputError: no such folder; not at least two classes; labels that collide; a class that is too
        small for the splits asked for.
    """
    found, ignored = _class_folders(config)
    classes, pictures, too_small = [], [], []
    for label, (folder, contents) in enumerate(found):
        try:
            pictures += _pictures_of_class(config, folder, label, contents)
        except UnsplittableError as error:
            too_small.append(error)
        classes.append(ClassFolder(folder, label_of(folder, config.label_style)))
    if too_small:
        raise InputError(splits.told(too_small))
    _check_labels(classes)
    return Listing(tuple(classes), tuple(pictures), ignored)


def _pictures_of_class(
    config: ConversionConfig, folder: str, label: int, contents: Contents
) -> list[Picture]:
    usable = [file.name for file in contents.pictures if not file.fault]
    split_of = dict(zip(usable, splits.of_class(config, folder, usable), strict=True))
    return [
        Picture(
            f'{folder}/{file.name}',
            label,
            split_of.get(file.name) or splits.by_hash(config, folder, file.name),
            file.size,
            file.mtime_ns,
            file.fault,
        )
        for file in contents.pictures
    ]


def _class_folders(config: ConversionConfig) -> tuple[list[tuple[str, Contents]], int]:
    """(folder name, what it holds) for every class, sorted; and how many files are ignored."""
    root = config.image_dir
    top = _scan_root(root)
    folders = Folders(root, config.recursive, config.follow_links)
    names = [entry.name for entry in top if entry.is_dir and not is_left_alone(entry.name)]
    chosen = _chosen(config, names)
    about = Remarks(len(chosen or names))
    found, too_small = [], []
    ignored = sum(not entry.is_dir for entry in top)
    folders.unread += [entry.name for entry in top if entry.fault.startswith(files.UNREADABLE)]
    for entry in top:
        if entry.is_dir and (not chosen or entry.name in chosen):
            contents = look_into(folders, root, entry)
            if contents is None:
                ignored += 1
                continue
            ignored += contents.ignored
            if not _is_class(config, entry.name, contents, about):
                continue
            if sum(not file.fault for file in contents.pictures) >= config.min_class_size:
                found.append((entry.name, contents))
            else:
                too_small.append(entry.name)
                ignored += len(contents.pictures)
    about.flush()
    remarks.check_open('--image_dir', folders)
    if too_small:
        log.warning(
            '--min_class_size=%d: classes with fewer pictures, left out: %d (%s).',
            config.min_class_size, len(too_small), ', '.join(map(printable, too_small)),
        )  # fmt: skip
    if len(found) < 2:
        raise InputError(_too_few_classes(root, top, [name for name, _ in found]))
    remarks.of_loose_pictures(root, top)
    remarks.of_folders(folders)
    return found, ignored


def look_into(folders: Folders, root: str, entry: files.Entry) -> Contents | None:
    """What a folder in `root` holds; None, and a warning, for a link that is not followed."""
    if folders.leads_out(entry, files.join(root, entry.name)):
        log.warning('%s is a link out of %s: not followed.', printable(entry.name), root)
        return None
    return folders.look_into(entry.name)


def _scan_root(root: str) -> list[files.Entry]:
    try:
        entries = files.scan(root)
    except FileNotFoundError:
        raise InputError(
            f"--image_dir: image directory '{root}' not found (looked at {files.absolute(root)})."
        ) from None
    except NotADirectoryError:
        raise InputError(
            f'--image_dir: {root} is a file: name the folder that holds one folder per class.'
        ) from None
    except PermissionError as error:
        raise InputError(f'--image_dir: {root} cannot be read ({error.strerror}).') from None
    if fault := cannot_be_read(entries):
        raise InputError(f'--image_dir: {root} cannot be read ({fault}).')
    return entries


def _chosen(config: ConversionConfig, names: Sequence[str]) -> set[str]:
    """The folders that --classes means, however their accents are encoded; none without it."""
    chosen = set()
    for wanted in config.classes:
        alike = [name for name in names if composed(name) == composed(wanted)]
        if not alike:
            raise InputError(
                f'--classes: {config.image_dir} has no folder {wanted!r}; it has '
                f'{", ".join(names) or "none"}.'
            )
        chosen.add(wanted if wanted in alike else alike[0])
    return chosen


def _is_class(config: ConversionConfig, name: str, contents: Contents, about: Remarks) -> bool:
    """Whether a folder has pictures; says what people should know of it."""
    if is_left_alone(name):
        return False
    log.info("Looking for images in '%s'", printable(name))
    about.of_contents(name, contents)
    count = len(contents.pictures)
    if not count and config.classes:
        raise InputError(f'--classes: the folder {name!r} in {config.image_dir} holds no pictures.')
    about.of_size(name, count)
    return count > 0


def _too_few_classes(root: str, top: Sequence[files.Entry], found: Sequence[str]) -> str:
    """The original's sentence, and the folder that looks right where one does."""
    if found:
        sentence = (
            f'Only one valid folder of images found at {root} - multiple classes are needed for '
            f'classification. (The one found is {found[0]!r}.)'
        )
    else:
        sentence = f'No valid folders of images found at {root}.'
    for entry in top:
        below = files.join(root, entry.name)
        is_candidate = entry.is_dir and not is_left_alone(entry.name)
        if is_candidate and len(_folders_with_pictures(below)) >= 2:
            return f'{sentence} {below} looks right: try --image_dir={below}'
    loose = sum(map(is_picture, top))
    if loose:
        above, name = os.path.split(files.absolute(root).rstrip('/'))
        return (
            f'{sentence} It holds {loose} pictures itself: put the pictures of each class into a '
            f'folder of its own, or, if {name} is one of your '
            f'classes, try --image_dir={above}'
        )
    for entry in top:
        is_candidate = entry.is_dir and not is_left_alone(entry.name)
        for inner in _folders_with_pictures(files.join(root, entry.name)) if is_candidate else ():
            return (
                f'{sentence} {entry.name} holds no pictures itself, but {entry.name}/{inner} does: '
                'pictures lie directly in the folder of their class; move them up, or take nested '
                'folders with --recursive.'
            )
    return f'{sentence} It must hold one folder of pictures for each class.'


def _folders_with_pictures(directory: str) -> list[str]:
    """The folders in `directory` that hold pictures."""

    def holds(path: str, wanted: Callable[[files.Entry], bool]) -> list[str]:
        with contextlib.suppress(OSError):  # a folder that may not be read is no candidate
            return [entry.name for entry in files.scan(path) if wanted(entry)]
        return []

    folders = holds(directory, lambda entry: entry.is_dir and not is_left_alone(entry.name))
    return [name for name in folders if holds(files.join(directory, name), is_picture)]


def _check_labels(classes: Sequence[ClassFolder]) -> None:
    by_label: dict[str, str] = {}
    by_look: dict[str, str] = {}
    for folder, label in classes:
        if by_look.setdefault(composed(folder), folder) != folder:
            raise InputError(
                f'--image_dir: two folders are named {folder!r}, with the accents encoded '
                'differently (Unicode NFC and NFD): merge them, or rename one.'
            )
        if (same := by_label.setdefault(label, folder)) != folder:
            raise InputError(
                f'--image_dir: the folders {same!r} and {folder!r} would both get the label '
                f'{label!r} (lower case, other than letters and digits becomes a space): rename '
                'one, or keep the names as they are with --label_style=folder.'
            )
