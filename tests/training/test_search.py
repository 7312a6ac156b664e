"""--head_search: the best by validation, never by test; the same choice every time."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.training import search
from poets_tfr.training.loop import Training
from poets_tfr.training.predictions import predict
from poets_tfr.training.settings import HeadConfig

CLASSES, WIDTH = 3, 8
CENTRES = np.random.default_rng(1).normal(0, 1, (CLASSES, WIDTH))


def split_of(per_class: int, seed: int) -> SplitFeatures:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), per_class).astype(np.int32)
    features = (CENTRES[labels] + rng.normal(0, 1, (len(labels), WIDTH))).astype(np.float32)
    return SplitFeatures(features, labels, tuple(map(str, range(len(labels)))))


SPLITS = {'train': split_of(20, seed=2), 'validation': split_of(30, seed=3)}
GIVEN = HeadConfig(how_many_training_steps=30, head_search='auto', seed=5)


def validation_scores(config: HeadConfig) -> tuple[float, float]:
    training = Training(SPLITS, CLASSES, config)
    (*_, last) = training.run(training.start())
    found = predict(training.trained(last.state), SPLITS['validation'])
    likely = found.scores[np.arange(len(found)), found.labels]
    return round(100 * found.accuracy, 1), float(np.log(likely).mean())


def test_it_chooses_the_best_by_validation_alone_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, 'poets_tfr')
    misleading = SplitFeatures(SPLITS['train'].features * np.nan, SPLITS['train'].labels, ())
    chosen = search.best({**SPLITS, 'test': misleading}, CLASSES, GIVEN)
    candidates = search.candidates(GIVEN)
    assert candidates[0] == HeadConfig(how_many_training_steps=30, seed=5), 'what was given'
    *tried, last = [r.getMessage() for r in caplog.records if r.name == 'poets_tfr']
    assert last.startswith('Head search: chosen: ')
    found = [re.findall(r'accuracy (.*)%, cross entropy (.*): ', said) for said in tried]
    scores = [(float(accuracy), -float(entropy)) for ((accuracy, entropy),) in found]
    assert len(scores) == len(candidates)
    best = scores.index(max(scores))
    assert scores.count(scores[best]) == 1
    assert chosen == candidates[best]
    for place in best, (best + 1) % len(candidates):
        assert validation_scores(candidates[place]) == pytest.approx(scores[place], abs=1e-4)
