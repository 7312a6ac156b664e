"""Any picture file -> an upright RGB picture that decode_jpeg shows correctly.

Which outcome each kind of file has is told by test_odd_files.py.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import odd_formats
import pytest
import tensorflow as tf
from odd_files import (
    ALPHA,
    DEEP,
    GREY,
    HEIGHT,
    LOSSY,
    RGB,
    WIDTH,
    exif,
    on_white,
    saved,
)  # fmt: skip
from PIL import Image, ImageFile

from poets_tfr.records import codecs
from poets_tfr.records.codecs import BadPictureError, StoredPicture, store
from poets_tfr.sources import headers, pillow

PALETTE_GIF = saved(Image.fromarray(RGB).quantize(64), 'GIF')


def shown(stored: StoredPicture) -> np.ndarray:
    """As every later stage sees it, float64 [height, width, 3]."""
    pixels = tf.io.decode_jpeg(stored.encoded, channels=3).numpy()
    assert pixels.shape == (stored.height, stored.width, 3)
    assert codecs.kind_of(stored.encoded) == stored.format
    assert (codecs.decoded(stored.encoded) == pixels).all()
    return pixels.astype(np.float64)


def difference(pixels: np.ndarray, wanted: np.ndarray) -> float:
    """The largest of the channels' mean absolute differences, in 1/255."""
    assert pixels.shape == wanted.shape
    return float(np.abs(pixels - wanted).mean(axis=(0, 1)).max())


def test_16_bit_png_is_divided_by_257() -> None:
    deep = (RGB.astype(np.uint16) << 8) + np.arange(WIDTH, dtype=np.uint16)[:, None] * 4
    stored = store(tf.io.encode_png(deep).numpy())
    assert np.abs(shown(stored) - deep / 257).max() <= 1
    # Pillow's way, all above 255 is 255, would be far away.
    assert difference(shown(stored), deep / 257) < 0.6


def test_16_bit_grey_is_divided_by_257() -> None:
    deep = DEEP[..., 0]
    upside_down = saved(Image.fromarray(deep), 'TIFF', tiffinfo={274: 3})  # which Pillow turns
    wanted = deep[::-1, ::-1, None] / 257
    assert np.abs(shown(store(upside_down)) - wanted).max() <= 0.51


