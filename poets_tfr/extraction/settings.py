"""The settings of extraction: where features are kept, and how many images go at a time."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from poets_tfr.settings import Settings, a_path, setting, within

OnOff = Literal['on', 'off']


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractionConfig(Settings):
    """Records -> features, kept for the next run."""

    TITLE: ClassVar[str] = 'Features'

    # fmt: off
    bottleneck_dir: str = setting('/tmp/bottleneck',
        'Where computed features are kept for the next run.',
        a_path(), affects='speed', path='path')
    feature_batch_size: int = setting(32, 'How many images go through the network at a time.',
        within(1, 65_536), affects='speed')
    features_in_memory: OnOff = setting('on',
        'off: read the features of each step from bottleneck_dir, for sets too large for memory.',
        affects='speed')
    # fmt: on
