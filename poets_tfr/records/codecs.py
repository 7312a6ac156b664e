"""A file's bytes -> what the record stores: an upright RGB picture as JPEG or PNG.

The one code path for conversion and for labelling. A file that TensorFlow's `decode_jpeg` already
shows as it should is stored byte for byte; the rest is decoded and stored again, lossless kinds as
PNG, lossy ones as JPEG of quality 95.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from poets_tfr.records import decoders
from poets_tfr.records.settings import MAX_PIXELS
from poets_tfr.sources import headers, pillow
from poets_tfr.sources.headers import BY_PILLOW, Header
from poets_tfr.sources.headers import BadPictureError as BadPictureError
from poets_tfr.sources.headers import kind_of as kind_of
from poets_tfr.sources.headers import pillow_silenced as pillow_silenced

JPEG_QUALITY = 95
DECODERS = str(decoders.VERSION)
VERSION = 2  # raised when the stored bytes of some JPEG, PNG, GIF or BMP change
SCALING_VERSION = 2  # raised when those of some picture that is scaled down do

_CHECK_RATIO = 8
_SPARE = 1.5
_END_OF_IMAGE = b'\xff\xd9'
_FILLINGS = b'\x55' * 64, b'\xaa' * 64
_CHECKED_AT_ONCE = 32
_OF_0_1 = 'damaged or truncated JPEG data ('  # it took none that lacked its end marker


@dataclasses.dataclass(frozen=True)
class StoredPicture:
    """What a record holds of a picture.

    encoded: upright JPEG or PNG bytes that `tf.io.decode_jpeg(encoded, channels=3)` takes.
    format: 'JPEG' or 'PNG'.
    outcome: 'as is' (`encoded` is the source file, byte for byte), 'as JPEG', 'as PNG', or
      'scaled down'.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    outcome: str

    @property
    def as_is(self) -> bool:
        return self.outcome == 'as is'


def store(
    content: bytes, max_side: int = 0, max_pixels: int = MAX_PIXELS, check: bool = True
) -> StoredPicture:
    """Settles once what a picture file shows.

    Args:
      content: the file's bytes.
      max_side: a picture that is wider or higher is stored scaled down to it; 0: as large as it is.
      max_pixels: a larger picture is refused, before it is decoded.
      check: whether the data of a file that is stored as it is are gone through; to be left out by
        whoever decodes them next anyway, and so finds the damage.

    Raises:
      BadPictureError: the content is empty, no picture, too large, or damaged.
    """
    header = headers.read(content)
    if header.width * header.height > max_pixels:
        raise BadPictureError(
            f'too large: {header.width} x {header.height} pixels, {max_pixels} are the limit'
        )
    if header.kind == 'JPEG XL':
        return _of_jpeg_xl(content, header, max_side, max_pixels)
    try:
        return _stored(content, header, max_side, check)
    except BadPictureError:
        if header.kind == 'JPEG' and headers.is_rare_jpeg(content):
            raise BadPictureError('JPEG of a kind that is not supported (its coding)') from None
        ended = _with_its_end(content) if header.kind == 'JPEG' else None
        if ended is None:
            raise
    return _not_as_is(_stored(ended, header, max_side, check))


def _not_as_is(picture: StoredPicture) -> StoredPicture:
    return dataclasses.replace(picture, outcome='as JPEG') if picture.as_is else picture


def _of_jpeg_xl(content: bytes, header: Header, max_side: int, max_pixels: int) -> StoredPicture:
    found = decoders.decoded_jpeg_xl(content)
    if isinstance(found, bytes):
        return _not_as_is(store(found, max_side, max_pixels))
    return _stored_pixels(_on_white(found), header, max_side)


def _stored(content: bytes, header: Header, max_side: int, check: bool) -> StoredPicture:
    scaled = 0 < max_side < max(header.width, header.height)
    if not scaled and _is_shown_correctly(header):
        picture = StoredPicture(content, header.kind, header.height, header.width, 'as is')
        if check:
            _check(picture)
        return picture
    pixels = _scaled_while_decoded(content, header, max_side) if scaled else None
    if pixels is None:
        pixels = _decode_on_white(content, header, max_side if scaled else 0)
    return _stored_pixels(pixels, header, max_side)


