"""How good an exported model is on pictures whose classes are known.

python tools/evaluate.py --image_dir ~/other_flowers        (a folder with one folder per class)
python tools/evaluate.py --records_dir ~/flower_records --split=test
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import evaluate, files
from poets_tfr.config import EvaluationConfig
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    flags.define_evaluation(values)
    flags.define_export_to_open(values)


def _main(values: absl_flags.FlagValues, positional: list[str]) -> int:
    flags.no_stray_arguments(positional)
    config = flags.build(EvaluationConfig, values)
    if config.report_dir:
        files.check_writable_dir(config.report_dir, 'report_dir')
    found = evaluate.find(config)  # first: the export takes seconds to open
    evaluated = evaluate.evaluate(config, found, flags.open_labeller(values), values.graph)
    if evaluated.bad:
        print(f'{evaluated.bad} files are no whole pictures.', file=sys.stderr)
    return 1 if evaluated.bad else 0


if __name__ == '__main__':
    sys.exit(main())
