"""Features on disk and in memory are the same features."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from poets_tfr.errors import InputError
from poets_tfr.extraction import cache as feature_cache
from poets_tfr.extraction.cache import FeatureCache
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.records.reading import DIGEST
from poets_tfr.training import loop
from poets_tfr.training.predictions import predict
from poets_tfr.training.settings import HeadConfig

WIDTH = 7


def digests_of(numbers: range) -> np.ndarray:
    return np.array([hashlib.sha256(b'%d' % number).digest() for number in numbers], DIGEST)


def features_of(numbers: range) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, WIDTH)).astype(np.float32)[list(numbers)]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Three files, written and then opened anew, as another run would."""
    written = FeatureCache(str(tmp_path), WIDTH)
    for numbers in range(3), range(3, 400), range(400, 600):
        written.add(digests_of(numbers), features_of(numbers))
    return FeatureCache(str(tmp_path), WIDTH)


def test_both_forms_give_each_picture_its_own_features(cache: FeatureCache) -> None:
    wanted = range(599, -1, -7)
    in_memory = cache.in_memory(digests_of(wanted))
    np.testing.assert_array_equal(in_memory, features_of(wanted))
    on_disk = cache.on_disk(digests_of(wanted))
    assert on_disk.shape == in_memory.shape
    rows = np.array([5, 0, 5, 80])
    np.testing.assert_array_equal(on_disk[rows], in_memory[rows])


def test_only_what_was_never_kept_is_missing_and_of_equal_pictures_the_first(
    cache: FeatureCache,
) -> None:
    digests = np.concatenate([digests_of(range(598, 602)), digests_of(range(600, 602))])
    assert cache.missing(digests).tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize('batch_size', [20, -1])
@pytest.mark.parametrize('sampling', ['class_uniform', 'natural'])
def test_a_head_trained_from_disk_has_the_same_bits(
    cache: FeatureCache, batch_size: int, sampling: str
) -> None:
    config = HeadConfig(
        how_many_training_steps=25,
        train_batch_size=batch_size,
        validation_batch_size=batch_size,
        sampling=sampling,  # type: ignore[arg-type]
    )
    heads = []
    for look_up in cache.in_memory, cache.on_disk:
        splits = {}
        for split, numbers in (('train', range(500)), ('validation', range(500, 600))):
            labels = np.arange(len(numbers), dtype=np.int32) % 3
            splits[split] = SplitFeatures(
                look_up(digests_of(numbers)), labels, tuple(map(str, numbers))
            )
        measured = list(loop.train(splits, 3, config))
        head = measured[-1].head
        tested = predict(head, splits['validation'])
        said = [evaluation for some in measured for evaluation in some.evaluations]
        heads.append((head.weights.numpy(), said, tested.scores))
    (weights, evaluations, scores), (others, other_evaluations, other_scores) = heads
    np.testing.assert_array_equal(weights, others)
    assert evaluations == other_evaluations
    np.testing.assert_array_equal(scores, other_scores)


def test_rows_are_not_read_from_a_remote_folder() -> None:
    cache = FeatureCache('ram://features', WIDTH)
    cache.add(digests_of(range(3)), features_of(range(3)))
    np.testing.assert_array_equal(cache.in_memory(digests_of(range(3))), features_of(range(3)))
    with pytest.raises(InputError, match='bottleneck_dir must be local'):
        cache.on_disk(digests_of(range(3)))


def test_few_files_are_open_at_a_time(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, '_MOST_OPEN_FILES', 2)
    on_disk = cache.on_disk(digests_of(range(600)))
    before = len(os.listdir('/proc/self/fd'))
    rows = np.array([0, 500, 300, 1, 599, 399])
    np.testing.assert_array_equal(on_disk[rows], features_of(range(600))[rows])
    assert len(os.listdir('/proc/self/fd')) <= before + 2
