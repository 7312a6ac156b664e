"""Settings side by side over several splits: mean test accuracy, standard error, paired difference.

python tools/compare_settings.py --image_dir ~/pets --settings=default,configs/best_head.flags

A setting is a flagfile of retrain.py, or `default`; the first is what the others are compared with.
All other flags (--architecture ...) go to retrain.py, with every setting. Records and features are
kept in --work_dir, so that a further setting costs its training alone.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import sys
from typing import Any, ClassVar

from poets_tfr import files
from poets_tfr.cli import command, retrain
from poets_tfr.errors import InputError
from poets_tfr.reporting import report
from poets_tfr.run.settings import in_cache
from poets_tfr.settings import Settings, at_least, build, setting

DEFAULT = 'default'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonConfig(Settings):
    TITLE: ClassVar[str] = 'The comparison'

    image_dir: str = setting('', 'A folder with one folder per class.', path='path')
    settings: tuple[str, ...] = setting(
        (DEFAULT,), "Flagfiles, or 'default'; the first is the base."
    )
    splits: int = setting(10, 'How many splits, each by another --split_prefix.', at_least(2))
    work_dir: str = setting('build/accuracy', 'Where records, features and runs go.', path='path')


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [ComparisonConfig], argv, keep_unknown=True)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    values = build(ComparisonConfig, given)
    if not values.image_dir:
        raise InputError('Must set flag --image_dir (a folder with one folder per class).')
    base, *others = values.settings
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in values.settings}
    for prefix in split_prefixes(values.image_dir, values.splits):
        for name, accuracies in found.items():
            accuracies.append(_accuracies(values, prefix, name, positional))
        tested = '  '.join(f'{name} {100 * of[-1][1]:.1f}' for name, of in found.items())
        print(f'{prefix}: {tested}', flush=True)
    print('\n| setting | validation, % | test, % | difference, points |')
    print('|---|---|---|---|')
    for name, accuracies in found.items():
        validation, test = zip(*accuracies, strict=True)
        difference = '' if name == base else summary(paired(test, [t for _, t in found[base]]))
        print(f'| {name} | {summary(validation)} | {summary(test)} | {difference} |')


def split_prefixes(image_dir: str, splits: int) -> list[str]:
    """What stands for image_dir in the paths that decide the split; first the tutorial's."""
    first = f'tf_files/{os.path.basename(os.path.abspath(image_dir))}'
    return [first, *(f'{first}_{number}' for number in range(1, splits))]


def paired(accuracies: tuple[float, ...], base: list[float]) -> list[float]:
    """The difference on each split: what makes a split hard for both falls away."""
    return [ours - theirs for ours, theirs in zip(accuracies, base, strict=True)]


def summary(fractions: tuple[float, ...] | list[float]) -> str:
    """The mean and its standard error, in percent."""
    error = statistics.stdev(fractions) / math.sqrt(len(fractions))
    return f'{100 * statistics.mean(fractions):.2f} ± {100 * error:.2f}'


def _accuracies(
    values: ComparisonConfig, prefix: str, setting: str, further: list[str]
) -> tuple[float, float]:
    """(validation, test) of one run, fractions of 1, out of its report."""
    split_dir = files.join(values.work_dir, os.path.basename(prefix))
    run_dir = files.join(split_dir, os.path.splitext(os.path.basename(setting))[0])
    flagfile = [] if setting == DEFAULT else [f'--flagfile={setting}']
    status = retrain.main([
        'retrain.py', *flagfile, '--self_test_pictures=0',
        f'--model_dir={in_cache()["model_dir"]}', *further, '--logging_verbosity=ERROR',
        f'--image_dir={values.image_dir}', f'--split_prefix={prefix}',
        f'--records_dir={split_dir}/records', f'--bottleneck_dir={values.work_dir}/bottlenecks',
        f'--summaries_dir={run_dir}/logs', f'--checkpoint_path={run_dir}/checkpoint',
        f'--output_graph={run_dir}/output_graph.pb', f'--output_labels={run_dir}/output_labels.txt',
    ])  # fmt: skip
    if status:
        raise InputError(f'the run of {setting} on the split {prefix} failed: see above.')
    figures = files.read_json(files.join(run_dir, 'logs', report.JSON))
    return figures['validation']['accuracy'], figures['test']['accuracy']


if __name__ == '__main__':
    sys.exit(main())
