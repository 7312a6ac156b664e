"""Any picture file -> an upright RGB picture that decode_jpeg shows rightly."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from poets_tfr.records import codecs
from poets_tfr.records.codecs import BadPictureError, StoredPicture, store

# 0.37.1, the newest, loads beside TensorFlow 2.16 only.
HAS_TENSORFLOW_IO = bool(importlib.util.find_spec('tensorflow_io')) and '2.16.' in tf.__version__

HEIGHT, WIDTH = 40, 56
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
# Smooth, of no symmetry, and different in each channel.
RGB = np.stack([COLUMNS * 2 + 60, ROWS * 3 + 60, 230 - (ROWS + COLUMNS) * 3 // 2], axis=-1).astype(
    np.uint8
)
ALPHA = (COLUMNS * 255 // WIDTH).astype(np.uint8)
ON_WHITE = RGB * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255)
GREY = RGB[..., 0]

EXIF_ORIENTATION = 0x0112
LOSSY = 4  # of 255: what the mean of a channel may differ after JPEG, WebP or AVIF


def saved(pixels: np.ndarray | Image.Image, picture_format: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    content = io.BytesIO()
    image.save(content, picture_format, **options)
    return content.getvalue()


def shown(stored: StoredPicture) -> np.ndarray:
    """As every later stage sees it, float64 [height, width, 3]."""
    pixels = tf.io.decode_jpeg(stored.encoded, channels=3).numpy()
    assert pixels.shape == (stored.height, stored.width, 3)
    assert codecs.kind_of(stored.encoded) == stored.format
    assert codecs.decoded_size(stored.encoded) == (stored.height, stored.width)
    return pixels.astype(np.float64)


def difference(pixels: np.ndarray, wanted: np.ndarray) -> float:
    """The largest of the channels' mean absolute differences, in 1/255."""
    assert pixels.shape == wanted.shape
    return float(np.abs(pixels - wanted).mean(axis=(0, 1)).max())


# Stored as it is


@pytest.mark.parametrize(
    ('content', 'wanted'),
    [
        (saved(RGB, 'JPEG'), RGB),
        (saved(RGB, 'JPEG', progressive=True), RGB),
        (saved(GREY, 'JPEG'), np.stack([GREY] * 3, -1)),
        (saved(Image.fromarray(RGB).convert('CMYK'), 'JPEG'), RGB),
        (saved(RGB, 'PNG'), RGB),
        (saved(GREY, 'PNG'), np.stack([GREY] * 3, -1)),
        (saved(GREY.astype(np.uint16) * 257, 'PNG'), np.stack([GREY] * 3, -1)),
    ],
    ids='jpeg progressive grey cmyk png png_grey png_16'.split(),
)
def test_what_tensorflow_shows_rightly_is_stored_byte_for_byte(
    content: bytes, wanted: np.ndarray
) -> None:
    stored = store(content)
    assert stored.as_is
    assert stored.encoded == content
    assert difference(shown(stored), wanted) <= (LOSSY if stored.format == 'JPEG' else 0)


def test_palette_png_keeps_its_colours() -> None:
    palette = Image.fromarray(RGB).quantize(64)
    stored = store(saved(palette, 'PNG'))
    assert stored.as_is
    assert difference(shown(stored), np.asarray(palette.convert('RGB'))) == 0


def test_16_bit_png_is_divided_by_257() -> None:
    deep = (RGB.astype(np.uint16) << 8) + np.arange(WIDTH, dtype=np.uint16)[:, None] * 4
    stored = store(tf.io.encode_png(deep).numpy())
    assert np.abs(shown(stored) - deep / 257).max() <= 1
    # Pillow's way, all above 255 is 255, would be far away.
    assert difference(shown(stored), deep / 257) < 0.6


# Orientation


