"""Draws seeded pictures: flowers to learn from, and photo-like pictures to measure speed with.

The flowers share their colours, backgrounds and light, so that neither a majority guess nor the
mean colour of a picture tells them apart; the shapes and textures do. A picture depends on (seed,
class, index) alone: drawing more pictures, or fewer, does not change the others. No TensorFlow.
"""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import io
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from poets_tfr import files, progress
from poets_tfr.errors import InputError

FLOWERS = ('daisy', 'poppy', 'sunflower', 'tulip')

_SUPERSAMPLING = 2
_SMALLEST = 16  # pixels
_FLOWER_QUALITY = 90
_PHOTO_LIKE_QUALITY = 95  # about 60 KB at 320 x 240, the size of a photo of flower_photos
_MARK = 'poets_tfr drawing'
_STYLE = 1  # part of every file's comment: raise it when the drawing changes

# Hue, saturation and value, each a range from 0 to 1. Every flower comes in every colour; its own
# colours only come more often.
COLOURS = {
    'white': ((0.10, 0.18), (0.02, 0.12), (0.90, 1.00)),
    'yellow': ((0.12, 0.16), (0.70, 0.95), (0.88, 1.00)),
    'orange': ((0.05, 0.09), (0.75, 0.95), (0.88, 1.00)),
    'red': ((0.97, 1.02), (0.75, 0.92), (0.70, 0.92)),
    'pink': ((0.90, 0.96), (0.30, 0.60), (0.85, 1.00)),
    'violet': ((0.74, 0.82), (0.35, 0.65), (0.60, 0.85)),
}
_OWN_COLOURS = {
    'daisy': ('white', 'pink', 'yellow'),
    'poppy': ('red', 'orange', 'pink'),
    'sunflower': ('yellow', 'orange', 'white'),
    'tulip': ('red', 'yellow', 'violet'),
}
_OWN_COLOUR_SHARE = 0.4

Colour = tuple[int, int, int]
Parts = Callable[['Pen', np.random.Generator, Colour], None]


def picture_rng(seed: int, name: str, index: int) -> np.random.Generator:
    """The generator of one picture: the same for the same (seed >= 0, class name, index >= 0)."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode()), index]))


# -------------------------------------------------------------------------------------------- files


def write_flowers(
    out_dir: str,
    *,
    per_class: int,
    seed: int = 0,
    width: int = 320,
    height: int = 240,
    kinds: Sequence[str] = FLOWERS,
) -> int:
    """Writes out_dir/<kind>/<kind>_<index, 4 digits>.jpg, `per_class` of each; keeps what stands.

    A picture that is there and was drawn with these very settings is left untouched; one that was
    drawn with others is replaced. No file is removed.

    Returns:
      How many pictures were written.

    Raises:
      InputError: an argument is out of its range, or a file of that name was not drawn here.
    """
    drawings = [
        Drawing(
            f'{kind}/{kind}_{index:04d}.jpg',
            kind,
            seed,
            kind,
            index,
            width,
            height,
            functools.partial(draw_flower, kind),
        )
        for kind in kinds
        for index in range(per_class)
    ]
    return write_missing(out_dir, drawings)


def write_held_back(
    held_back_dir: str, *, count: int, seed: int = 0, width: int = 320, height: int = 240
) -> int:
    """As write_flowers, but pictures that it never draws: daisy.jpg, poppy.jpg, ... daisy_2.jpg."""
    drawings = []
    for place in range(count):
        turn, kind_index = divmod(place, len(FLOWERS))
        kind = FLOWERS[kind_index]
        path = f'{kind}_{turn + 1}.jpg' if turn else f'{kind}.jpg'
        draw = functools.partial(draw_flower, kind)
        name = f'held_back/{kind}'
        drawings.append(Drawing(path, kind, seed, name, turn, width, height, draw))
    return write_missing(held_back_dir, drawings)


def write_photo_like(
    out_dir: str,
    *,
    per_class: int,
    num_classes: int = 4,
    seed: int = 0,
    width: int = 320,
    height: int = 240,
) -> int:
    """As write_flowers, but with `draw_photo_like`: out_dir/class_00/class_00_0000.jpg, ..."""
    names = [f'class_{number:02d}' for number in range(num_classes)]
    drawings = [
        Drawing(
            f'{name}/{name}_{index:04d}.jpg',
            'photo_like',
            seed,
            name,
            index,
            width,
            height,
            draw_photo_like,
            _PHOTO_LIKE_QUALITY,
        )
        for name in names
        for index in range(per_class)
    ]
    return write_missing(out_dir, drawings)


@dataclasses.dataclass(frozen=True)
class Drawing:
    path: str  # below the folder, '/'-separated
    kind: str  # what the file says of itself
    seed: int
    name: str
    index: int
    width: int
    height: int
    draw: Callable[..., np.ndarray]  # rng, width, height -> uint8 [height, width, 3]
    quality: int = _FLOWER_QUALITY

    def comment(self) -> str:
        """What the file says about itself, so that a later call knows it again."""
        return (
            f'{_MARK} {_STYLE}: {self.kind}, seed {self.seed}, {self.name} {self.index}, '
            f'{self.width} x {self.height}'
        )

    def jpeg(self) -> bytes:
        rng = picture_rng(self.seed, self.name, self.index)
        pixels = self.draw(rng, width=self.width, height=self.height)
        return encode_jpeg(pixels, quality=self.quality, comment=self.comment())


def encode_jpeg(pixels: np.ndarray, *, quality: int = 90, comment: str = '') -> bytes:
    """uint8 [height, width, 3] -> a baseline JPEG without chroma subsampling."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(
        content, 'JPEG', quality=quality, subsampling='4:4:4', comment=comment.encode()
    )
    return content.getvalue()


