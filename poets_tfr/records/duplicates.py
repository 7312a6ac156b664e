"""Pictures of the same content, byte for byte: found, and dropped or refused on demand.

Which of them counts as the first depends on their paths alone, so neither on the order in which
files are read nor on what was converted before.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources.listing import Listing, Picture

log = logging.getLogger('poets_tfr')

_WARNINGS_SHOWN = 5


class Member(NamedTuple):
    """A picture among others that may have its content."""

    path: str
    label: int
    split: str
    sha256: str


class Duplicate(NamedTuple):
    """`first` comes before `copy` by path, and has the same content."""

    copy: Member
    first: Member


def find(members: Iterable[Member]) -> list[Duplicate]:
    """Every member that has the content of one before it by path; sorted by path."""
    first_of: dict[str, Member] = {}
    found = []
    for member in sorted(members):
        first = first_of.setdefault(member.sha256, member)
        if first is not member:
            found.append(Duplicate(member, first))
    return found


def settle(
    config: ConversionConfig, listing: Listing, sha256_of: Callable[[Picture], str]
) -> Listing:
    """The listing with copies marked, where `--on_duplicate` says drop.

    Only files that agree in size are read.

    Args:
      sha256_of: hex digest of a picture file; '' where it cannot be read.

    Raises:
      InputError: there are copies, and `--on_duplicate` says fail.
    """
    if config.on_duplicate == 'keep':
        return listing
    taken = [picture for picture in listing.pictures if not picture.is_left_out]
    sizes = Counter(picture.size for picture in taken)
    alike = [p for p in taken if p.size and sizes[p.size] > 1]
    members = (Member(p.path, p.label, p.split, sha256_of(p)) for p in alike)
    found = find(member for member in members if member.sha256)
    if found and config.on_duplicate == 'fail':
        copy, first = found[0]
        raise InputError(
            f'--on_duplicate=fail: {printable(copy.path)} has the content of '
            f'{printable(first.path)}; {len(found)} images are such copies. Remove them, or drop '
            'them with --on_duplicate=drop.'
        )
    copy_of = {copy.path: first.path for copy, first in found}
    return dataclasses.replace(
        listing,
        pictures=tuple(
            dataclasses.replace(picture, copy_of=copy_of.get(picture.path, ''))
            for picture in listing.pictures
        ),
    )


def report(found: list[Duplicate], labels: list[str], where_all_are: str) -> None:
    """Says how many there are, and warns of those that mislead training or its figures."""
    if not found:
        return
    log.info(
        'Duplicates, with the content of another image: %d; they are listed in %s.',
        len(found), where_all_are,
    )  # fmt: skip
    for what, misleading in (
        ('classes', [(copy, first) for copy, first in found if copy.label != first.label]),
        ('splits', [(copy, first) for copy, first in found if copy.split != first.split]),
    ):
        for copy, first in misleading[:_WARNINGS_SHOWN]:
            of = [labels[m.label] if what == 'classes' else m.split for m in (first, copy)]
            log.warning(
                'The same image in two %s (%s and %s): %s and %s.',
                what, *map(printable, (*of, first.path, copy.path)),
            )  # fmt: skip
        if (more := len(misleading) - _WARNINGS_SHOWN) > 0:
            log.warning('... and %d more images in two %s.', more, what)
