"""The settings of the examination: where it is written, and by which random numbers."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from poets_tfr.settings import Settings, setting, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExamineConfig(Settings):
    """What is written of a data set."""

    TITLE: ClassVar[str] = 'The examination'

    # fmt: off
    examine_dir: str = setting('examination',
        'Where examine.html, examine.json, suspects.tsv, near_duplicates.tsv and odd.tsv go.',
        affects='output', path='path')
    seed: int = setting(0, 'Draws the folds: another seed gives slightly other scores.',
        within(0, 2**31 - 1))
    # fmt: on
