"""A JPEG XL picture's size, from its first bits: the library tells it only once it has decoded."""

from __future__ import annotations

from poets_tfr.sources.faults import BadPictureError

_CODESTREAM = b'\xff\x0a'
_CONTAINER = b'\0\0\0\x0cJXL \r\n\x87\n'
BEGINNINGS = _CODESTREAM, _CONTAINER

_SIZES = 9, 13, 18, 30  # bits, chosen by two others
# ISO/IEC 18181-1, table of aspect ratios: width : height.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_HEADER_BYTES = 16


def size_of(content: bytes) -> tuple[int, int]:
    """Width and height as stored, in pixels. Raises BadPictureError where they are missing."""
    header = _codestream(content)[: len(_CODESTREAM) + _HEADER_BYTES]
    if not header.startswith(_CODESTREAM) or len(header) < len(_CODESTREAM) + 2:
        raise BadPictureError('damaged JPEG XL header')
    bits = _Bits(header[len(_CODESTREAM) :])
    in_eights = bits.take(1)
    height = _side(bits, in_eights)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        return height * across // down, height
    return _side(bits, in_eights), height


class _Bits:
    """The lowest bit of each byte first."""

    def __init__(self, content: bytes):
        self._rest = int.from_bytes(content, 'little')

    def take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value


def _side(bits: _Bits, in_eights: int) -> int:
    if in_eights:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take(_SIZES[bits.take(2)])


def _codestream(content: bytes) -> bytes:
    """Where it begins; of a container, in the first box that holds it or a part of it."""
    if content.startswith(_CODESTREAM):
        return content
    place = 0
    while place + 16 <= len(content):
        name = content[place + 4 : place + 8]
        length, start = int.from_bytes(content[place : place + 4], 'big'), place + 8
        if length == 1:
            length, start = int.from_bytes(content[start : start + 8], 'big'), start + 8
        if name in (b'jxlc', b'jxlp'):
            start += 4 * (name == b'jxlp')  # the number of the part
            return content[start : start + 64]
        if length < 8:  # 0: the rest of the file
            break
        place += length
    return b''
