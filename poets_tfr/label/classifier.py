"""A trained model as Python uses it: `Classifier.predict`."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.export.foreign_graph import Feeding
from poets_tfr.label import inputs
from poets_tfr.label.labeller import Labelled, Labeller
from poets_tfr.records.codecs import BadPictureError

_AT_ONCE = 32
_CHANNELS = (), (1,), (3,), (4,)  # of arrays: the shape behind height and width
_PNG_MODES = '1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What an image shows.

    label: the best one; None where the image could not be decoded.
    score: of the label, 0 to 1.
    scores: of every label, the best first; they sum to 1.
    path: of the image, where it came from a file.
    reason: why there is no label; else ''.
    unsure: whether the label is not to be relied on: its score is below the model's `min_score`
      (`target_precision`), or the image is unlike all that it was trained on (`refuse_unlike`).
    """

    label: str | None
    score: float
    scores: Mapping[str, float] = dataclasses.field(repr=False)
    path: str = ''
    reason: str = ''
    unsure: bool = False


class Classifier:
    """A model that labels images.

    path: its file or folder.

    >>> classifier = poets_tfr.load('runs/pets')                  # doctest: +SKIP
    >>> classifier.predict('tom.jpg').label                       # doctest: +SKIP
    'cats'
    """

    def __init__(self, path: str, labels: str | None = None, feeding: Feeding | None = None):
        """See `poets_tfr.load`."""
        self.path = path
        self.labeller = Labeller(path, labels, feeding)

    @property
    def labels(self) -> list[str]:
        """The classes by name, in the order in which the model was trained on them."""
        return self.labeller.labels

    @property
    def min_score(self) -> float:
        """A label with a lower score is not to be relied on (`target_precision`); 0: no such."""
        return self.labeller.min_score

    def predict(self, images: Any) -> Any:
        """One image gives a `Prediction`; a list or a folder gives a list of them, in its order.

        A PIL image or an array of a JPEG file may score slightly otherwise than the file itself:
        programs decode JPEG with small differences, and the model was trained with TensorFlow's.

        Args:
          images: a path, the bytes of an image file, a PIL image, a uint8 array [height, width, 3]
            (or [height, width]: grey; or [height, width, 4]: with transparency); a list of these;
            or a folder, with all images in it and below it.

        Raises:
          InputError: a single image could not be decoded; a folder holds no images; something is no
            image at all. In a list or folder, an image that could not be decoded has a `Prediction`
            with a `reason` instead.
        """
        if isinstance(images, str | os.PathLike) and os.path.isdir(_path(images)):
            return self._predict_each(inputs.find_pictures([_path(images)]))
        if isinstance(images, list | tuple):
            return self._predict_each(images)
        (prediction,) = self._predict_each([images])
        if prediction.label is None:
            where = f'{prediction.path}: ' if prediction.path else 'the image: '
            raise InputError(f'{where}{prediction.reason}')
        return prediction

    def _predict_each(self, images: Iterable[Any]) -> list[Prediction]:
        images = list(images)
        found = []
        for first in range(0, len(images), _AT_ONCE):
            chosen = images[first : first + _AT_ONCE]
            contents = list(map(_content, chosen))
            readable = [content for content in contents if isinstance(content, bytes)]
            settled = iter(self.labeller.settled_of(readable))
            for image, content in zip(chosen, contents, strict=True):
                labelled = next(settled) if isinstance(content, bytes) else content
                found.append(self._prediction(image, labelled))
        return found

    def _prediction(self, image: Any, found: Labelled | BadPictureError) -> Prediction:
        path = os.fspath(image) if isinstance(image, str | os.PathLike) else ''
        if isinstance(found, BadPictureError) or found.scores is None:
            return Prediction(None, 0.0, {}, path, str(found))
        best_first = self.labeller.best_first(found.scores)
        label, score = best_first[0]
        unsure = found.is_unlike or score < self.min_score
        return Prediction(label, score, dict(best_first), path, unsure=unsure)

    def __repr__(self) -> str:
        shown = ', '.join(self.labels[:5]) + (', ...' if len(self.labels) > 5 else '')
        return f'<Classifier {self.path}: {len(self.labels)} labels ({shown})>'


def _path(image: str | os.PathLike[str]) -> str:
    return os.path.expanduser(os.fspath(image))


def _content(image: Any) -> bytes | BadPictureError:
    """The bytes of an image file; arrays and PIL images become a PNG, which loses nothing."""
    from PIL import Image

    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    try:
        if isinstance(image, str | os.PathLike):
            return files.read_regular(_path(image))
        if isinstance(image, np.ndarray):
            image = _from_array(image)
        if isinstance(image, Image.Image):
            return _png(image)
    except OSError as error:  # no such file; or Pillow, which reads a file when it must, cannot
        return BadPictureError(error.strerror or str(error))
    raise InputError(
        f'{type(image).__name__} is no image: give a path, bytes, a PIL image or a uint8 array.'
    )


def _from_array(pixels: np.ndarray) -> Any:
    from PIL import Image

    is_image = pixels.ndim > 1 and pixels.size and pixels.shape[2:] in _CHANNELS
    if pixels.dtype != np.uint8 or not is_image:
        raise InputError(
            f'an array of {pixels.dtype} {list(pixels.shape)} is no image: uint8 [height, width, '
            '3] or [height, width] is wanted.'
        )
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def _png(image: Any) -> bytes:
    """Upright, as the file that Pillow opened would be shown."""
    from PIL import ImageOps

    if image.mode != 'I;16' and image.mode[:1] in ('I', 'F'):
        raise InputError(
            f'a PIL image of mode {image.mode} has no range to go by: convert it to L or RGB.'
        )
    image = ImageOps.exif_transpose(image)
    content = io.BytesIO()
    (image if image.mode in _PNG_MODES else image.convert('RGB')).save(content, 'PNG')
    return content.getvalue()
