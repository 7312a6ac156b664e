"""The settings of the examination: where it is written, and by which random numbers."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from poets_tfr.backbones.settings import BackboneConfig, known
from poets_tfr.errors import InputError
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
    architectures: tuple[str, ...] = setting((),
        'Compare these networks, comma-separated, by accuracy, speed and size; without '
        '--architecture, the first of them is looked at.')
    # fmt: on

    def check(self) -> None:
        names = dict.fromkeys(known(name, 'architectures') for name in self.architectures)
        object.__setattr__(self, 'architectures', tuple(names))

    def networks(self, looked_at: BackboneConfig) -> list[BackboneConfig]:
        """Those to compare, the one that is looked at first; none without `architectures`.

        Raises:
          InputError: weights of one network, for several.
        """
        others = [name for name in self.architectures if name != looked_at.architecture]
        if others and looked_at.weights not in ('imagenet', 'random'):
            raise InputError(
                f'--weights={looked_at.weights} are of one network, and --architectures names '
                'several: leave one of them out.'
            )
        plain = dataclasses.replace(looked_at, tfhub_module='', weights='imagenet', image_size=0)
        return [looked_at] * bool(self.architectures) + [
            _with_options(dataclasses.replace(plain, architecture=name), looked_at)
            for name in others
        ]


def _with_options(config: BackboneConfig, given: BackboneConfig) -> BackboneConfig:
    """Weights and size as given, where Keras builds the network; the others have their own."""
    if not config.is_keras:
        return config
    size = 0 if given.tfhub_module else given.image_size
    return dataclasses.replace(config, weights=given.weights, image_size=size)
