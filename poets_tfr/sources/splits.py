"""Train, validation or test: the original retrain.py's hash of a path. No TensorFlow.

It needs no state and does not change when pictures are added; by rank of the hashes (`stratified`)
a few change.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence

from poets_tfr.sources.settings import SourceConfig

FLAG = {'validation': 'validation_percentage', 'test': 'testing_percentage'}
MAX_NUM_IMAGES_PER_CLASS = 2**27 - 1  # the original's ~134M, part of its split formula


class UnsplittableError(Exception):
    """A class too small for the splits asked for.

    folder: the class's.
    flag: that which asks for it, and begins the message.
    lack: what it has or lacks, as in `has 2 pictures`.
    rest: what goes for every such class: why it matters, and what to do.
    """

    def __init__(self, folder: str, flag: str, lack: str, rest: str):
        super().__init__(folder, flag, lack, rest)
        self.folder, self.flag, self.lack, self.rest = folder, flag, lack, rest


def told(errors: Sequence[UnsplittableError]) -> str:
    """One message about all classes that cannot be split."""
    alike: dict[tuple[str, str], list[UnsplittableError]] = {}
    for error in errors:
        alike.setdefault((error.flag, error.rest), []).append(error)
    sentences = []
    for (flag, rest), members in alike.items():
        classes = ', '.join(f'{error.folder!r} {error.lack}' for error in members)
        which = 'the class' if len(members) == 1 else f'{len(members)} classes are too small:'
        sentences.append(f'{flag}: {which} {classes}{rest}')
    return ' '.join(sentences)


def path_bytes(path: str) -> bytes:
    """A path's own bytes, also where they are not UTF-8."""
    return os.fsencode(path)


def split_percentage(hashed_path: str) -> float:
    """Where a path falls in [0, 100]: the original retrain.py's formula (r1.1 and later)."""
    digest = int(hashlib.sha1(path_bytes(hashed_path)).hexdigest(), 16)
    return digest % (MAX_NUM_IMAGES_PER_CLASS + 1) * (100.0 / MAX_NUM_IMAGES_PER_CLASS)


def hashed_path(config: SourceConfig, key: str) -> str:
    """What the split is decided by. Files that agree up to `_nohash_` stay together."""
    if config.splits_by_given_path:
        return re.sub(r'_nohash_.*$', '', os.path.join(config.hash_prefix, key))
    folder, slash, name = key.partition('/')
    if not slash:
        return re.sub(r'_nohash_.*$', '', key)
    return f'{folder}/{re.sub(r"_nohash_.*$", "", name)}'


def by_hash(config: SourceConfig, key: str, given: Collection[str] = ()) -> str:
    """The split of a file whatever else its class holds."""
    return _split_at(split_percentage(hashed_path(config, key)), _bounds(config, given))


def drawn(config: SourceConfig, given: Collection[str]) -> list[str]:
    """The splits besides train that are drawn from it, where the source gives some."""
    return [split for split in _bounds(config, given) if split != 'train']


def of_class(
    config: SourceConfig,
    class_name: str,
    keys: Sequence[str],
    bad: Collection[str] = (),
    given: Collection[str] = (),
) -> list[str]:
    """The split of each file of a class; see `_fill_empty_splits` for the small ones.

    Args:
      keys: what the splits are decided by: `<class folder>/<file>`, say.
      bad: those of them that become no records: with them alone a split is empty.
      given: the splits that the source gives; then the files are those of its train split.

    Raises:
      UnsplittableError: the class is too small for the splits asked for.

    Example: of 24 images, 10 % are 2 by rank (`split_by='stratified'`), and about 2 by hash alone.
    """
    groups = [hashed_path(config, key) for key in keys]
    percentage = {group: split_percentage(group) for group in groups}
    bounds = _bounds(config, given)
    whole = [group for group, key in zip(groups, keys, strict=True) if key not in bad]
    if len(whole) < len(bounds):
        what = f'{"whole " if bad else ""}image{"" if len(whole) == 1 else "s"}'
        flag = '--classes' if bad else f'--min_class_size={len(bounds)}'  # which counts files
        raise UnsplittableError(
            class_name,
            config.place_flag_name,
            f'has {len(whole)} {what}',
            f', and {len(bounds)} are the least for {", ".join(bounds)}: add images, or leave '
            f'such classes out ({flag}).',
        )
    if config.split_by == 'stratified':
        split_of = _by_rank(config, class_name, whole, percentage, bounds)
    else:
        split_of = {group: _split_at(percentage[group], bounds) for group in whole}
        _fill_empty_splits(config, class_name, split_of, percentage, bounds)
    return [split_of.get(group) or _split_at(percentage[group], bounds) for group in groups]


