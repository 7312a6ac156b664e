"""What there is to decide: a card for each image that the examination has named."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from typing import NamedTuple

from poets_tfr import files, tables
from poets_tfr.errors import InputError
from poets_tfr.examination.writing import JSON, NEAR_DUPLICATES, ODD, SUSPECTS
from poets_tfr.records.reading import Records
from poets_tfr.review.settings import ReviewConfig

log = logging.getLogger('poets_tfr')

KINDS = 'suspects', 'near duplicates', 'odd'


class Image(NamedTuple):
    """An image of the records.

    label: 0-based. row: in its split. digest: SHA-256 of the image file, in hex.
    """

    path: str
    label: int
    split: str
    row: int
    digest: str


@dataclasses.dataclass
class Card:
    """An image, by its number among the deck's, and what is said of it.

    kind: one of KINDS, the first that names it. suggested: the number of a label, or None. alike:
    the numbers of its near duplicates.
    """

    image: int
    kind: str
    said: list[str] = dataclasses.field(default_factory=list)
    suggested: int | None = None
    alike: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Deck:
    """The cards in the order in which they are shown, and the images that are on them."""

    records: Records
    images: list[Image]
    cards: list[Card]

    @property
    def labels(self) -> list[str]:
        return self.records.labels

    def read(self, number: int) -> bytes:
        """An upright JPEG or PNG. Raises InputError where the records are damaged or replaced."""
        image = self.images[number]
        return self.records[image.split].read(image.row)


def open_records(config: ReviewConfig) -> Records:
    """Those that were examined.

    Raises:
      InputError: nothing was examined there, or the records are not there any more.
    """
    path = files.join(config.examine_dir, JSON)
    try:
        found = files.read_json(path)
    except FileNotFoundError:
        raise InputError(
            f'--examine_dir={config.examine_dir} has no {JSON}: examine first '
            '(make examine, or poets-examine).'
        ) from None
    where = config.records_dir or (found.get('records_dir') if isinstance(found, dict) else '')
    if not where:
        raise InputError(f'{path} does not say which records it is of: give --records_dir.')
    return Records.open(where)


def of(examine_dir: str, records: Records) -> Deck:
    """The cards: suspects, the worst first; near duplicates, across classes first; odd images.

    Images that the records do not hold, for they were left out since, have none.

    Raises:
      InputError: a table is missing or damaged, or an index of the records is.
    """
    suspects, copies, odd = (
        tables.read(files.join(examine_dir, name), wanted)
        for name, wanted in (
            (SUSPECTS, ['path', 'label', 'suggested_label', 'quality']),
            (NEAR_DUPLICATES, ['group', 'path']),
            (ODD, ['path', 'reason', 'value']),
        )
    )
    suspects = [row for row in suspects if row['label'] != row['suggested_label']]
    named = dict.fromkeys(row['path'] for row in (*suspects, *copies, *odd))
    images = _images(records, named)
    number_of = {image.path: number for number, image in enumerate(images)}
    if missing := len(named) - len(images):
        log.warning(
            'Of the images that were examined %d are not in the records any more, and are passed '
            'over.', missing,
        )  # fmt: skip
    dealt = _Dealt(number_of)
    _deal_suspects(dealt, suspects, images, records.labels)
    _deal_copies(dealt, copies, images)
    for row in odd:
        dealt.card(row['path'], 'odd', f'{row["reason"]} ({row["value"]})')
    return Deck(records, images, list(dealt.cards.values()))


class _Dealt:
    """number_of: path -> the number of its image. cards: by that number."""

    def __init__(self, number_of: dict[str, int]):
        self.number_of = number_of
        self.cards: dict[int, Card] = {}

    def card(self, path: str, kind: str, said: str) -> Card | None:
        """The image's card with one thing more said; None where there is no such image."""
        number = self.number_of.get(path)
        if number is None:
            return None
        card = self.cards.setdefault(number, Card(number, kind))
        card.said.append(said)
        return card


def _deal_suspects(
    dealt: _Dealt, rows: Iterable[dict[str, str]], images: list[Image], labels: list[str]
) -> None:
    place = {label: number for number, label in enumerate(labels)}
    for row in rows:
        number, suggested = dealt.number_of.get(row['path']), place.get(row['suggested_label'])
        if number is None or images[number].label == suggested:  # it was corrected since
            continue
        said = f'looks like {row["suggested_label"]}, quality {row["quality"]}'
        if card := dealt.card(row['path'], 'suspects', said):
            card.suggested = suggested


def _deal_copies(dealt: _Dealt, rows: Iterable[dict[str, str]], images: list[Image]) -> None:
    groups: dict[str, list[int]] = {}
    for row in rows:
        if row['path'] in dealt.number_of:
            groups.setdefault(row['group'], []).append(dealt.number_of[row['path']])

    def spread(group: list[int]) -> tuple[int, int]:
        of_group = [images[number] for number in group]
        return -len({i.label for i in of_group}), -len({i.split for i in of_group})

    for group in sorted(groups.values(), key=spread):
        for number in group if len(group) > 1 else ():
            across = [
                name
                for name, count in zip(('classes', 'splits'), spread(group), strict=True)
                if count < -1
            ]
            said = f'one of {len(group)} near duplicates'
            said += f', across {" and ".join(across)}' if across else ''
            if card := dealt.card(images[number].path, 'near duplicates', said):
                card.alike += [other for other in group if other != number]


def _images(records: Records, paths: Iterable[str]) -> list[Image]:
    """Those of the records, in the order of the paths."""
    wanted = set(paths)
    found: dict[str, Image] = {}
    for split in records.splits:
        of_split = records[split]
        for row, path in enumerate(of_split.paths):
            if path in wanted:
                digest = bytes(of_split.source_digests[row]).ljust(32, b'\0').hex()
                found[path] = Image(path, int(of_split.labels[row]), split, row, digest)
    return [found[path] for path in paths if path in found]
