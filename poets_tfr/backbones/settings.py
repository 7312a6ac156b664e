"""The settings of a network: which one, its weights, and how it computes."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar, Literal

from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, did_you_mean, setting, within

Xla = Literal['auto', 'on', 'off']
Precision = Literal['float32', 'bfloat16', 'float16']

_WIDTHS, _SIZES = '1.0|0.75|0.50|0.25', '224|192|160|128'
MOBILENET = re.compile(f'mobilenet_({_WIDTHS})_({_SIZES})(_quantized)?'.replace('.', r'\.'))
INCEPTION_V3 = 'inception_v3'
INCEPTION_2015 = 'inception_2015_12_05'
# The models of keras.applications, by Keras's names; a number behind one is its width (`alpha`).
KERAS_APPLICATIONS = tuple(
    """
    ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge
    DenseNet121 DenseNet169 DenseNet201
    EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3
    EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7
    EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3
    EfficientNetV2S EfficientNetV2M EfficientNetV2L
    InceptionResNetV2 InceptionV3
    MobileNet MobileNet_0.75 MobileNet_0.5 MobileNet_0.25
    MobileNetV2 MobileNetV2_1.4 MobileNetV2_1.3 MobileNetV2_0.75 MobileNetV2_0.5 MobileNetV2_0.35
    MobileNetV3Large MobileNetV3Large_0.75 MobileNetV3Small MobileNetV3Small_0.75
    NASNetLarge NASNetMobile
    ResNet50 ResNet101 ResNet152 ResNet50V2 ResNet101V2 ResNet152V2
    VGG16 VGG19 Xception
    """.split()
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneConfig(Settings):
    """Images -> features."""

    TITLE: ClassVar[str] = 'The network that makes the features'

    # fmt: off
    architecture: str = setting(INCEPTION_V3,
        'Which network makes the features: inception_v3, inception_2015_12_05, '
        'mobilenet_<1.0|0.75|0.50|0.25>_<224|192|160|128>[_quantized], or a model of '
        f'keras.applications: {", ".join(KERAS_APPLICATIONS)}.')
    tfhub_module: str = setting('',
        'A TF2 SavedModel, a folder or a URL, to use instead of --architecture.', path='maybe')
    weights: str = setting('imagenet',
        'For inception_v3 and keras.applications: imagenet, random (untrained, for demonstrations'
        '), a weights file, or the .keras file of a run, whose fine-tuned network is taken.',
        path='maybe')
    image_size: int = setting(0,
        'Image height and width, instead of what a keras.applications model has by default, or for '
        'a --tfhub_module that does not state it.',
        within(0, 4096, '0 (the size of its own) to 4096'))
    model_dir: str = setting('/tmp/imagenet', 'Where downloaded weights are kept.',
        affects='input', path='path')
    precision: Precision = setting('float32',
        'What the network computes its features in; 16 bits pay on a GPU, pooling and features '
        'stay float32. Exports are float32 in any case.')
    xla: Xla = setting('auto', 'Compile the network with XLA; auto: on a GPU only, where it pays.')
    # fmt: on

    def check(self) -> None:
        object.__setattr__(self, 'architecture', known(self.architecture))
        if self.weights != 'imagenet' and not self.is_keras:
            raise InputError(
                f'--weights={self.weights!r} goes with {INCEPTION_V3} and the models of '
                'keras.applications only: the other backbones bring their own weights.'
            )
        if self.image_size and not (self.tfhub_module or self.is_keras):
            raise InputError(
                f'--image_size={self.image_size} does not go with {self.architecture}, which has a '
                'fixed size: it is for --tfhub_module and the models of keras.applications.'
            )

    @property
    def is_keras(self) -> bool:
        """Whether it is built by Keras, from weights that may be imagenet, random or a file."""
        keras = INCEPTION_V3, *KERAS_APPLICATIONS
        return not self.tfhub_module and self.architecture in keras


def known(name: str, flag: str = 'architecture') -> str:
    """The network's own spelling. Raises InputError where there is none of this name."""
    named = INCEPTION_V3, INCEPTION_2015, *KERAS_APPLICATIONS
    spelt = {each.lower(): each for each in named}.get(name.lower(), name)
    if spelt in named or MOBILENET.fullmatch(spelt):
        return spelt
    widths, sizes = _WIDTHS.split('|'), _SIZES.split('|')
    mobilenets = [f'mobilenet_{width}_{size}' for width in widths for size in sizes]
    raise InputError(
        f'--{flag}={name!r} is not known{did_you_mean(name, [*named, *mobilenets])}: '
        f'{INCEPTION_V3}, {INCEPTION_2015}, mobilenet_<{_WIDTHS}>_<{_SIZES}>[_quantized], '
        f'or one of {", ".join(KERAS_APPLICATIONS)}.'
    )
