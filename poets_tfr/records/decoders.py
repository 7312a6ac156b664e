"""A picture file's bytes -> its pixels: one decoder for each format, the same everywhere.

TensorFlow decodes JPEG and PNG; all else goes through Pillow, and so do the few JPEGs that
TensorFlow shows wrongly. Colour profiles are ignored: a JPEG that is stored as it is keeps its
numbers, and so do all others.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poets_tfr.sources import pillow
from poets_tfr.sources.headers import BadPictureError, one_line

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 3  # raised when pictures that Pillow decodes come out otherwise; 2: tensorflow-io did it

_UNSUPPORTED = 'nsupported', 'not been built in'  # as Pillow and libheif say it
# Tags of TIFF.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _EXTRA = 256, 257, 258, 262, 284, 338
_WHITE_IS_ZERO, _APART, _PREMULTIPLIED = 0, 2, (1,)
_LOWER_BYTES = 'B' if sys.byteorder == 'little' else 'L'  # as if it were the other order


def decoded(content: bytes, kind: str, channels: int = 3, ratio: int = 1) -> np.ndarray:
    """A JPEG or PNG by TensorFlow: uint8 [height / ratio, width / ratio, channels].

    Raises:
      BadPictureError: the content is damaged.
    """
    import tensorflow as tf

    try:
        if kind == 'JPEG':
            pixels = decode_jpeg(tf.constant(content), ratio)
        else:
            pixels = tf.io.decode_png(content, channels=channels)
    except tf.errors.InvalidArgumentError as error:
        why = '' if kind == 'JPEG' else f' ({one_line(error)})'  # it says nothing of a JPEG
        raise BadPictureError(f'damaged or truncated {kind} data{why}') from None
    return pixels.numpy()


def decode_jpeg(content: Any, ratio: int) -> Any:
    """A tensor's bytes (string scalar) -> uint8 [height / ratio, width / ratio, 3]."""
    import tensorflow as tf

    # A tensor and a float: with anything else TensorFlow's Python goes the long way round, which
    # holds other threads up.
    return tf.io.decode_jpeg(content, channels=3, ratio=ratio, acceptable_fraction=1.0)


def decoded_by_pillow(content: bytes, kind: str) -> np.ndarray:
    """uint8 [height, width, 3 or 4]: the first frame, page or picture, and its alpha.

    Raises:
      BadPictureError: the content is damaged, or of a kind that the library lacks.
    """
    try:
        with pillow.opened(content, kind) as image:
            return _tiff(content, image) if kind == 'TIFF' else _pixels(image)
    except BadPictureError:
        raise
    except Exception as error:  # of many types, for the content may hold any bytes
        reason = one_line(error)
        if any(words in reason for words in _UNSUPPORTED):
            raise BadPictureError(f'{kind} of a kind that is not supported ({reason})') from None
        raise BadPictureError(f'damaged or truncated {kind} data ({reason})') from None


def decoded_jpeg_xl(content: bytes) -> np.ndarray | bytes:
    """uint8 [height, width, 3 or 4], upright; of one that was made from a JPEG, that JPEG's bytes.

    Raises:
      BadPictureError: the content is damaged, or of a kind that the library lacks.
    """
    import pillow_jxl
    from PIL import Image

    try:
        is_jpeg, info, data, *_ = pillow_jxl.Decoder(num_threads=1)(content)
    except Exception:  # it says nothing of the picture
        raise BadPictureError('damaged or truncated JPEG XL data') from None
    if is_jpeg:
        return bytes(data)
    try:
        return _pixels(Image.frombytes(info.mode, (info.width, info.height), data))
    except ValueError as error:  # numbers with a point, animations
        reason = f'{info.mode}: {one_line(error)}'
        raise BadPictureError(f'JPEG XL of a kind that is not supported ({reason})') from None


def _tiff(content: bytes, image: Any) -> np.ndarray:
    from PIL import Image

    tags: Mapping[int, Any] = image.tag_v2
    if image.mode.startswith('I;16'):
        grey = _pixels(image)
        return 255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey
    if 16 not in tags.get(_BITS, ()):
        return _pixels(image)
    if tags.get(_EXTRA) == _PREMULTIPLIED:
        return _pixels(image)  # its colours are divided by alpha while they are read
    # Of several samples of 16 bits Pillow keeps the upper eight: the lower ones are read alike.
    raw_mode = image.tile[0].args[0] if tags.get(_PLANES) != _APART else f'{image.mode};16N'
    with pillow.opened(content, 'TIFF') as again:
        upper, lower = (
            _through_libtiff(each, raw_mode[:-1] + order)
            for each, order in ((image, 'N'), (again, _LOWER_BYTES))
        )
    mode, size = image.mode, image.size
    deep = upper.astype(np.uint16) << 8 | lower
    return _pixels(Image.frombytes(mode, size, _of_257(deep).tobytes()))


def _through_libtiff(image: Any, raw_mode: str) -> np.ndarray:
    """uint8 [height, width, samples]; libtiff makes one of all tiles, planes and byte orders."""
    from PIL import ImageFile

    args = raw_mode, 'raw', False, image.tag_v2.offset
    box = 0, 0, image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
    image.use_load_libtiff = True
    image.tile = [ImageFile._Tile('libtiff', box, 0, args)]
    return np.asarray(image)


def _pixels(image: Image) -> np.ndarray:
    """Of 16 bits / 257: Pillow itself takes all above 255 for 255."""
    if image.mode.startswith('I;16'):
        return _grey(_of_257(np.asarray(image)))
    has_alpha = image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info
    return np.asarray(image.convert('RGBA' if has_alpha else 'RGB'))


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels] * 3)


def _of_257(deep: np.ndarray) -> np.ndarray:
    """uint16 -> uint8, rounded."""
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
