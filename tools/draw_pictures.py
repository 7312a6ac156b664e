"""Draws a small set of seeded pictures: flowers to learn from, or photo-like ones for benchmarks.

python tools/draw_pictures.py --out_dir=build/demo/pictures --per_class=60
"""

from __future__ import annotations

import os
import sys

from absl import flags as absl_flags

from poets_tfr import drawing
from poets_tfr.config import InputError
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    def integer(name: str, default: int, help_: str, least: int) -> None:
        absl_flags.DEFINE_integer(name, default, help_, lower_bound=least, flag_values=values)

    absl_flags.DEFINE_string(
        'out_dir', '', 'Where the pictures go: one folder per class.', flag_values=values
    )
    absl_flags.DEFINE_string(
        'held_back_dir',
        '',
        'Where the held-back pictures go; by default out_dir with _held_back at its end.',
        flag_values=values,
    )
    absl_flags.DEFINE_enum(
        'kind',
        'flowers',
        ['flowers', 'photo_like'],
        'flowers: four classes to tell apart; photo_like: detailed pictures of about 60 KB.',
        flag_values=values,
    )
    integer('per_class', 60, 'How many pictures of each class.', 1)
    integer('num_classes', 4, 'How many classes; there are four flowers.', 1)
    integer('held_back', 0, 'How many flowers to draw apart, for labelling.', 0)
    integer('seed', 0, 'The same seed draws the same pictures.', 0)
    integer('width', 320, 'In pixels.', 16)
    integer('height', 240, 'In pixels.', 16)


def _main(values: absl_flags.FlagValues, positional: list[str]) -> None:
    flags.no_stray_arguments(positional)
    if not values.out_dir:
        raise InputError('Must set flag --out_dir.')
    out_dir = values.out_dir.rstrip('/') or '/'
    picture = {'seed': values.seed, 'width': values.width, 'height': values.height}
    folders = {'per_class': values.per_class, **picture}
    if values.kind == 'photo_like':
        if values.held_back:
            raise InputError('--held_back goes with --kind=flowers only.')
        written = drawing.write_photo_like(out_dir, num_classes=values.num_classes, **folders)
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
    print(f'{directory}: {total} pictures, {written} of them drawn now.', flush=True)


if __name__ == '__main__':
    sys.exit(main())
