"""What the header of a picture file says, before anything is decoded. No TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from poets_tfr.sources import jpeg_xl, pillow
from poets_tfr.sources.faults import BadPictureError as BadPictureError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# What Pillow decodes, or pi-heif and libjxl do for it: the same in every environment.
BY_PILLOW = 'WebP', 'TIFF', 'AVIF', 'JPEG 2000', 'HEIC', 'JPEG XL'

_EXIF_ORIENTATION = 0x0112
_TIFF_BITS = 0x0102

# JPEG markers.
_START_OF_FRAME = 0xC0, 0xC1, 0xC2  # baseline, extended, progressive
_SEQUENTIAL = 0xC0, 0xC1
_START_OF_SCAN = 0xDA
_SAYS_NOTHING_OF_SIZE = frozenset([0xC4, 0xC8, 0xCC, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE])

_TIFF = b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'  # the latter two: with 64-bit offsets

# What people's folders hold besides pictures that are taken: beginning -> the reason.
_OTHERS = {
    b'%PDF': 'a PDF document, not an image',
    b'8BPS': 'a Photoshop document, which is not supported',
    b'PK\3\4': 'a ZIP archive, not an image',
    b'\x1f\x8b': 'a gzip archive, not an image',
    b'\0\0\1\0': 'an icon file, which is not supported',
    b'\x1aE\xdf\xa3': 'a video, not an image',
    b'version https://git-lfs': 'a Git LFS pointer: run git lfs pull',
}
BEGINNING = 256
_HEIC = frozenset(b'heic heix heim heis hevc hevx hevm hevs mif1 msf1'.split())
_AVIF = frozenset([b'avif', b'avis'])
_JPEG_2000 = b'\0\0\0\x0cjP  \r\n\x87\n', b'\xff\x4f\xff\x51'  # in a file; the data alone
_CODING_STYLE = b'\xff\x52'
_TRANSFORM = 13  # bytes behind that marker: 1 where the wavelets are of whole numbers


@dataclasses.dataclass(frozen=True)
class Header:
    """width, height: as stored, in pixels; orientation: EXIF's, 1 to 8.

    is_lossless: whether the format keeps every pixel as it was.
    by_pillow: whether Pillow decodes it: TensorFlow does not read it, or shows it wrongly.
    """

    kind: str
    width: int
    height: int
    is_lossless: bool
    has_alpha: bool = False
    orientation: int = 1
    by_pillow: bool = False


def kind_of(content: bytes) -> str | None:
    """The format by content: 'JPEG', 'PNG', 'GIF', 'BMP' or one of `BY_PILLOW`; else None."""
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
    if content[:4] in _TIFF:
        return 'TIFF'
    if content.startswith(_JPEG_2000):
        return 'JPEG 2000'
    if content.startswith(jpeg_xl.BEGINNINGS):
        return 'JPEG XL'
    return _kind_by_brand(_brands(content))


def _kind_by_brand(brands: list[bytes]) -> str | None:
    if _AVIF & set(brands):
        return 'AVIF'
    return 'HEIC' if _HEIC & set(brands) else None


def begins_like_a_picture(beginning: bytes) -> bool:
    """Whether the first `BEGINNING` bytes of a file, whatever its name, are those of a picture."""
    kind = kind_of(beginning)
    if kind == 'BMP':  # so begins many a text; what follows the size is 0 in a BMP
        return beginning[6:10] == bytes(4)
    return kind is not None


def read(content: bytes) -> Header:
    """Raises BadPictureError: the content is empty, no picture, or its header is damaged."""
    if not content:
        raise BadPictureError('the file is empty')
    kind = kind_of(content)
    if kind is None:
        raise BadPictureError(_what_it_is(content))
    if kind == 'JPEG' and (header := _plain_jpeg_header(content)):
        return header
    if lack := pillow.lack(kind):
        raise BadPictureError(lack)
    if kind == 'JPEG XL':
        return Header(kind, *jpeg_xl.size_of(content), is_lossless=False, by_pillow=True)
    from PIL import Image, UnidentifiedImageError

    try:
        with pillow.opened(content, kind) as image:
            return _header_by_pillow(kind, content, image)
    except BadPictureError:
        raise
    except Image.DecompressionBombError as error:  # more than --max_pixels can be
        raise BadPictureError(f'too large ({str(error).split(",")[0]})') from None
    except UnidentifiedImageError:  # its message holds an address in memory
        if kind == 'TIFF' and (lack := _what_pillow_lacks(content)):
            raise BadPictureError(f'TIFF of a kind that is not supported ({lack})') from None
        raise BadPictureError(f'damaged {kind} header') from None
    except Exception as error:  # of many types, for the header may hold any bytes
        reason = one_line(error)
        if reason.startswith('Unsupported'):
            raise BadPictureError(f'{kind} of a kind that is not supported ({reason})') from None
        raise BadPictureError(f'damaged {kind} header ({reason})') from None


@contextlib.contextmanager
def pillow_silenced() -> Iterator[None]:
    """Inside, Pillow's remarks on odd headers are not shown: the decoder judges.

    Warnings are filtered for all threads at once: to be entered before others are started.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module=r'PIL\.')
        yield


def one_line(error: Exception) -> str:
    """TensorFlow's messages start with the op's name in braces and end with a trace."""
    text = str(getattr(error, 'message', None) or error).split('}} ')[-1]
    return text.strip().split('\n')[0].split(' [Op:')[0][:160]


