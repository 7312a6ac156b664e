"""Labels pictures with a graph that retrain.py wrote.

python tools/label_image.py PICTURE [PICTURE ...]
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import files, progress
from poets_tfr.config import InputError, OutputConfig
from poets_tfr.label import Labeller
from poets_tfr.records.codecs import BadPictureError
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    defaults = OutputConfig()
    absl_flags.DEFINE_string(
        'graph', defaults.output_graph, 'The graph to label with.', flag_values=values
    )
    absl_flags.DEFINE_string(
        'labels', defaults.output_labels, "The graph's labels.", flag_values=values
    )


def _main(values: absl_flags.FlagValues, pictures: list[str]) -> int:
    if not pictures:
        raise InputError('Name at least one picture: label_image.py PICTURE')
    labeller = Labeller(values.graph, values.labels)
    bad = 0
    for path in pictures:
        if len(pictures) > 1:
            print(f'{progress.printable(path)}:')
        try:
            scores = labeller.scores(files.read_bytes(path))
        except (BadPictureError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f'label_image.py: error: {progress.printable(path)}: {reason}', file=sys.stderr)
            bad += 1
            continue
        for label, score in labeller.best_first(scores):
            print(f'{progress.printable(label)} (score = {score:.5f})')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
