"""A picture folder -> its classes, its pictures, and the split of each. No TensorFlow.

One folder per class, as the original retrain.py takes them. The split is the original's hash of a
path, so it needs no state and does not change when pictures are added.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from poets_tfr import files
from poets_tfr.config import ConversionConfig, InputError
from poets_tfr.progress import printable

log = logging.getLogger('poets_tfr')

SPLITS = 'train', 'validation', 'test'
PICTURE_EXTENSIONS = frozenset(
    '.jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .avif'.split()
)
MAX_NUM_IMAGES_PER_CLASS = 2**27 - 1  # the original's ~134M, part of its split formula


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
    """

    path: str
    label: int
    split: str
    size: int
    mtime_ns: int


@dataclasses.dataclass(frozen=True)
class Listing:
    """What was found. `ignored` files are neither pictures by name nor looked into."""

    classes: tuple[ClassFolder, ...]
    pictures: tuple[Picture, ...]
    ignored: int

    def counts(self) -> dict[str, list[int]]:
        """Split -> number of pictures of each class, in label order."""
        counter = Counter((picture.split, picture.label) for picture in self.pictures)
        return {s: [counter[s, label] for label in range(len(self.classes))] for s in SPLITS}


def label_of(folder: str) -> str:
    """The original's rule: lower case, and one space for each run of other than a-z and 0-9.

    A name of which the rule leaves nothing (one in Chinese, say) stays as it is: the original made
    a single space of every such name.
    """
    label = re.sub(r'[^a-z0-9]+', ' ', folder.lower())
    return label if label.strip() else re.sub(r'\s', ' ', folder)  # the labels file is line by line


def path_bytes(path: str) -> bytes:
    """A path's own bytes, also where they are not UTF-8."""
    return os.fsencode(path)


def split_percentage(hashed_path: str) -> float:
    """Where a path falls in [0, 100]: the original retrain.py's formula (r1.1 and later)."""
    digest = int(hashlib.sha1(path_bytes(hashed_path)).hexdigest(), 16)
    return digest % (MAX_NUM_IMAGES_PER_CLASS + 1) * (100.0 / MAX_NUM_IMAGES_PER_CLASS)


def list_image_dir(config: ConversionConfig) -> Listing:
    """Finds the classes and pictures of `config.image_dir` and decides every picture's split.

    Raises:
      InputError: no such folder; not at least two classes; labels that collide; a class that is too
        small for the splits asked for.
    """
    folders = _class_folders(config)
    classes: list[ClassFolder] = []
    pictures: list[Picture] = []
    ignored = 0
    for folder, entries, others in folders:
        label = len(classes)
        names = [entry.name for entry in entries]
        splits = _splits_of_class(config, folder, names)
        for entry, split in zip(entries, splits, strict=True):
            path = f'{folder}/{entry.name}'
            pictures.append(Picture(path, label, split, entry.size, entry.mtime_ns))
        classes.append(ClassFolder(folder, label_of(folder)))
        ignored += others
    _check_labels(classes)
    return Listing(tuple(classes), tuple(pictures), ignored)


def _class_folders(config: ConversionConfig) -> list[tuple[str, list[files.Entry], int]]:
    """(folder name, its pictures, the number of its other files) for every class, sorted."""
    root = config.image_dir
    try:
        top = files.scan(root)
    except FileNotFoundError:
        raise InputError(
            f"--image_dir: image directory '{root}' not found (looked at {files.absolute(root)})."
        ) from None
    except NotADirectoryError:
        raise InputError(
            f'--image_dir: {root} is a file: name the folder that holds one folder per class.'
        ) from None
    names = [entry.name for entry in top if entry.is_dir and not entry.name.startswith('.')]
    if missing := [name for name in config.classes if name not in names]:
        raise InputError(
            f'--classes: {root} has no folder {missing[0]!r}; it has {", ".join(names) or "none"}.'
        )
    found = []
    for name in sorted(set(config.classes)) or names:
        log.info("Looking for images in '%s'", printable(name))
        entries = files.scan(files.join(root, name))
        pictures = [entry for entry in entries if _is_picture(entry)]
        others = sum(not entry.is_dir for entry in entries) - len(pictures)
        _warn_of_other_files(name, entries)
        if not pictures and config.classes:
            raise InputError(f'--classes: the folder {name!r} in {root} holds no pictures.')
        if not pictures:
            log.warning('No files found in %s: it is not taken as a class.', printable(name))
            continue
        if len(pictures) < 20:
            log.warning(
                'WARNING: Folder has less than 20 images, which may cause issues. (%s: %d)',
                printable(name), len(pictures),
            )  # fmt: skip
        elif len(pictures) > MAX_NUM_IMAGES_PER_CLASS:
            log.warning(
                'WARNING: Folder %s has more than %d images. Some images will never be selected.',
                printable(name), MAX_NUM_IMAGES_PER_CLASS,
            )  # fmt: skip
        found.append((name, pictures, others))
    if len(found) < 2:
        raise InputError(_too_few_classes(root, top, [name for name, _, _ in found]))
    return found


