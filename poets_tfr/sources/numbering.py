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
    first: FirstLabel,
    numbers: Sequence[int | None],
    names: Sequence[str] | None,
    where: Callable[[int], str],
    label_flag: str,
) -> Callable[[Any], str]:
    """A function: record (with `number`) -> its label's name; without names, the number.

    Args:
      where: the row of a number -> its file and record, as messages name them.
      label_flag: which names what holds the label.

    Raises:
      InputError: a record has no number, or they cannot be those of the names.
    """
    found = [-1 if number is None else number for number in numbers]
    lowest, highest = min(found), max(found)
    if lowest < 0:
        row = found.index(lowest)
        what = 'no label that is a number' if numbers[row] is None else f'the label {lowest}'
        raise InputError(
            f'{where(row)}: it has {what}: leave such files out, or name another label with '
            f'--{label_flag}.'
        )
    if not names:
        log.info('Labels: numbers without names; --label_names=FILE gives them some.')
        width = len(str(highest))
        return lambda record: f'{record.number:0{width}d}'
    begins = int(first) if first != 'auto' else int(highest == len(names))
    wrong = [n for n in (lowest, highest) if not begins <= n < begins + len(names)]
    if wrong:
        other = highest if wrong[0] == lowest else lowest
        raise InputError(
            f'{where(found.index(wrong[0]))}: the label {wrong[0]} has no name: '
            f'{len(names)} names are those of {begins} to {begins + len(names) - 1} (another '
            f'record has {other}): give other names with --label_names, or --first_label=0 or 1.'
        )
    if first == 'auto' and not begins and lowest:
        log.warning(
            'WARNING: Labels: no 0 and no %d occurs with %d names: the first is taken for that of '
            '0; if it is that of 1, say --first_label=1.', len(names), len(names),
        )  # fmt: skip
    log.info('Labels: the first of %d names is that of %d.', len(names), begins)
    return lambda record: names[record.number - begins]


def check_texts(labels: Sequence[tuple[int | None, str]], where: Callable[[int], str]) -> None:
    """Raises InputError where one number has two names, or two numbers have one."""
    text_of: dict[int, str] = {}
    number_of: dict[str, int] = {}
    for row, (number, text) in enumerate(labels):
        if number is None:
            continue
        if text_of.setdefault(number, text) != text:
            raise InputError(
                f'{where(row)}: the label {number} is {text!r}, and {text_of[number]!r} in records '
                'before: give the names with --label_names.'
            )
        if number_of.setdefault(text, number) != number:
            raise InputError(
                f'{where(row)}: {text!r} is the label {number}, and {number_of[text]} in records '
                'before: give each its own name with --label_names, or take the text alone by '
                'naming it with --label_key.'
            )
