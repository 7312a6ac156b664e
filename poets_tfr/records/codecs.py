"""A file's bytes -> what the record stores: an upright RGB picture as JPEG or PNG.

The one code path for conversion and for labelling. A file that TensorFlow's `decode_jpeg` already
shows rightly is stored byte for byte; the rest is decoded and stored again, lossless kinds as PNG,
lossy ones as JPEG of quality 95.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

JPEG_QUALITY = 95
MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs
VERSION = 1  # raised when the stored bytes of some picture change

_ORIENTATION = 0x0112  # the EXIF tag
_LOSSY = 'JPEG', 'WebP', 'AVIF'

# JPEG markers.
_START_OF_FRAME = 0xC0, 0xC1, 0xC2  # baseline, extended, progressive
_START_OF_SCAN = 0xDA
_SAYS_NOTHING_OF_SIZE = frozenset([0xC4, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE])

_NOT_HERE = 'is read through tensorflow-io, which is not here'


class BadPictureError(Exception):
    """A file that cannot become a record; the message is the reason, for a person."""


@dataclasses.dataclass(frozen=True)
class StoredPicture:
    """What a record holds of a picture.

    encoded: upright JPEG or PNG bytes that `tf.io.decode_jpeg(encoded, channels=3)` shows rightly.
    format: 'JPEG' or 'PNG'.
    as_is: whether `encoded` is the source file, byte for byte.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    as_is: bool


def kind_of(content: bytes) -> str | None:
    """The format by content: 'JPEG', 'PNG', 'GIF', 'BMP', 'WebP', 'TIFF' or 'AVIF'; else None."""
    if content.startswith(b'\xff\xd8\xff'):
        return 'JPEG'
    if content.startswith(b'\x89PNG\r\n\x1a\n'):
        return 'PNG'
    if content[:6] in (b'GIF87a', b'GIF89a'):
        return 'GIF'
    if content.startswith(b'BM'):
        return 'BMP'
    if content.startswith(b'RIFF') and content[8:12] == b'WEBP':
        return 'WebP'
    if content[:4] in (b'II*\0', b'MM\0*'):
        return 'TIFF'
    if content[4:12] in (b'ftypavif', b'ftypavis'):
        return 'AVIF'
    return None


def store(content: bytes, max_pixels: int = MAX_PIXELS, check: bool = True) -> StoredPicture:
    """Settles once what a picture file shows.

    With `check` off, the data of a file that is stored as it is are not gone through: for whoever
    decodes them next anyway, and so finds the damage.

    Raises:
      BadPictureError: the content is empty, no picture, too large, or damaged.
    """
    if not content:
        raise BadPictureError('the file is empty')
    kind = kind_of(content)
    if kind is None:
        raise BadPictureError('not a picture of a known format')
    header = _read_header(content, kind)
    if header.width * header.height > max_pixels:
        raise BadPictureError(
            f'too large: {header.width} x {header.height} pixels, {max_pixels} are the limit'
        )
    if kind in ('JPEG', 'PNG') and not header.has_alpha and header.orientation == 1:
        if check and kind == 'JPEG':
            _check_jpeg(content, header)
        elif check:
            _decode(content, kind)
        return StoredPicture(content, kind, header.height, header.width, as_is=True)
    if kind == 'BMP' or (kind == 'GIF' and header.has_alpha):
        pixels = _decode_with_pillow(content, kind)
    else:
        pixels = _decode(content, kind, channels=4 if header.has_alpha else 3)
    pixels = _on_white(pixels) if header.has_alpha else pixels[..., :3]
    pixels = np.ascontiguousarray(_upright(pixels, header.orientation))
    height, width, _ = pixels.shape
    return StoredPicture(*_encode(pixels, kind), height, width, as_is=False)


@dataclasses.dataclass(frozen=True)
class _Header:
    width: int
    height: int
    has_alpha: bool
    orientation: int


