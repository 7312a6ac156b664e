"""Labels pictures with what retrain.py made: a graph, a SavedModel, a TFLite or a Keras file.

python tools/label_image.py PICTURE|FOLDER|'PATTERN'|- ...   (-: a list on standard input)
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import progress
from poets_tfr.config import InputError, LabelConfig
from poets_tfr.label import Labelled, Labeller, inputs, output
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    flags.define_label(values)
    flags.define_export_to_open(values)
    absl_flags.DEFINE_string('image', None, 'A picture; or just name it.', flag_values=values)


def _main(values: absl_flags.FlagValues, named: list[str]) -> int:
    config = flags.build(LabelConfig, values)
    named = named if values.image is None else [values.image, *named]
    if not named:
        raise InputError('Name at least one picture: label_image.py PICTURE')
    pictures = inputs.find_pictures(named)
    labeller = flags.open_labeller(values)
    sys.stdout.write(output.header(config.format))
    with progress.bar_beside_output(len(pictures), 'pictures', 'Labelling') as bar:
        bad = 0
        for labelled in labeller.label_files(pictures):
            bad += labelled.scores is None
            _print(labelled, labeller, config, with_path=len(pictures) > 1)
            bar.update()
    if bad and len(pictures) > 1:
        print(f'{bad} of {len(pictures)} pictures could not be labelled.', file=sys.stderr)
    return 1 if bad else 0


def _print(labelled: Labelled, labeller: Labeller, config: LabelConfig, with_path: bool) -> None:
    if labelled.scores is None:
        sys.stdout.flush()  # where both go to one place, the order is kept
        path = progress.printable(labelled.path)
        print(f'label_image.py: error: {path}: {labelled.reason}', file=sys.stderr)
        return
    best_first = labeller.best_first(labelled.scores)
    sys.stdout.write(
        output.lines(
            labelled.path, best_first, config.format, config.top_k, config.min_score, with_path
        )
    )


if __name__ == '__main__':
    sys.exit(main())
