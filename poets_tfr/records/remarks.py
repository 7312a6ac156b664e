"""What people should know of the folders that were looked into. No TensorFlow."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.records.folders import PICTURE_EXTENSIONS, Contents, Folders, is_picture

log = logging.getLogger('poets_tfr')

_EXTENSIONS_SHOWN = 3


def of_contents(folder: str, contents: Contents) -> None:
    """A person may take them for pictures (.heic, say) and wonder where they are."""
    others = contents.other_extensions
    if len(others) > _EXTENSIONS_SHOWN:  # those of downloads (.jpg?w=640) can all be different
        names = [extension or 'no extension' for extension, _ in others.most_common()]
        others = Counter({some(names): others.total()})
    for extension, count in sorted(others.items()):
        log.warning(
            '%s: %d files with %s are not taken; pictures end in %s.',
            printable(folder), count, printable(extension or 'no extension'),
            ' '.join(sorted(PICTURE_EXTENSIONS)),
        )  # fmt: skip
    for what, names in (
        ('hold pictures that are not taken: --recursive takes them', contents.nested),
        ('are links out of image_dir, or in a circle: not followed', contents.unfollowed),
    ):
        if names:
            log.warning('%s: %d folders (%s) %s.', printable(folder), len(names), some(names), what)


def of_loose_pictures(root: str, top: Sequence[files.Entry]) -> None:
    if loose := sum(map(is_picture, top)):
        log.warning('%s: pictures that lie in no folder of a class: %d, not taken.', root, loose)


def of_folders(folders: Folders) -> None:
    """What was met on the way, wherever it was."""
    if folders.by_content:
        log.warning(
            'Taken by their content, for their names are not those of pictures: %d (%s).',
            len(folders.by_content), some(folders.by_content),
        )  # fmt: skip
    if folders.unread:
        log.warning(
            'Cannot be read, and is not taken anyway: %d (%s).',
            len(folders.unread), some(folders.unread),
        )  # fmt: skip
    if met := folders.system:
        log.warning(
            'Folders of the system or of other programs: %d, not looked into (%s). Rename one '
            'that holds pictures of yours.',
            len(met), some(met),
        )  # fmt: skip


def check_open(what: str, folders: Folders) -> None:
    """Raises InputError about all folders that are wanted and cannot be read.

    Args:
      what: begins the message: the flag or the folder that was named.
    """
    if folders.closed:
        raise InputError(
            f'{what}: cannot be read, so that pictures would be missing: '
            f'{", ".join(folders.closed)}. Ask for the right to read them (chmod -R a+rX), or '
            'leave them out.'
        )


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a line that says how many there are."""
    return ', '.join(map(printable, names[:3])) + (', ...' if len(names) > 3 else '')
