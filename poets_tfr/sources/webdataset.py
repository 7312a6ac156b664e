"""WebDataset shards: tars in which `key.jpg` stands beside `key.cls`, `key.txt` or `key.json`.

No TensorFlow.
"""

from __future__ import annotations

import collections
import glob
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from poets_tfr.errors import InputError
from poets_tfr.files import Entry
from poets_tfr.progress import printable
from poets_tfr.sources import names, record_splits, remarks
from poets_tfr.sources.archives import ArchiveTree, Member, members_of
from poets_tfr.sources.folders import is_picture
from poets_tfr.sources.record_paths import short_names
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Readable

log = logging.getLogger('poets_tfr')

_LABELS = 'cls', 'txt', 'json'  # the most telling first
_IN_JSON = 'label', 'class', 'cls', 'category', 'target'
_LONGEST_LABEL = 1 << 20  # bytes
_OFFSET_BITS = 44
_MOST_SHARDS = 100_000
_RANGE = re.compile(r'\{(\d+)\.\.(\d+)\}')


class _Sample(NamedTuple):
    """An image's member, and the one with its label."""

    image: Member
    label: Member


def is_pattern(place: str) -> bool:
    """Whether it names several files: 'shards-{000..009}.tar' or 'shards-*.tar'."""
    return not os.path.exists(place) and bool(_RANGE.search(place) or glob.has_magic(place))


def is_webdataset(path: str) -> bool:
    """Whether a tar holds .cls or .json beside its images.

    Raises:
      InputError: it cannot be read.
    """
    kinds: dict[str, set[str]] = collections.defaultdict(set)
    for member in members_of(path):
        key, extension = _key_of(member.path)
        kinds[key].add('image' if _is_image(member.path) else extension)
    return any('image' in found and found & {'cls', 'json'} for found in kinds.values())


class WebDataset:
    """A source of shards. An image's place is its shard's number, and where it begins in it."""

    files_root = ''

    def __init__(self, config: SourceConfig):
        self._config = config
        self._shards = [ArchiveTree(path) for path in _shards(config.image_dir)]

    def inventory(self) -> Inventory:
        paths = [shard.where for shard in self._shards]
        split_of = record_splits.of_files(self._config, paths)
        numbers = names.read(self._config.label_names) if self._config.label_names else None
        images: list[Listed] = []
        ignored, alone = 0, []
        for number, shard in enumerate(self._shards):
            members = members_of(shard.where)
            samples, without = _samples(members)
            alone += without
            ignored += len(members) - 2 * len(samples)
            for image, label in samples:
                text = _label(shard, label)
                where = f'{shard.where}: {printable(label.path)}'
                images.append(
                    Listed(
                        image.path, names.named(numbers, text, where), image.size, image.stamp,
                        split_of[number], image.fault,
                        place=number << _OFFSET_BITS | image.offset,
                    )
                )  # fmt: skip
        if not images:
            raise InputError(
                f'--image_dir={self._config.image_dir}: no key.jpg with key.cls, key.txt or '
                'key.json beside it was found.'
            )
        if alone:
            log.warning(
                'Images without .cls, .txt or .json beside them: %d, left out (%s).',
                len(alone), remarks.some(alone),
            )  # fmt: skip
        by = 'the names of the shards' if any(split_of) else ''
        return Inventory(_with_own_paths(images, paths), ignored, by)

    def read(self, image: Readable) -> bytes:
        number, offset = image.place >> _OFFSET_BITS, image.place & (1 << _OFFSET_BITS) - 1
        return self._shards[number].read_at(offset, image.size)

    def close(self) -> None:
        for shard in self._shards:
            shard.close()

    def clean_up(self) -> None:
        for shard in self._shards:
            shard.clean_up()


