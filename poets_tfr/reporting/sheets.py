"""Figures and contact sheets as pictures, for TensorBoard. Pillow only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from poets_tfr.progress import printable
from poets_tfr.reporting.metrics import Calibration, Metrics

MOST_CLASSES = 60  # in one confusion matrix: more could not be read
_NUMBERED = 25  # up to so many classes the cells bear their counts
_INK, _FAINT, _PAPER = (31, 41, 55), (209, 213, 219), (255, 255, 255)
_BLUE, _RED = (37, 99, 235), (220, 38, 38)
_GAP = 8
_QUALITY = 85


class Sheet(NamedTuple):
    """An encoded picture and its (width, height)."""

    encoded: bytes
    size: tuple[int, int]


class Tile(NamedTuple):
    """A picture, uint8 [height, width, 3], and lines of text below it; a bad one is framed red."""

    pixels: np.ndarray
    caption: tuple[str, ...] = ()
    bad: bool = False


def contact_sheet(tiles: Sequence[Tile], columns: int, side: int) -> Sheet:
    """The pictures in rows of `columns`, each fitted into a square of `side` pixels. A JPEG."""
    font = ImageFont.load_default(13)
    lines = max((len(tile.caption) for tile in tiles), default=0)
    columns = max(1, min(columns, len(tiles)))
    step = side + _GAP, side + _GAP + 17 * lines
    rows = -(-len(tiles) // columns)
    sheet = Image.new('RGB', (columns * step[0] + _GAP, rows * step[1] + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, tile in enumerate(tiles):
        x, y = _GAP + place % columns * step[0], _GAP + place // columns * step[1]
        picture = fitted(tile.pixels, side)
        at = x + (side - picture.width) // 2, y + (side - picture.height) // 2
        sheet.paste(picture, at)
        if tile.bad:
            corners = (at[0], at[1], at[0] + picture.width - 1, at[1] + picture.height - 1)
            draw.rectangle(corners, outline=_RED, width=2)
        for line, text in enumerate(tile.caption):
            draw.text((x, y + side + 1 + 17 * line), _shortened(text, font, side), _INK, font)
    return _encode(sheet, 'JPEG')


def fitted(pixels: np.ndarray, side: int) -> Image.Image:
    """The whole picture, scaled so that its longer side is `side` pixels."""
    picture = Image.fromarray(pixels)
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def thumbnail(encoded: bytes, side: int = 160) -> bytes:
    """A stored picture as a small JPEG."""
    with Image.open(io.BytesIO(encoded)) as picture:
        small = fitted(np.asarray(picture.convert('RGB')), side)
    return _encode(small, 'JPEG').encoded


def confusion_matrix(figures: Metrics, labels: Sequence[str], title: str) -> Sheet:
    """Rows: the true labels; columns: the predicted ones; the shade: the share of the row. A PNG.

    Of more than MOST_CLASSES, those with the most mistakes are shown.
    """
    shown = figures.most_mistaken(MOST_CLASSES)
    if len(shown) < len(labels):
        title += f' ({len(shown)} of {len(labels)} classes, those with the most mistakes)'
    counts = figures.confusion_of(shown)
    shares = counts / np.maximum(figures.support[shown], 1)[:, np.newaxis]
    numbered = len(shown) <= _NUMBERED
    cell = 56 if len(shown) <= 12 else 34 if numbered else 18
    font = ImageFont.load_default(15 if cell > 40 else 12)
    names = [_shortened(_named(labels[i], i), font, 190) for i in shown]
    left = 40 + round(max(map(font.getlength, names)))
    top = 64 + (left - 40)
    width = max(left + cell * len(shown) + 16, round(font.getlength(title)) + 32)
    picture = Image.new('RGB', (width, top + cell * len(shown) + 16), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 12), title, _INK, font)
    draw.text((16, 34), 'rows: true, columns: predicted', _INK, ImageFont.load_default(12))
    for place, name in enumerate(names):
        middle = cell * place + cell / 2
        draw.text((left - 10, top + middle), name, _INK, font, anchor='rm')
        _upright(picture, (left + round(middle), top - 8), name, font)
    for (row, column), count in np.ndenumerate(counts):
        x, y = left + cell * column, top + cell * row
        colour = _BLUE if row == column else _RED
        share = shares[row, column]
        fill = _mixed(colour, share)
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=fill)
        if numbered and count:
            ink = _PAPER if share > 0.55 else _INK
            draw.text((x + cell / 2, y + cell / 2), str(count), ink, font, anchor='mm')
    return _encode(picture, 'PNG')


def reliability(calibration: Calibration, title: str) -> Sheet:
    """Accuracy against confidence, bin by bin; the diagonal is honesty. A PNG."""
    side, left, top, below = 270, 64, 62, 96
    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    picture = Image.new('RGB', (left + side + 40, top + side + below), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 10), title, _INK, font)
    draw.text((16, 34), f'expected calibration error {calibration.error:.3f}', _INK, small)
    bottom, bins = top + side, len(calibration.counts)
    step = side / bins
    most = max(int(calibration.counts.max(initial=1)), 1)
    for place in range(bins):
        x = left + place * step
        if calibration.counts[place]:
            height = calibration.accuracies[place] * side
            draw.rectangle((x + 2, bottom - height, x + step - 2, bottom), fill=_BLUE)
            tall = calibration.counts[place] / most * 24
            foot = bottom + 70
            draw.rectangle((x + 2, foot - tall, x + step - 2, foot), fill=_FAINT)
            count = str(calibration.counts[place])
            draw.text((x + step / 2, foot + 10), count, _INK, small, anchor='mm')
    draw.line((left, bottom, left + side, top), _RED, 2)
    draw.rectangle((left, top, left + side, bottom), outline=_FAINT)
    for tick in range(0, 11, 2):
        share = tick / 10
        draw.text((left - 8, bottom - share * side), f'{share:.1f}', _INK, small, anchor='rm')
        draw.text((left + share * side, bottom + 10), f'{share:.1f}', _INK, small, anchor='mm')
    middle = left + side / 2
    draw.text((middle, bottom + 28), 'score of the label given', _INK, small, anchor='mm')
    draw.text((left - 8, bottom + 80), 'pictures', _INK, small, anchor='rm')
    _upright(picture, (16, top + side // 2 + 60), 'fraction classified correctly', small)
    return _encode(picture, 'PNG')


def _named(label: str, place: int) -> str:
    """The built-in font knows western letters only: other labels get their number too."""
    name = printable(label).strip()
    return name if all(ord(c) < 0x250 for c in name) else f'{place}: {name}'


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    text = printable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'{text}...') > width:
        text = text[:-1]
    return f'{text}...'


def _upright(
    picture: Image.Image,
    foot: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Text that reads upwards from `foot`."""
    length = max(1, round(font.getlength(text)))
    strip = Image.new('L', (length, 20), 0)
    ImageDraw.Draw(strip).text((0, 10), text, 255, font, anchor='lm')
    turned = strip.rotate(90, expand=True)
    picture.paste(_INK, (foot[0] - 10, foot[1] - length), turned)


def _mixed(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """From almost white to the full colour; nothing stays quite white."""
    red, green, blue = (round(246 + (part - 246) * share) if share else 246 for part in colour)
    return red, green, blue


def _encode(picture: Image.Image, kind: str) -> Sheet:
    content = io.BytesIO()
    options = {'quality': _QUALITY} if kind == 'JPEG' else {'optimize': True}
    picture.save(content, kind, **options)
    return Sheet(content.getvalue(), picture.size)