def _stored_pixels(pixels: np.ndarray, header: Header, max_side: int) -> StoredPicture:
    scaled = 0 < max_side < max(header.width, header.height)
    if scaled and max(pixels.shape) > max_side:
        pixels = _scaled_down(pixels, max_side)
    pixels = np.ascontiguousarray(_upright(pixels, header.orientation))
    stored_as = 'PNG' if header.is_lossless and not scaled else 'JPEG'
    height, width, _ = pixels.shape
    outcome = 'scaled down' if scaled else f'as {stored_as}'
    return StoredPicture(_encode(pixels, stored_as), stored_as, height, width, outcome)


def store_each(
    contents: Sequence[bytes], max_side: int = 0, max_pixels: int = MAX_PIXELS
) -> list[StoredPicture | BadPictureError]:
    """What `store` returns or raises for each of a few files, sooner.

    JPEGs that are stored as they are, are checked in one call of TensorFlow: its threads go through
    them while Python's do other work. If one of them is damaged, each file is gone through alone.
    """
    stored = [
        _attempt(content, max_side, max_pixels, check=kind_of(content) != 'JPEG')
        for content in contents
    ]
    pictures = [each for each in stored if isinstance(each, StoredPicture)]
    if _are_whole([each for each in pictures if each.as_is and each.format == 'JPEG']):
        return stored
    return [_attempt(content, max_side, max_pixels, check=True) for content in contents]


def _is_shown_correctly(header: Header) -> bool:
    turned = header.orientation != 1
    return header.kind in ('JPEG', 'PNG') and not (header.has_alpha or turned or header.by_pillow)


def decoded(encoded: bytes) -> np.ndarray:
    """uint8 [height, width, 3]: the pixels of a stored picture.

    Raises:
      BadPictureError: it cannot be decoded.
    """
    return decoders.decoded(encoded, kind_of(encoded) or 'JPEG')


def _attempt(
    content: bytes, max_side: int, max_pixels: int, check: bool
) -> StoredPicture | BadPictureError:
    try:
        return store(content, max_side, max_pixels, check)
    except BadPictureError as error:
        return error


def _check(picture: StoredPicture) -> None:
    """Decodes a picture that is stored as it is; a JPEG at an eighth: the same verdict, sooner."""
    ratio = _CHECK_RATIO if picture.format == 'JPEG' else 1
    if decoders.decoded(picture.encoded, picture.format, ratio=ratio).shape != _shape(
        picture, ratio
    ):
        raise BadPictureError(
            f'damaged {picture.format} header ({picture.width} x {picture.height} pixels)'
        )


def _with_its_end(jpeg: bytes) -> bytes | None:
    """A JPEG that lacks its end marker and nothing else, with it; None where more is wrong.

    Cameras leave it out, of panoramas say, and every viewer shows them. Nothing else is missing if
    the decoder gives the same picture whatever bits are put before the end: so it needs none.
    """
    if not headers.is_jpeg_of_one_scan(jpeg):
        return None
    body = jpeg.rstrip(b'\xff')
    try:
        pixels, *others = (
            decoders.decoded(body + filling + _END_OF_IMAGE, 'JPEG')
            for filling in (b'', *_FILLINGS)
        )
    except BadPictureError:
        return None
    if all(np.array_equal(pixels, other) for other in others):
        return body + _END_OF_IMAGE
    return None


def _are_whole(jpegs: Sequence[StoredPicture]) -> bool:
    """Whether `_check` would let all of them pass."""
    import tensorflow as tf

    if not jpegs:
        return True
    try:
        shapes = _shapes_of_jpegs()(tf.constant([jpeg.encoded for jpeg in jpegs])).numpy()
    except tf.errors.OpError:  # which one it is about, and what to say of it, `_check` will tell
        return False
    return bool((shapes == [_shape(jpeg, _CHECK_RATIO) for jpeg in jpegs]).all())