def _warn_of_other_files(folder: str, entries: Sequence[files.Entry]) -> None:
    """A person may take them for pictures (.heic, say) and wonder where they are."""
    others = Counter(
        os.path.splitext(entry.name)[1].lower() or 'no extension'
        for entry in entries
        if entry.is_file and not _is_picture(entry) and not _is_clutter(entry.name)
    )
    for extension, count in sorted(others.items()):
        log.warning(
            '%s: %d files with %s are not taken; pictures end in %s.',
            printable(folder), count, printable(extension), ' '.join(sorted(PICTURE_EXTENSIONS)),
        )  # fmt: skip


def _is_clutter(name: str) -> bool:
    """What file managers leave in every folder."""
    return name.startswith('.') or name.lower() in ('thumbs.db', 'desktop.ini')


def _is_picture(entry: files.Entry) -> bool:
    extension = os.path.splitext(entry.name)[1].lower()
    return entry.is_file and extension in PICTURE_EXTENSIONS and not entry.name.startswith('.')


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
        hidden = entry.name.startswith('.')
        if entry.is_dir and not hidden and len(_folders_with_pictures(below)) >= 2:
            return f'{sentence} {below} looks right: try --image_dir={below}'
    loose = sum(map(_is_picture, top))
    if loose:
        above, name = os.path.split(files.absolute(root).rstrip('/'))
        return (
            f'{sentence} It holds {loose} pictures itself: put the pictures of each class into a '
            f'folder of its own, or, if {name} is one of your '
            f'classes, try --image_dir={above}'
        )
    for entry in top:
        for inner in _folders_with_pictures(files.join(root, entry.name)) if entry.is_dir else ():
            return (
                f'{sentence} {entry.name} holds no pictures itself, but {entry.name}/{inner} does: '
                'pictures lie directly in the folder of their class; move them up.'
            )
    return f'{sentence} It must hold one folder of pictures for each class.'


def _folders_with_pictures(directory: str) -> list[str]:
    """The folders in `directory` that hold pictures."""
    found = []
    with contextlib.suppress(OSError):  # a folder that may not be read is no candidate
        for entry in files.scan(directory):
            if entry.is_dir and any(
                map(_is_picture, files.scan(files.join(directory, entry.name)))
            ):
                found.append(entry.name)
    return found


def _check_labels(classes: Sequence[ClassFolder]) -> None:
    seen: dict[str, str] = {}
    for folder, label in classes:
        if label in seen:
            raise InputError(
                f'--image_dir: the folders {seen[label]!r} and {folder!r} would both get the label '
                f'{label!r} (lower case, other than a-z and 0-9 becomes a space): rename one.'
            )
        seen[label] = folder


def _hashed_path(config: ConversionConfig, folder: str, name: str) -> str:
    """What the split is decided by. Files that agree up to `_nohash_` stay together."""
    if config.splits_by_given_path:
        path = os.path.join(config.hash_prefix, folder, name)
        return re.sub(r'_nohash_.*$', '', path)
    return f'{folder}/{re.sub(r"_nohash_.*$", "", name)}'


def _splits_of_class(config: ConversionConfig, folder: str, names: Sequence[str]) -> list[str]:
    """The split of each file of a class; see `_fill_empty_splits` for the small ones."""
    groups = [_hashed_path(config, folder, name) for name in names]
    percentage = {group: split_percentage(group) for group in groups}
    bounds = _bounds(config)
    if len(names) < len(bounds):
        raise InputError(
            f'--image_dir: the class {folder!r} has {len(names)} pictures, and {len(bounds)} are '
            f'the least for {", ".join(bounds)}: add pictures, or leave the class out (--classes).'
        )
    split_of = {
        group: next((s for s, (low, high) in bounds.items() if low <= p < high), 'train')
        for group, p in percentage.items()
    }
    _fill_empty_splits(config, folder, split_of, percentage, bounds)
    return [split_of[group] for group in groups]


def _bounds(config: ConversionConfig) -> dict[str, tuple[float, float]]:
    """Split -> the half-open range of percentages that is its own; the original's order."""
    v = config.validation_percentage
    t = v + config.testing_percentage
    bounds = {'validation': (0, v), 'test': (v, t), 'train': (t, 101)}
    return {split: (low, high) for split, (low, high) in bounds.items() if low < high}


def _fill_empty_splits(
    config: ConversionConfig,
    folder: str,
    split_of: dict[str, str],
    percentage: dict[str, float],
    bounds: dict[str, tuple[float, float]],
) -> None:
    """Gives each empty split the group whose hash is nearest, from a split that can spare one.

    With the split by given path, which promises the original's split to the picture, an empty split
    is an error instead: the original divided by zero there.
    """
    for split, (low, high) in bounds.items():
        sizes = Counter(split_of.values())
        if sizes[split]:
            continue
        if config.splits_by_given_path:
            raise InputError(
                f'--split_by=given_path: the class {folder!r} has no picture in {split}: add '
                'pictures, raise its percentage, or use --split_by=relative_path, which gives it '
                'one.'
            )
        spare = [group for group, current in split_of.items() if sizes[current] > 1]
        if not spare:
            raise InputError(
                f'--image_dir: the class {folder!r} has no picture for {split}: files that agree '
                'up to _nohash_ stay together, and too few groups are left. Add pictures.'
            )
        nearest = min(spare, key=lambda g: (_distance(percentage[g], low, high), g))
        split_of[nearest] = split


def _distance(percentage: float, low: float, high: float) -> float:
    return max(low - percentage, percentage - high, 0)
