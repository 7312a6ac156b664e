"""--head_search=auto: the settings given and a small grid, judged by validation alone."""

from __future__ import annotations

import dataclasses
import logging

from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.training.head import Head, better
from poets_tfr.training.loop import Training
from poets_tfr.training.predictions import Predictions, predict
from poets_tfr.training.settings import HeadConfig

log = logging.getLogger('poets_tfr')

# Around configs/best_head.flags: plain features are larger than 1, and so want more decay.
_GRID = [
    {'standardize_features': standardize, 'weight_decay': decay, 'label_smoothing': 0.1}
    for standardize, decays in ((True, (0.03, 0.1, 0.3)), (False, (0.1, 0.3, 1.0)))
    for decay in decays
]


def candidates(given: HeadConfig) -> list[HeadConfig]:
    """The settings given, and the grid: L-BFGS needs no learning rate, so that none is searched."""
    given = dataclasses.replace(given, head_search='none')
    freed = {
        name: getattr(HeadConfig, name)
        for name in ('learning_rate', 'learning_rate_schedule', 'train_batch_size')
    }
    grid = [
        dataclasses.replace(given, optimizer='lbfgs', **freed, **settings)  # type: ignore[arg-type]
        for settings in _GRID
    ]
    return [given, *grid]


def best(
    splits: dict[str, SplitFeatures], classes: int, given: HeadConfig, start: Head | None = None
) -> HeadConfig:
    """The candidate that does best on the validation split; of equal ones, the first.

    The test split is never looked at. The same splits and settings give the same choice.
    """
    seen = {name: splits[name] for name in ('train', 'validation')}
    chosen, of_chosen = given, None
    for candidate in candidates(given):
        found = _validated(seen, classes, candidate, start)
        log.info(
            'Head search: validation accuracy %.1f%%, cross entropy %.4f: %s',
            100 * found.accuracy, found.cross_entropy, _named(candidate),
        )  # fmt: skip
        if of_chosen is None or better(found, of_chosen):
            chosen, of_chosen = candidate, found
    log.info('Head search: chosen: %s', _named(chosen))
    return chosen


def _validated(
    splits: dict[str, SplitFeatures], classes: int, config: HeadConfig, start: Head | None
) -> Predictions:
    """What a head that is trained so says of the whole validation split."""
    training = Training(splits, classes, config)
    state = training.start(start)
    for measured in training.run(state):
        state = measured.state
    return predict(training.trained(state), splits['validation'])


def _named(config: HeadConfig) -> str:
    """What differs from the defaults, as flags."""
    flags = [
        f'--{field.name}={getattr(config, field.name)}'
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    return ' '.join(flags) or 'the defaults'
