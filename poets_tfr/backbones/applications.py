"""The models of keras.applications: what each takes and gives, and Keras's ImageNet weights for it.

Read from Keras 3.15's own sources, and answered before TensorFlow is imported; tests/backbones/
test_applications.py compares every row with the Keras that is installed.
"""

from __future__ import annotations

from typing import NamedTuple

from poets_tfr.downloads import Download

_STORAGE = 'https://storage.googleapis.com/'
_KERAS = 'tensorflow/keras-applications/'


class Pixels(NamedTuple):
    """The range of pixels that a model was trained on: (pixels 0..255 - mean) / std."""

    mean: float | tuple[float, float, float]
    std: float | tuple[float, float, float]
    reads_bgr: bool = False


# Keras calls the first three tf, torch and caffe; with the last, the model has it inside.
_SIGNED = Pixels(127.5, 127.5)
_STANDARDISED = Pixels(
    (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)
)
_CENTRED = Pixels((123.68, 116.779, 103.939), 1, reads_bgr=True)
_AS_THEY_ARE = Pixels(0, 1)


class Application(NamedTuple):
    """One model without its top layer, its last feature map averaged.

    size, smallest: height and width of its pictures, by default and at least.
    feature_width: the length of one picture's feature vector.
    weights: the ImageNet weights' place below Google's storage.
    digest: as in Download; '' where Keras has none.
    trained_at: the sizes for which there are weights of their own, in place of {size}; pictures of
      another size take those of the last.
    """

    size: int
    feature_width: int
    pixels: Pixels
    weights: str
    digest: str = ''
    smallest: int = 32
    trained_at: tuple[int, ...] = ()

    def download(self, size: int) -> Download:
        """The ImageNet weights for pictures of a size."""
        if self.trained_at and size not in self.trained_at:
            size = self.trained_at[-1]
        return Download(_STORAGE + self.weights.format(size=size), self.digest)


