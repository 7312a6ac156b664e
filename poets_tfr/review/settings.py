"""The settings of the review: what is shown, where the decisions go, and the page."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from poets_tfr import files
from poets_tfr.settings import Check, Settings, setting, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReviewConfig(Settings):
    """The page that shows what poets-examine has found. Loopback only, unless told otherwise."""

    TITLE: ClassVar[str] = 'The review'

    # fmt: off
    examine_dir: str = setting('examination', 'The folder that poets-examine has written.',
        affects='input', path='path')
    records_dir: str = setting('', 'The records that were examined; by default where they were.',
        affects='input', path='path')
    corrections: str = setting('',
        'Where the decisions go, for --corrections of other commands; by default corrections.tsv '
        'in examine_dir. What stands there is gone on with.', affects='output', path='path')
    host: str = setting('127.0.0.1',
        'Where to listen: 127.0.0.1 is this computer alone; 0.0.0.0 lets everybody in the network '
        'decide.', Check('an address or a name', bool), affects='output')
    port: int = setting(8078, 'On which port; 0: any that is free.', within(0, 65535))
    # fmt: on

    @property
    def table(self) -> str:
        return self.corrections or files.join(self.examine_dir, 'corrections.tsv')
