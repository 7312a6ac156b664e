"""A hundred kinds of flower that nobody has seen: what the demo's network learns to see from.

python tools/draw_pictures.py --kind=invented --num_classes=100 --out_dir=invented

Each kind is a recipe, drawn from its number: how many petals, of which shape, in how many rings or
in a cup seen from the side, around which disc, and so on. None of them is one of the demo's four.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from tools.drawing import (
    COLOURS,
    Colour,
    Drawing,
    Pen,
    around,
    colour_between,
    draw_parts,
    draw_seeds,
    draw_stem,
    leaf_colour,
    lit,
    petal_shape,
    picture_rng,
    write_missing,
)

_RECIPES_SEED = 1
_UP = -math.pi / 2


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the flowers of one kind have in common. Lengths are shares of the flower's radius."""

    petals: int
    rings: int
    is_cup: bool
    length: float
    start: float
    half_width: float
    belly: float
    tip: float
    streaks: int
    blotch: float  # how long; 0: none
    disc: float
    disc_hue: float
    disc_value: float
    seeds: int  # 0: the disc is smooth
    stamens: int
    leaves: int
    colours: tuple[str, ...]


def recipe(number: int) -> Recipe:
    """That of the kind with a number, 0 or more: always the same."""
    rng = picture_rng(_RECIPES_SEED, 'recipe', number)
    petals = int(rng.choice([3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27]))
    start = float(rng.choice([0.0, 0.1, 0.3, 0.5]))
    crowding = rng.uniform(0.5, 1.5)
    return Recipe(
        petals=petals,
        rings=int(rng.integers(1, 4)),
        is_cup=bool(rng.random() < 0.25),
        length=1.0 - start,
        start=start,
        half_width=float(np.clip(crowding * math.pi / petals * 0.6, 0.05, 0.55)),
        belly=rng.uniform(0.35, 1.1),
        tip=rng.uniform(0.15, 1.2),
        streaks=int(rng.integers(0, 8)),
        blotch=float(rng.choice([0.0, 0.0, 0.3, 0.5])),
        disc=rng.uniform(0.06, 0.3) + start * 0.6,
        disc_hue=rng.uniform(0.0, 0.4),
        disc_value=rng.uniform(0.2, 1.0),
        seeds=int(rng.choice([0, 30, 90, 240])),
        stamens=int(rng.choice([0, 0, 12, 30])),
        leaves=int(rng.integers(0, 4)),
        colours=tuple(rng.choice([*COLOURS], 3, replace=False).tolist()),
    )


def write_invented(
    out_dir: str, *, per_class: int, num_classes: int, seed: int, width: int, height: int
) -> int:
    """As drawing.write_flowers: out_dir/kind_00/kind_00_0000.jpg, ..."""
    drawings = [
        Drawing(
            f'{name}/{name}_{index:04d}.jpg', 'invented', seed, name, index, width, height,
            functools.partial(draw_invented, number),
        )
        for number, name in enumerate(f'kind_{n:02d}' for n in range(num_classes))
        for index in range(per_class)
    ]  # fmt: skip
    return write_missing(out_dir, drawings)


def draw_invented(
    number: int, rng: np.random.Generator, *, width: int = 160, height: int = 120
) -> np.ndarray:
    """Draws one flower of the kind with a number: uint8 [height, width, 3], RGB."""
    kind = recipe(number)

    def parts(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
        draw = _draw_cup if kind.is_cup else _draw_open
        draw(kind, pen, rng, colour)

    return draw_parts(parts, kind.colours, rng, width=width, height=height)


def _draw_open(kind: Recipe, pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    """Seen from above."""
    draw_stem(pen, rng, leaves=kind.leaves)
    pen.tilt(rng.uniform(0.7, 1.0), rng.uniform(0.0, math.pi))
    shape = _own_shape(kind, rng)
    count = max(3, kind.petals + int(rng.integers(-1, 2)) * (kind.petals > 6))
    for ring in np.linspace(1.0, 0.72, kind.rings):
        for angle in around(rng, count, jitter=0.15):
            size = ring * rng.uniform(0.93, 1.05)
            shade = lit(colour, 1.25 - 0.25 * ring)
            pen.petal(shape * size, angle, shade, streaks=kind.streaks, start=kind.start)
            if kind.blotch:
                blotch = petal_shape(kind.blotch, kind.half_width * 0.5, belly=0.7, tip=0.5)
                pen.petal(blotch, angle, lit(colour, 0.3), streaks=0, start=kind.start)
    _draw_middle(kind, pen, rng)


def _draw_cup(kind: Recipe, pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    """Seen from the side, on a stem."""
    pen.turn(rng.uniform(-0.4, 0.4))
    stem = leaf_colour(rng)
    pen.line(np.array([[0.0, 0.5], [rng.uniform(-0.15, 0.15), 3.0]]), stem, 0.09)
    pen.centre = pen.centre + pen.frame @ np.array([0.0, 0.5]) * pen.radius
    shape = _own_shape(kind, rng) * [1.3, 1.0]
    spread = 0.25 + 0.9 * kind.tip / 1.2
    count = min(kind.petals, 9)
    for side in np.linspace(-1.0, 1.0, count)[np.argsort(-np.abs(np.linspace(-1, 1, count)))]:
        angle = _UP + side * spread + rng.uniform(-0.06, 0.06)
        shade = lit(colour, 0.8 + 0.2 * (1 - abs(side)))
        pen.petal(shape * rng.uniform(0.95, 1.05), angle, shade, streaks=kind.streaks)
    for _ in range(kind.stamens and 5):
        angle = _UP + rng.uniform(-0.5, 0.5) * spread
        end = np.array([math.cos(angle), math.sin(angle)]) * 1.5
        pen.line(np.stack([end * 0.5, end]), _disc_colour(kind, rng), 0.03)


def _own_shape(kind: Recipe, rng: np.random.Generator) -> np.ndarray:
    half_width = kind.half_width * rng.uniform(0.9, 1.12)
    return petal_shape(kind.length, half_width, belly=kind.belly, tip=kind.tip)


def _draw_middle(kind: Recipe, pen: Pen, rng: np.random.Generator) -> None:
    colour = _disc_colour(kind, rng)
    for angle in around(rng, kind.stamens, jitter=0.5) if kind.stamens else ():
        end = np.array([math.cos(angle), math.sin(angle)]) * (kind.disc + rng.uniform(0.1, 0.2))
        pen.line(np.stack([end * 0.3, end]), lit(colour, 0.5), 0.015)
        pen.disc((end[0], end[1]), 0.025, lit(colour, 0.4))
    if kind.seeds:
        draw_seeds(pen, rng, kind.disc * rng.uniform(0.9, 1.1), colour, count=kind.seeds)
    else:
        pen.disc((0.0, 0.0), kind.disc * rng.uniform(0.9, 1.1), colour)


def _disc_colour(kind: Recipe, rng: np.random.Generator) -> Colour:
    hue, value = kind.disc_hue, kind.disc_value
    return colour_between(rng, (hue, hue + 0.04), (0.5, 0.9), (0.85 * value, value))
