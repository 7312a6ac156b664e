"""How good an exported model is on images whose classes are known.

python tools/evaluate.py FOLDER                             (with one folder per class)
python tools/evaluate.py --records_dir ~/flower_records --split=test
"""

from __future__ import annotations

import sys
from typing import Any

import poets_tfr
from poets_tfr.cli import command
from poets_tfr.label.settings import EvaluationConfig, ModelConfig
from poets_tfr.settings import names_of


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [EvaluationConfig, ModelConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> int:
    given = command.with_folder(given, positional)
    model = {name: given.pop(name) for name in names_of(ModelConfig) if name in given}
    evaluated = poets_tfr.evaluate(model, **given)
    if evaluated.bad:
        print(f'{evaluated.bad} files could not be decoded.', file=sys.stderr)
    return 1 if evaluated.bad else 0


if __name__ == '__main__':
    sys.exit(main())
