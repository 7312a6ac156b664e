"""train, validation and test folders, with the class folders in them. No TensorFlow."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence

from poets_tfr.errors import InputError
from poets_tfr.files import Entry
from poets_tfr.progress import printable
from poets_tfr.sources.class_folders import class_folders_in, folders_with_pictures, scan_root
from poets_tfr.sources.folders import Folders, is_left_alone, is_picture
from poets_tfr.sources.settings import SPLITS, SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Tree

log = logging.getLogger('poets_tfr')

_SPLIT_OF = {
    **dict.fromkeys(['train', 'training'], 'train'),
    **dict.fromkeys(['val', 'valid', 'validation', 'dev'], 'validation'),
    **dict.fromkeys(['test', 'testing'], 'test'),
}


def split_named(name: str) -> str:
    """The split that a word stands for, in any case: 'Valid' -> 'validation'; '' for others."""
    return _SPLIT_OF.get(name.strip().lower(), '')


def has_split_folders(tree: Tree, recursive: bool) -> bool:
    """Whether the top holds a folder for training, and class folders with images lie in that.

    Raises:
      InputError: the top of the tree cannot be read.
    """
    return any(
        entry.is_dir
        and split_named(entry.name) == 'train'
        and folders_with_pictures(tree, entry.name, recursive)
        for entry in scan_root(tree)
    )


def folder_of(tree: Tree, split: str, recursive: bool) -> str:
    """The folder of a split that has class folders; '' where there is none, or no split folders."""
    if not has_split_folders(tree, recursive):
        return ''
    folder = _folder_of_each_split(tree, scan_root(tree)).get(split, '')
    return folder if folder and folders_with_pictures(tree, folder, recursive) else ''


def list_split_folders(config: SourceConfig, tree: Tree) -> Inventory:
    """The images of a tree of which `has_split_folders` holds; each has the split of its folder.

    A test folder of images without class folders is left alone, and counted.

    Raises:
      InputError: there are other folders with images beside them, or two for one split.
    """
    top = scan_root(tree)
    folders = _folder_of_each_split(tree, top)
    images: list[Listed] = []
    walk = Folders(tree, config.recursive, config.follow_links)
    ignored = sum(not entry.is_dir for entry in top)
    for entry in top:
        if entry.is_dir and entry.name not in folders.values():
            beside = walk.look_into(entry.name)
            ignored += len(beside.pictures) + beside.ignored
    for split, folder in folders.items():
        if split != 'train' and not folders_with_pictures(tree, folder, config.recursive):
            contents = walk.look_into(folder)
            count = len(contents.pictures)
            ignored += count + contents.ignored
            if count:
                log.warning(
                    '%s: %d images in no class folders, so without labels: left alone.',
                    printable(folder), count,
                )  # fmt: skip
            continue
        classes, others = class_folders_in(config, tree, folder, is_whole=split == 'train')
        ignored += others
        for name, contents in classes:
            for file in contents.pictures:
                key = f'{name}/{file.name}'
                path = f'{folder}/{key}'
                images.append(Listed(path, name, file.size, file.mtime_ns, split, file.fault, key))
    return Inventory(images, ignored, 'folders')


def _folder_of_each_split(tree: Tree, top: Sequence[Entry]) -> dict[str, str]:
    """Split -> its folder; raises InputError where that is not clear."""
    folders: dict[str, str] = {}
    stray = []
    for entry in top:
        if not entry.is_dir or is_left_alone(entry.name):
            continue
        split = split_named(entry.name)
        if split in folders:
            raise InputError(
                f'--image_dir={tree.where}: {folders[split]} and {entry.name} are both for '
                f'{split}: merge them, or move one away.'
            )
        if split:
            folders[split] = entry.name
        elif _holds_pictures(tree, entry.name):
            stray.append(entry.name)
    if stray:
        raise InputError(
            f'--image_dir={tree.where}: {_understood(folders)}, and the images in '
            f'{", ".join(map(printable, stray[:5]))}{", ..." if len(stray) > 5 else ""} belong to '
            'no split: move them away, or take every folder as a class with '
            '--split_by=relative_path.'
        )
    return {split: folders[split] for split in SPLITS if split in folders}


def _understood(folders: Mapping[str, str]) -> str:
    return (
        'splits are given by folders ('
        + ', '.join(
            f'{printable(folders[split])} is {split}' for split in SPLITS if split in folders
        )
        + ')'
    )


def _holds_pictures(tree: Tree, folder: str) -> bool:
    with contextlib.suppress(OSError):
        return any(map(is_picture, tree.scan(folder))) or bool(folders_with_pictures(tree, folder))
    return False
