"""One folder per class, as the original retrain.py takes them. No TensorFlow."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources import remarks
from poets_tfr.sources.folders import (
    Contents,
    Folders,
    cannot_be_read,
    is_left_alone,
    is_picture,
)
from poets_tfr.sources.labels import composed
from poets_tfr.sources.remarks import Remarks
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Tree

log = logging.getLogger('poets_tfr')


def list_class_folders(config: SourceConfig, tree: Tree) -> Inventory:
    """The images of a tree that has one folder per class at its top.

    Raises:
      InputError: there is no such folder, or not at least two classes.
    """
    found, ignored = class_folders_in(config, tree)
    images = [
        Listed(f'{folder}/{file.name}', folder, file.size, file.mtime_ns, fault=file.fault)
        for folder, contents in found
        for file in contents.pictures
    ]
    return Inventory(images, ignored)


def class_folders_in(
    config: SourceConfig, tree: Tree, below: str = '', is_whole: bool = True
) -> tuple[list[tuple[str, Contents]], int]:
    """(folder name, what it holds) for every class, sorted; and how many files are ignored.

    Args:
      below: the folder that holds the class folders; '': the top.
      is_whole: whether all classes have to be there, two at least; else it is a part, such as the
        test split, in which some may lack, and have few images.
    """
    top = tree.scan(below) if below else scan_root(tree)
    folders = Folders(tree, config.recursive, config.follow_links)
    names = [entry.name for entry in top if entry.is_dir and not is_left_alone(entry.name)]
    chosen = chosen_of(config, names) if is_whole else {*config.classes}
    about = Remarks(len(chosen or names))
    found = []
    ignored = sum(not entry.is_dir for entry in top)
    folders.unread += [entry.name for entry in top if entry.fault.startswith(files.UNREADABLE)]
    for entry in top:
        if entry.is_dir and (not chosen or entry.name in chosen):
            contents = look_into(folders, entry, below)
            if contents is None:
                ignored += 1
                continue
            ignored += contents.ignored
            path = f'{below}/{entry.name}' if below else entry.name
            if _is_class(config, path, contents, about, is_whole):
                found.append((entry.name, contents))
    about.flush()
    remarks.check_open('--image_dir', folders)
    if is_whole and len(found) < 2:
        raise InputError(_too_few_classes(tree, top, [name for name, _ in found]))
    remarks.of_loose_pictures(files.join(tree.where, below) if below else tree.where, top)
    remarks.of_folders(folders)
    return found, ignored


def look_into(folders: Folders, entry: files.Entry, below: str = '') -> Contents | None:
    """What a folder of a class holds; None, and a warning, for a link that is not followed."""
    path = f'{below}/{entry.name}' if below else entry.name
    if folders.leads_out(entry, path):
        log.warning('%s is a link out of %s: not followed.', printable(path), folders.tree.where)
        return None
    return folders.look_into(path)


def scan_root(tree: Tree) -> list[files.Entry]:
    """What lies at the top of a tree. Raises InputError where that cannot be told."""
    root = tree.where
    try:
        entries = tree.scan('')
    except FileNotFoundError:
        raise InputError(
            f"--image_dir: image directory '{root}' not found (looked at {files.absolute(root)})."
        ) from None
    except NotADirectoryError:
        raise InputError(
            f'--image_dir: {root} is a file: name the folder that holds one folder per class, or '
            'an archive of it (.zip, .tar, .tar.gz, .tar.xz or .tar.bz2).'
        ) from None
    except PermissionError as error:
        raise InputError(f'--image_dir: {root} cannot be read ({error.strerror}).') from None
    if fault := cannot_be_read(entries):
        raise InputError(f'--image_dir: {root} cannot be read ({fault}).')
    return entries


def chosen_of(config: SourceConfig, names: Sequence[str]) -> set[str]:
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


def _is_class(
    config: SourceConfig, path: str, contents: Contents, about: Remarks, is_whole: bool
) -> bool:
    """Whether a folder has pictures; says what people should know of it."""
    if is_left_alone(os.path.basename(path)):
        return False
    log.info("Looking for images in '%s'", printable(path))
    about.of_contents(path, contents)
    count = len(contents.pictures)
    if is_whole and not count and config.classes:
        raise InputError(f'--classes: the folder {path!r} in {config.image_dir} holds no images.')
    if is_whole or not count:
        about.of_size(path, count)
    return count > 0


def _too_few_classes(tree: Tree, top: Sequence[files.Entry], found: Sequence[str]) -> str:
    """The original's sentence, and the folder that looks right where one does."""
    root = tree.where
    if found:
        sentence = (
            f'Only one valid folder of images found at {root} - multiple classes are needed for '
            f'classification. (The one found is {found[0]!r}.)'
        )
    else:
        sentence = f'No valid folders of images found at {root}.'
    for entry in top:
        is_candidate = entry.is_dir and not is_left_alone(entry.name)
        if is_candidate and len(folders_with_pictures(tree, entry.name)) >= 2:
            if not tree.files_root:
                return f'{sentence} Its folder {entry.name} looks right: unpack it and name that.'
            below = files.join(root, entry.name)
            return f'{sentence} {below} looks right: try --image_dir={below}'
    loose = sum(map(is_picture, top))
    if loose and not tree.files_root:
        return (
            f'{sentence} It holds {loose} images without class folders: put those of each class '
            'into a folder of its own, or name a list of their labels with --labels_file.'
        )
    if loose:
        above, name = os.path.split(files.absolute(root).rstrip('/'))
        return (
            f'{sentence} It holds {loose} images itself: put the images of each class into a '
            f'folder of its own, or, if {name} is one of your '
            f'classes, try --image_dir={above}'
        )
    for entry in top:
        is_candidate = entry.is_dir and not is_left_alone(entry.name)
        for inner in folders_with_pictures(tree, entry.name) if is_candidate else ():
            return (
                f'{sentence} {entry.name} holds no images itself, but {entry.name}/{inner} does: '
                'images lie directly in the folder of their class; move them up, or take nested '
                'folders with --recursive.'
            )
    return f'{sentence} It must hold one folder of images for each class.'


def folders_with_pictures(tree: Tree, directory: str, recursive: bool = False) -> list[str]:
    """The folders in `directory` that hold pictures; with `recursive`, at any depth."""
    with contextlib.suppress(OSError):  # a folder that may not be read is no candidate
        names = [e.name for e in tree.scan(directory) if e.is_dir and not is_left_alone(e.name)]
        return [name for name in names if _holds_pictures(tree, f'{directory}/{name}', recursive)]
    return []


def _holds_pictures(tree: Tree, directory: str, recursive: bool) -> bool:
    with contextlib.suppress(OSError):
        if any(map(is_picture, tree.scan(directory))):
            return True
    return recursive and bool(folders_with_pictures(tree, directory, recursive))
