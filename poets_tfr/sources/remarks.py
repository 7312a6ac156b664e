"""What people should know of the folders that were looked into. No TensorFlow."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources.folders import PICTURE_EXTENSIONS, Contents, Folders, is_picture
from poets_tfr.sources.splits import MAX_NUM_IMAGES_PER_CLASS

log = logging.getLogger('poets_tfr')

_EXTENSIONS_SHOWN = 3
_FOLDERS_SHOWN = 5
_FEW = 20


class Remarks:
    """Warnings about one folder each; of more than a few of a kind there is one line instead.

    Where there are only a few folders, each warning is given at once.
    """

    def __init__(self, folders: int):
        self._at_once = folders <= _FOLDERS_SHOWN
        self._waiting: dict[str, list[tuple[str, str]]] = {}

    def warn(self, folder: str, what: str, line: str) -> None:
        """`line` says it of this folder; `what` of many, as in `hold no pictures`."""
        if self._at_once:
            log.warning('%s', line)
        else:
            self._waiting.setdefault(what, []).append((folder, line))

    def flush(self) -> None:
        """Gives the warnings that wait."""
        for what, waiting in self._waiting.items():
            if len(waiting) > _FOLDERS_SHOWN:
                folders = [folder for folder, _ in waiting]
                log.warning('WARNING: %d folders %s (%s).', len(waiting), what, some(folders))
            else:
                for _, line in waiting:
                    log.warning('%s', line)
        self._waiting.clear()

    def of_contents(self, folder: str, contents: Contents) -> None:
        """A person may take them for pictures (.heic, say) and wonder where they are."""
        name, others = printable(folder), contents.other_extensions
        if len(others) > _EXTENSIONS_SHOWN:  # those of downloads (.jpg?w=640) can all be different
            names = [extension or 'no extension' for extension, _ in others.most_common()]
            others = Counter({some(names): others.total()})
        for extension, count in sorted(others.items()):
            self.warn(
                folder,
                'hold files that are not images and are ignored',
                f'{name}: {count} files with {printable(extension or "no extension")} are '
                f'ignored; images end in {" ".join(sorted(PICTURE_EXTENSIONS))}.',
            )
        for what, of_many, names in (
            (
                'hold images that are ignored: --recursive includes them',
                'have folders in them whose images are ignored: --recursive includes them',
                contents.nested,
            ),
            (
                'are links out of image_dir, or in a circle: not followed',
                'have links in them out of image_dir, or in a circle: not followed',
                contents.unfollowed,
            ),
        ):
            if names:
                line = f'{name}: {len(names)} folders ({some(names)}) {what}.'
                self.warn(folder, of_many, line)

    def of_size(self, folder: str, pictures: int) -> None:
        """The original's warnings of folders with few or very many pictures; ours of none."""
        name = printable(folder)
        if not pictures:
            line = f'No files found in {name}: it is not used as a class.'
            self.warn(folder, 'hold no images, and are not used as classes', line)
        elif pictures < _FEW:
            what = f'less than {_FEW} images, which may cause issues'
            self.warn(folder, f'have {what}', f'WARNING: Folder has {what}. ({name}: {pictures})')
        elif pictures > MAX_NUM_IMAGES_PER_CLASS:
            what = (
                f'more than {MAX_NUM_IMAGES_PER_CLASS} images. Some images will never be selected'
            )
            self.warn(folder, f'have {what}', f'WARNING: Folder {name} has {what}.')


def of_loose_pictures(root: str, top: Sequence[files.Entry]) -> None:
    if loose := sum(map(is_picture, top)):
        log.warning('%s: images outside any class folder: %d, ignored.', root, loose)


def of_folders(folders: Folders) -> None:
    """What was met on the way, wherever it was."""
    if folders.by_content:
        log.warning(
            'Taken by their content, for their names are not those of images: %d (%s).',
            len(folders.by_content), some(folders.by_content),
        )  # fmt: skip
    if folders.unread:
        log.warning(
            'Cannot be read, but is not needed either: %d (%s).',
            len(folders.unread), some(folders.unread),
        )  # fmt: skip
    if met := folders.system:
        log.warning(
            'Folders of the system or of other programs: %d, not looked into (%s). Rename one '
            'that holds images of yours.',
            len(met), some(met),
        )  # fmt: skip


def check_open(what: str, folders: Folders) -> None:
    """Raises InputError about all folders that are wanted and cannot be read.

    Args:
      what: begins the message: the flag or the folder that was named.
    """
    if folders.closed:
        raise InputError(
            f'{what}: cannot be read, so that images would be missing: '
            f'{", ".join(folders.closed)}. Ask for the right to read them (chmod -R a+rX), or '
            'leave them out.'
        )


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a line that says how many there are."""
    return ', '.join(map(printable, names[:3])) + (', ...' if len(names) > 3 else '')
