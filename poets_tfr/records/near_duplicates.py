"""Near duplicates, as poets-examine lists them: kept in one split, or dropped but for the first.

Conversion knows files, not what they show: the groups come in near_duplicates.tsv.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterable

from poets_tfr import files, tables
from poets_tfr.errors import InputError
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources import splits
from poets_tfr.sources.listing import Listing

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """Groups of paths that show the same; those of the listing alone, two or more in each."""

    config: ConversionConfig
    groups: list[list[str]]

    @classmethod
    def of(cls, config: ConversionConfig, listing: Listing) -> NearDuplicates:
        """Of the file that --near_duplicates names; none without it.

        Raises:
          InputError: it is not such a table; or its groups are to be kept in one split, and the
            source gives the splits.
        """
        if not config.near_duplicates:
            return cls(config, [])
        there = {picture.path for picture in listing.pictures}
        groups: dict[str, list[str]] = {}
        gone = 0
        for row in _read(config.near_duplicates):
            gone += row['path'] not in there
            if row['path'] in there:
                groups.setdefault(row['group'], []).append(row['path'])
        if gone:
            log.warning(
                '--near_duplicates=%s: %d of its paths are not among the images, and are passed '
                'over.', config.near_duplicates, gone,
            )  # fmt: skip
        found = [sorted(set(paths)) for paths in groups.values()]
        if found and listing.given and config.on_near_duplicate == 'group':
            raise InputError(
                f'--near_duplicates={config.near_duplicates}: the splits of these images are given '
                f'by {listing.splits_by} and stay: drop near duplicates with '
                '--on_near_duplicate=drop, or split anew.'
            )
        return cls(config, [paths for paths in found if len(paths) > 1])

    def dropped(self, listing: Listing) -> Listing:
        """The listing with all but the first of each group, by path, marked as its copies."""
        if self.config.on_near_duplicate != 'drop':
            return listing
        left_out = {picture.path for picture in listing.pictures if picture.is_left_out}
        first_of: dict[str, str] = {}
        for group in self.groups:
            first, *others = [path for path in group if path not in left_out] or group
            first_of |= dict.fromkeys(others, first)
        pictures = tuple(
            dataclasses.replace(picture, copy_of=first_of[picture.path], is_near=True)
            if picture.path in first_of and not picture.is_left_out
            else picture
            for picture in listing.pictures
        )
        return dataclasses.replace(listing, pictures=pictures)

    def together(self, listing: Listing) -> Listing:
        """The listing with each group in one split: that of its picture with the smallest hash.

        Files that agree up to `_nohash_` stay together, too.
        """
        if self.config.on_near_duplicate != 'group' or not self.groups:
            return listing
        hashed = {p.path: splits.hashed_path(self.config, p.hashed) for p in listing.pictures}
        first_of = _joined([hashed[path] for path in group] for group in self.groups)
        split_of: dict[str, str] = {}
        for picture in listing.pictures:
            key = hashed[picture.path]
            if not picture.fault and first_of.get(key) == key:
                split_of[key] = picture.split
        pictures = tuple(
            dataclasses.replace(p, split=split_of.get(first_of.get(hashed[p.path], ''), p.split))
            for p in listing.pictures
        )
        return dataclasses.replace(listing, pictures=pictures)

    def report(self, before: Listing, after: Listing) -> None:
        """Says how many were moved, or dropped."""
        if not self.groups:
            return
        moved = sum(
            old.split != new.split for old, new in zip(before.pictures, after.pictures, strict=True)
        )
        dropped = sum(picture.is_near for picture in after.pictures)
        done = (
            f'{dropped} images dropped'
            if self.config.on_near_duplicate == 'drop'
            else f'{moved} images moved to the split of their group'
        )
        log.info('Near duplicates: %d groups, %s.', len(self.groups), done)


def digest_of(config: ConversionConfig) -> str:
    """Hex digits that tell one table from another; '' without one.

    Raises:
      InputError: it is not such a table.
    """
    if not config.near_duplicates:
        return ''
    rows = sorted((row['group'], row['path']) for row in _read(config.near_duplicates))
    return hashlib.sha256(files.json_bytes(rows, indent=False)).hexdigest()[:16]


def _read(path: str) -> list[dict[str, str]]:
    try:
        return tables.read(path, ['group', 'path'])
    except InputError as error:
        raise InputError(f'--near_duplicates: {error}') from None
    except OSError as error:
        raise InputError(f'--near_duplicates: {path}: {error.strerror}.') from None


def _joined(groups: Iterable[list[str]]) -> dict[str, str]:
    """Key -> of all keys that it is joined with, through others too, that of the smallest hash."""
    together: dict[str, set[str]] = {}
    for group in groups:
        merged = set(group).union(*(together.get(key, set()) for key in group))
        together |= dict.fromkeys(merged, merged)
    first = {id(keys): min(keys, key=_by_hash) for keys in together.values()}
    return {key: first[id(keys)] for key, keys in together.items()}


def _by_hash(key: str) -> tuple[float, str]:
    return splits.split_percentage(key), key