def write_missing(directory: str, drawings: Sequence[Drawing]) -> int:
    for drawing in drawings[:1]:
        if drawing.seed < 0:
            raise InputError(f'seed must be 0 or more, not {drawing.seed}.')
        if min(drawing.width, drawing.height) < _SMALLEST:
            raise InputError(
                f'An image must be at least {_SMALLEST} pixels wide and high, '
                f'not {drawing.width} x {drawing.height}.'
            )
    missing = [drawing for drawing in drawings if not _stands(directory, drawing)]
    if not missing:
        return 0
    folders = {files.join(directory, drawing.path).rpartition('/')[0] for drawing in missing}
    for folder in sorted(folders):
        files.remove_stale_parts(folder)
    with progress.bar(len(missing), 'images', 'Draw') as bar:
        for drawing in missing:
            files.write_bytes(files.join(directory, drawing.path), drawing.jpeg())
            bar.update()
    return len(missing)


def _stands(directory: str, drawing: Drawing) -> bool:
    path = files.join(directory, drawing.path)
    if not files.exists(path):
        return False
    try:
        with files.open_read(path) as file, Image.open(file) as picture:
            comment = picture.info.get('comment', b'')
    except (OSError, SyntaxError):  # no picture at all; Pillow raises both
        comment = b''
    if not comment.startswith(_MARK.encode()):
        raise InputError(f'{path} was not drawn here, so it is kept: name another folder.')
    return bool(comment == drawing.comment().encode())


# ------------------------------------------------------------------------------------------ drawing


def draw_flower(
    kind: str, rng: np.random.Generator, *, width: int = 320, height: int = 240
) -> np.ndarray:
    """Draws one flower of `kind` (one of FLOWERS) before a blurred background.

    Returns uint8 [height, width, 3], RGB. Raises InputError for another kind.
    """
    if kind not in _FLOWER_PARTS:
        raise InputError(f'No flower is called {kind!r}; there are {", ".join(FLOWERS)}.')
    return draw_parts(_FLOWER_PARTS[kind], _OWN_COLOURS[kind], rng, width=width, height=height)


