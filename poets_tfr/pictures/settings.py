"""The settings of distortions: random changes to training images."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, setting, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistortionConfig(Settings):
    """Random changes to training images, in percent. Validation and test are never distorted."""

    TITLE: ClassVar[str] = 'Random changes to the training images'

    # fmt: off
    flip_left_right: bool = setting(False,
        'Whether to randomly flip half of the training images horizontally.')
    random_crop: int = setting(0,
        'How much of a margin, in percent, to randomly crop off the training images: the window is '
        '1 / (1 + P/100) of the image, anywhere in it.', within(0, 100))
    random_scale: int = setting(0,
        'How much, in percent, to randomly scale up the size of the training images by.',
        within(0, 100))
    random_brightness: int = setting(0,
        'How much, in percent, to randomly multiply the training image input pixels up or down by.',
        within(0, 100))
    augment_copies: int = setting(8,
        'With a distortion: how many distorted copies of each training image are kept as features '
        'and trained on beside it; 0: distort the images of each step anew, which sends them '
        'through the network in every step, as the original did.',
        within(0, 1000, '0 (distort in every step) to 1000'))
    # fmt: on

    def check(self) -> None:
        copies = self.augment_copies
        if copies != DistortionConfig.augment_copies and not self.are_on:
            raise InputError(
                f'--augment_copies={copies} goes with a distortion only: give --flip_left_right, '
                '--random_crop, --random_scale or --random_brightness too.'
            )

    @property
    def are_on(self) -> bool:
        percentages = self.random_crop, self.random_scale, self.random_brightness
        return self.flip_left_right or any(percentages)
