"""Labels that are numbers: whether they begin at 0 or at 1, and what they are called.

TF-slim's flowers and our own records begin at 0, TF-slim's ImageNet at 1. No TensorFlow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from poets_tfr.errors import InputError
from poets_tfr.sources.settings import FirstLabel

log = logging.getLogger('poets_tfr')


def name_of(
    where: str, first: FirstLabel, numbers: Sequence[int | None], names: Sequence[str] | None
) -> Callable[[Any], str]:
    """A function: record (with `number`) -> its label's name; without names, the number.

    Raises:
      InputError: a record has no number, or they cannot be those of the names.
    """
    found = sorted({-1 if number is None else number for number in numbers})
    lowest, highest = found[0], found[-1]
    if lowest < 0:
        raise InputError(f'{where}: some records have no label: name it with --label_key.')
    if not names:
        log.info('Labels: numbers without names; --label_names=FILE gives them some.')
        width = len(str(highest))
        return lambda record: f'{record.number:0{width}d}'
    begins = int(first) if first != 'auto' else int(highest == len(names))
    if lowest < begins or highest >= len(names) + begins:
        raise InputError(
            f'{where}: the labels are {lowest} to {highest}, and {len(names)} names are those of '
            f'{begins} to {begins + len(names) - 1}: give other names with --label_names, or '
            '--first_label=0 or 1.'
        )
    log.info('Labels: the first of %d names is that of %d.', len(names), begins)
    return lambda record: names[record.number - begins]


def check_texts(where: str, labels: Sequence[tuple[int | None, str]]) -> None:
    """Raises InputError where one number has two names, or two numbers have one."""
    text_of: dict[int | None, str] = {}
    number_of: dict[str, int | None] = {}
    for number, text in labels:
        if number_of.setdefault(text, number) != number:
            raise InputError(
                f'{where}: the labels {number_of[text]} and {number} are both {text!r}, and would '
                'become one class: give other names with --label_names.'
            )
        if number is not None and text_of.setdefault(number, text) != text:
            raise InputError(
                f'{where}: the label {number} is {text_of[number]!r} in one record and {text!r} in '
                'another: give the names with --label_names.'
            )
