"""What phones and other cameras write besides JPEG, made by the formats' own encoders.

The files of odd_files.py go on here: its pixels, its table.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from typing import Any

import numpy as np
import odd_files
import pillow_heif
import pillow_jxl  # noqa: F401  registers itself
from odd_files import (
    ALPHA,
    DEEP,
    GREY,
    HEIGHT,
    LOSSY,
    NEGATIVE,
    RGB,
    WIDTH,
    OddFile,
    exif,
    grey,
    on_white,
    saved,
    turned,
)  # fmt: skip
from PIL import Image

pillow_heif.register_heif_opener()

TRANSPARENT = np.dstack([RGB, ALPHA])
_ORIENTATION = b'\x01\x12\x00\x03\x00\x00\x00\x01\x00'


def as_jpeg(extension: str, rows: list[tuple[str, bytes, np.ndarray]]) -> list[OddFile]:
    """rows: name, content, what is shown."""
    return [
        OddFile(name + extension, content, 'as JPEG', shown, LOSSY) for name, content, shown in rows
    ]


# HEIC


def heic(pixels: np.ndarray = RGB, orientation: int = 0, **options: Any) -> bytes:
    """orientation: by the format's own properties (irot, imir), and in EXIF."""
    if orientation:
        options['exif'] = exif(orientation).tobytes()
    return saved(pixels, 'HEIF', **{'quality': 95, 'chroma': 444, **options})


def exif_says(content: bytes, orientation: int) -> bytes:
    """Changes EXIF's word alone."""
    wanted = _ORIENTATION + bytes([orientation])
    changed, count = re.subn(re.escape(_ORIENTATION) + b'.', wanted, content, flags=re.DOTALL)
    assert count == 1
    return changed


def of_10_bits() -> bytes:
    deep = pillow_heif.from_bytes('RGB;16', (WIDTH, HEIGHT), DEEP.tobytes())
    content = io.BytesIO()
    deep.save(content, quality=95, chroma=444)
    return content.getvalue()


def with_depth() -> bytes:
    """The auxiliary picture of one with alpha, called one of depth."""
    content = heic(TRANSPARENT)
    assert content.count(b'auxid:1') == 1
    return content.replace(b'auxid:1', b'auxid:2')


def of_brand(content: bytes, brand: bytes) -> bytes:
    return content[:8] + brand + content[12:]