def draw_parts(
    parts: Parts,
    own_colours: Sequence[str],
    rng: np.random.Generator,
    *,
    width: int = 320,
    height: int = 240,
) -> np.ndarray:
    """Draws what `parts` draws, oftener in its own colours (of COLOURS), as draw_flower does."""
    picture = _background(rng, (width, height))
    size = width * _SUPERSAMPLING, height * _SUPERSAMPLING
    flower = _flower_layer(parts, own_colours, rng, size).reduce(_SUPERSAMPLING)
    picture.paste((12, 16, 10), mask=_shadow(flower, rng))
    picture.paste(flower, mask=flower.getchannel('A'))
    return _photograph(picture, rng)


def draw_photo_like(rng: np.random.Generator, *, width: int = 320, height: int = 240) -> np.ndarray:
    """Draws smooth shapes under texture of every scale, as costly to store as a detailed photo.

    Returns uint8 [height, width, 3], RGB.
    """
    picture = _background(rng, (width, height))
    pixels = np.asarray(picture, np.float32)
    texture = sum(
        _smooth_noise(rng, (width, height), cells, channels=1) * 18.0 for cells in (8, 20, 60)
    )
    grain = rng.normal(0.0, 13.0, (height, width, 1)) + rng.normal(0.0, 3.0, (height, width, 3))
    return _to_uint8(pixels + texture + grain)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    top, bottom = (np.array(_background_colour(rng), np.float32) for _ in range(2))
    shares = _ramp(rng, size)[..., np.newaxis]
    pixels = top * shares + bottom * (1.0 - shares)
    pixels = pixels + 15.0 * _smooth_noise(rng, size, 4, channels=3)
    pixels = pixels + 10.0 * _smooth_noise(rng, size, 24, channels=1)
    picture = Image.fromarray(_to_uint8(pixels))
    clutter = ImageDraw.Draw(picture, 'RGBA')
    for _ in range(rng.integers(4, 14)):
        x, y = rng.uniform(0.0, width), rng.uniform(0.0, height)
        radius = height * rng.uniform(0.03, 0.16)
        colour = _petal_colour(rng) if rng.random() < 0.6 else _background_colour(rng)
        clutter.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=(*colour, int(rng.integers(50, 170))),
        )
    for _ in range(rng.integers(0, 9)):
        _draw_blade(clutter, rng, size)
    return picture.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.008, 0.025)))