@pytest.mark.parametrize('picture_format', ['JPEG', 'PNG'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_undone(orientation: int, picture_format: str) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {'quality': 100, 'subsampling': 0} if picture_format == 'JPEG' else {}
    content = saved(RGB, picture_format, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert upright.size == ((WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH))
    stored = store(content)
    assert stored.as_is == (orientation == 1)
    assert stored.format == picture_format
    limit = LOSSY if picture_format == 'JPEG' else 0
    assert difference(shown(stored), np.asarray(upright, np.float64)) <= limit


@pytest.mark.parametrize('orientation', [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    assert store(saved(RGB, 'JPEG', exif=exif)).as_is


def test_damaged_exif_loses_no_picture() -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    content = saved(RGB, 'JPEG', exif=exif)
    assert not store(content).as_is
    assert store(content.replace(b'MM\0*', b'MM\0!')).as_is


# Alpha


def test_alpha_is_composed_on_white() -> None:
    stored = store(saved(np.dstack([RGB, ALPHA]), 'PNG'))
    assert (stored.as_is, stored.format) == (False, 'PNG')
    assert np.abs(shown(stored) - ON_WHITE).max() <= 0.51


def test_grey_with_alpha_is_composed_on_white() -> None:
    stored = store(saved(Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(ALPHA)]), 'PNG'))
    wanted = GREY * (ALPHA / 255) + 255 * (1 - ALPHA / 255)
    assert np.abs(shown(stored) - wanted[..., None]).max() <= 0.51


@pytest.mark.parametrize('picture_format', ['PNG', 'GIF'])
def test_a_palette_s_transparent_colour_becomes_white(picture_format: str) -> None:
    dark = np.where(COLUMNS < 20, 0, 200).astype(np.uint8)
    image = Image.fromarray(np.stack([dark] * 3, -1)).quantize(8)
    transparent = image.getpixel((0, 0))
    stored = store(saved(image, picture_format, transparency=transparent))
    wanted = np.where(COLUMNS < 20, 255, 200)[..., None].repeat(3, -1)
    assert difference(shown(stored), wanted) == 0


# Formats that are stored anew


def palette_gif(frames: int) -> bytes:
    image = Image.fromarray(RGB).quantize(64)
    others = [image.rotate(90 * i) for i in range(1, frames)]
    return saved(image, 'GIF', save_all=frames > 1, append_images=others)


BLACK_AND_WHITE = Image.fromarray(GREY).convert('1')


@pytest.mark.parametrize(
    ('content', 'wanted'),
    [
        (palette_gif(1), Image.fromarray(RGB).quantize(64).convert('RGB')),
        (palette_gif(3), Image.fromarray(RGB).quantize(64).convert('RGB')),
        (saved(RGB, 'BMP'), RGB),
        # TensorFlow shows the palette's indices as grey.
        (
            saved(Image.fromarray(RGB).quantize(64), 'BMP'),
            Image.fromarray(RGB).quantize(64).convert('RGB'),
        ),
        (saved(GREY, 'BMP'), Image.fromarray(GREY).convert('RGB')),
        (saved(BLACK_AND_WHITE, 'BMP'), BLACK_AND_WHITE.convert('RGB')),
    ],
    ids='gif animated_gif bmp palette_bmp grey_bmp 1_bit_bmp'.split(),
)
def test_gif_and_bmp_are_stored_as_png(content: bytes, wanted: np.ndarray | Image.Image) -> None:
    stored = store(content)
    assert (stored.as_is, stored.format) == (False, 'PNG')
    assert difference(shown(stored), np.asarray(wanted, np.float64)) == 0


THROUGH_TENSORFLOW_IO = [
    ('WebP', saved(RGB, 'WEBP', quality=95), 'JPEG', RGB, LOSSY),
    ('WebP', saved(np.dstack([RGB, ALPHA]), 'WEBP', lossless=True), 'PNG', ON_WHITE, 1),
    ('AVIF', saved(RGB, 'AVIF', quality=95), 'JPEG', RGB, LOSSY),
    ('TIFF', saved(RGB, 'TIFF', compression='tiff_lzw'), 'PNG', RGB, 0),
    ('TIFF', saved(GREY, 'TIFF'), 'PNG', np.stack([GREY] * 3, -1), 0),
]


@pytest.mark.parametrize(('kind', 'content', 'stored_as', 'wanted', 'limit'), THROUGH_TENSORFLOW_IO)
def test_webp_tiff_and_avif_go_through_tensorflow_io(
    kind: str, content: bytes, stored_as: str, wanted: np.ndarray, limit: float
) -> None:
    if HAS_TENSORFLOW_IO:
        stored = store(content)
        assert (stored.as_is, stored.format) == (False, stored_as)
        assert difference(shown(stored), wanted) <= limit
        assert codecs.is_outdated(f'{kind} is read through tensorflow-io, which is not here')
    else:
        with pytest.raises(BadPictureError, match=f'^{kind} is read through tensorflow-io') as bad:
            store(content)
        assert not codecs.is_outdated(str(bad.value))


def test_only_a_missing_decoder_makes_a_reason_outdated() -> None:
    assert not codecs.is_outdated('the file is empty')
    assert not codecs.is_outdated('')


def test_storing_twice_changes_nothing() -> None:
    for content in (palette_gif(1), saved(np.dstack([RGB, ALPHA]), 'PNG')):
        once = store(content)
        assert store(content) == once
        again = store(once.encoded)
        assert (again.as_is, again.encoded) == (True, once.encoded)


# Bad pictures


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'the file is empty'),
        (b'<html>404 Not Found</html>', 'a web page, not a picture'),
        (b'\xff\xd8\xff', 'damaged JPEG header'),
        (b'BMW, the car', 'damaged BMP header'),
        (saved(RGB, 'JPEG')[:-60], 'damaged or truncated JPEG data'),
        (saved(RGB, 'PNG')[:-60], 'damaged or truncated PNG data'),
        (saved(RGB, 'BMP')[:-100], 'damaged or truncated BMP data'),
        (palette_gif(1)[:-100], 'damaged or truncated GIF data'),
    ],
    ids='empty html three_bytes text jpeg png bmp gif'.split(),
)
def test_bad_pictures_say_what_is_wrong(content: bytes, reason: str) -> None:
    with pytest.raises(BadPictureError) as bad:
        store(content)
    assert str(bad.value).startswith(reason)
    assert '\n' not in str(bad.value)
    assert '0x' not in str(bad.value), 'an address in memory differs in every run'


