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
from poets_tfr.label.labeller import Labeller
from poets_tfr.records.codecs import BadPictureError

_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What an image shows.

    label: the best one; None where the image could not be decoded.
    score: of the label, 0 to 1. scores: of every label, the best first; they sum to 1.
    path: of the image, where it came from a file. reason: why there is no label; else ''.
    """

    label: str | None
    score: float
    scores: Mapping[str, float] = dataclasses.field(repr=False)
    path: str = ''
    reason: str = ''


class Classifier:
    """A model that labels images.

    path: its file or folder. labels: in the order of its scores.

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
        return self.labeller.labels

    def predict(self, images: Any) -> Any:
        """One image gives a `Prediction`; a list or a folder gives a list of them, in its order.

        Args:
          images: a path, the bytes of an image file, a PIL image, a uint8 array [height, width, 3]
            or [height, width]; a list of these; or a folder, with all images in it and below it.

        Raises:
          InputError: a single image could not be decoded; a folder without images; something that
            is no image. In a list or folder, such an image's `Prediction` has a `reason` instead.
        """
        if isinstance(images, str | os.PathLike) and os.path.isdir(images):
            return self._predict_each(inputs.find_pictures([os.fspath(images)]))
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
            contents = [_content(image) for image in chosen]
            readable = [content for content in contents if isinstance(content, bytes)]
            scored = iter(self.labeller.scores_of(readable))
            for image, content in zip(chosen, contents, strict=True):
                scores = next(scored) if isinstance(content, bytes) else content
                found.append(self._prediction(image, scores))
        return found

    def _prediction(self, image: Any, scores: np.ndarray | BadPictureError) -> Prediction:
        path = os.fspath(image) if isinstance(image, str | os.PathLike) else ''
        if isinstance(scores, BadPictureError):
            return Prediction(None, 0.0, {}, path, str(scores))
        best_first = self.labeller.best_first(scores)
        label, score = best_first[0]
        return Prediction(label, score, dict(best_first), path)

    def __repr__(self) -> str:
        shown = ', '.join(self.labels[:5]) + (', ...' if len(self.labels) > 5 else '')
        return f'<Classifier {self.path}: {len(self.labels)} labels ({shown})>'


def _content(image: Any) -> bytes | BadPictureError:
    """The bytes of an image file; arrays and PIL images become a PNG, which loses nothing."""
    from PIL import Image

    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        try:
            return files.read_regular(os.path.expanduser(os.fspath(image)))
        except OSError as error:
            return BadPictureError(error.strerror or str(error))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise InputError(
                f'an array of {image.dtype} {list(image.shape)} is no image: uint8 [height, width, '
                '3] or [height, width] is wanted.'
            )
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    if not isinstance(image, Image.Image):
        raise InputError(
            f'{type(image).__name__} is no image: give a path, bytes, a PIL image or a uint8 array.'
        )
    content = io.BytesIO()
    image.save(content, 'PNG')
    return content.getvalue()
