"""Name -> what a backbone is: its pictures, its features, and where its weights come from."""

from __future__ import annotations

import dataclasses

from poets_tfr.backbones.applications import APPLICATIONS
from poets_tfr.backbones.settings import INCEPTION_2015, INCEPTION_V3, MOBILENET
from poets_tfr.downloads import Download
from poets_tfr.errors import InputError
from poets_tfr.pictures.preprocess import Preprocessing

_MODELS = 'https://download.tensorflow.org/models'

# The publishers give no digest for the other archives; these were measured on the real files.
_KNOWN_SHA256 = {
    'mobilenet_v1_0.25_128_frozen.tgz': (
        'sha256:30af63cf9039861bc03f86c7b8092fab754d51b27f042830c456ddbfa2b72fce'
    ),
}


@dataclasses.dataclass(frozen=True)
class FrozenGraphSource:
    """A GraphDef inside a .tgz, and the tensors at which it is cut.

    feature_tensor: the last one that does not fix the batch size.
    """

    download: Download
    member: str
    input_tensor: str
    feature_tensor: str


@dataclasses.dataclass(frozen=True)
class KerasSource:
    """A keras.applications model without its top, pooled, and its ImageNet weights.

    alpha: the width that its function takes, for those that come in several.
    reads_bgr: whether it wants blue before green before red.
    """

    application: str
    imagenet_weights: Download
    alpha: float | None = None
    reads_bgr: bool = False


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """feature_width: the length of one picture's feature vector."""

    name: str
    preprocessing: Preprocessing
    feature_width: int
    source: FrozenGraphSource | KerasSource


def backbone_spec(architecture: str, image_size: int = 0) -> BackboneSpec:
    """The spec of a name that BackboneConfig accepts.

    image_size: height and width instead of the default, for a model of keras.applications.
    """
    if architecture == INCEPTION_V3:
        return _keras_spec(architecture, 'InceptionV3', image_size)
    if architecture in APPLICATIONS:
        return _keras_spec(architecture, architecture, image_size)
    if architecture == INCEPTION_2015:
        source = FrozenGraphSource(
            download=Download(f'{_MODELS}/image/imagenet/inception-2015-12-05.tgz'),
            member='classify_image_graph_def.pb',
            input_tensor='Mul:0',
            feature_tensor='pool_3:0',  # pool_3/_reshape:0, the original's, fixes the batch at 1
        )
        return BackboneSpec(architecture, Preprocessing(299, 128, 128), 2048, source)
    if match := MOBILENET.fullmatch(architecture):
        width, size, quantized = match.groups()
        folder = f'mobilenet_v1_{width}_{size}'
        archive = f'{folder}_frozen.tgz'
        source = FrozenGraphSource(
            download=Download(f'{_MODELS}/{archive}', _KNOWN_SHA256.get(archive, '')),
            member=f'{folder}/{"quantized" if quantized else "frozen"}_graph.pb',
            input_tensor='input:0',
            feature_tensor='MobilenetV1/Predictions/Reshape:0',
        )
        return BackboneSpec(architecture, Preprocessing(int(size), 127.5, 127.5), 1001, source)
    raise InputError(f'--architecture={architecture!r} is not known.')


def _keras_spec(name: str, key: str, image_size: int) -> BackboneSpec:
    row = APPLICATIONS[key]
    size = image_size or row.size
    if size < row.smallest:
        raise InputError(f'--image_size={size}: {name} takes images of {row.smallest} or more.')
    application, _, alpha = key.partition('_')
    source = KerasSource(
        application=application,
        imagenet_weights=row.download(size),
        alpha=float(alpha) if alpha else None,
        reads_bgr=row.pixels.reads_bgr,
    )
    preprocessing = Preprocessing(size, row.pixels.mean, row.pixels.std)
    return BackboneSpec(name, preprocessing, row.feature_width, source)
