"""A source's images -> their labels and splits, which the conversion follows. No TensorFlow."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources import opening, remarks, splits
from poets_tfr.sources.labels import composed, label_of
from poets_tfr.sources.settings import SPLITS, SourceConfig
from poets_tfr.sources.source import Inventory, Listed
from poets_tfr.sources.splits import UnsplittableError

log = logging.getLogger('poets_tfr')

_NAMES_SHOWN = 20


class ClassFolder(NamedTuple):
    """A class: its name as the source has it, and the label that the labels file shows."""

    folder: str
    label: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """A file that is to become a record.

    path, size, mtime_ns, fault, key, place: as in `Listed`.
    label: 0-based index of the class.
    copy_of: the path of the picture of the same content that is taken in its place; '' if none.
    is_near: whether that shows the same without being the same, byte for byte.
    is_unwanted: whether a person has said to leave it out.
    """

    path: str
    label: int
    split: str
    size: int
    mtime_ns: int
    fault: str = ''
    copy_of: str = ''
    is_near: bool = False
    key: str = ''
    place: int = 0
    is_unwanted: bool = False

    @property
    def is_left_out(self) -> bool:
        return bool(self.fault or self.copy_of or self.is_unwanted)

    @property
    def hashed(self) -> str:
        """What decides the split and the shard."""
        return self.key or self.path


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a source holds: every file is one of the pictures or `ignored`.

    Folders that `--classes` leaves out are not looked into.

    given: the splits that the source gives. They stay as they are; all others are drawn.
    splits_by: what gave them, as `Inventory` has it.
    """

    classes: tuple[ClassFolder, ...]
    pictures: tuple[Picture, ...]
    ignored: int
    given: frozenset[str] = frozenset()
    splits_by: str = ''

    def counts(self) -> dict[str, list[int]]:
        """Split -> number of pictures of each class, in label order; those with a fault not."""
        counter = Counter((p.split, p.label) for p in self.pictures if not p.fault)
        return {s: [counter[s, label] for label in range(len(self.classes))] for s in SPLITS}


def list_images(config: SourceConfig) -> Listing:
    """Finds the classes and images of a source, and decides every image's split.

    Raises:
      InputError: there is no such source; not at least two classes; labels that collide; a class
        that is too small for the splits asked for; splits that the source gives, and flags too.
    """
    source = opening.source_of(config)
    try:
        return _list(config, source.inventory())
    except InputError:
        source.clean_up()  # it may take long until somebody comes back
        raise
    finally:
        source.close()


def _list(config: SourceConfig, inventory: Inventory) -> Listing:
    of_class = _chosen(config, _of_each_class(inventory.images))
    ignored = inventory.ignored
    if config.min_class_size:
        ignored += _leave_out_small(config, of_class)
    if len(of_class) < 2:
        raise InputError(
            f'{config.place_flag}: multiple classes are needed for classification; '
            f'{"the only one is " + repr(next(iter(of_class))) if of_class else "there is none"}.'
        )
    classes = tuple(ClassFolder(name, label_of(name, config.label_style)) for name in of_class)
    given = frozenset(i.split for images in of_class.values() for i in images if i.split)
    if given:
        _check_given(config, inventory, of_class)
    elif config.split_by == 'folders':
        raise InputError(
            f'--split_by=folders: {config.place_flag} has no folders train, validation or test '
            'with class folders in them.'
        )
    pictures: list[Picture] = []
    too_small = []
    for label, (name, images) in enumerate(of_class.items()):
        try:
            pictures += _pictures_of_class(config, label, name, images, given)
        except UnsplittableError as error:
            too_small.append(error)
    if too_small:
        raise InputError(splits.told(too_small))
    _check_labels(config, classes)
    return Listing(classes, tuple(pictures), ignored, given, inventory.splits_by)


def _of_each_class(images: Iterable[Listed]) -> dict[str, list[Listed]]:
    """Class -> its images; both sorted."""
    of_class: dict[str, list[Listed]] = {}
    for image in images:
        of_class.setdefault(image.class_name, []).append(image)
    return {name: sorted(of_class[name]) for name in sorted(of_class)}


def _chosen(config: SourceConfig, of_class: dict[str, list[Listed]]) -> dict[str, list[Listed]]:
    """The classes that --classes leaves. Raises InputError for one that is not there."""
    there = {composed(name) for name in of_class}
    if unknown := [name for name in config.classes if composed(name) not in there]:
        shown = ', '.join(map(printable, [*of_class][:_NAMES_SHOWN]))
        raise InputError(
            f'--classes: {config.place_flag} has no class {unknown[0]!r}; it has {shown}.'
        )
    wanted = {composed(name) for name in config.classes} or there
    return {name: images for name, images in of_class.items() if composed(name) in wanted}