def test_too_many_pixels_are_refused_from_the_header_alone() -> None:
    with pytest.raises(BadPictureError, match='too large: 56 x 40 pixels, 2239 are the limit'):
        store(saved(RGB, 'JPEG'), max_pixels=HEIGHT * WIDTH - 1)
    assert store(saved(RGB, 'JPEG'), max_pixels=HEIGHT * WIDTH).as_is
    # A PNG header that claims 65,535 x 65,535 pixels, with no data behind it.
    bomb = bytearray(saved(RGB, 'PNG'))
    bomb[16:24] = b'\0\0\xff\xff' * 2
    with codecs.pillow_silenced(), pytest.raises(BadPictureError):
        store(bytes(bomb))


def test_no_damage_raises_anything_else() -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    whole = [
        saved(RGB, 'JPEG', exif=exif),
        saved(RGB, 'PNG', exif=exif),
        saved(Image.fromarray(RGB).quantize(64), 'BMP'),
        palette_gif(2),
        *(content for _, content, *_ in THROUGH_TENSORFLOW_IO),
    ]
    bad = 0
    with codecs.pillow_silenced():
        for _ in range(60):
            for content in whole:
                damaged = bytearray(content)
                reach = len(content) if rng.random() < 0.3 else 200  # headers, mostly
                for place in rng.integers(0, min(reach, len(content)), rng.integers(1, 6)):
                    damaged[place] = rng.integers(0, 256)
                try:
                    shown(store(bytes(damaged)))
                except BadPictureError:
                    bad += 1
    assert bad > 100


def test_the_quick_check_of_a_jpeg_has_the_verdict_of_decoding_it() -> None:
    rng = np.random.default_rng(1)
    whole = [
        saved(RGB, 'JPEG'),
        saved(RGB, 'JPEG', progressive=True),
        saved(RGB, 'JPEG', restart_marker_blocks=3),
        saved(GREY, 'JPEG'),
        saved(Image.fromarray(RGB).convert('CMYK'), 'JPEG'),
    ]
    verdicts = []
    for content in whole * 30:
        start = content.index(b'\xff\xda') + 14  # the data: Pillow judges what is before
        damaged = bytearray(content)
        for place in rng.integers(start, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        damaged = damaged[: rng.integers(start, 2 * len(content))]
        try:
            decoded = tf.io.decode_jpeg(bytes(damaged), channels=3).shape[:2]
        except tf.errors.InvalidArgumentError:
            decoded = None
        try:
            stored = store(bytes(damaged))
            verdicts.append((stored.height, stored.width) == decoded)
        except BadPictureError:
            verdicts.append(decoded is None)
    assert all(verdicts)


def test_pillow_s_remarks_are_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    tiff = saved(RGB, 'TIFF')[:-4]
    with codecs.pillow_silenced():
        try:
            store(tiff)
        except BadPictureError:
            pass
    assert [w for w in recwarn if 'PIL' in w.filename] == []


# Real photos


def test_real_photos_are_stored_byte_for_byte(photos_dir: Path) -> None:
    photos = sorted(photos_dir.glob('*/*.jpg'))[::25]
    assert len(photos) >= 10
    for path in photos:
        stored = store(path.read_bytes())
        with Image.open(path) as image:
            assert (stored.as_is, stored.format) == (True, 'JPEG')
            assert (stored.width, stored.height) == image.size
            assert difference(shown(stored), np.asarray(image, np.float64)) < LOSSY
