"""'shards-{000..009}.tar' or 'shards-*.tar' -> the files. No TensorFlow."""

from __future__ import annotations

import glob
import itertools
import math
import os
import re
from collections.abc import Sequence

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sources.archives import is_archive

_MOST_SHARDS = 100_000
_SHOWN = 3
_BRACES = re.compile(r'\{([^{}]*)\}')
_RANGE = re.compile(r'(\d+)\.\.(\d+)')


def is_pattern(place: str) -> bool:
    """Whether it names several files: '{train,val}-{000..009}.tar' or 'shards-*.tar'."""
    if files.is_remote(place) or os.path.exists(place):
        return False
    inner = _BRACES.findall(place)
    return glob.has_magic(place) or any(',' in part or _RANGE.fullmatch(part) for part in inner)


def shards_of(place: str) -> list[str]:
    """The files that a pattern names, in its order; of what is none, itself.

    Raises:
      InputError: one is missing or no .tar, or there is none.
    """
    if not is_pattern(place):
        return [place]
    found: list[str] = []
    missing = []
    for path in _expanded(place):
        matches = sorted(glob.glob(path)) if glob.has_magic(path) else [path]
        missing += [each for each in matches or [path] if not os.path.exists(each)]
        found += matches
    if missing:
        raise InputError(f'--image_dir={place}: {_not_found(missing)}.')
    for path in found:
        if not is_archive(path) or path.lower().endswith('.zip'):
            raise InputError(
                f'--image_dir={place}: {printable(path)} is no .tar: a pattern names the shards of '
                'a WebDataset, which are tars. Name one folder or archive without a pattern.'
            )
    return [*dict.fromkeys(found)]


def _not_found(missing: Sequence[str]) -> str:
    if len(missing) == 1:
        matching = 'matches no file' if glob.has_magic(missing[0]) else 'not found'
        return f'{printable(missing[0])} {matching}'
    shown = ', '.join(map(printable, missing[:_SHOWN]))
    return f'{len(missing)} shards not found: {shown}{", ..." if len(missing) > _SHOWN else ""}'


def _expanded(place: str) -> list[str]:
    """'a-{08..10}.tar' -> a-08.tar, a-09.tar, a-10.tar. Raises InputError: too many."""
    parts: list[Sequence[str]] = []
    for number, part in enumerate(_BRACES.split(place)):
        parts.append(_choices(place, part) if number % 2 else [part])
    if (total := math.prod(map(len, parts))) > _MOST_SHARDS:
        raise InputError(
            f'--image_dir={place}: gives {total:,} shards; {_MOST_SHARDS:,} at most are possible.'
        )
    return [''.join(chosen) for chosen in itertools.product(*parts)]


def _choices(place: str, inner: str) -> Sequence[str]:
    """As a shell expands what stands in braces."""
    if not (match := _RANGE.fullmatch(inner)):
        return inner.split(',') if ',' in inner else [f'{{{inner}}}']
    first, last = match.groups()
    numbers = range(int(first), int(last) + 1)
    if not 0 < len(numbers) <= _MOST_SHARDS:
        raise InputError(
            f'--image_dir={place}: {{{inner}}} gives {len(numbers):,} shards; 1 to '
            f'{_MOST_SHARDS:,} are possible.'
        )
    is_padded = any(len(end) > 1 and end[0] == '0' for end in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return [f'{number:0{width}d}' for number in numbers]