def _bounds(config: SourceConfig, given: Collection[str] = ()) -> dict[str, tuple[float, float]]:
    """Split -> the half-open range of percentages that is its own; the original's order.

    A split that the source gives has none: all the rest is train's.
    """
    v = config.validation_percentage
    t = v + config.testing_percentage
    bounds = {'validation': (0, v), 'test': (v, t), 'train': (t, 101)}
    return {
        split: (low, high)
        for split, (low, high) in bounds.items()
        if low < high and (split == 'train' or split not in given)
    }


def _split_at(percentage: float, bounds: dict[str, tuple[float, float]]) -> str:
    return next((s for s, (low, high) in bounds.items() if low <= percentage < high), 'train')


def _by_rank(
    config: SourceConfig,
    folder: str,
    whole: Sequence[str],
    percentage: dict[str, float],
    bounds: dict[str, tuple[float, float]],
) -> dict[str, str]:
    """The smallest hashes are validation's, the next ones test's, as many as their shares want.

    Another image moves few: each bound between two splits by as many ranks as its splits grow.
    """
    size = Counter(whole)
    ranked = sorted(size, key=lambda group: (percentage[group], group))
    if len(ranked) < len(bounds):
        raise _too_few_groups(config, folder, next(s for s in bounds if s != 'train'))
    split_of: dict[str, str] = {}
    drawn = [split for split in bounds if split != 'train']
    for place, split in enumerate(drawn):
        low, high = bounds[split]
        wanted = len(whole) * (high - low) / 100
        later = len(drawn) - place  # splits that want a group, too: train among them
        taken = 0
        while len(ranked) > later and (
            not taken or abs(taken + size[ranked[0]] - wanted) <= abs(taken - wanted)
        ):
            group = ranked.pop(0)
            split_of[group] = split
            taken += size[group]
    return split_of | dict.fromkeys(ranked, 'train')


def _too_few_groups(config: SourceConfig, folder: str, split: str) -> UnsplittableError:
    return UnsplittableError(
        folder,
        config.place_flag_name,
        f'has no image for {split}',
        ': files that agree up to _nohash_ stay together, and too few groups are left. Add images.',
    )


def _fill_empty_splits(
    config: SourceConfig,
    folder: str,
    split_of: dict[str, str],
    percentage: dict[str, float],
    bounds: dict[str, tuple[float, float]],
) -> None:
    """Gives each empty split the group whose hash is nearest, from a split that can spare one.

    With the split by given path, which promises the original's split to the picture, an empty split
    is an error instead: the original divided by zero there.
    """
    for split, (low, high) in bounds.items():
        sizes = Counter(split_of.values())
        if sizes[split]:
            continue
        if config.splits_by_given_path:
            prefix = config.split_prefix
            raise UnsplittableError(
                folder,
                f'--split_prefix={prefix}' if prefix else '--split_by=given_path',
                f'has no {"whole " if len(split_of) < len(percentage) else ""}image in {split}',
                ': add images, raise the percentage, or leave the flag out: '
                '--split_by=relative_path gives it one.',
            )
        spare = [group for group, current in split_of.items() if sizes[current] > 1]
        if not spare:
            raise _too_few_groups(config, folder, split)
        nearest = min(spare, key=lambda g: (_distance(percentage[g], low, high), g))
        split_of[nearest] = split


def _distance(percentage: float, low: float, high: float) -> float:
    return max(low - percentage, percentage - high, 0)
