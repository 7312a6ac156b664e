"""How sure the exported scores are: the temperature, found on the validation split.

What is found is plain values, as report.json has them:
  calibration: with --calibrate: temperature (None where there is none), temperature_range (low,
    high), pictures (how many it was found on), and for each of the splits, as pairs of before and
    after, calibration_error and cross_entropy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from poets_tfr.reporting import metrics
from poets_tfr.run import evidence
from poets_tfr.run.training import Trained
from poets_tfr.run.work import Work
from poets_tfr.training import temperature
from poets_tfr.training.predictions import Predictions, logits_of
from poets_tfr.training.temperature import Temperature

log = logging.getLogger('poets_tfr')

_WIDE = 2.0  # a temperature that may as well be twice as high says little


def of(work: Work, trained: Trained) -> tuple[Trained, dict[str, Predictions], dict[str, Any]]:
    """The model as it is exported, what it says of each split, and what was found."""
    config = work.config
    predictions = evidence.predictions_of(config, trained.splits, trained.head)
    if not config.confidence.calibrate:
        return trained, predictions, {}
    validation = trained.splits['validation']
    found = temperature.fit(logits_of(trained.head, validation), validation.labels)
    before = predictions
    if found:
        trained = trained._replace(head=temperature.folded(trained.head, found.value))
        predictions = evidence.predictions_of(config, trained.splits, trained.head)
    return trained, predictions, {'calibration': _calibration(found, before, predictions)}


def described(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the exports' description says of it."""
    value = found.get('calibration', {}).get('temperature')
    return {} if value is None else {'temperature': value}


def tell(found: Mapping[str, Any], predictions: Mapping[str, Predictions]) -> None:
    """Into the log."""
    if 'calibration' in found:
        _tell_calibration(found['calibration'], predictions['validation'].accuracy)


def _calibration(
    found: Temperature | None,
    before: Mapping[str, Predictions],
    after: Mapping[str, Predictions],
) -> dict[str, Any]:
    return {
        'temperature': found.value if found else None,
        'temperature_range': [found.low, found.high] if found else None,
        'pictures': len(after['validation']),
        'splits': {
            split: {
                'calibration_error': [metrics.calibration_error(each) for each in pair],
                'cross_entropy': [each.cross_entropy for each in pair],
            }
            for split, *pair in ((split, before[split], after[split]) for split in after)
        },
    }


def _tell_calibration(found: Mapping[str, Any], accuracy: float) -> None:
    pictures = found['pictures']
    if found['temperature'] is None:
        reason = (
            f'all {pictures} validation images are classified correctly, which does not say how '
            'far scores are too high or too low'
            if accuracy == 1
            else f'on the {pictures} validation images the scores are no better than guessing'
        )
        log.warning(
            'WARNING: --calibrate: %s: they stay as they are. Add images, or raise '
            '--validation_percentage.', reason,
        )  # fmt: skip
        return
    low, high = found['temperature_range']
    log.info(
        'Temperature: %.3f (95 %% range %.2f to %.2f), by %d validation images.',
        found['temperature'], low, high, pictures,
    )  # fmt: skip
    for split, of in found['splits'].items():
        before, after = of['calibration_error']
        log.info(
            '%s calibration error: %.1f%% before, %.1f%% after.',
            split.capitalize(), before * 100, after * 100,
        )  # fmt: skip
    if high > _WIDE * low:
        log.warning(
            'WARNING: --calibrate: %d validation images are too few to say the temperature: '
            'anything from %.2f to %.2f is likely. Add images, or raise --validation_percentage.',
            pictures, low, high,
        )  # fmt: skip
