"""What people said of images' labels: right, of another class, or to be left out.

corrections.tsv has a line for each image that was decided. It holds the digest of the image file
that they saw: of another one, even of the same path, nothing was said. Image files stay as they
are, and each image keeps its split, which its path has decided.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from poets_tfr import files, tables
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.settings import did_you_mean
from poets_tfr.sources import remarks
from poets_tfr.sources.labels import composed
from poets_tfr.sources.listing import ClassFolder, Listing

log = logging.getLogger('poets_tfr')

RIGHT, RELABEL, LEAVE_OUT = ACTIONS = 'right', 'relabel', 'leave_out'
_SHOWN = 5
_LABELS_SHOWN = 20


class Correction(NamedTuple):
    """A line of corrections.tsv.

    path: relative to image_dir. digest: SHA-256 of the image file, in hex. action: one of ACTIONS.
    label: what a relabelled image shows; '' of others. when_first_shown: a time in UTC.
    """

    path: str
    digest: str
    action: str
    label: str = ''
    when_first_shown: str = ''


@dataclasses.dataclass(frozen=True)
class Corrections:
    """Those of a table that hold for the images that are there.

    table: the file; '' without one. of_path: path -> what is said of it. gone, changed: the paths
    of those that do not hold: there is no such image, or it is another one.
    """

    table: str = ''
    of_path: Mapping[str, Correction] = dataclasses.field(default_factory=dict)
    gone: Sequence[str] = ()
    changed: Sequence[str] = ()

    @classmethod
    def of(cls, table: str, there: Collection[str]) -> Corrections:
        """Those of images that are there, not yet compared with their digests; none without one.

        Raises:
          InputError: it is no such table, or says two things of one image.
        """
        said = read(table) if table else {}
        return cls(
            table,
            {path: each for path, each in said.items() if path in there},
            [path for path in said if path not in there],
        )

    def unchanged(self, sha256_of: Callable[[str], str]) -> Corrections:
        """Those whose images are the ones that were seen.

        Args:
          sha256_of: path -> hex digest of the image file; '' where it cannot be read.
        """
        changed = [p for p, said in self.of_path.items() if sha256_of(p) != said.digest]
        rest = {path: said for path, said in self.of_path.items() if path not in {*changed}}
        return dataclasses.replace(self, of_path=rest, changed=changed)

    def check_labels(self, classes: Sequence[ClassFolder]) -> None:
        """Raises InputError for a label that no class has."""
        known = _by_label(classes)
        for said in self.all(RELABEL).values():
            if composed(said.label) not in known:
                raise no_such_label(self.table, said, [label for _, label in classes])

    def without_left_out(self, listing: Listing) -> Listing:
        """The listing with the images marked that are to be left out."""
        return _replaced(listing, self.all(LEAVE_OUT), lambda path: {'is_unwanted': True})

    def relabelled(self, listing: Listing) -> Listing:
        """The listing with the labels that were given; splits stay."""
        known = _by_label(listing.classes)
        labels = {path: known[composed(said.label)] for path, said in self.all(RELABEL).items()}
        return _replaced(listing, labels, lambda path: {'label': labels[path]})

    def check_classes(self, listing: Listing, bad: Collection[str]) -> None:
        """Raises InputError where a class has no training images left.

        Args:
          listing: of `relabelled`.
          bad: the paths of the files that become no records.
        """
        if not self.all(RELABEL):
            return
        left = {p.label for p in listing.pictures if p.split == 'train' and p.path not in bad}
        for label, (_, name) in enumerate(listing.classes):
            if label not in left:
                raise InputError(
                    f'--corrections={self.table}: no training images of {name!r} are left. '
                    'Nothing was replaced. Leave the class out with --classes, or correct less.'
                )

    def report(self, relabelled: int, left_out: int) -> None:
        """Says how many were applied, and names those that were not."""
        if not self.table:
            return
        log.info(
            'Corrections: relabelled %d, left out %d, right as they are %d.',
            relabelled, left_out, len(self.all(RIGHT)),
        )  # fmt: skip
        for why, paths in (
            ('the image has changed', self.changed),
            ('there is no such image', self.gone),
        ):
            for path in paths[:_SHOWN]:
                log.warning('Correction not applied, %s: %s', why, printable(path))
            if (more := len(paths) - _SHOWN) > 0:
                log.warning('... and %d more, for the same reason.', more)

    def warn_of_empty(self, labels: Sequence[str], counts: Mapping[str, Sequence[int]]) -> None:
        """Says which classes have no images in a split that others have images in.

        Args:
          counts: split -> how many images of each class it has.
        """
        for split, of_class in counts.items() if self.all(RELABEL) else ():
            empty = [label for label, n in zip(labels, of_class, strict=True) if not n]
            if empty and any(of_class):
                log.warning(
                    'WARNING: classes without images in %s, once labels are corrected: %d (%s).',
                    split, len(empty), remarks.some(empty),
                )  # fmt: skip

    def all(self, action: str) -> dict[str, Correction]:
        """Path -> what is said of it, of those with this action."""
        return {path: said for path, said in self.of_path.items() if said.action == action}


def digest_of(table: str) -> str:
    """Hex digits that tell what is changed by one table from what is by another; '' if nothing is.

    Raises:
      InputError: it is not such a table.
    """
    said = read(table).values() if table else ()
    rows = sorted(each[:4] for each in said if each.action != RIGHT)
    if not rows:
        return ''
    return hashlib.sha256(files.json_bytes(rows, indent=False)).hexdigest()[:16]


def read(table: str) -> dict[str, Correction]:
    """Path -> what a table says of it, in its order.

    Raises:
      InputError: it is not such a table, or says two things of one image.
    """
    try:
        rows = tables.read(table, Correction._fields)
    except InputError as error:
        raise InputError(f'--corrections: {error}') from None
    except OSError as error:
        raise InputError(f'--corrections: {table}: {error.strerror}.') from None
    found: dict[str, Correction] = {}
    for row in rows:
        said = Correction(*(row[name] for name in Correction._fields))
        if fault := _fault(said):
            raise InputError(f'--corrections: {table}: {printable(said.path)}: {fault}.')
        before = found.setdefault(said.path, said)
        if before[:4] != said[:4]:
            raise InputError(
                f'--corrections: {table} says two things of {printable(said.path)}: '
                f'{_told(before)}, and {_told(said)}. Delete one of the two lines.'
            )
    return found


def write(table: str, corrections: Iterable[Correction]) -> None:
    """The whole table, whole or not at all. Raises OSError."""
    files.write_bytes(table, tables.tsv(Correction._fields, corrections))


def relabelled(before: Listing, after: Listing, bad: Collection[str]) -> int:
    """How many images have another label than before; those not that become no records."""
    both = zip(before.pictures, after.pictures, strict=True)
    return sum(old.label != new.label and new.path not in bad for old, new in both)


def no_such_label(table: str, said: Correction, labels: Sequence[str]) -> InputError:
    shown = ', '.join(map(printable, labels[:_LABELS_SHOWN]))
    more = ', ...' if len(labels) > _LABELS_SHOWN else ''
    return InputError(
        f'--corrections={table}: {printable(said.path)} is to be {said.label!r}, which no class is '
        f'called{did_you_mean(said.label, labels)}. Classes are: {shown}{more}.'
    )


def _fault(said: Correction) -> str:
    if said.action not in ACTIONS:
        return f'the action is {said.action!r}, and must be {", ".join(ACTIONS[:2])} or {LEAVE_OUT}'
    if said.action == RELABEL and not said.label:
        return f'{RELABEL} wants a label'
    if not re.fullmatch('[0-9a-f]{64}', said.digest):
        return f'the digest is {said.digest!r}, and must be a SHA-256 of 64 hex digits'
    return ''


def _told(said: Correction) -> str:
    action = f'{said.action} {said.label!r}' if said.action == RELABEL else said.action
    return f'{action} (of the file {said.digest[:8]})'


def _by_label(classes: Sequence[ClassFolder]) -> dict[str, int]:
    """Label, or folder where no label is spelt so -> number."""
    by_folder = {composed(folder): number for number, (folder, _) in enumerate(classes)}
    return by_folder | {composed(label): number for number, (_, label) in enumerate(classes)}


def _replaced(
    listing: Listing, paths: Collection[str], with_what: Callable[[str], dict[str, object]]
) -> Listing:
    if not paths:
        return listing
    pictures = tuple(
        dataclasses.replace(picture, **with_what(picture.path))  # type: ignore[arg-type]
        if picture.path in paths
        else picture
        for picture in listing.pictures
    )
    return dataclasses.replace(listing, pictures=pictures)