@pytest.mark.parametrize('orientation', [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    assert store(saved(RGB, 'JPEG', exif=exif(orientation))).as_is


def test_damaged_exif_loses_no_picture() -> None:
    content = saved(RGB, 'JPEG', exif=exif(6))
    assert not store(content).as_is
    assert store(content.replace(b'MM\0*', b'MM\0!')).as_is


def test_alpha_is_composed_on_white_to_the_pixel() -> None:
    stored = store(saved(np.dstack([RGB, ALPHA]), 'PNG'))
    assert (stored.as_is, stored.format) == (False, 'PNG')
    assert np.abs(shown(stored) - on_white(RGB)).max() <= 0.51


@pytest.mark.parametrize(
    ('module', 'extension', 'reason'),
    [
        (
            'pi_heif',
            '.heic',
            'HEIC needs pi-heif: pip install pi-heif, or have the phone write',
        ),
        ('pillow_jxl', '.jxl', 'JPEG XL needs pillow-jxl-plugin: pip install pillow-jxl-plugin'),
    ],
)
def test_what_only_lacks_a_decoder_may_be_tried_again(
    module: str, extension: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = next(f.content for f in odd_formats.all_files() if f.name == f'plain{extension}')
    with monkeypatch.context() as without:
        without.setitem(sys.modules, module, None)  # importing it is an ImportError
        pillow.lack.cache_clear()
        with pytest.raises(BadPictureError) as said:
            store(content)
        assert not codecs.is_outdated(str(said.value))
    pillow.lack.cache_clear()
    assert str(said.value).startswith(reason)
    assert codecs.is_outdated(str(said.value))
    assert store(content).outcome == 'as JPEG'


@pytest.mark.parametrize('reason', ['the file is empty', '', 'damaged HEIC header'])
def test_other_reasons_stay(reason: str) -> None:
    assert not codecs.is_outdated(reason)


def test_a_jpeg_xl_that_was_made_from_a_jpeg_is_that_jpeg() -> None:
    jpeg = saved(RGB, 'JPEG', quality=80)
    stored = store(odd_formats.jpeg_xl_of(jpeg))
    assert (stored.encoded, stored.outcome) == (jpeg, 'as JPEG')


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('samples', [1, 3])
def test_tiff_of_16_bits_is_divided_by_257(order: str, samples: int) -> None:
    deep = DEEP[..., :samples]
    photometric = 1 if samples == 1 else 2
    stored = store(odd_formats.deep_tiff(deep, photometric, order))
    wanted = np.broadcast_to(np.floor(deep / 257 + 0.5), RGB.shape)
    assert (shown(stored) == wanted).all()


def test_storing_twice_changes_nothing() -> None:
    for content in (PALETTE_GIF, saved(np.dstack([RGB, ALPHA]), 'PNG')):
        once = store(content)
        assert store(content) == once
        again = store(once.encoded)
        assert (again.as_is, again.encoded) == (True, once.encoded)


# Scaled down


@pytest.fixture(scope='module')
def photo() -> np.ndarray:
    """uint8 [600, 800, 3]: a drawn photo, with grain that must not alias."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(RGB).resize((800, 600), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth) + rng.normal(0, 15, (600, 800, 1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ('picture_format', 'options'),
    [
        ('JPEG', {'quality': 95}),
        ('PNG', {}),
        ('BMP', {}),
        ('JPEG', {'quality': 95, 'exif': exif(6)}),
    ],
)
@pytest.mark.parametrize('max_side', [799, 400, 100, 40])
def test_a_larger_picture_is_scaled_down(
    photo: np.ndarray, picture_format: str, options: dict[str, object], max_side: int
) -> None:
    stored = store(saved(photo, picture_format, **options), max_side=max_side)
    assert (stored.outcome, stored.format) == ('scaled down', 'JPEG')
    assert max(stored.width, stored.height) == max_side
    size = max_side, round(max_side * 3 / 4)
    wanted = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS), np.float64)
    if 'exif' in options:
        wanted = wanted.swapaxes(0, 1)[:, ::-1]
    assert difference(shown(stored), wanted) <= LOSSY


def test_a_jpeg_that_is_scaled_while_it_is_decoded_keeps_its_looks(photo: np.ndarray) -> None:
    content = saved(photo, 'JPEG', quality=95)
    ratios = {
        side: codecs._decoding_ratio(headers.read(content), side) for side in (267, 266, 133, 66)
    }
    assert ratios == {267: 1, 266: 2, 133: 4, 66: 8}
    with Image.open(io.BytesIO(content)) as image:
        for side in ratios:
            wanted = image.resize((side, round(side * 3 / 4)), Image.Resampling.LANCZOS)
            found = shown(store(content, max_side=side))
            assert difference(found, np.asarray(wanted, np.float64)) <= LOSSY


def test_photos_of_phones_are_scaled_while_they_are_decoded() -> None:
    for width, height in (3264, 2448), (4032, 3024), (4080, 3072), (4624, 3468):
        for size in (width, height), (height, width):
            header = headers.Header('JPEG', *size, is_lossless=False)
            assert codecs._decoding_ratio(header, 1024) == 2


@pytest.mark.parametrize(
    ('mode', 'options'),
    [
        ('L', {}),
        ('CMYK', {}),
        ('RGB', {'progressive': True}),
        ('RGB', {'subsampling': '4:4:4'}),
        ('RGB', {'exif': exif(8)}),
    ],
    ids='grey inks progressive whole_chroma turned'.split(),
)
def test_every_kind_of_jpeg_is_scaled_while_it_is_decoded(
    photo: np.ndarray, mode: str, options: dict[str, object]
) -> None:
    image = Image.fromarray(photo).convert(mode)
    found = shown(store(saved(image, 'JPEG', quality=95, **options), max_side=200))
    small = image.convert('RGB').resize((200, 150), Image.Resampling.LANCZOS)
    wanted = np.asarray(small, np.float64)
    if 'exif' in options:
        wanted = wanted.swapaxes(0, 1)[::-1]
    assert difference(found, wanted) <= LOSSY


def test_a_jpeg_that_is_scaled_has_the_verdict_of_tensorflow(photo: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    pixels = np.asarray(Image.fromarray(photo).resize((200, 150)))
    whole = [
        saved(pixels, 'JPEG'),
        saved(pixels, 'JPEG', progressive=True),
        saved(Image.fromarray(pixels).convert('L'), 'JPEG'),
    ]
    bad = 0
    for content in whole:
        start = content.index(b'\xff\xda') + 14
        for _ in range(20):
            damaged = bytearray(content)
            for place in rng.integers(start, len(content), rng.integers(0, 3)):
                damaged[place] = rng.integers(0, 256)
            damaged = damaged[: rng.integers(start, 2 * len(content))]
            try:
                tf.io.decode_jpeg(bytes(damaged), channels=3, ratio=2)
                assert store(bytes(damaged), max_side=60).outcome == 'scaled down'
            except tf.errors.InvalidArgumentError:
                bad += 1
                if codecs._with_its_end(bytes(damaged)) is None:
                    with pytest.raises(BadPictureError, match='damaged or truncated JPEG data'):
                        store(bytes(damaged), max_side=60)
    assert 10 < bad < 50


def test_pillow_told_to_take_truncated_files_takes_none_here(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    with pytest.raises(BadPictureError, match='damaged or truncated JPEG data'):
        store(saved(photo, 'JPEG')[:-5000], max_side=100)


def test_a_picture_that_is_small_enough_stays_as_it_is() -> None:
    content = saved(RGB, 'JPEG')
    assert store(content, max_side=WIDTH).encoded == content
    assert store(content, max_side=0).encoded == content
    assert store(content, max_side=WIDTH - 1).width == WIDTH - 1


def test_a_narrow_picture_keeps_a_pixel() -> None:
    stored = store(saved(np.zeros([2, 900, 3], np.uint8), 'PNG'), max_side=100)
    assert (stored.height, stored.width) == (1, 100)


def test_a_damaged_picture_is_noticed_while_it_is_scaled(photo: np.ndarray) -> None:
    content = saved(photo, 'JPEG')
    with pytest.raises(BadPictureError, match='damaged or truncated JPEG data'):
        store(content[: len(content) // 2], max_side=50)


# Bad pictures


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'the file is empty'),
        (b'<html>404 Not Found</html>', 'a web page, not an image'),
        (b'\xff\xd8\xff', 'damaged JPEG header'),
        (b'BMW, the car', 'damaged BMP header'),
        (saved(RGB, 'JPEG')[:-60], 'damaged or truncated JPEG data'),
        (saved(RGB, 'PNG')[:-60], 'damaged or truncated PNG data'),
        (saved(RGB, 'BMP')[:-100], 'damaged or truncated BMP data'),
        (PALETTE_GIF[:-100], 'damaged or truncated GIF data'),
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
    whole = [
        saved(RGB, 'JPEG', exif=exif(6)),
        saved(RGB, 'PNG', exif=exif(6)),
        saved(Image.fromarray(RGB).quantize(64), 'BMP'),
        PALETTE_GIF,
        *(saved(RGB, kind) for kind in ('WEBP', 'TIFF', 'AVIF')),
        saved(np.dstack([RGB, ALPHA]), 'WEBP', lossless=True),
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


def test_several_at_once_have_the_verdicts_of_each_alone() -> None:
    jpeg, png = saved(RGB, 'JPEG', quality=95), saved(RGB, 'PNG')
    turned = saved(RGB, 'JPEG', exif=exif(6))
    whole = [jpeg, png, PALETTE_GIF, turned, saved(RGB[:9, :17], 'JPEG')]
    assert codecs.store_each([]) == []
    assert codecs.store_each(whole) == [store(content) for content in whole]
    for bad in (jpeg[:-300], png[:-100], b'', b'no image'):
        with pytest.raises(BadPictureError) as alone:
            store(bad)
        *before, found, after = codecs.store_each([*whole, bad, jpeg])
        assert [str(found), *before, after] == [str(alone.value), *map(store, [*whole, jpeg])]
    limited = codecs.store_each([jpeg, png], max_side=20, max_pixels=RGB.shape[0] * RGB.shape[1])
    assert limited == [store(jpeg, 20), store(png, 20)]
    assert all(isinstance(each, BadPictureError) for each in codecs.store_each(whole[:2], 0, 16))


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
