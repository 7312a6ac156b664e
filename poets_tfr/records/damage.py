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
from poets_tfr.records.manifest import IndexEntry
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources import splits
from poets_tfr.sources.listing import Listing, Picture
from poets_tfr.sources.splits import UnsplittableError

log = logging.getLogger('poets_tfr')

_SHOWN = 5
_FILES_SHOWN = 100


def settle(
    config: ConversionConfig, listing: Listing, bad: AbstractSet[str]
) -> tuple[Listing, list[UnsplittableError]]:
    """The listing with the splits that its whole pictures have, and the classes that have too few.

    Args:
      listing: of `list_images`, copies marked.
      bad: the paths of the files that become no records.
    """
    of_label: dict[int, list[Picture]] = {}
    drawn_from = [p for p in listing.pictures if not p.fault and not _is_fixed(listing, p)]
    for label in {p.label for p in drawn_from if p.path in bad}:
        of_label[label] = []
    for picture in drawn_from:
        if picture.label in of_label:
            of_label[picture.label].append(picture)
    split_of: dict[str, str] = {}
    errors = []
    for _, pictures in sorted(of_label.items()):
        try:
            split_of |= _splits(config, listing, pictures, bad)
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


def _is_fixed(listing: Listing, picture: Picture) -> bool:
    """Whether the source gives its split, and no other is drawn from that one."""
    return picture.split in listing.given and picture.split != 'train'


def _splits(
    config: ConversionConfig, listing: Listing, pictures: Sequence[Picture], bad: Collection[str]
) -> dict[str, str]:
    name = listing.classes[pictures[0].label].folder
    bad_keys = {p.hashed for p in pictures if p.path in bad}
    found = splits.of_class(config, name, [p.hashed for p in pictures], bad_keys, listing.given)
    return {p.path: split for p, split in zip(pictures, found, strict=True)}


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
            'Moved from %s to %s, where no whole image of its class was left: %s',
            old, new, printable(path),
        )  # fmt: skip
    if (more := len(moved) - _SHOWN) > 0:
        log.warning('... and %d more images, moved for the same reason.', more)