@contextlib.contextmanager
def pillow_silenced() -> Iterator[None]:
    """Inside, Pillow's remarks on odd headers are not shown: the decoder judges.

    Warnings are filtered for all threads at once: to be entered before others are started.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module=r'PIL\.')
        yield


def _read_header(content: bytes, kind: str) -> _Header:
    if kind == 'JPEG' and (header := _plain_jpeg_header(content)):
        return header
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            has_alpha = image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info
            orientation = 1
            with contextlib.suppress(Exception):  # damaged EXIF is no reason to lose a picture
                orientation = image.getexif().get(_ORIENTATION, 1)
            orientation = orientation if orientation in range(1, 9) else 1
            return _Header(image.width, image.height, has_alpha, orientation)
    except Image.DecompressionBombError:
        raise BadPictureError(f'too large: more than {2 * MAX_PIXELS} pixels') from None
    except UnidentifiedImageError:  # its message holds an address in memory
        raise BadPictureError(f'damaged {kind} header') from None
    except Exception as error:  # of many types, for the header may hold any bytes
        raise BadPictureError(f'damaged {kind} header ({_one_line(error)})') from None


def _plain_jpeg_header(content: bytes) -> _Header | None:
    """The header of a JPEG without EXIF or oddities, else None.

    Pillow would read it as well, but for that takes a tenth of the time that decoding takes.
    """
    header, place = None, 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], 'big')
        if marker == _START_OF_SCAN:
            return header
        if marker in _START_OF_FRAME:
            height, width = struct.unpack('>HH', content[place + 5 : place + 9])
            header = _Header(width, height, has_alpha=False, orientation=1)
        elif marker not in _SAYS_NOTHING_OF_SIZE:
            return None
        place += 2 + length
    return None


def decoded_size(encoded: bytes) -> tuple[int, int]:
    """(height, width) of a stored picture, found by decoding all of it.

    Raises:
      BadPictureError: it cannot be decoded.
    """
    height, width, _ = _decode(encoded, kind_of(encoded) or 'JPEG').shape
    return height, width


def _check_jpeg(content: bytes, header: _Header) -> None:
    """Goes through all of the data but makes a small picture: the same verdict, sooner."""
    eighth = -(-header.height // 8), -(-header.width // 8), 3
    if _decode(content, 'JPEG', ratio=8).shape != eighth:
        raise BadPictureError(f'damaged JPEG header ({header.width} x {header.height} pixels)')


def _decode(content: bytes, kind: str, channels: int = 3, ratio: int = 1) -> np.ndarray:
    """uint8 [height, width, 3 or 4]; a picture of several frames or pages gives its first."""
    import tensorflow as tf

    try:
        if kind == 'JPEG':
            pixels = tf.io.decode_jpeg(content, channels=3, ratio=ratio)
        elif kind == 'PNG':
            pixels = tf.io.decode_png(content, channels=channels)
        elif kind == 'GIF':
            pixels = tf.io.decode_image(content, channels=3, expand_animations=False)
        else:
            pixels = _decode_with_tensorflow_io(content, kind)
    except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, ValueError) as error:
        raise BadPictureError(f'damaged or truncated {kind} data ({_one_line(error)})') from None
    return pixels.numpy()


def _decode_with_pillow(content: bytes, kind: str) -> np.ndarray:
    """uint8 [height, width, 4]; for what TensorFlow decodes without a word, but wrongly.

    It takes a BMP's palette indices for grey, and a GIF's transparency for black.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert('RGBA'))
    except Exception as error:
        raise BadPictureError(f'damaged or truncated {kind} data ({_one_line(error)})') from None


def _decode_with_tensorflow_io(content: bytes, kind: str) -> Any:
    try:
        import tensorflow_io as tfio

        decode = {
            'WebP': tfio.image.decode_webp,
            'TIFF': tfio.experimental.image.decode_tiff,
            'AVIF': tfio.experimental.image.decode_avif,
        }[kind]
        return decode(content)
    except (ImportError, NotImplementedError):
        raise BadPictureError(f'{kind} {_NOT_HERE}') from None


def is_outdated(reason: str) -> bool:
    """Whether a picture that was skipped for this reason might be taken now."""
    if not reason.endswith(_NOT_HERE):
        return False
    try:
        _decode(b'', reason.split()[0])
    except BadPictureError as error:
        return not str(error).endswith(_NOT_HERE)
    return True


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 4] -> uint8 [h, w, 3]: (colour x alpha + white x (255 - alpha)) / 255."""
    if pixels.shape[-1] == 3:  # tensorflow-io gives no alpha for AVIF
        return pixels
    colour = pixels[..., :3].astype(np.uint16)
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes EXIF orientation 1-8 (TIFF 6.0, tag 274: where row 0 and column 0 lie)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
        orientation = {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    if orientation in (2, 3):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4):
        pixels = pixels[::-1]
    return pixels


def _encode(pixels: np.ndarray, kind: str) -> tuple[bytes, str]:
    import tensorflow as tf

    if kind in _LOSSY:
        return tf.io.encode_jpeg(pixels, quality=JPEG_QUALITY).numpy(), 'JPEG'
    return tf.io.encode_png(pixels).numpy(), 'PNG'


def _one_line(error: Exception) -> str:
    """TensorFlow's messages start with the op's name in braces and end with a trace."""
    text = str(getattr(error, 'message', None) or error).split('}} ')[-1]
    return text.strip().split('\n')[0].split(' [Op:')[0][:160]
