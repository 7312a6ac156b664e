"""Splits that would be left empty by damaged pictures, or by dropped copies, are filled.

Which pictures are bad is known once every file was gone through. From then on a class is split as
if it held its whole pictures alone, so the splits depend on the files and on nothing else: not on
what was converted before, nor in which order.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet

from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.records import splits
from poets_tfr.records.image_dir import Listing, Picture
from poets_tfr.records.manifest import IndexEntry
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.records.splits import UnsplittableError

log = logging.getLogger('poets_tfr')

_SHOWN = 5
_FILES_SHOWN = 100


def settle(
    config: ConversionConfig, listing: Listing, bad: AbstractSet[str]
) -> tuple[Listing, list[UnsplittableError]]:
    """The listing with the splits that its whole pictures have, and the classes that have too few.

    Args:
      listing: of `list_image_dir`, copies marked.
      bad: the paths of the files that become no records.
    """
    of_label: dict[int, list[Picture]] = {}
    for label in {p.label for p in listing.pictures if p.path in bad and not p.fault}:
        of_label[label] = []
    for picture in listing.pictures:
        if picture.label in of_label and not picture.fault:
            of_label[picture.label].append(picture)
    split_of: dict[str, str] = {}
    errors = []
    for label, pictures in sorted(of_label.items()):
        try:
            split_of |= _splits(config, listing.classes[label].folder, pictures, bad)
        except UnsplittableError as error:
            errors.append(error)
    moved = {p.path for p in listing.pictures if split_of.get(p.path, p.split) != p.split}
    if not moved:
        return listing, errors
    settled = tuple(
        dataclasses.replace(p, split=split_of[p.path]) if p.path in moved else p
        for p in listing.pictures
    )
    return dataclasses.replace(listing, pictures=settled), errors


def _splits(
    config: ConversionConfig, folder: str, pictures: Sequence[Picture], bad: Collection[str]
) -> dict[str, str]:
    names = {p.path: p.path.removeprefix(f'{folder}/') for p in pictures}
    bad_names = {name for path, name in names.items() if path in bad}
    found = splits.of_class(config, folder, list(names.values()), bad_names)
    return dict(zip(names, found, strict=True))


def check(
    listing: Listing, errors: Sequence[UnsplittableError], skipped: Iterable[IndexEntry]
) -> None:
    """Raises InputError about all classes that have too few whole pictures, and their bad files."""
    if not errors:
        return
    folders = {error.folder for error in errors}
    files = [
        f'{printable(entry.path)} ({entry.reason})'
        for entry in sorted(skipped, key=lambda entry: entry.path)
        if listing.classes[entry.label].folder in folders
    ]
    more = f' and {len(files) - _FILES_SHOWN} more' if len(files) > _FILES_SHOWN else ''
    raise InputError(
        f'{splits.told(errors)} Nothing was replaced. Mend or remove what cannot be used: '
        f'{", ".join(files[:_FILES_SHOWN])}{more}.'
    )


def report(before: Listing, after: Listing) -> None:
    """Says which pictures were moved, and why."""
    moved = [
        (new.path, old.split, new.split)
        for old, new in zip(before.pictures, after.pictures, strict=True)
        if old.split != new.split
    ]
    for path, old, new in moved[:_SHOWN]:
        log.warning(
            'Moved from %s to %s, where no whole picture of its class was left: %s',
            old, new, printable(path),
        )  # fmt: skip
    if (more := len(moved) - _SHOWN) > 0:
        log.warning('... and %d more pictures, moved for the same reason.', more)
