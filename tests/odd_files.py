"""What people's picture folders hold: every kind of picture, and what is none, with its outcome."""

from __future__ import annotations

import io
import struct
import unicodedata
import zlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

HEIGHT, WIDTH = 40, 56
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
# Smooth, of no symmetry, and different in each channel.
RGB = np.stack([COLUMNS * 2 + 60, ROWS * 3 + 60, 230 - (ROWS + COLUMNS) * 3 // 2], axis=-1).astype(
    np.uint8
)
ALPHA = (COLUMNS * 255 // WIDTH).astype(np.uint8)
GREY = RGB[..., 0]
NEGATIVE = 255 - RGB
DEEP = (RGB.astype(np.uint16) << 8) + ROWS[..., None].astype(np.uint16) * 5  # 16 bits

_EXIF_ORIENTATION = 0x0112
LOSSLESS, LOSSY = 2, 4  # of 255: what the mean of a channel may differ


class OddFile(NamedTuple):
    """A file and what conversion makes of it.

    outcome: 'as is', 'as PNG', 'as JPEG', or how the reason begins for which it is skipped.
    pixels: [height, width, 3] of 0..255, as Pillow or arithmetic has it; None for a skipped one.
    """

    name: str
    content: bytes
    outcome: str
    pixels: np.ndarray | None = None
    limit: float = LOSSLESS


def saved(pixels: np.ndarray | Image.Image, picture_format: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    content = io.BytesIO()
    image.save(content, picture_format, **options)
    return content.getvalue()


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[_EXIF_ORIENTATION] = orientation
    return found


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows of pixels stored with this orientation."""
    rows_and_columns = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    upside_down, mirrored = {
        1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1),
        8: (-1, 1),
    }[orientation]  # fmt: skip
    return rows_and_columns[::upside_down, ::mirrored]


def on_white(pixels: np.ndarray, alpha: np.ndarray = ALPHA) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = grey(pixels)
    share = alpha[..., None] / 255
    return pixels * share + 255 * (1 - share)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3, axis=-1)


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert('RGB'))


# JPEG


def cmyk_jpeg(adobe_transform: int | None) -> bytes:
    """With Adobe's marker (0: CMYK, 2: YCCK) or, for None, without."""
    ink = np.dstack([255 - RGB // 2, GREY // 3])
    content = saved(Image.fromarray(ink, mode='CMYK'), 'JPEG', quality=95, subsampling=0)
    start = content.index(b'\xff\xeeAdobe'[:2])
    length = 2 + int.from_bytes(content[start + 2 : start + 4], 'big')
    marker = content[start : start + length]
    assert marker[4:9] == b'Adobe'
    kept = b'' if adobe_transform is None else marker[:-1] + bytes([adobe_transform])
    return content[:start] + kept + content[start + length :]


def of_frame(content: bytes, marker: int) -> bytes:
    return content.replace(b'\xff\xc0\x00\x11', bytes([0xFF, marker]) + b'\x00\x11')


def jpegs() -> list[OddFile]:
    plain = saved(RGB, 'JPEG', quality=95)
    progressive = saved(RGB, 'JPEG', quality=95, progressive=True)
    turn_6 = saved(RGB, 'JPEG', quality=95, exif=exif(6))
    twelve_bits = plain.replace(b'\xff\xc0\x00\x11\x08', b'\xff\xc0\x00\x11\x0c')
    found = [
        OddFile('baseline.jpg', plain, 'as is', RGB, LOSSY),
        OddFile('progressive.jpg', saved(RGB, 'JPEG', progressive=True), 'as is', RGB, LOSSY),
        OddFile('restarts.jpg', saved(RGB, 'JPEG', restart_marker_blocks=3), 'as is', RGB, LOSSY),
        OddFile('grey.jpg', saved(GREY, 'JPEG'), 'as is', grey(GREY), LOSSY),
        OddFile('stored_as_rgb.jpg', saved(RGB, 'JPEG', keep_rgb=True), 'as is', RGB, LOSSY),
        OddFile('behind_the_end.jpg', plain + b'more', 'as is', RGB, LOSSY),
        OddFile('damaged_exif.jpg', saved(RGB, 'JPEG', exif=b'Exif\0\0MM!'), 'as is', RGB, LOSSY),
        OddFile('no_such_turn.jpg', saved(RGB, 'JPEG', exif=exif(9)), 'as is', RGB, LOSSY),
        OddFile('no_end.jpg', plain[:-2], 'as JPEG', RGB, LOSSY),
        OddFile('half_an_end.jpg', plain[:-1], 'as JPEG', RGB, LOSSY),
        OddFile('grey_no_end.jpg', saved(GREY, 'JPEG')[:-2], 'as JPEG', grey(GREY), LOSSY),
        OddFile('no_end_turn_6.jpg', turn_6[:-2], 'as JPEG', turned(RGB, 6), LOSSY),
        OddFile('a_bit_missing.jpg', plain[:-3], 'damaged or truncated JPEG data'),
        OddFile('progressive_no_end.jpg', progressive[:-2], 'damaged or truncated JPEG data'),
        OddFile('lossless.jpg', of_frame(plain, 0xC3), 'JPEG of a kind that is not supported'),
        OddFile('hierarchical.jpg', of_frame(turn_6, 0xC5), 'JPEG of a kind that is not supported'),
        OddFile('half.jpg', plain[: len(plain) * 2 // 3], 'damaged or truncated JPEG data'),
        OddFile('start_only.jpg', plain[:2], 'not an image of a known format'),
        OddFile('header_only.jpg', plain[: plain.index(b'\xff\xda')], 'damaged JPEG header'),
        OddFile('12_bits.jpg', twelve_bits, 'JPEG of 12 bits, which is not supported'),
    ]
    for name, transform, outcome in (
        ('cmyk', 0, 'as is'), ('ycck', 2, 'as is'), ('cmyk_without_adobe', None, 'as JPEG')
    ):  # fmt: skip
        content = cmyk_jpeg(transform)
        found.append(OddFile(f'{name}.jpg', content, outcome, by_pillow(content), LOSSY))
    for orientation in range(2, 9):
        content = saved(RGB, 'JPEG', quality=95, exif=exif(orientation))
        upright = turned(RGB, orientation)
        found.append(OddFile(f'turn_{orientation}.jpg', content, 'as JPEG', upright, LOSSY))
    return found


# PNG


def png(depth: int, colour: int, rows: list[bytes], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG as libraries do not write it. colour: 0 grey, 2 RGB, 3 palette."""
    head = struct.pack('>IIBBBBB', WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    named = (b'IHDR', head), *chunks, (b'IDAT', data), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
        for name, body in named
    )


def interlaced_png() -> bytes:
    """Adam7: seven passes over ever finer grids."""
    passes = (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)
    rows = []
    for top, left, down, right in (*passes, (1, 0, 2, 1)):
        rows += [row.tobytes() for row in RGB[top::down, left::right]]
    content = bytearray(png(8, 2, rows))
    content[28] = 1
    content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    return bytes(content)


def pngs() -> list[OddFile]:
    palette = Image.fromarray(RGB).quantize(64)
    shown = np.asarray(palette.convert('RGB'))
    first = palette.getpixel((0, 0))
    hole = np.where(np.asarray(palette)[..., None] == first, 255, shown)
    bits = Image.fromarray(GREY).convert('1')
    four = [bytes(row[0::2] & 0xF0 | row[1::2] >> 4) for row in GREY]
    deep_grey = DEEP[..., 0]
    deep_hole = np.where(deep_grey == deep_grey[0, 0], 255 * 257, deep_grey)
    plain = saved(RGB, 'PNG')
    bomb = bytearray(plain)
    bomb[16:24] = struct.pack('>II', 60_000, 60_000)
    bomb[29:33] = struct.pack('>I', zlib.crc32(bomb[12:29]))
    grey_alpha = Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    return [
        OddFile('plain.png', plain, 'as is', RGB),
        OddFile('grey.png', saved(GREY, 'PNG'), 'as is', grey(GREY)),
        OddFile('interlaced.png', interlaced_png(), 'as is', RGB),
        OddFile('palette.png', saved(palette, 'PNG'), 'as is', shown),
        OddFile('palette_hole.png', saved(palette, 'PNG', transparency=first), 'as PNG', hole),
        OddFile('1_bit.png', saved(bits, 'PNG'), 'as is', np.asarray(bits.convert('RGB'))),
        OddFile('4_bits.png', png(4, 0, four), 'as is', grey((GREY >> 4) * 17)),
        OddFile(
            '16_bits.png', png(16, 2, [row.tobytes() for row in DEEP.astype('>u2')]), 'as is',
            DEEP / 257,
        ),
        OddFile(
            '16_bits_grey.png', png(16, 0, [row.tobytes() for row in deep_grey.astype('>u2')]),
            'as is', grey(deep_grey / 257),
        ),
        OddFile(
            '16_bits_hole.png',
            png(16, 0, [row.tobytes() for row in deep_grey.astype('>u2')],
                (b'tRNS', struct.pack('>H', int(deep_grey[0, 0])))),
            'as PNG', grey(deep_hole / 257),
        ),
        OddFile('alpha.png', saved(np.dstack([RGB, ALPHA]), 'PNG'), 'as PNG', on_white(RGB)),
        OddFile('grey_alpha.png', saved(grey_alpha, 'PNG'), 'as PNG', on_white(GREY)),
        OddFile('turn_6.png', saved(RGB, 'PNG', exif=exif(6)), 'as PNG', turned(RGB, 6)),
        OddFile(
            'animated.png',
            saved(RGB, 'PNG', save_all=True, append_images=[Image.fromarray(NEGATIVE)]), 'as is',
            RGB,
        ),
        OddFile('half.png', plain[: len(plain) // 2], 'damaged or truncated PNG data'),
        OddFile('bomb.png', bytes(bomb), 'too large'),
        OddFile('named.jpg', saved(NEGATIVE, 'PNG'), 'as is', NEGATIVE),
    ]  # fmt: skip


# GIF and BMP


def bmp(bits: int, fields: bytes, rows: np.ndarray, masks: tuple[int, ...]) -> bytes:
    """A BMP with colour masks, as Pillow does not write it."""
    head = struct.pack('<IiiHHIIiiII', 40 + len(fields), WIDTH, HEIGHT, 1, bits, 3, 0, 0, 0, 0, 0)
    head += struct.pack(f'<{len(masks)}I', *masks) + fields[4 * len(masks) :]
    start = 14 + len(head)
    data = rows[::-1].tobytes()
    return b'BM' + struct.pack('<IHHI', start + len(data), 0, 0, start) + head + data


def gifs_and_bmps() -> list[OddFile]:
    palette = Image.fromarray(RGB).quantize(64)
    shown = np.asarray(palette.convert('RGB'))
    first = palette.getpixel((0, 0))
    hole = np.where(np.asarray(palette)[..., None] == first, 255, shown)
    turning = [palette.rotate(180)]
    part = bytearray(saved(palette, 'GIF'))
    part[6:10] = struct.pack('<HH', WIDTH + 9, HEIGHT + 5)  # the canvas
    plain = saved(RGB, 'BMP')
    upside_down = bytearray(plain)
    upside_down[22:26] = struct.pack('<i', -HEIGHT)
    red, green, blue = (RGB[..., i].astype('<u2') for i in range(3))
    rgb565 = (red >> 3 << 11) + (green >> 2 << 5) + (blue >> 3)
    with_alpha = bmp(
        32, bytes(84), np.dstack([RGB[..., ::-1], ALPHA]), (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    )
    return [
        OddFile('plain.gif', saved(palette, 'GIF'), 'as PNG', shown),
        OddFile('interlaced.gif', saved(palette, 'GIF', interlace=1), 'as PNG', shown),
        OddFile('grey.gif', saved(GREY, 'GIF'), 'as PNG', grey(GREY)),
        OddFile('hole.gif', saved(palette, 'GIF', transparency=first), 'as PNG', hole),
        OddFile(
            'animated.gif', saved(palette, 'GIF', save_all=True, append_images=turning), 'as PNG',
            shown,
        ),
        OddFile('part_of_canvas.gif', bytes(part), 'as PNG', by_pillow(bytes(part))),
        OddFile('half.gif', saved(palette, 'GIF')[:600], 'damaged or truncated GIF data'),
        OddFile('plain.bmp', plain, 'as PNG', RGB),
        OddFile('upside_down.bmp', bytes(upside_down), 'as PNG', RGB[::-1]),
        OddFile('palette.bmp', saved(palette, 'BMP'), 'as PNG', shown),
        OddFile('565.bmp', bmp(16, b'', rgb565, (0xF800, 0x7E0, 0x1F)), 'as PNG', RGB, 4),
        OddFile('alpha.bmp', with_alpha, 'as PNG', on_white(RGB)),
        OddFile('half.bmp', plain[:-100], 'damaged or truncated BMP data'),
    ]  # fmt: skip


# WebP, TIFF and AVIF


def tiff(bits: int, samples: int, photometric: int, data: bytes, extra: int | None = None) -> bytes:
    """A TIFF as Pillow does not write it. extra: what the last sample is (1, 2: alpha)."""
    tags = [
        (256, 3, 1, WIDTH), (257, 3, 1, HEIGHT), (259, 3, 1, 1), (262, 3, 1, photometric),
        (277, 3, 1, samples), (278, 3, 1, HEIGHT), (279, 4, 1, len(data)),
    ]  # fmt: skip
    tags += [(338, 3, 1, extra)] if extra is not None else []
    behind = 8 + 2 + 12 * (len(tags) + 2) + 4
    sizes = struct.pack(f'<{samples}H', *[bits] * samples) if samples > 2 else b''
    tags.append((258, 3, samples, behind if sizes else bits))
    tags.append((273, 4, 1, behind + len(sizes)))
    directory = b''.join(struct.pack('<HHII', *tag) for tag in sorted(tags))
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + directory + bytes(4) + sizes + data


def webps() -> list[OddFile]:
    transparent = np.dstack([RGB, ALPHA])
    frames = {'save_all': True, 'append_images': [Image.fromarray(NEGATIVE)]}
    lossy, lossless = {'quality': 95}, {'lossless': True, 'exact': True}
    rows = [
        ('lossy', saved(RGB, 'WEBP', **lossy), 'as JPEG', RGB),
        ('lossless', saved(RGB, 'WEBP', **lossless), 'as PNG', RGB),
        ('lossy_alpha', saved(transparent, 'WEBP', **lossy), 'as JPEG', on_white(RGB)),
        ('lossless_alpha', saved(transparent, 'WEBP', **lossless), 'as PNG', on_white(RGB)),
        ('animated', saved(RGB, 'WEBP', **lossy, **frames), 'as JPEG', RGB),
        ('animated_lossless', saved(RGB, 'WEBP', **lossless, **frames), 'as PNG', RGB),
        ('turn_6', saved(RGB, 'WEBP', **lossy, exif=exif(6)), 'as JPEG', turned(RGB, 6)),
    ]
    return [
        OddFile(f'{name}.webp', content, outcome, pixels, LOSSY if 'JPEG' in outcome else LOSSLESS)
        for name, content, outcome, pixels in rows
    ]


def tagged(content: bytes, tag: int, value: int) -> bytes:
    """A TIFF of Pillow's with another value of a tag."""
    changed = bytearray(content)
    (directory,) = struct.unpack_from('<I', content, 4)
    (entries,) = struct.unpack_from('<H', content, directory)
    for place in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from('<H', content, place) == (tag,):
            struct.pack_into('<I', changed, place + 8, value)
            return bytes(changed)
    raise KeyError(tag)


def to_lab(pixels: np.ndarray) -> Image.Image:
    profiles = ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB')
    lab = ImageCms.profileToProfile(Image.fromarray(pixels), *profiles, outputMode='LAB')
    assert lab
    return lab


def tiffs() -> list[OddFile]:
    ink = Image.fromarray(RGB).convert('CMYK')
    palette = Image.fromarray(RGB).quantize(64)
    bits = Image.fromarray(GREY).convert('1')
    transparent = np.dstack([RGB, ALPHA])
    premultiplied = np.dstack([RGB * (ALPHA[..., None] / 255), ALPHA]).astype(np.uint8)
    pages = {'save_all': True, 'append_images': [Image.fromarray(NEGATIVE)]}
    rows = [
        ('plain', saved(RGB, 'TIFF'), RGB),
        ('lzw', saved(RGB, 'TIFF', compression='tiff_lzw'), RGB),
        ('deflate', saved(RGB, 'TIFF', compression='tiff_adobe_deflate'), RGB),
        ('packbits', saved(RGB, 'TIFF', compression='packbits'), RGB),
        ('fax', saved(bits, 'TIFF', compression='group4'), np.asarray(bits.convert('RGB'))),
        ('grey', saved(GREY, 'TIFF'), grey(GREY)),
        ('palette', saved(palette, 'TIFF'), np.asarray(palette.convert('RGB'))),
        ('pages', saved(RGB, 'TIFF', **pages), RGB),
        ('big', saved(RGB, 'TIFF', big_tiff=True), RGB),
        ('16_bits', tiff(16, 3, 2, DEEP.astype('<u2').tobytes()), DEEP / 257),
        ('16_bits_grey', saved(DEEP[..., 0], 'TIFF'), grey(DEEP[..., 0] / 257)),
        ('cmyk', saved(ink, 'TIFF'), np.asarray(ink.convert('RGB'))),
        ('alpha', tiff(8, 4, 2, transparent.tobytes(), extra=2), on_white(RGB)),
        ('premultiplied', tiff(8, 4, 2, premultiplied.tobytes(), extra=1), on_white(RGB)),
        ('fourth_sample', tiff(8, 4, 2, transparent.tobytes(), extra=0), RGB),
    ]
    rows += [
        (f'turn_{i}', saved(RGB, 'TIFF', tiffinfo={_EXIF_ORIENTATION: i}), turned(RGB, i))
        for i in range(2, 9)
    ]
    found = [OddFile(f'{name}.tiff', content, 'as PNG', pixels) for name, content, pixels in rows]
    lab, plain = saved(to_lab(RGB), 'TIFF'), saved(RGB, 'TIFF')
    found.append(OddFile('lab.tiff', lab, 'as PNG', by_pillow(lab)))
    fax = saved(bits, 'TIFF', compression='tiff_ccitt')
    unsupported = 'TIFF of a kind that is not supported'
    found += [
        OddFile('fax_cut.tif', tagged(fax, 279, 400), 'damaged'),
        OddFile('jpeg_2000.tif', tagged(plain, 259, 34712), f'{unsupported} (compression 34712)'),
        OddFile('raw.tif', tagged(plain, 262, 32803), f'{unsupported} (kind of pixels)'),
        OddFile('five.tif', tiff(8, 5, 2, bytes(WIDTH * HEIGHT * 5)), f'{unsupported} (kind of'),
        *(
            OddFile(f'{bits}_bits.tif', content, 'as PNG', by_pillow(content))
            for bits in (2, 4)
            for content in [tiff(bits, 1, 1, bytes(range(WIDTH * bits // 8)) * HEIGHT)]
        ),
        OddFile('12_bits.tif', tiff(12, 1, 1, bytes(WIDTH * HEIGHT * 3 // 2)), 'TIFF with 12 bits'),
    ]
    jpeg = saved(RGB, 'TIFF', compression='jpeg', quality=95)
    floats = saved((GREY / 255).astype(np.float32), 'TIFF')
    return [
        *found,
        OddFile('jpeg.tif', jpeg, 'as JPEG', by_pillow(jpeg), LOSSY),
        OddFile('floats.tif', floats, 'TIFF with 32 bits a sample, which is not supported'),
        OddFile('half.tif', saved(RGB, 'TIFF')[:200], 'damaged'),
    ]


def avifs() -> list[OddFile]:
    quality = {'quality': 95}
    other_brand = bytearray(saved(RGB, 'AVIF', **quality))
    other_brand[8:12] = b'mif1'
    frames = {'save_all': True, 'append_images': [Image.fromarray(NEGATIVE)]}
    rows = [
        ('plain', saved(RGB, 'AVIF', **quality), RGB),
        ('grey', saved(GREY, 'AVIF', **quality), grey(GREY)),
        ('other_brand', bytes(other_brand), RGB),
        ('alpha', saved(np.dstack([RGB, ALPHA]), 'AVIF', **quality), on_white(RGB)),
        ('animated', saved(RGB, 'AVIF', **quality, **frames), RGB),
        ('turn_6', saved(RGB, 'AVIF', **quality, exif=exif(6)), turned(RGB, 6)),
    ]
    return [
        OddFile(f'{name}.avif', content, 'as JPEG', pixels, LOSSY) for name, content, pixels in rows
    ]


# What is no picture, and names


def no_pictures() -> list[OddFile]:
    rows = {
        'empty.jpg': (b'', 'the file is empty'),
        'zeros.jpg': (bytes(5000), 'all bytes are 0'),
        'page.jpg': (b'<!DOCTYPE html><html>404</html>', 'a web page, not an image'),
        'drawing.png': (b'<?xml version="1.0"?><svg/>', 'XML or SVG text'),
        'text.jpg': (b'=1+1\tlater\n', 'not an image of a known format'),
        'document.jpg': (b'%PDF-1.7', 'a PDF document'),
        'archive.png': (b'PK\3\4rest', 'a ZIP archive'),
        'phone.jpg': (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'damaged HEIC header'),
        'film.jpg': (b'\0\0\0\x18ftypisom\0\0\2\0isomiso2', 'a video, not an image'),
        'pointer.jpg': (b'version https://git-lfs.github.com/spec/v1\n', 'a Git LFS pointer'),
        'of_jpeg.bmp': (
            saved(RGB, 'BMP')[:30] + b'\4' + saved(RGB, 'BMP')[31:],
            'BMP of a kind that is not supported (Unsupported BMP compression (4))',
        ),
        'car.bmp': (b'BMW, the car', 'damaged BMP header'),
    }
    return [OddFile(name, content, reason) for name, (content, reason) in rows.items()]


def names() -> list[OddFile]:
    """Names that trip programs; one picture for each, so that no two are copies."""
    odd = [
        'a b.jpg', '-rf.jpg', 'quote\'".jpg', 'line\nbreak.jpg', 'tab\t.jpg', '花.jpg', '%s.jpg',
        unicodedata.normalize('NFC', 'é.jpg'), unicodedata.normalize('NFD', 'é.jpg'),
        '\udcff.jpg', '=HYPERLINK.jpg', 'UPPER.JPG', 'back\\slash.jpg', '🌷.jpg',
        f'{"x" * 250}.jpg',
    ]  # fmt: skip
    found = []
    for number, name in enumerate(odd):
        pixels = RGB - np.uint8(number)
        found.append(OddFile(name, saved(pixels, 'JPEG', quality=95), 'as is', pixels, LOSSY))
    return found


def all_files() -> list[OddFile]:
    return [
        *jpegs(), *pngs(), *gifs_and_bmps(), *webps(), *tiffs(), *avifs(), *no_pictures(), *names()
    ]  # fmt: skip