def _draw_blade(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    width, height = size
    root = np.array([rng.uniform(0.0, width), height * 1.05])
    tip = root + np.array([rng.normal(0.0, 0.2), -rng.uniform(0.3, 0.9)]) * height
    half = np.array([height * rng.uniform(0.008, 0.03), 0.0])
    points = [tuple(root - half), tuple(tip), tuple(root + half)]
    draw.polygon(points, fill=(*leaf_colour(rng), int(rng.integers(110, 230))))


def _flower_layer(
    parts: Parts, own_colours: Sequence[str], rng: np.random.Generator, size: tuple[int, int]
) -> Image.Image:
    width, height = size
    layer = Image.new('RGBA', size, (0, 0, 0, 0))
    radius = height * rng.uniform(0.36, 0.46)
    centre = np.array(
        [width / 2 + height * rng.uniform(-0.2, 0.2), height * (0.5 + rng.uniform(-0.1, 0.1))]
    )
    pen = Pen(ImageDraw.Draw(layer), rng, centre, radius)
    parts(pen, rng, _petal_colour(rng, own_colours))
    return layer


class Pen:
    """Draws in the flower's own frame: the origin is its centre, 1 is its radius, y points down."""

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        rng: np.random.Generator,
        centre: np.ndarray,
        radius: float,
    ):
        self.draw = draw
        self.rng = rng
        self.centre = centre
        self.radius = radius
        self.frame = np.eye(2)

    def tilt(self, squash: float, towards: float) -> None:
        """Shortens the flower by `squash` in the direction `towards` (radians): it leans away."""
        turn = rotation(towards)
        self.frame = turn @ np.diag([squash, 1.0]) @ turn.T

    def turn(self, angle: float) -> None:
        """Turns the flower by `angle`, radians."""
        self.frame = rotation(angle)

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        self.draw.polygon(self._place(points), fill=(*colour, 255))

    def line(self, points: np.ndarray, colour: Colour, thickness: float) -> None:
        pixels = max(1, round(thickness * self.radius))
        self.draw.line(self._place(points), fill=(*colour, 255), width=pixels, joint='curve')

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        angles = np.linspace(0.0, 2.0 * math.pi, 28, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.polygon(circle * radius + centre, colour)

    def petal(
        self, shape: np.ndarray, angle: float, colour: Colour, streaks: int = 3, start: float = 0.0
    ) -> None:
        """`shape` lies along +x; the petal begins `start` away from the origin."""
        turn = rotation(angle).T
        offset = np.array([start, 0.0])
        shade = self.rng.uniform(0.84, 1.04)
        self.polygon((shape * 1.02 + offset) @ turn, lit(colour, 0.62 * shade))
        self.polygon((shape * [0.98, 0.93] + offset) @ turn, lit(colour, shade))
        self.polygon((shape * [0.86, 0.55] + offset) @ turn, lit(colour, 1.08 * shade))
        length, half_width = shape[:, 0].max(), shape[:, 1].max()
        for share in np.linspace(-0.5, 0.5, streaks):
            line = np.array([[0.12 * length, 0.0], [0.8 * length, share * half_width]])
            self.line((line + offset) @ turn, lit(colour, 0.84 * shade), 0.012)

    def _place(self, points: np.ndarray) -> list[tuple[float, float]]:
        placed = points @ self.frame.T * self.radius + self.centre
        return [(float(x), float(y)) for x, y in placed]


def _draw_daisy(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    """Narrow separate petals around a small bright disc."""
    draw_stem(pen, rng, leaves=1)
    pen.tilt(rng.uniform(0.72, 1.0), rng.uniform(0.0, math.pi))
    count = int(rng.integers(13, 20))
    shape = petal_shape(1.0, 0.085 * rng.uniform(0.9, 1.15), belly=0.9, tip=0.3)
    for angle in around(rng, count, jitter=0.18):
        pen.petal(shape * rng.uniform(0.9, 1.03), angle, colour, streaks=2)
    disc = colour_between(rng, (0.11, 0.15), (0.75, 0.95), (0.75, 0.98))
    draw_seeds(pen, rng, rng.uniform(0.2, 0.27), disc, count=70)


def _draw_sunflower(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    """Two rings of short pointed petals around a large dark disc of seeds."""
    draw_stem(pen, rng, leaves=2)
    pen.tilt(rng.uniform(0.72, 1.0), rng.uniform(0.0, math.pi))
    count = int(rng.integers(17, 25))
    shape = petal_shape(0.62, 0.13 * rng.uniform(0.9, 1.1), belly=0.75, tip=1.0)
    for ring, shade in ((1.0, 0.82), (0.92, 1.0)):
        for angle in around(rng, count, jitter=0.2):
            pen.petal(shape * ring * rng.uniform(0.9, 1.08), angle, lit(colour, shade), start=0.38)
    disc = colour_between(rng, (0.04, 0.09), (0.45, 0.75), (0.22, 0.42))
    draw_seeds(pen, rng, rng.uniform(0.5, 0.6), disc, count=260)


def _draw_poppy(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    """Four to six broad ruffled petals, blotched at the base, around a dark button with stamens."""
    draw_stem(pen, rng, leaves=0)
    pen.tilt(rng.uniform(0.7, 1.0), rng.uniform(0.0, math.pi))
    count = int(rng.integers(4, 7))
    blotch = lit(colour, 0.25)
    for place, angle in enumerate(around(rng, count, jitter=0.12)):
        shape = petal_shape(1.0, rng.uniform(0.52, 0.64), belly=0.75, tip=0.28)
        ruffle = 1.0 + 0.035 * np.sin(np.arange(len(shape)) * rng.uniform(0.9, 1.4) + place)
        pen.petal(shape * ruffle[:, np.newaxis], angle, colour, streaks=7)
        pen.petal(petal_shape(0.38, 0.15, belly=0.7, tip=0.5), angle, blotch, streaks=0)
    for angle in around(rng, int(rng.integers(26, 40)), jitter=0.5):
        end = np.array([math.cos(angle), math.sin(angle)]) * rng.uniform(0.2, 0.32)
        pen.line(np.stack([end * 0.3, end]), (45, 35, 40), 0.012)
        pen.disc((end[0], end[1]), 0.022, (35, 28, 38))
    button = colour_between(rng, (0.2, 0.28), (0.3, 0.5), (0.4, 0.6))
    pen.disc((0.0, 0.0), 0.14, lit(button, 0.7))
    for angle in around(rng, 9, jitter=0.0):
        ray = np.array([[0.0, 0.0], [math.cos(angle), math.sin(angle)]]) * 0.12
        pen.line(ray, lit(button, 1.3), 0.02)


def _draw_tulip(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    """A closed cup seen from the side, on a stem between two long leaves."""
    pen.turn(rng.uniform(-0.4, 0.4))
    pen.centre = pen.centre - [0.0, 0.25 * pen.radius]
    stem = leaf_colour(rng)
    pen.line(np.array([[0.0, 0.5], [rng.uniform(-0.15, 0.15), 3.0]]), stem, 0.09)
    for side in (-1.0, 1.0):
        leaf = petal_shape(rng.uniform(1.5, 2.1), rng.uniform(0.12, 0.2), belly=0.8, tip=1.0)
        turned = leaf @ rotation(-math.pi / 2 + side * rng.uniform(0.25, 0.6)).T
        pen.polygon(turned + [0.0, 2.1], lit(stem, rng.uniform(0.75, 1.15)))
    openness = rng.uniform(0.16, 0.34)
    length = rng.uniform(1.45, 1.65)
    back = petal_shape(length * 0.95, 0.4, belly=0.5, tip=0.75)
    front = petal_shape(length, rng.uniform(0.42, 0.5), belly=0.5, tip=0.8)
    base = np.array([0.0, 0.75])
    pen.centre = pen.centre + pen.frame @ base * pen.radius
    up = -math.pi / 2
    for side in (-1.0, 1.0):
        pen.petal(back, up + side * openness * 0.45, lit(colour, 0.72), streaks=3)
    for side in (-1.0, 1.0):
        pen.petal(front, up + side * openness, lit(colour, 0.9), streaks=4)
    pen.petal(front * [0.9, 0.92], up + rng.uniform(-0.06, 0.06), colour, streaks=5)


_FLOWER_PARTS: dict[str, Parts] = {
    'daisy': _draw_daisy,
    'poppy': _draw_poppy,
    'sunflower': _draw_sunflower,
    'tulip': _draw_tulip,
}


def draw_stem(pen: Pen, rng: np.random.Generator, leaves: int) -> None:
    colour = leaf_colour(rng)
    foot = np.array([rng.uniform(-0.5, 0.5), 3.0])
    pen.line(np.stack([np.zeros(2), foot]), colour, rng.uniform(0.05, 0.09))
    for _ in range(leaves):
        shape = petal_shape(rng.uniform(0.6, 0.9), rng.uniform(0.12, 0.2), belly=0.8, tip=0.9)
        angle = rng.choice([0.0, math.pi]) + rng.uniform(-0.5, 0.5)
        pen.polygon(shape @ rotation(angle).T + foot * rng.uniform(0.38, 0.5), lit(colour, 1.15))


def draw_seeds(
    pen: Pen, rng: np.random.Generator, radius: float, colour: Colour, count: int
) -> None:
    """A disc of `count` seeds in the golden-angle spiral of real flower heads."""
    pen.disc((0.0, 0.0), radius, lit(colour, 0.7))
    golden_angle = math.pi * (3.0 - math.sqrt(5.0))
    for seed in range(count):
        distance = 0.95 * radius * math.sqrt((seed + 0.5) / count)
        angle = seed * golden_angle
        place = (distance * math.cos(angle), distance * math.sin(angle))
        pen.disc(place, 0.75 * radius / math.sqrt(count), lit(colour, rng.uniform(0.75, 1.4)))


def petal_shape(length: float, half_width: float, *, belly: float, tip: float) -> np.ndarray:
    """float64 [48, 2], an outline along +x; `tip` 0 is blunt, 1 pointed; `belly` 0 a wide base."""
    along = np.linspace(0.0, 1.0, 24)
    half = along**belly * (1.0 - along) ** tip
    half = half / half.max() * half_width
    upper = np.stack([along * length, half], axis=1)
    lower = np.stack([along * length, -half], axis=1)[::-1]
    return np.concatenate([upper, lower])


def around(rng: np.random.Generator, count: int, jitter: float) -> np.ndarray:
    """`count` angles around the circle, shuffled, each moved by up to `jitter` of a gap."""
    places = np.arange(count) + rng.uniform(-jitter, jitter, count) + rng.uniform(0.0, 1.0)
    return rng.permutation(places) * (2.0 * math.pi / count)


def rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


# --------------------------------------------------------------------------------- colour and light


def _petal_colour(rng: np.random.Generator, own_colours: Sequence[str] = ()) -> Colour:
    names: Sequence[str] = tuple(COLOURS)
    if own_colours and rng.random() < _OWN_COLOUR_SHARE:
        names = own_colours
    return colour_between(rng, *COLOURS[names[rng.integers(len(names))]])


def leaf_colour(rng: np.random.Generator) -> Colour:
    return colour_between(rng, (0.24, 0.36), (0.35, 0.7), (0.3, 0.6))


def _background_colour(rng: np.random.Generator) -> Colour:
    ranges = (
        ((0.22, 0.38), (0.25, 0.6), (0.25, 0.65)),  # meadow
        ((0.52, 0.60), (0.15, 0.45), (0.55, 0.9)),  # sky
        ((0.05, 0.11), (0.2, 0.45), (0.3, 0.65)),  # earth
        ((0.0, 1.0), (0.0, 0.15), (0.3, 0.85)),  # stone
    )
    return colour_between(rng, *ranges[rng.integers(len(ranges))])


def colour_between(
    rng: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def lit(colour: Colour, brightness: float) -> Colour:
    red, green, blue = (min(255, round(part * brightness)) for part in colour)
    return red, green, blue


def _shadow(flower: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The mask of the flower's soft shadow, L, 0-255."""
    reach = flower.height * rng.uniform(0.01, 0.04)
    shadow = Image.new('L', flower.size, 0)
    shadow.paste(flower.getchannel('A'), (round(reach * rng.uniform(-1.0, 1.0)), round(reach)))
    strength = rng.uniform(0.3, 0.65)
    return shadow.filter(ImageFilter.GaussianBlur(reach)).point(lambda alpha: alpha * strength)


def _photograph(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """What a camera adds: light from one side, exposure, white balance, a soft lens, grain."""
    sharpness = picture.height * rng.uniform(0.0, 0.004)
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(sharpness)), np.float32)
    light = 1.0 + rng.uniform(0.1, 0.4) * (_ramp(rng, picture.size) - 0.5)
    balance = rng.uniform(0.9, 1.1, 3) * rng.uniform(0.8, 1.12)
    grain = rng.normal(0.0, rng.uniform(1.0, 7.0), pixels.shape)
    return _to_uint8(pixels * light[..., np.newaxis] * balance + grain)


def _ramp(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """float64 [height, width] that rises from 0 to 1 across the picture in a random direction."""
    width, height = size
    angle = rng.uniform(0.0, 2.0 * math.pi)
    across = np.linspace(-0.5, 0.5, width) * math.cos(angle)
    down = np.linspace(-0.5, 0.5, height) * math.sin(angle)
    ramp = down[:, np.newaxis] + across[np.newaxis, :]
    return (ramp - ramp.min()) / (ramp.max() - ramp.min())


def _smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], cells: int, *, channels: int
) -> np.ndarray:
    """float32 [height, width, channels], about standard normal, in `cells` rows of blobs."""
    width, height = size
    coarse = rng.normal(0.0, 1.0, (channels, cells, max(1, cells * width // height)))
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        for plane in coarse
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
