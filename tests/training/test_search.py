"""--head_search: the best by validation, never by test; the same choice every time."""

from __future__ import annotations

import logging

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
    return found.accuracy, float(np.log(likely).mean())


def test_it_chooses_the_best_by_validation_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'poets_tfr')
    chosen = search.best(SPLITS, CLASSES, GIVEN)
    candidates = search.candidates(GIVEN)
    assert candidates[0] == HeadConfig(how_many_training_steps=30, seed=5), 'what was given'
    assert chosen in candidates
    scores = [validation_scores(candidate) for candidate in candidates]
    assert validation_scores(chosen) == max(scores)
    said = [record.getMessage() for record in caplog.records if record.name == 'poets_tfr']
    assert len(said) == len(candidates) + 1
    assert said[-1].startswith('Head search: chosen: ')
    for sentence, (accuracy, _) in zip(said, scores, strict=False):
        assert f'validation accuracy {100 * accuracy:.1f}%' in sentence


def test_the_test_split_is_never_read() -> None:
    misleading = SplitFeatures(SPLITS['train'].features * np.nan, SPLITS['train'].labels, ())
    chosen = search.best({**SPLITS, 'test': misleading}, CLASSES, GIVEN)
    assert chosen == search.best(SPLITS, CLASSES, GIVEN)