def _leave_out_small(config: SourceConfig, of_class: dict[str, list[Listed]]) -> int:
    """Removes the classes of fewer images than `min_class_size`; how many images they had."""
    least = config.min_class_size
    small = [name for name, images in of_class.items() if sum(not i.fault for i in images) < least]
    if small:
        log.warning(
            '--min_class_size=%d: classes with fewer images, left out: %d (%s).',
            least, len(small), ', '.join(map(printable, small)),
        )  # fmt: skip
    return sum(len(of_class.pop(name)) for name in small)


def _check_given(
    config: SourceConfig, inventory: Inventory, of_class: Mapping[str, Sequence[Listed]]
) -> None:
    """Says what is taken as given, and what is drawn; raises InputError where flags contradict."""
    by = inventory.splits_by
    given = {image.split for images in of_class.values() for image in images}
    for split, flag in splits.FLAG.items():
        value = getattr(config, flag)
        if split in given and value != getattr(SourceConfig, flag):
            raise InputError(
                f'--{flag}={value}: the {split} split is given by {by}: leave the flag out.'
            )
    if config.splits_by_given_path:
        raise InputError(
            f'--split_by=given_path and --split_prefix draw splits, and here they are given by '
            f'{by}: leave the flag out.'
        )
    if 'train' not in given:
        raise InputError(
            f'{config.place_flag}: no training images by {by}: leave that out with '
            '--split_by=relative_path, which draws all splits.'
        )
    in_train = {n for n, images in of_class.items() if any(i.split == 'train' for i in images)}
    if elsewhere := [name for name in of_class if name not in in_train]:
        raise InputError(
            f'{config.place_flag}: classes without training images: '
            f'{", ".join(map(printable, elsewhere[:_NAMES_SHOWN]))}'
            f'{", ..." if len(elsewhere) > _NAMES_SHOWN else ""}. Add some to train, or leave the '
            'classes out with --classes.'
        )
    for split in [s for s in SPLITS if s in given and s != 'train']:
        found = {name for name, images in of_class.items() if any(i.split == split for i in images)}
        if lacking := [name for name in of_class if name not in found]:
            log.warning(
                'WARNING: classes without images in %s: %d (%s).',
                split, len(lacking), remarks.some(lacking),
            )  # fmt: skip
    drawn = splits.drawn(config, given)
    log.info(
        'Splits: %s given by %s%s.', _joined([s for s in SPLITS if s in given]), by,
        ''.join(f'; {getattr(config, splits.FLAG[s])} % of train become {s}' for s in drawn),
    )  # fmt: skip


def _joined(names: Sequence[str]) -> str:
    """'a, b and c'."""
    *first, last = names
    return f'{", ".join(first)} and {last}' if first else last


def _pictures_of_class(
    config: SourceConfig, label: int, name: str, images: Sequence[Listed], given: frozenset[str]
) -> list[Picture]:
    """The pictures of a class; those of a given validation or test split stay in it."""
    fixed = {image.path: image.split for image in images if image.split not in ('', 'train')}
    usable = [image for image in images if not image.fault and image.path not in fixed]
    keys = [image.key or image.path for image in usable]
    found = splits.of_class(config, name, keys, given=given)
    split_of = fixed | {image.path: split for image, split in zip(usable, found, strict=True)}
    return [
        Picture(
            image.path,
            label,
            split_of.get(image.path) or splits.by_hash(config, image.key or image.path, given),
            image.size,
            image.mtime_ns,
            image.fault,
            key=image.key,
            place=image.place,
        )
        for image in images
    ]


def _check_labels(config: SourceConfig, classes: Sequence[ClassFolder]) -> None:
    by_label: dict[str, str] = {}
    by_look: dict[str, str] = {}
    for folder, label in classes:
        if by_look.setdefault(composed(folder), folder) != folder:
            raise InputError(
                f'{config.place_flag_name}: two folders are named {folder!r}, with the accents '
                'encoded differently (Unicode NFC and NFD): merge them, or rename one.'
            )
        if (same := by_label.setdefault(label, folder)) != folder:
            raise InputError(
                f'{config.place_flag_name}: the folders {same!r} and {folder!r} would both get the '
                f'label {label!r} (lower case, other than letters and digits becomes a space): '
                'rename one, or keep the names as they are with --label_style=folder.'
            )
