"""Looks over a data set: labels that are likely wrong, near duplicates, odd images, and what would
help."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from poets_tfr.errors import InputError
from poets_tfr.examination import columns as columns_of
from poets_tfr.examination import crossing, near_copies, odd, suspects, thumbnails
from poets_tfr.examination.columns import Columns
from poets_tfr.examination.crossing import Crossed
from poets_tfr.examination.near_copies import NearCopies
from poets_tfr.examination.networks import Network
from poets_tfr.examination.odd import Odd
from poets_tfr.examination.suspects import Suspects
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.progress import stage
from poets_tfr.records.reading import Records

LEAST_PICTURES = 20  # of different content; of fewer nothing can be said


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """right: how many of `pictures` were classified correctly."""

    right: int
    pictures: int

    @property
    def share(self) -> float:
        return self.right / self.pictures


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was found in a data set; rows are those of `columns`.

    columns: its images, split after split. architecture: whose features were looked at.
    suspects: labels that are likely wrong. copies: near duplicates. odd: images unlike the rest.
    crossed: the scores that this rests on, and the learning curve. leaked: bool [n], test images
    that have a near duplicate in another split. networks: those compared, the best first.
    """

    columns: Columns
    architecture: str
    suspects: Suspects
    copies: NearCopies
    odd: list[Odd]
    crossed: Crossed
    leaked: np.ndarray
    networks: Sequence[Network] = ()

    @property
    def right(self) -> np.ndarray:
        """bool [n]: whether a head that had not seen the image gave its label."""
        found: np.ndarray = self.crossed.scores.argmax(axis=1) == self.columns.labels
        return found

    @property
    def accuracy(self) -> Accuracy:
        """Of heads on images that they have not seen, of all splits."""
        return Accuracy(int(self.right.sum()), len(self.columns))

    def test_accuracy(self, without_leaked: bool = False) -> Accuracy | None:
        """Of the head of the training split on the test split; None where a split is missing."""
        if self.crossed.by_split is None:
            return None
        chosen = self.columns.is_of('test') & ~(self.leaked & without_leaked)
        right = self.crossed.by_split.argmax(axis=1) == self.columns.labels
        return Accuracy(int(right[chosen].sum()), int(chosen.sum())) if chosen.any() else None

    def crosses(self, rows: np.ndarray) -> list[str]:
        """'splits', 'classes': what a group of near duplicates is spread over."""
        found = {'splits': self.columns.split[rows], 'classes': self.columns.labels[rows]}
        return [name for name, values in found.items() if len(np.unique(values)) > 1]

    def __repr__(self) -> str:
        groups = self.copies.groups()
        return (
            f'<Examination of {len(self.columns)} images: about {self.suspects.expected:.0f} '
            f'labels to look at, {len(groups)} groups of near duplicates, {len(self.odd)} odd>'
        )


def examine(
    records: Records,
    features: Callable[[], Mapping[str, SplitFeatures]],
    architecture: str,
    seed: int,
) -> Examination:
    """Looks over all splits of the records.

    Args:
      records: what to look over.
      features: gives those of a network, split by split.
      architecture: its name.
      seed: of the folds.

    Raises:
      InputError: a record is damaged, or there are too few images or classes.
    """
    if len(records.labels) < 2:
        raise InputError(f'{records.records_dir}: one class only: nothing can be told from it.')
    columns = columns_of.of(records, features())
    different = len(np.unique(columns.digests))
    if different < LEAST_PICTURES:
        raise InputError(
            f'{records.records_dir}: {different} different images are too few to examine: at least '
            f'{LEAST_PICTURES} are wanted.'
        )
    with stage('Looking for near duplicates'):
        candidates = near_copies.candidates(columns)
    with stage('Looking at pixels'):
        seen = thumbnails.of(records)
        copies = candidates.checked(seen.grey)
    seen = seen.without_grey()
    with stage('Training heads on parts of the images'):
        crossed = crossing.validate(columns, copies.group, seed)
    is_test = columns.is_of('test')
    return Examination(
        columns=columns,
        architecture=architecture,
        suspects=suspects.find(crossed.scores, copies.neighbours, columns.labels, seed),
        copies=copies,
        odd=odd.find(seen, columns.labels, copies.nearest),
        crossed=crossed,
        leaked=copies.seen_elsewhere(is_test, ~is_test),
    )