def _shards(place: str) -> list[str]:
    """The files that a pattern names, sorted.

    Raises:
      InputError: one is missing, or there is none.
    """
    if not is_pattern(place):
        return [place]
    found = []
    for path in _expanded(place):
        matches = sorted(glob.glob(path)) if glob.has_magic(path) else [path]
        if not matches or not all(map(os.path.isfile, matches)):
            what = 'matches no file' if glob.has_magic(path) else 'not found'
            raise InputError(f'--image_dir={place}: {path} {what}.')
        found += matches
    return found


def _expanded(place: str) -> Iterator[str]:
    """'a-{08..10}.tar' -> a-08.tar, a-09.tar, a-10.tar. Raises InputError: too many."""
    choices: list[list[str]] = []
    total = 1
    for first, last in _RANGE.findall(place):
        numbers = range(int(first), int(last) + 1)
        total *= len(numbers)
        if not 0 < total <= _MOST_SHARDS:
            raise InputError(
                f'--image_dir={place}: {{{first}..{last}}} gives {len(numbers):,} shards; 1 to '
                f'{_MOST_SHARDS:,} are possible.'
            )
        choices.append([f'{number:0{len(first)}d}' for number in numbers])
    parts = _RANGE.sub('\0', place).split('\0')
    for chosen in itertools.product(*choices):
        yield ''.join(itertools.chain(*itertools.zip_longest(parts, chosen, fillvalue='')))


def _samples(members: Sequence[Member]) -> tuple[list[_Sample], list[str]]:
    """The images with their labels; and the images that have none."""
    images: dict[str, list[Member]] = collections.defaultdict(list)
    labels: dict[str, dict[str, Member]] = collections.defaultdict(dict)
    for member in members:
        key, extension = _key_of(member.path)
        if _is_image(member.path):
            images[key].append(member)
        elif extension in _LABELS:
            labels[key][extension] = member
    samples, alone = [], []
    for key, (first, *others) in images.items():
        label = next((labels[key][kind] for kind in _LABELS if kind in labels[key]), None)
        if label:
            samples.append(_Sample(first, label))
        alone += [image.path for image in (others if label else [first, *others])]
    return samples, alone


def _key_of(path: str) -> tuple[str, str]:
    """('a/1', 'cls') of 'a/1.cls': the name up to its first dot, as WebDataset has it."""
    folder, slash, name = path.rpartition('/')
    stem, _, extension = name.partition('.')
    return f'{folder}{slash}{stem}', extension.lower()


def _is_image(path: str) -> bool:
    return is_picture(Entry(os.path.basename(path), False, True, 0, 0))


def _label(shard: ArchiveTree, member: Member) -> str:
    """Raises InputError: it is empty or not understood."""
    where = f'{shard.where}: {printable(member.path)}'
    if member.fault or member.size > _LONGEST_LABEL:
        raise InputError(f'{where} holds no label ({member.fault or "too large"}).')
    try:
        text = shard.read_at(member.offset, member.size).decode('utf-8-sig').strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{where} cannot be read ({names.one_line(error)}).') from None
    if member.path.lower().endswith('.json'):
        text = _label_in_json(where, text)
    if not text:
        raise InputError(f'{where} is empty: a label is wanted.')
    return text.splitlines()[0]


def _label_in_json(where: str, text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        raise InputError(f'{where} is not JSON.') from None
    if not isinstance(value, dict):
        return str(value)
    found = [name for name in _IN_JSON if name in value]
    if not found:
        raise InputError(
            f'{where} has no {", ".join(_IN_JSON)}; its keys are {", ".join(map(str, value))}.'
        )
    return str(value[found[0]])


def _with_own_paths(images: Sequence[Listed], paths: Sequence[str]) -> list[Listed]:
    """Where several shards use one name, the shard's own name comes before it."""
    uses = collections.Counter(image.path for image in images)
    stems = [re.sub(r'(\.tar)?\.\w+$', '', name) for name in short_names(paths)]
    return [
        image
        if uses[image.path] == 1
        else image._replace(path=f'{stems[image.place >> _OFFSET_BITS]}/{image.path}')
        for image in images
    ]