def heics() -> list[OddFile]:
    tiles = np.tile(RGB, (4, 4, 1))  # of 64 x 64 pixels, cut off at the right and below
    second: dict[str, Any] = {
        'save_all': True,
        'append_images': [Image.fromarray(RGB)],
        'primary_index': 1,
    }
    turn_6 = heic(orientation=6)
    plain = heic()
    rows = [
        ('plain', plain, RGB),
        ('grey', heic(GREY), grey(GREY)),
        ('tiles', heic(tiles, tile_size=64), tiles),
        ('tiles_turn_6', heic(tiles, tile_size=64, orientation=6), turned(tiles, 6)),
        ('10_bits', of_10_bits(), DEEP / 257),
        ('alpha', heic(TRANSPARENT), on_white(RGB)),
        ('depth', with_depth(), RGB),
        ('thumbnail', heic(NEGATIVE, thumbnails=[32]), NEGATIVE),
        ('second_is_primary', heic(NEGATIVE, **second), RGB),
        ('other_brand', of_brand(plain, b'mif1'), RGB),
        *((f'turn_{i}', heic(orientation=i), turned(RGB, i)) for i in range(2, 9)),
        ('exif_disagrees', exif_says(turn_6, 3), turned(RGB, 6)),
        ('exif_says_upright', exif_says(turn_6, 1), turned(RGB, 6)),
        ('exif_alone', exif_says(heic(exif=exif(1).tobytes()), 6), RGB),
    ]
    of_av1 = saved(RGB, 'AVIF').replace(b'avif', b'mif1')
    return [
        *(
            OddFile(f'{name}.heic', content, 'as JPEG', shown, LOSSY)
            for name, content, shown in rows
        ),
        OddFile('fuji.hif', heic(NEGATIVE), 'as JPEG', NEGATIVE, LOSSY),
        OddFile('half.heic', plain[: len(plain) * 2 // 3], 'damaged or truncated HEIC data'),
        OddFile('start.heic', plain[:200], 'damaged HEIC header'),
        OddFile('of_av1.heif', of_av1, 'HEIC of a kind that is not supported'),
        OddFile('live.mov.jpg', b'\0\0\0\x14ftypqt  \0\0\0\0qt  ', 'a video, not an image'),
    ]


# JPEG XL


def jpeg_xl_of(jpeg: bytes) -> bytes:
    """Made from a JPEG, which it keeps: the encoder wants a file."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix='.jpg') as file:
        file.write(jpeg)
        file.flush()
        with Image.open(file.name) as image:
            content = io.BytesIO()
            image.save(content, 'JXL', lossless_jpeg=True)
    return content.getvalue()


def jpeg_xls() -> list[OddFile]:
    jxl = functools.partial(saved, picture_format='JXL', quality=95)
    plain, turn_6 = jxl(RGB), saved(RGB, 'JPEG', quality=95, exif=exif(6))
    # Its lowest bits: not in eights, 18 bits follow, the height less 1, and that it is square.
    large = b'\xff\x0a' + (2 << 1 | 19_999 << 3 | 1 << 21).to_bytes(16, 'little')
    rows = [
        ('plain', plain, RGB),
        ('lossless', saved(NEGATIVE, 'JXL', lossless=True), NEGATIVE),
        ('container', jxl(RGB, use_container=True), RGB),
        ('grey', jxl(GREY), grey(GREY)),
        ('alpha', jxl(TRANSPARENT), on_white(RGB)),
        ('16_bits_grey', saved(DEEP[..., 0], 'JXL', lossless=True), grey(DEEP[..., 0] / 257)),
        ('exif_alone', jxl(RGB, exif=exif(6).tobytes()), RGB),
        ('of_jpeg', jpeg_xl_of(saved(RGB, 'JPEG', quality=95)), RGB),
        ('of_turned_jpeg', jpeg_xl_of(turn_6), turned(RGB, 6)),
    ]
    return [
        *(
            OddFile(f'{name}.jxl', content, 'as JPEG', shown, LOSSY)
            for name, content, shown in rows
        ),
        OddFile('half.jxl', plain[: len(plain) // 2], 'damaged or truncated JPEG XL data'),
        OddFile('start.jxl', plain[:2], 'damaged JPEG XL header'),
        OddFile('bomb.jxl', large, 'too large: 20000 x 20000 pixels'),
    ]


# JPEG 2000, MPO


def jpeg_2000s() -> list[OddFile]:
    j2k = functools.partial(saved, picture_format='JPEG2000')
    lossy = j2k(RGB, irreversible=True, quality_mode='dB', quality_layers=[48])
    plain = j2k(RGB)
    grey_alpha = Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    return [
        OddFile('plain.jp2', plain, 'as PNG', RGB),
        OddFile('data_alone.j2k', j2k(NEGATIVE, no_jp2=True), 'as PNG', NEGATIVE),
        OddFile('lossy.jp2', lossy, 'as JPEG', RGB, LOSSY),
        OddFile('grey.jp2', j2k(GREY), 'as PNG', grey(GREY)),
        OddFile('alpha.jp2', j2k(TRANSPARENT), 'as PNG', on_white(RGB)),
        OddFile('grey_alpha.jp2', j2k(grey_alpha), 'as PNG', on_white(GREY)),
        OddFile('16_bits.jp2', j2k(DEEP[..., 0]), 'as PNG', grey(DEEP[..., 0] / 257)),
        OddFile('tiles.jpx', j2k(RGB, tile_size=(32, 32)), 'as PNG', RGB),
        OddFile('half.jp2', plain[: len(plain) // 2], 'damaged or truncated JPEG 2000 data'),
        OddFile('start.jp2', plain[:60], 'damaged JPEG 2000 header'),
    ]  # fmt: skip


def mpos() -> list[OddFile]:
    """Two pictures in one file, the first of which every viewer shows."""
    pair = {'quality': 95, 'save_all': True, 'append_images': [Image.fromarray(NEGATIVE)]}
    turn_6 = saved(RGB, 'MPO', exif=exif(6), **pair)
    return [
        OddFile('plain.mpo', saved(RGB, 'MPO', **pair), 'as is', RGB, LOSSY),
        OddFile('pair.jpg', saved(GREY, 'MPO', **pair), 'as is', grey(GREY), LOSSY),
        OddFile('turn_6.mpo', turn_6, 'as JPEG', turned(RGB, 6), LOSSY),
    ]


# TIFF of 16 bits a sample, WebP and AVIF


def deep_tiff(
    pixels: np.ndarray, photometric: int, order: str = '<', planes: int = 1, orientation: int = 1,
    extra: int | None = None,
) -> bytes:  # fmt: skip
    """uint16 [HEIGHT, WIDTH, samples]; planes: 2 where each sample lies by itself."""
    samples = pixels.shape[2]
    parts = np.moveaxis(pixels, 2, 0) if planes == 2 else pixels[None]
    data = [part.astype(f'{order}u2').tobytes() for part in parts]
    values = {
        256: [WIDTH], 257: [HEIGHT], 258: [16] * samples, 259: [1], 262: [photometric],
        273: [0] * len(data), 274: [orientation], 277: [samples], 278: [HEIGHT],
        279: [len(part) for part in data], 284: [planes],
    }  # fmt: skip
    values |= {338: [extra]} if extra is not None else {}
    behind = 8 + 2 + 12 * len(values) + 4
    sizes = {tag: (2 if tag == 258 else 4) * len(each) for tag, each in values.items()}
    start = behind + sum(size for size in sizes.values() if size > 4)
    values[273] = [start + sum(map(len, data[:i])) for i in range(len(data))]
    directory, apart = b'', b''
    for tag, each in sorted(values.items()):
        kind = 'H' if tag == 258 else 'I'
        packed = struct.pack(f'{order}{len(each)}{kind}', *each)
        if len(packed) > 4:
            packed, apart = struct.pack(f'{order}I', behind + len(apart)), apart + packed
        head = struct.pack(f'{order}HHI', tag, 3 if kind == 'H' else 4, len(each))
        directory += head + packed.ljust(4, b'\0')
    begins = {'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(f'{order}IH', 8, len(values))
    return begins + directory + bytes(4) + apart + b''.join(data)


def tiffs() -> list[OddFile]:
    inks = np.dstack([65535 - DEEP, np.zeros_like(DEEP[..., :1])])
    clear = np.dstack([DEEP, (ALPHA.astype(np.uint16) * 257)[..., None]])
    deep, one = DEEP / 257, DEEP[..., :1]
    lzw = saved(Image.fromarray(DEEP[..., 0]), 'TIFF', compression='tiff_lzw')
    rows = [
        ('big_endian', deep_tiff(DEEP, 2, '>'), deep),
        ('planes', deep_tiff(DEEP, 2, planes=2), deep),
        ('planes_big_endian', deep_tiff(DEEP, 2, '>', planes=2), deep),
        ('fourth', deep_tiff(clear, 2, extra=0), deep),
        ('alpha', deep_tiff(clear, 2, extra=2), on_white(deep)),
        ('cmyk', deep_tiff(inks, 5), deep),
        ('turn_6', deep_tiff(DEEP, 2, orientation=6), turned(deep, 6)),
        ('white_is_0', deep_tiff(65535 - one, 0), grey(deep[..., 0])),
        ('lzw', lzw, grey(deep[..., 0])),
    ]
    return [
        OddFile(f'16_bits_{name}.tif', content, 'as PNG', shown) for name, content, shown in rows
    ]


def webps_and_avifs() -> list[OddFile]:
    webp, avif = saved(RGB, 'WEBP', quality=95), saved(RGB, 'AVIF', quality=95)
    return [
        OddFile('half.webp', webp[: len(webp) // 2], 'damaged WebP header'),
        OddFile('half.avif', avif[: len(avif) * 2 // 3], 'damaged or truncated AVIF data'),
    ]


def all_files() -> list[OddFile]:
    return [
        *odd_files.all_files(), *heics(), *jpeg_xls(), *jpeg_2000s(), *mpos(), *tiffs(),
        *webps_and_avifs(),
    ]  # fmt: skip
