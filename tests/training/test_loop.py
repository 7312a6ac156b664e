"""The loop: repeatable to the bit, exact in its evaluations, and equal to its plain twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from poets_tfr.errors import InputError
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.training import head as heads
from poets_tfr.training import loop
from poets_tfr.training.early_stopping import Best
from poets_tfr.training.loop import Evaluation, Measurements, Training
from poets_tfr.training.predictions import predict
from poets_tfr.training.sampling import TRAIN_STREAM, VALIDATION_STREAM, Sampler
from poets_tfr.training.settings import HeadConfig

WIDTH, CLASSES = 12, 3
CENTRES = np.random.default_rng(9).normal(0, 1, (CLASSES, WIDTH))


def split_of(counts: list[int], seed: int, spread: float = 0.7) -> SplitFeatures:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), counts)).astype(np.int32)
    features = (CENTRES[labels] + rng.normal(0, spread, (len(labels), WIDTH))).astype(np.float32)
    return SplitFeatures(features, labels, tuple(f'{row}.jpg' for row in range(len(labels))))


SPLITS = {'train': split_of([30, 10, 50], seed=1), 'validation': split_of([5, 9, 3], seed=2)}


def trained(
    config: HeadConfig, splits: dict[str, SplitFeatures] | None = None, pause_every: int = 0
) -> list[Measurements]:
    return list(loop.train(splits or SPLITS, CLASSES, config, pause_every))


def joined(
    measured: list[Measurements],
) -> tuple[np.ndarray, np.ndarray, list[Evaluation], np.ndarray, np.ndarray]:
    assert [m.first_step for m in measured[1:]] == [m.last_step + 1 for m in measured[:-1]]
    head = measured[-1].head
    return (
        np.concatenate([m.accuracies for m in measured]),
        np.concatenate([m.cross_entropies for m in measured]),
        [evaluation for m in measured for evaluation in m.evaluations],
        head.weights.numpy(),
        head.biases.numpy(),
    )


def assert_same_bits(some: list[Measurements], other: list[Measurements]) -> None:
    one, another = joined(some), joined(other)
    assert one[2] == another[2]
    for place in 0, 1, 3, 4:
        np.testing.assert_array_equal(np.asarray(one[place]), np.asarray(another[place]))


def test_the_same_seed_gives_the_same_bits() -> None:
    config = HeadConfig(how_many_training_steps=60, seed=4)
    first = trained(config)
    assert_same_bits(trained(config), first)
    other = trained(HeadConfig(how_many_training_steps=60, seed=5))
    assert (joined(other)[3] != joined(first)[3]).mean() > 0.9


@pytest.mark.parametrize('pause_every', [1, 7, 25, 1000])
def test_pauses_change_nothing(pause_every: int) -> None:
    config = HeadConfig(how_many_training_steps=60, learning_rate=0.1)
    paused = trained(config, pause_every=pause_every)
    assert_same_bits(paused, trained(config))
    ends = {measured.last_step for measured in paused}
    assert {step for step in range(60) if step % pause_every == 0} <= ends


@pytest.mark.parametrize(('first', 'most'), [(1, 1), (3, 500), (500, 500)])
def test_how_many_steps_go_into_a_call_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, first: int, most: int
) -> None:
    """The loop sizes its calls by the clock: the clock must not show."""
    config = HeadConfig(how_many_training_steps=40, learning_rate=0.1)
    wanted = trained(config)
    monkeypatch.setattr(loop, '_FIRST_CALL_STEPS', first)
    monkeypatch.setattr(loop, '_MOST_STEPS_PER_CALL', most)
    assert_same_bits(trained(config), wanted)


@pytest.mark.parametrize(
    ('steps', 'interval', 'wanted'),
    [
        (1, 10, [0]),
        (2, 10, [0, 1]),
        (21, 10, [0, 10, 20]),
        (25, 10, [0, 10, 20, 24]),
        (4, 1, [0, 1, 2, 3]),
        (5, 100, [0, 4]),
    ],
)
def test_when_it_evaluates(steps: int, interval: int, wanted: list[int]) -> None:
    measured = trained(HeadConfig(how_many_training_steps=steps, eval_step_interval=interval))
    accuracies, _, evaluations, _, _ = joined(measured)
    assert [evaluation.step for evaluation in evaluations] == wanted
    assert len(accuracies) == steps
    assert {evaluation.validation_draws for evaluation in evaluations} == {100}


def test_no_steps() -> None:
    assert trained(HeadConfig(how_many_training_steps=0)) == []


def plain_twin(config: HeadConfig, splits: dict[str, SplitFeatures]) -> tuple[Any, ...]:
    """The loop written anew in numpy, float64, without a graph; only the draws are shared."""
    start = heads.init(WIDTH, CLASSES, config.seed)
    weights, biases = start.weights.numpy().astype(float), start.biases.numpy().astype(float)

    def batch(name: str, size: int, stream: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        split = splits[name]
        rows = Sampler.of(
            split.labels, CLASSES, size, config.sampling, config.seed, stream
        ).draw(step).numpy()  # fmt: skip
        return split.features[rows].astype(float), split.labels[rows]

    def scores(features: np.ndarray, labels: np.ndarray) -> tuple[float, float, np.ndarray]:
        values = features @ weights + biases
        likely = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
        right = (values.argmax(axis=1) == labels).mean()
        return right, -np.log(likely[np.arange(len(labels)), labels]).mean(), likely

    accuracies, entropies, evaluations = [], [], []
    last = config.how_many_training_steps - 1
    for step in range(last + 1):
        features, labels = batch('train', config.train_batch_size, TRAIN_STREAM, step)
        accuracy, entropy, likely = scores(features, labels)
        accuracies.append(accuracy)
        entropies.append(entropy)
        slope = (likely - np.eye(CLASSES)[labels]) / len(labels)
        weights = weights - config.learning_rate * features.T @ slope
        biases = biases - config.learning_rate * slope.sum(axis=0)
        if step % config.eval_step_interval == 0 or step == last:
            size = config.validation_batch_size
            unseen = batch('validation', size, VALIDATION_STREAM, step)
            evaluations.append(
                (step, *scores(features, labels)[:2], *scores(*unseen)[:2], len(unseen[1]))
            )
    return accuracies, entropies, evaluations, weights, biases


@pytest.mark.parametrize(
    'config',
    [
        HeadConfig(how_many_training_steps=30, learning_rate=0.5),
        HeadConfig(how_many_training_steps=30, learning_rate=0.5, sampling='natural', seed=8),
        HeadConfig(how_many_training_steps=25, train_batch_size=7, eval_step_interval=4),
        HeadConfig(how_many_training_steps=25, train_batch_size=-1, validation_batch_size=-1),
    ],
    ids=['default', 'natural', 'small batches', 'whole sets'],
)
def test_the_loop_equals_its_plain_twin(config: HeadConfig) -> None:
    accuracies, entropies, evaluations, weights, biases = joined(trained(config))
    twin = plain_twin(config, SPLITS)
    np.testing.assert_allclose(accuracies, twin[0], atol=1e-6)
    np.testing.assert_allclose(entropies, twin[1], atol=1e-5)
    np.testing.assert_allclose(np.array(evaluations), np.array(twin[2]), atol=1e-5)
    np.testing.assert_allclose(weights, twin[3], atol=1e-5)
    np.testing.assert_allclose(biases, twin[4], atol=1e-5)


def test_whole_sets_do_not_depend_on_the_draws() -> None:
    whole: dict[str, Any] = {
        'train_batch_size': -1, 'validation_batch_size': -1, 'how_many_training_steps': 5
    }  # fmt: skip
    uniform = trained(HeadConfig(**whole, sampling='class_uniform'))
    assert_same_bits(trained(HeadConfig(**whole, sampling='natural')), uniform)
    assert {evaluation.validation_draws for evaluation in joined(uniform)[2]} == {17}


def test_early_stopping_keeps_the_best_head_by_the_whole_validation_split() -> None:
    """Labels that say nothing: overfitting makes validation worse."""
    rng = np.random.default_rng(3)
    train = SPLITS['train']
    noise = rng.integers(0, CLASSES, len(train)).astype(np.int32)
    splits = {**SPLITS, 'train': SplitFeatures(train.features, noise, train.paths)}
    config = HeadConfig(
        how_many_training_steps=2000, learning_rate=0.5, eval_step_interval=5,
        early_stopping_patience=4,
    )  # fmt: skip
    training = Training(splits, CLASSES, config)
    measured = list(training.run(training.start()))
    evaluations = joined(measured)[2]
    scores = [(e[3], -(e[4] or 0)) for e in evaluations]
    best = scores.index(max(scores))
    assert len(evaluations) == best + 1 + 4, 'four evaluations without a better one'
    assert {evaluation.validation_draws for evaluation in evaluations} == {17}
    state = measured[-1].state
    assert isinstance(state.best, Best)
    assert int(state.best.step) == evaluations[best].step
    kept = training.trained(state)
    accuracy, entropy = heads.evaluate(
        kept, splits['validation'].features, splits['validation'].labels
    )
    assert (accuracy.numpy(), -entropy.numpy()) == pytest.approx(scores[best])
    assert (kept.weights.numpy() != measured[-1].head.weights.numpy()).any()


def test_early_stopping_goes_on_while_the_cross_entropy_of_as_accurate_heads_falls() -> None:
    splits = {name: split_of([9, 9, 9], seed=7, spread=0.05) for name in ('train', 'validation')}
    config = HeadConfig(
        how_many_training_steps=60, learning_rate=0.05, train_batch_size=-1, eval_step_interval=5,
        early_stopping_patience=2,
    )  # fmt: skip
    training = Training(splits, CLASSES, config)
    measured = list(training.run(training.start()))
    assert {evaluation.validation_accuracy for evaluation in joined(measured)[2][-5:]} == {1.0}
    assert int(measured[-1].state.best.step) == 59


RESUMED = {
    'default': {},
    'momentum, cosine': {'optimizer': 'momentum', 'learning_rate_schedule': 'cosine'},
    'adam': {'optimizer': 'adam', 'weight_decay': 0.01},
    'lbfgs': {'optimizer': 'lbfgs', 'standardize_features': True, 'learning_rate': 0.01},
    'early stopping': {'early_stopping_patience': 3, 'standardize_features': True},
}


@pytest.mark.parametrize('settings', RESUMED.values(), ids=list(RESUMED))
def test_a_training_goes_on_from_any_state_to_the_same_bits(settings: dict[str, Any]) -> None:
    config = HeadConfig(**{'how_many_training_steps': 40, 'learning_rate': 0.3, **settings})
    whole = Training(SPLITS, CLASSES, config)
    measured = list(whole.run(whole.start(), pause_every=1))
    assert len(measured) > 6
    for cut in 0, len(measured) // 2, len(measured) - 1:
        other = Training(SPLITS, CLASSES, config)
        rest = list(other.run(measured[cut].state))
        state = rest[-1].state if rest else measured[cut].state
        for found, wanted in zip(
            other.trained(state), whole.trained(measured[-1].state), strict=True
        ):
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())
        assert int(state.step) == int(measured[-1].state.step)


def test_standardised_by_the_training_split_and_folded() -> None:
    """Scaling a feature changes nothing then; what is yielded is for the features as they are."""
    config = HeadConfig(how_many_training_steps=40, learning_rate=0.3, standardize_features=True)
    factor = np.exp2(np.arange(-4, WIDTH - 4)).astype(np.float32)
    scaled = {
        name: SplitFeatures(split.features * factor, split.labels, split.paths)
        for name, split in SPLITS.items()
    }
    plain, other = joined(trained(config)), joined(trained(config, scaled))
    np.testing.assert_allclose(other[1], plain[1], rtol=1e-4)
    np.testing.assert_allclose(other[3] * factor[:, None], plain[3], atol=1e-4)
    whole = HeadConfig(
        how_many_training_steps=5,
        train_batch_size=-1,
        validation_batch_size=-1,
        standardize_features=True,
    )
    measured = trained(whole)[-1]
    _, *seen = measured.evaluations[-1]
    for name, wanted in ('train', seen[:2]), ('validation', seen[2:4]):
        split = SPLITS[name]
        found = heads.evaluate(measured.head, split.features, split.labels)
        np.testing.assert_allclose([v.numpy() for v in found], np.array(wanted), atol=1e-5)


def test_the_loop_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced, whole = [], heads.scores_of

    def noted(*batch: Any) -> heads.Scores:
        traced.append(batch)
        return whole(*batch)

    monkeypatch.setattr(heads, 'scores_of', noted)
    config = HeadConfig(how_many_training_steps=100)
    training = Training(SPLITS, CLASSES, config)
    calls = training.run(training.start(), pause_every=7)
    next(calls)
    after_the_first = len(traced)
    assert len(list(calls)) > 10
    assert len(traced) == after_the_first


def test_without_validation() -> None:
    config = HeadConfig(how_many_training_steps=11)
    _, _, evaluations, weights, _ = joined(trained(config, {'train': SPLITS['train']}))
    for evaluation in evaluations:
        assert evaluation[3:] == (None, None, 0)
    np.testing.assert_array_equal(weights, joined(trained(config))[3])


def test_it_learns_what_can_be_learned() -> None:
    config = HeadConfig(how_many_training_steps=300, learning_rate=0.1)
    test = split_of([40, 40, 40], seed=3)
    head = trained(config)[-1].head
    assert predict(head, test).accuracy > 0.9
    entropies = joined(trained(config))[1]
    assert entropies[0] > 1.0
    assert entropies[-10:].mean() < 0.4


@pytest.mark.parametrize('earliest', [0, 20, 45])
def test_what_is_no_number_stops_with_the_step_and_a_hint(earliest: int) -> None:
    """Found at the step that draws it for the first time, not at the end of a call or later."""
    config = HeadConfig(how_many_training_steps=60, learning_rate=0.25, train_batch_size=2)
    train = SPLITS['train']
    sampler = Sampler.of(train.labels, CLASSES, 2, 'class_uniform', 0, TRAIN_STREAM)
    drawn = [set(sampler.draw(step).numpy().tolist()) for step in range(60)]
    bad_step, bad_row = next(
        (step, row)
        for step in range(earliest, 60)
        for row in drawn[step] - set().union(*drawn[:step])
    )
    features = train.features.copy()
    features[bad_row] = np.inf
    broken = {**SPLITS, 'train': SplitFeatures(features, train.labels, train.paths)}
    with pytest.raises(InputError, match=rf'^Step {bad_step}: .*learning_rate \(it is 0.25\)'):
        trained(config, broken)
