"""One folder per class, as the original retrain.py takes them. No TensorFlow."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence

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
    found, ignored = _class_folders(config, tree)
    images = [
        Listed(f'{folder}/{file.name}', folder, file.size, file.mtime_ns, fault=file.fault)
        for folder, contents in found
        for file in contents.pictures
    ]
    return Inventory(images, ignored)


def _class_folders(config: SourceConfig, tree: Tree) -> tuple[list[tuple[str, Contents]], int]:
    """(folder name, what it holds) for every class, sorted; and how many files are ignored."""
    top = scan_root(tree)
    folders = Folders(tree, config.recursive, config.follow_links)
    names = [entry.name for entry in top if entry.is_dir and not is_left_alone(entry.name)]
    chosen = chosen_of(config, names)
    about = Remarks(len(chosen or names))
    found = []
    ignored = sum(not entry.is_dir for entry in top)
    folders.unread += [entry.name for entry in top if entry.fault.startswith(files.UNREADABLE)]
    for entry in top:
        if entry.is_dir and (not chosen or entry.name in chosen):
            contents = look_into(folders, entry)
            if contents is None:
                ignored += 1
                continue
            ignored += contents.ignored
            if _is_class(config, entry.name, contents, about):
                found.append((entry.name, contents))
    about.flush()
    remarks.check_open('--image_dir', folders)
    if len(found) < 2:
        raise InputError(_too_few_classes(tree, top, [name for name, _ in found]))
    remarks.of_loose_pictures(tree.where, top)
    remarks.of_folders(folders)
    return found, ignored


def look_into(folders: Folders, entry: files.Entry) -> Contents | None:
    """What a folder at the top holds; None, and a warning, for a link that is not followed."""
    if folders.leads_out(entry, entry.name):
        where = folders.tree.where
        log.warning('%s is a link out of %s: not followed.', printable(entry.name), where)
        return None
    return folders.look_into(entry.name)


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
            f'--image_dir: {root} is a file: name the folder that holds one folder per class.'
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


def _is_class(config: SourceConfig, name: str, contents: Contents, about: Remarks) -> bool:
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
        if is_candidate and len(_folders_with_pictures(tree, entry.name)) >= 2:
            below = files.join(root, entry.name)
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
        for inner in _folders_with_pictures(tree, entry.name) if is_candidate else ():
            return (
                f'{sentence} {entry.name} holds no pictures itself, but {entry.name}/{inner} does: '
                'pictures lie directly in the folder of their class; move them up, or take nested '
                'folders with --recursive.'
            )
    return f'{sentence} It must hold one folder of pictures for each class.'


def _folders_with_pictures(tree: Tree, directory: str) -> list[str]:
    """The folders in `directory` that hold pictures."""

    def holds(path: str, wanted: Callable[[files.Entry], bool]) -> list[str]:
        with contextlib.suppress(OSError):  # a folder that may not be read is no candidate
            return [entry.name for entry in tree.scan(path) if wanted(entry)]
        return []

    folders = holds(directory, lambda entry: entry.is_dir and not is_left_alone(entry.name))
    return [name for name in folders if holds(files.join(directory, name), is_picture)]
