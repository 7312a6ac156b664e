"""The figures, against hand-made tables and slow definitions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from poets_tfr.reporting import metrics
from poets_tfr.training.predictions import Predictions

NAN = math.nan


def predictions(labels: list[int], scores: list[list[float]]) -> Predictions:
    paths = tuple(f'{row}.jpg' for row in range(len(labels)))
    return Predictions(paths, np.array(labels, np.int32), np.array(scores, np.float32))


# Three classes; nothing is of class 2, but one picture is taken for it.
LABELS = [0, 0, 0, 1, 1]
SCORES = [
    [0.7, 0.2, 0.1],
    [0.6, 0.3, 0.1],
    [0.2, 0.75, 0.05],
    [0.1, 0.79, 0.11],
    [0.0, 0.05, 0.95],
]


def random_predictions(n: int, classes: int) -> Predictions:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2, (n, classes))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions(rng.integers(0, classes, n).tolist(), scores.tolist())


def test_a_table_made_by_hand() -> None:
    found = metrics.measure(predictions(LABELS, SCORES))
    assert found.pictures == 5
    assert found.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert found.support.tolist() == [3, 2, 0]
    assert found.accuracy == 3 / 5
    assert found.macro_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    np.testing.assert_allclose(found.precision, [1, 1 / 2, 0])
    np.testing.assert_allclose(found.recall, [2 / 3, 1 / 2, NAN])
    np.testing.assert_allclose(found.f1, [4 / 5, 1 / 2, 0])
    wanted = -np.mean(np.log([0.7, 0.6, 0.2, 0.79, 0.05]))
    assert found.cross_entropy == pytest.approx(wanted, rel=1e-6)


def test_calibration_made_by_hand() -> None:
    """Confidences .7 right, .6 right, .75 wrong, .79 right, .95 wrong."""
    found = metrics.measure(predictions(LABELS, SCORES)).calibration
    assert found.counts.sum() == 5
    assert found.counts[7] == 2
    assert found.confidences[7] == pytest.approx((0.75 + 0.79) / 2)
    assert found.accuracies[7] == 0.5
    assert np.isnan(found.accuracies[0])
    # Bin by bin; float32's 0.7 and 0.6 lie just below or above the decimal, alone in a bin or not.
    confidence = np.array(SCORES, np.float32).max(axis=1).astype(float)
    right = np.array([1, 1, 0, 1, 0])
    error = 0.0
    for low in range(10):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if inside.any():
            error += inside.sum() / 5 * abs(right[inside].mean() - confidence[inside].mean())
    assert found.error == pytest.approx(error)


def test_a_perfectly_calibrated_and_a_boastful_classifier() -> None:
    labels = [0] * 8 + [1] * 2
    honest = metrics.measure(predictions(labels, [[0.8, 0.2]] * 10))
    assert honest.calibration.error == pytest.approx(0, abs=1e-6)
    boastful = metrics.measure(predictions(labels, [[1.0, 0.0]] * 10))
    assert boastful.calibration.error == pytest.approx(0.2)
    assert np.isfinite(boastful.cross_entropy)


def test_no_pictures_at_all() -> None:
    nothing = Predictions((), np.empty(0, np.int32), np.empty((0, 3), np.float32))
    found = metrics.measure(nothing)
    assert found.pictures == 0
    assert json.loads(json.dumps(found.to_json('abc'), allow_nan=False))['accuracy'] is None


@pytest.mark.parametrize('n', [1, 200])
def test_json_holds_fractions_and_no_nan(n: int) -> None:
    found = metrics.measure(random_predictions(n, 4))
    value = json.loads(json.dumps(found.to_json(['a', 'b', 'c', 'd']), allow_nan=False))
    assert value['accuracy'] == found.accuracy
    assert 0 <= value['accuracy'] <= 1
    assert [row['label'] for row in value['classes']] == ['a', 'b', 'c', 'd']
    assert sum(row['pictures'] for row in value['classes']) == n
    assert sum(map(sum, value['confusion'])) == n
    if n == 1:
        assert None in [row['recall'] for row in value['classes']]


def test_precision_recall_is_its_definition() -> None:
    some = random_predictions(300, 3)
    scores, truth = some.scores[:, 1], some.labels == 1
    found = metrics.precision_recall(scores, truth, thresholds=21)
    for place, threshold in enumerate(np.arange(21) / 20):
        positive = scores.astype(float) >= threshold - 1e-12
        tp, fp = (positive & truth).sum(), (positive & ~truth).sum()
        tn, fn = (~positive & ~truth).sum(), (~positive & truth).sum()
        assert found[:4, place].tolist() == [tp, fp, tn, fn]
        assert found[4, place] == pytest.approx(tp / max(tp + fp, 1))
        assert found[5, place] == pytest.approx(tp / (tp + fn))


def test_the_worst_mistakes_come_first_and_once() -> None:
    assert metrics.worst_mistakes(predictions(LABELS, SCORES), 10).tolist() == [4, 2]
    assert metrics.worst_mistakes(predictions(LABELS, SCORES), 1).tolist() == [4]
    twice = Predictions(('a', 'a', 'b'), np.array([0, 0, 0]), np.array([[0.1, 0.9]] * 3))
    assert metrics.worst_mistakes(twice, 10).tolist() == [0, 2]
    right = predictions([0], [[1.0, 0.0]])
    assert metrics.worst_mistakes(right, 10).tolist() == []


def test_an_interval_lies_within_0_and_1() -> None:
    """Not by rounding either: 10 of 10 came to a little more than 1."""
    for pictures in range(1, 200):
        assert 0 <= metrics.wilson_interval(0, pictures)[0] < 1e-9
        assert metrics.wilson_interval(pictures, pictures)[1] <= 1


def test_json_of_thousands_of_classes_grows_with_the_pictures() -> None:
    classes, n = 3000, 200
    rng = np.random.default_rng(3)
    scores = np.zeros((n, classes), np.float32)
    scores[np.arange(n), rng.integers(0, classes, n)] = 1
    truth = rng.integers(0, classes, n)
    found = metrics.measure(Predictions(('p',) * n, truth, scores))
    labels = [f'class {i}' for i in range(classes)]
    value = json.loads(json.dumps(found.to_json(labels), allow_nan=False))
    assert set(value) == set(metrics.measure(random_predictions(9, 4)).to_json('abcd'))
    assert sum(count for _, _, count in value['confusion']) == n
    assert len(value['confusion']) <= n
    assert {name: len(column) for name, column in value['classes'].items()} == dict.fromkeys(
        ['precision', 'recall', 'f1', 'pictures'], classes
    )
    assert len(json.dumps(value)) < 100_000
    again = metrics.Metrics.from_json(value, classes)
    assert again.confusion.sum() == n
    np.testing.assert_array_equal(again.confusion, found.confusion)
    np.testing.assert_array_equal(again.precision, found.precision)


def test_a_whole_matrix_of_many_classes_is_read_as_0_1_wrote_it() -> None:
    few = metrics.measure(random_predictions(300, 101))
    value = few.to_json([str(i) for i in range(101)])
    value['confusion'] = few.confusion.tolist()
    again = metrics.Metrics.from_json(value, 101)
    np.testing.assert_array_equal(again.pairs, few.pairs)
    value['confusion'] = [[0, 101, 1]]
    with pytest.raises(ValueError, match='there are 101 classes'):
        metrics.Metrics.from_json(value, 101)


def test_the_weakest_classes_and_the_commonest_mistakes() -> None:
    found = metrics.measure(predictions(LABELS, SCORES))
    assert found.weakest(9).tolist() == [1, 0], 'nothing is known of a class without images'
    assert found.worst_pairs(1).tolist() == [[0, 1, 1]]
    assert found.most_mistaken(2).tolist() == [0, 1]
    assert found.confusion_of(np.array([0, 2])).tolist() == [[2, 0], [0, 0]]