APPLICATIONS = {
    'ConvNeXtTiny': Application(224, 768, _AS_THEY_ARE, f'{_KERAS}convnext/convnext_tiny_notop.h5',
        'sha256:d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1'),
    'ConvNeXtSmall': Application(224, 768, _AS_THEY_ARE,
        f'{_KERAS}convnext/convnext_small_notop.h5',
        'sha256:6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab'),
    'ConvNeXtBase': Application(224, 1024, _AS_THEY_ARE, f'{_KERAS}convnext/convnext_base_notop.h5',
        'sha256:40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45'),
    'ConvNeXtLarge': Application(224, 1536, _AS_THEY_ARE,
        f'{_KERAS}convnext/convnext_large_notop.h5',
        'sha256:96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd'),
    'ConvNeXtXLarge': Application(224, 2048, _AS_THEY_ARE,
        f'{_KERAS}convnext/convnext_xlarge_notop.h5',
        'sha256:de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05'),
    'DenseNet121': Application(224, 1024, _STANDARDISED,
        f'{_KERAS}densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:30ee3e1110167f948a6b9946edeeb738'),
    'DenseNet169': Application(224, 1664, _STANDARDISED,
        f'{_KERAS}densenet/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:b8c4d4c20dd625c148057b9ff1c1176b'),
    'DenseNet201': Application(224, 1920, _STANDARDISED,
        f'{_KERAS}densenet/densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:c13680b51ded0fb44dff2d8f86ac8bb1'),
    'EfficientNetB0': Application(224, 1280, _AS_THEY_ARE,
        'keras-applications/efficientnetb0_notop.h5', 'md5:50bc09e76180e00e4465e1a485ddc09d'),
    'EfficientNetB1': Application(240, 1280, _AS_THEY_ARE,
        'keras-applications/efficientnetb1_notop.h5', 'md5:74c4e6b3e1f6a1eea24c589628592432'),
    'EfficientNetB2': Application(260, 1408, _AS_THEY_ARE,
        'keras-applications/efficientnetb2_notop.h5', 'md5:111f8e2ac8aa800a7a99e3239f7bfb39'),
    'EfficientNetB3': Application(300, 1536, _AS_THEY_ARE,
        'keras-applications/efficientnetb3_notop.h5', 'md5:af6d107764bb5b1abb91932881670226'),
    'EfficientNetB4': Application(380, 1792, _AS_THEY_ARE,
        'keras-applications/efficientnetb4_notop.h5', 'md5:ebc24e6d6c33eaebbd558eafbeedf1ba'),
    'EfficientNetB5': Application(456, 2048, _AS_THEY_ARE,
        'keras-applications/efficientnetb5_notop.h5', 'md5:38879255a25d3c92d5e44e04ae6cec6f'),
    'EfficientNetB6': Application(528, 2304, _AS_THEY_ARE,
        'keras-applications/efficientnetb6_notop.h5', 'md5:9ecce42647a20130c1f39a5d4cb75743'),
    'EfficientNetB7': Application(600, 2560, _AS_THEY_ARE,
        'keras-applications/efficientnetb7_notop.h5', 'md5:cbcfe4450ddf6f3ad90b1b398090fe4a'),
    'EfficientNetV2B0': Application(224, 1280, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-b0_notop.h5',
        'md5:893217f2bb855e2983157299931e43ff'),
    'EfficientNetV2B1': Application(240, 1280, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-b1_notop.h5',
        'md5:0e80663031ca32d657f9caa404b6ec37'),
    'EfficientNetV2B2': Application(260, 1408, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-b2_notop.h5',
        'md5:1dfe2e7a5d45b6632553a8961ea609eb'),
    'EfficientNetV2B3': Application(300, 1536, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-b3_notop.h5',
        'md5:f6abf7b5849ac99a89b50dd3fd532856'),
    'EfficientNetV2S': Application(384, 1280, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-s_notop.h5',
        'md5:af0682fb74e8c54910f2d4393339c070'),
    'EfficientNetV2M': Application(480, 1280, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-m_notop.h5',
        'md5:1b8dc055df72dde80d614482840fe342'),
    'EfficientNetV2L': Application(480, 1280, _AS_THEY_ARE,
        f'{_KERAS}efficientnet_v2/efficientnetv2-l_notop.h5',
        'md5:b0b66b5c863aef5b46e8608fe1711615'),
    'InceptionResNetV2': Application(299, 1536, _SIGNED,
        f'{_KERAS}inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:d19885ff4a710c122648d3b5c3b684e4', smallest=75),
    'InceptionV3': Application(299, 2048, _SIGNED,
        f'{_KERAS}inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:bcbd6486424b2319ff4ef7d526e38f63', smallest=75),
    'MobileNet': Application(224, 1024, _SIGNED,
        f'{_KERAS}mobilenet/mobilenet_1_0_{{size}}_tf_no_top.h5', trained_at=(128, 160, 192, 224)),
    'MobileNet_0.75': Application(224, 768, _SIGNED,
        f'{_KERAS}mobilenet/mobilenet_7_5_{{size}}_tf_no_top.h5', trained_at=(128, 160, 192, 224)),
    'MobileNet_0.5': Application(224, 512, _SIGNED,
        f'{_KERAS}mobilenet/mobilenet_5_0_{{size}}_tf_no_top.h5', trained_at=(128, 160, 192, 224)),
    'MobileNet_0.25': Application(224, 256, _SIGNED,
        f'{_KERAS}mobilenet/mobilenet_2_5_{{size}}_tf_no_top.h5', trained_at=(128, 160, 192, 224)),
    'MobileNetV2': Application(224, 1280, _SIGNED,
        f'{_KERAS}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{{size}}_no_top.h5',
        trained_at=(96, 128, 160, 192, 224)),
    'MobileNetV2_1.4': Application(224, 1792, _SIGNED,
        f'{_KERAS}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_{{size}}_no_top.h5',
        trained_at=(96, 128, 160, 192, 224)),
    'MobileNetV2_1.3': Application(224, 1664, _SIGNED,
        f'{_KERAS}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.3_{{size}}_no_top.h5',
        trained_at=(96, 128, 160, 192, 224)),
    'MobileNetV2_0.75': Application(224, 1280, _SIGNED,
        f'{_KERAS}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.75_{{size}}_no_top.h5',
        trained_at=(96, 128, 160, 192, 224)),
    'MobileNetV2_0.5': Application(224, 1280, _SIGNED,
        f'{_KERAS}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_{{size}}_no_top.h5',
        trained_at=(96, 128, 160, 192, 224)),
    'MobileNetV2_0.35': Application(224, 1280, _SIGNED,
        f'{_KERAS}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_{{size}}_no_top.h5',
        trained_at=(96, 128, 160, 192, 224)),
    'MobileNetV3Large': Application(224, 960, _AS_THEY_ARE,
        f'{_KERAS}mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5',
        'md5:07fb09a5933dd0c8eaafa16978110389'),
    'MobileNetV3Large_0.75': Application(224, 720, _AS_THEY_ARE,
        f'{_KERAS}mobilenet_v3/weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5',
        'md5:40af19a13ebea4e2ee0c676887f69a2e'),
    'MobileNetV3Small': Application(224, 576, _AS_THEY_ARE,
        f'{_KERAS}mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5',
        'md5:d3e8ec802a04aa4fc771ee12a9a9b836'),
    'MobileNetV3Small_0.75': Application(224, 432, _AS_THEY_ARE,
        f'{_KERAS}mobilenet_v3/weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5',
        'md5:ebdb5cc8e0b497cd13a7c275d475c819'),
    'NASNetLarge': Application(331, 4032, _SIGNED, f'{_KERAS}nasnet/NASNet-large-no-top.h5',
        'md5:d81d89dc07e6e56530c4e77faddd61b5'),
    'NASNetMobile': Application(224, 1056, _SIGNED, f'{_KERAS}nasnet/NASNet-mobile-no-top.h5',
        'md5:1ed92395b5b598bdda52abe5c0dbfd63'),
    'ResNet50': Application(224, 2048, _CENTRED,
        f'{_KERAS}resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:4d473c1dd8becc155b73f8504c6f6626'),
    'ResNet101': Application(224, 2048, _CENTRED,
        f'{_KERAS}resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:88cf7a10940856eca736dc7b7e228a21'),
    'ResNet152': Application(224, 2048, _CENTRED,
        f'{_KERAS}resnet/resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:ee4c566cf9a93f14d82f913c2dc6dd0c'),
    'ResNet50V2': Application(224, 2048, _SIGNED,
        f'{_KERAS}resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:fac2f116257151a9d068a22e544a4917'),
    'ResNet101V2': Application(224, 2048, _SIGNED,
        f'{_KERAS}resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:c0ed64b8031c3730f411d2eb4eea35b5'),
    'ResNet152V2': Application(224, 2048, _SIGNED,
        f'{_KERAS}resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:ed17cf2e0169df9d443503ef94b23b33'),
    'VGG16': Application(224, 512, _CENTRED,
        f'{_KERAS}vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:6d6bbae143d832006294945121d1f1fc'),
    'VGG19': Application(224, 512, _CENTRED,
        f'{_KERAS}vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:253f8cb515780f3b799900260a226db6'),
    'Xception': Application(299, 2048, _SIGNED,
        f'{_KERAS}xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5',
        'md5:b0042744bf5b25fce3cb969f33bebb97', smallest=71),
}  # fmt: skip
