"""What was decided: corrections.tsv, written whole with each decision, and taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable

from poets_tfr import files
from poets_tfr.records import corrections
from poets_tfr.records.corrections import RELABEL, RIGHT, Correction
from poets_tfr.review.deck import Deck, Image


class Decisions:
    """A table of corrections of a deck's images. Lines of other images in it stay.

    It is read anew each time, so that nothing is lost that another program has written there.
    """

    def __init__(self, table: str, deck: Deck):
        self.table, self._deck = table, deck
        self._lock = threading.Lock()
        self._taken_back: list[tuple[int, Correction | None]] = []

    @property
    def can_undo(self) -> bool:
        return bool(self._taken_back)

    def of_images(self) -> dict[int, Correction]:
        """Number of the image -> what was decided of it as it is now.

        Raises:
          InputError: the table is none, or says two things of one image.
        """
        said = self._read()
        found = {n: said.get(image.path) for n, image in enumerate(self._deck.images)}
        return {
            number: correction
            for number, correction in found.items()
            if correction and correction.digest == self._deck.images[number].digest
        }

    def decide(self, number: int, action: str, label: str, when_first_shown: str) -> None:
        """Writes it down.

        Raises:
          InputError: as `of_images`.
          OSError: it cannot be written, and nothing was decided.
        """
        image = self._deck.images[number]
        with self._lock:
            said = self._read()
            before = said.pop(image.path, None)
            known = before if before and before.digest == image.digest else None
            if known:
                when_first_shown = known.when_first_shown
            said[image.path] = self._meant(image, known, action, label, when_first_shown)
            corrections.write(self.table, said.values())
            self._taken_back.append((number, before))

    def undo(self) -> int:
        """Takes the last decision since the start back; gives the number of its image.

        Raises:
          LookupError: there is none. InputError, OSError: as `decide`.
        """
        with self._lock:
            number, before = self._taken_back[-1]
            said = self._read()
            said.pop(self._deck.images[number].path, None)
            if before:
                said[before.path] = before
            corrections.write(self.table, said.values())
            self._taken_back.pop()
            return number

    def _meant(
        self, image: Image, known: Correction | None, action: str, label: str, shown: str
    ) -> Correction:
        """Records that were made with corrections show the new label: to call it right keeps it."""
        label_now = self._deck.labels[image.label]
        if action == RELABEL and label == label_now:
            action, label = RIGHT, ''
        if action == RIGHT and known and (known.action, known.label) == (RELABEL, label_now):
            return known
        return Correction(image.path, image.digest, action, label, shown)

    def _read(self) -> dict[str, Correction]:
        return corrections.read(self.table) if files.exists(self.table) else {}


def when_shown(now: Callable[[], str]) -> Callable[[int], str]:
    """A function: number of an image -> the time when it was first called with it."""
    times: dict[int, str] = {}
    return lambda number: times.setdefault(number, now())
