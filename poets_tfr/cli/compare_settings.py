"""Settings side by side over several splits: mean test accuracy, paired difference, a verdict.

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
from poets_tfr.records.manifest import load_manifest
from poets_tfr.reporting import report
from poets_tfr.run.settings import in_cache
from poets_tfr.settings import Settings, at_least, build, setting

DEFAULT = 'default'
# Student's t, two-sided, by degrees of freedom from 1 on; those of the last go for all more.
_T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


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
    print()
    of_test = {name: [test for _, test in accuracies] for name, accuracies in found.items()}
    for name in others:
        differences = paired(tuple(of_test[name]), of_test[base])
        print(verdict(name, base, differences, _test_to_train(values)))


def split_prefixes(image_dir: str, splits: int) -> list[str]:
    """What stands for image_dir in the paths that decide the split; first the tutorial's."""
    first = f'tf_files/{os.path.basename(os.path.abspath(image_dir))}'
    return [first, *(f'{first}_{number}' for number in range(1, splits))]


def paired(accuracies: tuple[float, ...], base: list[float]) -> list[float]:
    """The difference on each split: what makes a split hard for both falls away."""
    return [ours - theirs for ours, theirs in zip(accuracies, base, strict=True)]


def verdict(name: str, base: str, differences: list[float], test_to_train: float) -> str:
    """A sentence: whether a setting is better than the base, at a confidence of 95 %.

    The splits share most of their images, so that their accuracies vary less than those of fresh
    images would: the variance is corrected (Nadeau and Bengio 2003, 'Inference for the
    generalization error'). Twice as many splits make little difference.

    Args:
      differences: of the test accuracies, name's less base's, fractions of 1; one for each split.
      test_to_train: how many test images there are for one training image.
    """
    count = len(differences)
    mean = 100 * statistics.mean(differences)
    variance = statistics.variance(differences) * (1 / count + test_to_train)
    half = 100 * _T_95[min(count - 1, len(_T_95)) - 1] * math.sqrt(variance)
    low, high = mean - half, mean + half
    found = f'{mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})'
    if low > 0:
        return f'{name} is better than {base} on these images: {found}.'
    if high < 0:
        return f'{name} is worse than {base} on these images: {found}.'
    return (
        f'These images do not show whether {name} is better or worse than {base}: {found}. Take '
        'the simpler one, or compare on more images.'
    )


def summary(fractions: tuple[float, ...] | list[float]) -> str:
    """The mean and its standard error, in percent."""
    error = statistics.stdev(fractions) / math.sqrt(len(fractions))
    return f'{100 * statistics.mean(fractions):.2f} ± {100 * error:.2f}'


def _test_to_train(values: ComparisonConfig) -> float:
    first = os.path.basename(split_prefixes(values.image_dir, 1)[0])
    splits = load_manifest(files.join(values.work_dir, first, 'records')).splits
    return splits['test'].pictures / splits['train'].pictures


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