@functools.cache
def _shapes_of_jpegs() -> Callable[[Any], Any]:
    """A compiled function of string [n] that gives int32 [n, 3]."""
    import tensorflow as tf

    def shape(encoded: Any) -> Any:
        return tf.shape(decoders.decode_jpeg(encoded, _CHECK_RATIO))

    def shapes(contents: Any) -> Any:
        return tf.map_fn(
            shape, contents, fn_output_signature=tf.TensorSpec([3], tf.int32),
            parallel_iterations=_CHECKED_AT_ONCE,
        )  # fmt: skip

    return tf.function(shapes, [tf.TensorSpec([None], tf.string)], autograph=False)


atexit.register(_shapes_of_jpegs.cache_clear)  # while TensorFlow's modules still stand


def _shape(picture: StoredPicture, ratio: int) -> tuple[int, int, int]:
    """Of its pixels, when it is decoded at a fraction of its size."""
    return -(-picture.height // ratio), -(-picture.width // ratio), 3


def _decode_on_white(content: bytes, header: Header, max_side: int) -> np.ndarray:
    """uint8 [height, width, 3]; larger than `max_side`, if that is given, but maybe scaled."""
    if header.by_pillow:
        return _on_white(decoders.decoded_by_pillow(content, header.kind))
    ratio = _decoding_ratio(header, max_side)
    channels = 4 if header.has_alpha else 3
    return _on_white(decoders.decoded(content, header.kind, channels, ratio))


def _decoding_ratio(header: Header, max_side: int) -> int:
    """By how much a JPEG may be scaled while it is decoded, which leaves work for the filter."""
    if header.kind != 'JPEG' or not max_side:
        return 1
    spare = max(header.width, header.height) / (_SPARE * max_side)
    return next((ratio for ratio in (8, 4, 2) if ratio <= spare), 1)


def _scaled_while_decoded(content: bytes, header: Header, max_side: int) -> np.ndarray | None:
    """uint8 [height, width, 3] of a large JPEG: by Pillow, the sooner way for photos of phones.

    None where the picture is no such JPEG or is damaged: what becomes of it TensorFlow decides.
    """
    from PIL import Image, ImageFile

    ratio = _decoding_ratio(header, max_side)
    if ratio == 1 or ImageFile.LOAD_TRUNCATED_IMAGES:
        return None
    try:
        with pillow.opened(content, 'JPEG') as image:
            if image.mode not in ('RGB', 'L'):
                return None
            image.draft(None, (max(1, image.width // ratio), max(1, image.height // ratio)))
            small = image.resize(_size_within(max_side, *image.size), Image.Resampling.HAMMING)
            return np.asarray(small.convert('RGB'))
    except Exception:
        return None


def _size_within(max_side: int, width: int, height: int) -> tuple[int, int]:
    scale = max_side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _scaled_down(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Antialiased: every pixel of the larger picture has its part in the smaller one."""
    from PIL import Image

    height, width, _ = pixels.shape
    size = _size_within(max_side, width, height)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def is_outdated(reason: str) -> bool:
    """Whether a picture that was skipped for this reason might be taken now."""
    return reason.startswith(_OF_0_1) or pillow.is_filled(reason)


def decoders_of(content: bytes) -> int:
    """The version of the decoders of a file; 0 for what TensorFlow decodes, or none does."""
    return decoders.VERSION if kind_of(content) in BY_PILLOW else 0


def is_of_other_decoders(
    outcome: str, reason: str, version: int, beginning: Callable[[], bytes]
) -> bool:
    """Whether a picture in records that stand might be stored otherwise, or taken, now.

    outcome, reason, version: as its index entry has them.
    beginning: reads the first `headers.BEGINNING` bytes of its file.
    """
    if version == decoders.VERSION or outcome in ('as is', 'dropped'):
        return False
    if outcome == 'skipped':
        return bool(re.search('|'.join(BY_PILLOW), reason))
    return version > 0 or kind_of(beginning()) in BY_PILLOW


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3 or 4] -> uint8 [h, w, 3]: (colour x alpha + white x (255 - alpha)) / 255."""
    if pixels.shape[-1] == 3:
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


def _encode(pixels: np.ndarray, picture_format: str) -> bytes:
    import tensorflow as tf

    if picture_format == 'JPEG':
        return tf.io.encode_jpeg(pixels, quality=JPEG_QUALITY).numpy()
    return tf.io.encode_png(pixels).numpy()