def _brands(content: bytes) -> list[bytes]:
    """What a file of the ISO base format (AVIF, HEIC, MP4) says that it is; the main one first."""
    if content[4:8] != b'ftyp':
        return []
    end = min(int.from_bytes(content[:4], 'big'), 256)
    return [content[8:12], *(content[i : i + 4] for i in range(16, end, 4))]


def _what_it_is(content: bytes) -> str:
    """The reason why what is no picture, or of another format, is not taken."""
    for beginning, reason in _OTHERS.items():
        if content.startswith(beginning):
            return reason
    if _brands(content):
        return 'a video, not an image'
    if not content.strip(b'\0'):
        return 'all bytes are 0: a copy or download that was not finished'
    text = content[:256].lstrip().lower()
    if text.startswith((b'<!doctype html', b'<html')):
        return 'a web page, not an image'
    if text.startswith((b'<?xml', b'<svg')):
        return 'XML or SVG text, which is not supported'
    return 'not an image of a known format'


def _what_pillow_lacks(tiff: bytes) -> str:
    """What Pillow cannot do of a TIFF whose header is right; '' where it is not."""
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        TiffImageFile(io.BytesIO(tiff)).close()
    except SyntaxError as error:
        reason = error.args[0] if error.args else ''
        if isinstance(reason, KeyError):
            return f'compression {reason}'
        return 'kind of pixels' if reason == 'unknown pixel mode' else ''
    except Exception:
        pass
    return ''


def _header_by_pillow(kind: str, content: bytes, image: ImageFile) -> Header:
    has_alpha = image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info
    orientation = 1
    with contextlib.suppress(Exception):  # damaged EXIF is no reason to lose a picture
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    if kind == 'TIFF':
        _check_samples(image)
    if kind in ('TIFF', 'HEIC'):
        orientation = 1  # they come turned: HEIC as its own properties say, whatever EXIF says
    # TensorFlow inverts CMYK without Adobe's marker, takes a BMP's palette indices for grey, a
    # GIF's transparency for black, and a GIF's first frame, which may be a part, for the whole.
    inverted = kind == 'JPEG' and image.mode == 'CMYK' and 'adobe' not in image.info
    by_pillow = inverted or kind not in ('JPEG', 'PNG')
    return Header(
        kind, image.width, image.height, _is_lossless(kind, content, image), has_alpha, orientation,
        by_pillow,
    )  # fmt: skip


def _check_samples(tiff: ImageFile) -> None:
    if tiff.mode in ('I', 'F'):
        raise BadPictureError('TIFF with 32 bits a sample, which is not supported')
    bits = {*getattr(tiff, 'tag_v2', {}).get(_TIFF_BITS, ())} - {1, 2, 4, 8, 16}
    if bits:
        raise BadPictureError(f'TIFF with {max(bits)} bits a sample, which is not supported')


def _is_lossless(kind: str, content: bytes, image: ImageFile) -> bool:
    if kind == 'WebP':
        return _is_lossless_webp(content)
    if kind == 'TIFF':
        return image.info.get('compression') not in ('jpeg', 'tiff_jpeg', 'webp')
    if kind == 'JPEG 2000':
        place = content.find(_CODING_STYLE, content.find(_JPEG_2000[1]))
        return content[place + _TRANSFORM : place + _TRANSFORM + 1] == b'\1'
    return kind not in ('JPEG', 'AVIF', 'HEIC')


def _is_lossless_webp(content: bytes) -> bool:
    """Whether the (first) picture's chunk is VP8L, not VP8."""
    place = 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], content[place + 4 : place + 8]
        if name in (b'VP8 ', b'VP8L'):
            return name == b'VP8L'
        if name == b'ANMF':
            place += 8 + 16  # a frame's place and duration; its picture's chunk follows
        else:
            length = int.from_bytes(size, 'little')
            place += 8 + length + length % 2
    return False


def _plain_jpeg_header(content: bytes) -> Header | None:
    """The header of a JPEG without EXIF or oddities, else None.

    Pillow would read it as well, but for that takes a tenth of the time that decoding takes.
    """
    header, place = None, 2
    while place + 10 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], 'big')
        if marker == _START_OF_SCAN:
            return header
        if marker in _START_OF_FRAME:
            bits, height, width, components = struct.unpack(
                '>BHHB', content[place + 4 : place + 10]
            )
            if bits != 8:
                raise BadPictureError(f'JPEG of {bits} bits, which is not supported')
            if components == 4:
                return None
            header = Header('JPEG', width, height, is_lossless=False)
        elif marker not in _SAYS_NOTHING_OF_SIZE:
            return None
        place += 2 + length
    return None


def is_jpeg_of_one_scan(content: bytes) -> bool:
    """Whether all of it comes in one go: not the case with a progressive JPEG."""
    frame, components, scanned = _jpeg_frame(content)
    return frame in _SEQUENTIAL and components == scanned


def is_rare_jpeg(content: bytes) -> bool:
    """Whether it is coded as next to no JPEG is: lossless, hierarchical or arithmetic."""
    frame, _, _ = _jpeg_frame(content)
    return frame not in (0, *_START_OF_FRAME)


def _jpeg_frame(content: bytes) -> tuple[int, int, int]:
    """The marker of the frame, its components, and those in its first scan; 0 where not found."""
    place, marker, components = 2, 0, 0
    while place + 10 <= len(content) and content[place] == 0xFF:
        found, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], 'big')
        if found == _START_OF_SCAN:
            return marker, components, content[place + 4]
        if found in range(0xC0, 0xD0) and found not in _SAYS_NOTHING_OF_SIZE:
            marker, components = found, content[place + 9]
        place += 2 + length
    return marker, components, 0
