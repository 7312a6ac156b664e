"""examine.html: one file for people, small pictures in it, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from poets_tfr.examination import saying
from poets_tfr.examination.examination import Examination
from poets_tfr.records.reading import Records
from poets_tfr.reporting import page
from poets_tfr.reporting.metrics import wilson_interval
from poets_tfr.reporting.sheets import thumbnail

_MOST_SUSPECTS, _MOST_OF_PAIR = 96, 12
_MOST_GROUPS, _MOST_OF_GROUP = 40, 6
_MOST_ODD = 60
_SIDE = 144  # pixels of a thumbnail
_MOST_CLASSES, _MOST_PAIRS = 200, 12


class Card(NamedTuple):
    """A picture with its path and what is said of it."""

    row: int
    path: str
    said: str


class Section(NamedTuple):
    """Cards under a heading; more: how many are not shown."""

    heading: str
    cards: list[Card]
    more: int = 0


class ClassRow(NamedTuple):
    label: str
    pictures: int
    recognised: float
    interval: tuple[float, float]
    gain: float


def render(found: Examination, records: Records) -> str:
    """The page.

    Raises:
      InputError: a record is damaged.
    """
    suspects, groups, odd = _suspects(found), _groups(found), _odd(found)
    cards = [c for section in (*suspects, *groups, *odd) for c in section.cards]
    template = page.environment('poets_tfr.examination').get_template('examine.html')
    curve = found.crossed.curve
    return template.render(
        found=found,
        name=records.manifest.dataset_name,
        summary=saying.lines(found),
        suspects=suspects,
        groups=groups,
        groups_left=max(0, len(found.copies.groups()) - _MOST_GROUPS),
        odd=odd,
        curve=list(zip(curve.pictures, curve.mean, curve.error, strict=True)),
        confused=saying.confused(found)[:_MOST_PAIRS],
        classes=_classes(found),
        thumbnails=_thumbnails(found, records, {card.row for card in cards}),
    )


def _suspects(found: Examination) -> list[Section]:
    sections, left = [], _MOST_SUSPECTS
    for label, suggested, rows in saying.pairs(found):
        shown = rows[: min(left, _MOST_OF_PAIR)]
        if not len(shown):
            break
        left -= len(shown)
        cards = [_card(found, row, f'quality {found.suspects.quality[row]:.3f}') for row in shown]
        heading = f'{label}: likely {suggested} ({len(rows):,})'
        sections.append(Section(heading, cards, len(rows) - len(shown)))
    return sections


def _groups(found: Examination) -> list[Section]:
    """Those that cross classes or splits come first."""
    groups = sorted(found.copies.groups(), key=lambda rows: -len(found.crosses(rows)))
    sections = []
    for rows in groups[:_MOST_GROUPS]:
        crosses = found.crosses(rows)
        heading = f'{len(rows):,} images' + (f', cross {" and ".join(crosses)}' if crosses else '')
        cards = [
            _card(found, row, f'{found.columns.label_of(row)}, {found.columns.split_of(row)}')
            for row in rows[:_MOST_OF_GROUP]
        ]
        sections.append(Section(heading, cards, len(rows) - len(cards)))
    return sections


def _odd(found: Examination) -> list[Section]:
    sections, left = [], _MOST_ODD
    for reason in dict.fromkeys(each.reason for each in found.odd):
        all_of_it = [each for each in found.odd if each.reason == reason]
        cards = [_card(found, each.row, f'{each.value:.3g}') for each in all_of_it[:left]]
        left -= len(cards)
        sections.append(Section(reason, cards, len(all_of_it) - len(cards)))
    return sections


def _card(found: Examination, row: int, said: str) -> Card:
    return Card(int(row), found.columns.paths[row], said)


def _classes(found: Examination) -> list[ClassRow]:
    """Of many, those that are recognised least."""
    classes = len(found.columns.names)
    counts = np.bincount(found.columns.labels, minlength=classes)
    right = np.bincount(found.columns.labels[found.right], minlength=classes)
    gains = found.crossed.curve.doubled_of_class()
    order = np.argsort(right / np.maximum(counts, 1), kind='stable')[:_MOST_CLASSES]
    return [
        ClassRow(
            found.columns.names[i],
            int(counts[i]),
            float(right[i] / counts[i]),
            wilson_interval(int(right[i]), int(counts[i])),
            float(gains[i]),
        )
        for i in order
        if counts[i]
    ]


def _thumbnails(found: Examination, records: Records, rows: set[int]) -> dict[int, str]:
    """Row -> a JPEG in base64."""
    small = {}
    for split, name in enumerate(found.columns.splits):
        of_split = np.flatnonzero(found.columns.split == split)
        chosen: Sequence[int] = [row for row in sorted(rows) if found.columns.split[row] == split]
        images = records[name].read_each(int(row - of_split[0]) for row in chosen)
        for row, image in zip(chosen, images, strict=True):
            small[row] = base64.b64encode(thumbnail(image, _SIDE)).decode('ascii')
    return small
