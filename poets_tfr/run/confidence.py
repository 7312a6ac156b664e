"""How sure the exported scores are: temperature and threshold, found on the validation split.

What is found is plain values, as report.json has them:
  calibration: with --calibrate: temperature (None where there is none), temperature_range (low,
    high), pictures (how many it was found on), and for each of the splits, as pairs of before and
    after, calibration_error and cross_entropy.
  threshold: with --target_precision: target_precision, min_score (None where no score reaches it, 0
    where none is needed), and for each of the splits pictures, accepted, right, precision and
    coverage under it.
  unlike: with --refuse_unlike: refuse_unlike, farthest (the distance; None where it is not stored),
    and for each of the splits pictures and refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.export import likeness
from poets_tfr.export.likeness import Likeness
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.reporting import metrics, threshold
from poets_tfr.run import evidence
from poets_tfr.run.training import Trained
from poets_tfr.run.work import Work
from poets_tfr.training import temperature
from poets_tfr.training.predictions import Predictions, logits_of
from poets_tfr.training.temperature import Temperature

log = logging.getLogger('poets_tfr')

_WIDE = 2.0  # a temperature that may as well be twice as high says little


class Confidence(NamedTuple):
    """The model as it is exported, and how sure it is.

    predictions: by split. found: see above. described: what the exports' description says of it.
    """

    trained: Trained
    predictions: dict[str, Predictions]
    found: dict[str, Any]
    described: dict[str, Any]


def of(work: Work, trained: Trained) -> Confidence:
    """All that was asked for."""
    config = work.config
    predictions = evidence.predictions_of(config, trained.splits, trained.head)
    found: dict[str, Any] = {}
    if config.confidence.calibrate:
        trained, predictions, found['calibration'] = _calibrated(work, trained, predictions)
    if target := config.confidence.target_precision:
        found['threshold'] = _threshold(target, predictions)
    described = _described(found)
    if share := config.confidence.refuse_unlike:
        described['likeness'] = _likeness(share, trained.splits)
        found['unlike'] = _unlike(share, described['likeness'], trained.splits)
    return Confidence(trained, predictions, found, described)


def _calibrated(
    work: Work, trained: Trained, before: dict[str, Predictions]
) -> tuple[Trained, dict[str, Predictions], dict[str, Any]]:
    validation = trained.splits['validation']
    found = temperature.fit(logits_of(trained.head, validation), validation.labels)
    if found is None:
        return trained, before, _calibration(None, before, before)
    trained = trained._replace(head=temperature.folded(trained.head, found.value))
    after = evidence.predictions_of(work.config, trained.splits, trained.head)
    return trained, after, _calibration(found, before, after)


def _described(found: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        'temperature': found.get('calibration', {}).get('temperature'),
        'min_score': found.get('threshold', {}).get('min_score'),
    }
    return {name: value for name, value in values.items() if value is not None}


def tell(found: Mapping[str, Any], predictions: Mapping[str, Predictions]) -> None:
    """Into the log."""
    if 'calibration' in found:
        _tell_calibration(found['calibration'], predictions['validation'].accuracy)
    if 'threshold' in found:
        _tell_threshold(found['threshold'], predictions['validation'])
    if 'unlike' in found:
        _tell_unlike(found['unlike'])


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


def _threshold(target: float, predictions: Mapping[str, Predictions]) -> dict[str, Any]:
    min_score = threshold.lowest(predictions['validation'], target)
    splits = {}
    for split in predictions if min_score is not None else ():
        found = threshold.accepted(predictions[split], min_score or 0.0)
        measured = {'precision': found.precision, 'coverage': found.coverage}
        splits[split] = {**found._asdict(), **measured}
    return {'target_precision': target, 'min_score': min_score, 'splits': splits}


def _tell_threshold(found: Mapping[str, Any], validation: Predictions) -> None:
    target, min_score = found['target_precision'], found['min_score']
    if min_score is None:
        _warn_of_no_threshold(target, validation)
        return
    if min_score == 0:
        log.info(
            '--target_precision=%s: no threshold is needed: of all %d validation images %.1f%% are '
            'classified correctly.', target, len(validation), validation.accuracy * 100,
        )  # fmt: skip
    else:
        log.info('Threshold: a score of %.4f (--target_precision=%s).', min_score, target)
    for split, of in found['splits'].items():
        precision = '-' if of['precision'] is None else f'{of["precision"]:.1%}'
        log.info(
            '%s: %d of %d images accepted (%.1f%%), of which %s are right.',
            split.capitalize(), of['accepted'], of['pictures'], of['coverage'] * 100, precision,
        )  # fmt: skip


def _warn_of_no_threshold(target: float, validation: Predictions) -> None:
    least = threshold.LEAST_ACCEPTED
    if len(validation) < least:
        log.warning(
            'WARNING: --target_precision=%s: %d validation images are too few, at least %d are '
            'needed: no threshold is stored. Add images, or raise --validation_percentage.',
            target, len(validation), least,
        )  # fmt: skip
        return
    best = threshold.best(validation)
    log.warning(
        'WARNING: --target_precision=%s: no score reaches it with at least %d of the %d validation '
        'images (the best: %d of %d): no threshold is stored.',
        target, least, len(validation), best.right, best.accepted,
    )  # fmt: skip


def _likeness(share: float, splits: Mapping[str, SplitFeatures]) -> Likeness | None:
    train, validation = splits['train'], splits['validation']
    values = len(np.unique(train.labels)) * train.features.shape[1]
    if values > likeness.MOST_VALUES:
        log.warning(
            'WARNING: --refuse_unlike=%s: the means of all classes are %d numbers, at most %d go '
            'into an export: no distance is stored.', share, values, likeness.MOST_VALUES,
        )  # fmt: skip
        return None
    if len(validation) * share < 1:
        log.warning(
            'WARNING: --refuse_unlike=%s: %d validation images are too few to say how far one in '
            '%.0f is. Add images, or raise --validation_percentage.',
            share, len(validation), 1 / share,
        )  # fmt: skip
    return Likeness.of(train, validation, share)


def _unlike(
    share: float, found: Likeness | None, splits: Mapping[str, SplitFeatures]
) -> dict[str, Any]:
    measured = {
        split: {'pictures': len(splits[split]), 'refused': found.refused(splits[split])}
        for split in ('validation', 'test')
        if found and split in splits
    }
    farthest = found.farthest if found else None
    return {'refuse_unlike': share, 'farthest': farthest, 'splits': measured}


def _tell_unlike(found: Mapping[str, Any]) -> None:
    for split, of in found['splits'].items():
        log.info(
            '%s: %d of %d images are unlike the training images (--refuse_unlike=%s).',
            split.capitalize(), of['refused'], of['pictures'], found['refuse_unlike'],
        )  # fmt: skip
