"""Draws a small set of seeded pictures: flowers to learn from, or photo-like ones for benchmarks.

python tools/draw_pictures.py --out_dir=build/demo/pictures --per_class=60
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any, ClassVar, Literal

from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, at_least, build, setting
from tools import drawing, inventing


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingConfig(Settings):
    TITLE: ClassVar[str] = 'The images'

    out_dir: str = setting('', 'Where the images go: one folder per class.', path='path')
    held_back_dir: str = setting(
        '',
        'Where the held-back images go; by default out_dir with _held_back at its end.',
        path='path',
    )
    kind: Literal['flowers', 'invented', 'photo_like'] = setting(
        'flowers',
        'flowers: four classes to tell apart; invented: as many kinds of flower as you like, none '
        'of them one of these four; photo_like: detailed images of about 60 KB.',
    )
    per_class: int = setting(60, 'How many images of each class.', at_least(1))
    num_classes: int = setting(4, 'How many classes; there are four flowers.', at_least(1))
    held_back: int = setting(0, 'How many flowers to draw apart, for labelling.', at_least(0))
    seed: int = setting(0, 'The same seed draws the same images.', at_least(0))
    width: int = setting(320, 'In pixels.', at_least(16))
    height: int = setting(240, 'In pixels.', at_least(16))


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [DrawingConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    command.no_stray_arguments(positional)
    values = build(DrawingConfig, given)
    if not values.out_dir:
        raise InputError('Must set flag --out_dir.')
    out_dir = values.out_dir.rstrip('/') or '/'
    picture = {'seed': values.seed, 'width': values.width, 'height': values.height}
    folders = {'per_class': values.per_class, **picture}
    if values.kind != 'flowers':
        if values.held_back:
            raise InputError('--held_back goes with --kind=flowers only.')
        is_invented = values.kind == 'invented'
        write = inventing.write_invented if is_invented else drawing.write_photo_like
        written = write(out_dir, num_classes=values.num_classes, **folders)
        _report(written, values.per_class * values.num_classes, out_dir)
        return
    kinds = drawing.FLOWERS[: values.num_classes]
    if len(kinds) < values.num_classes:
        raise InputError(f'--num_classes={values.num_classes}: there are {len(kinds)} flowers.')
    held_back_dir = values.held_back_dir or f'{out_dir}_held_back'
    _check_outside(held_back_dir, out_dir)
    written = drawing.write_flowers(out_dir, kinds=kinds, **folders)
    _report(written, values.per_class * len(kinds), out_dir)
    if values.held_back:
        written = drawing.write_held_back(held_back_dir, count=values.held_back, **picture)
        _report(written, values.held_back, held_back_dir)


def _check_outside(held_back_dir: str, out_dir: str) -> None:
    inside, around = os.path.realpath(held_back_dir), os.path.realpath(out_dir)
    if os.path.commonpath([inside, around]) == around:
        raise InputError(
            f'--held_back_dir={held_back_dir} lies inside --out_dir={out_dir}: what is held back '
            'would be trained on. Name a folder beside it.'
        )


def _report(written: int, total: int, directory: str) -> None:
    print(f'{directory}: {total} images, {written} of them drawn now.', flush=True)


if __name__ == '__main__':
    sys.exit(main())
