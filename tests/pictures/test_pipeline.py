"""Shards -> batches: each wanted record once, at its row, in one static shape."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import colours
import numpy as np
import pytest

from poets_tfr.pictures import pipeline, preprocess
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records import codecs, schema

MODEL = Preprocessing(32, 127.5, 127.5)
RECORDS = [5, 0, 1, 9, 3]  # of each shard; the second is a legal empty file


@pytest.fixture(scope='module')
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], np.ndarray]:
    """The shards, and float32 [18, 32, 32, 3]: what each row must come out as."""
    import tensorflow as tf

    directory = tmp_path_factory.mktemp('shards')
    rng = np.random.default_rng(0)
    paths, pictures = [], []
    for number, records in enumerate(RECORDS):
        paths.append(str(directory / f'{number}.tfrecord'))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for _ in range(records):
                folder = rng.choice(sorted(colours.COLOURS))
                content = colours.encoded(colours.draw(folder, rng))
                stored = codecs.store(content)
                writer.write(schema.encode_example(stored, b'a/b.jpg', 0, 'a', '0' * 64))
                pictures.append(preprocess.from_encoded(content, MODEL).numpy())
    return paths, np.stack(pictures)


def batches_of(
    shards: list[str], wanted: np.ndarray, batch_size: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    dataset = pipeline.one_pass(shards, RECORDS, wanted, MODEL, batch_size)
    assert dataset.element_spec[0].shape == [batch_size]
    assert dataset.element_spec[1].shape == [batch_size, 32, 32, 3]
    return [(rows.numpy(), pictures.numpy()) for rows, pictures in dataset]


def test_only_shards_that_are_needed_are_opened_and_the_order_stays(
    shards: tuple[list[str], np.ndarray],
) -> None:
    paths, truth = shards
    everything = np.concatenate([rows for rows, _ in batches_of(paths, np.ones(18, bool), 1)])
    wanted = np.zeros(18, bool)
    wanted[[5, 7, 12, 16]] = True  # in the shards 2, 3 and 4
    some = batches_of(['/no/such/shard', '/nor/this', *paths[2:]], wanted, 1)
    rows = np.concatenate([rows for rows, _ in some])
    assert rows.tolist() == [row for row in everything if wanted[row]]
    np.testing.assert_array_equal(np.concatenate([p for _, p in some]), truth[rows])


@pytest.mark.parametrize('batch_size', [1, 4, 6, 9, 32])
def test_rows_and_pictures_belong_together(
    shards: tuple[list[str], np.ndarray], batch_size: int
) -> None:
    paths, truth = shards
    batches = batches_of(paths, np.ones(18, bool), batch_size)
    assert len(batches) == -(-18 // batch_size)
    seen = []
    for rows, pictures in batches:
        real = rows >= 0
        np.testing.assert_array_equal(pictures[real], truth[rows[real]])
        assert (rows[~real] == -1).all()
        assert (pictures[~real] == -1).all(), 'black'
        assert not (np.diff(real.astype(int)) > 0).any(), 'padding only at the end'
        seen += rows[real].tolist()
    assert sorted(seen) == list(range(18))


def test_only_what_is_wanted_is_decoded(shards: tuple[list[str], np.ndarray]) -> None:
    paths, truth = shards
    wanted = np.zeros(18, bool)
    wanted[[0, 4, 5, 17]] = True
    ((rows, pictures),) = batches_of(paths, wanted, 8)
    assert sorted(rows[:4]) == [0, 4, 5, 17]
    assert (rows[4:] == -1).all()
    np.testing.assert_array_equal(pictures[:4], truth[rows[:4]])
    assert batches_of(paths, np.zeros(18, bool), 8) == []


def test_the_order_is_the_same_every_time(shards: tuple[list[str], np.ndarray]) -> None:
    def order() -> list[Any]:
        return [rows.tolist() for rows, _ in batches_of(shards[0], np.ones(18, bool), 4)]

    assert order() == order() == order()


def test_what_is_left_over_comes_in_the_same_order(shards: tuple[list[str], np.ndarray]) -> None:
    """So a run that goes on after a kill makes the same batches as an undisturbed one."""
    everything = batches_of(shards[0], np.ones(18, bool), 4)
    wanted = np.ones(18, bool)
    for rows, _ in everything[:2]:
        wanted[rows] = False
    rest = batches_of(shards[0], wanted, 4)
    assert [rows.tolist() for rows, _ in rest] == [rows.tolist() for rows, _ in everything[2:]]


DISTORTIONS = Distortions(DistortionConfig(random_crop=30, random_brightness=20), seed=1)


def distorted_batches(
    shards: list[str], wanted: np.ndarray, batch_size: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    seeds = np.arange(18) * 1000
    dataset = pipeline.one_pass_distorted(
        shards, RECORDS, wanted, MODEL, batch_size, DISTORTIONS, seeds
    )
    assert dataset.element_spec[1].shape == [batch_size, 32, 32, 3]
    return [(numbers.numpy(), pictures.numpy()) for numbers, pictures in dataset]


def test_distorted_copies_are_the_same_pixels_in_any_batch_and_any_number_of_threads(
    shards: tuple[list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, _ = shards
    whole = np.ones((18, 5), bool)
    ((numbers, pictures),) = distorted_batches(paths, whole, 90)
    assert sorted(numbers) == list(range(90))
    by_number = pictures[np.argsort(numbers)]
    assert len(np.unique(by_number.reshape(90, -1), axis=0)) == 90
    for batch_size, threads in (1, 1), (7, 1), (32, 13):
        monkeypatch.setattr(pipeline, 'decoding_threads', lambda threads=threads: threads)
        batches = distorted_batches(paths, whole, batch_size)
        order = np.concatenate([row for row, _ in batches])
        np.testing.assert_array_equal(order[:90], numbers)
        assert (order[90:] == -1).all()
        for row, some in batches:
            np.testing.assert_array_equal(some[row >= 0], by_number[row[row >= 0]])


def test_only_the_wanted_copies_are_made(shards: tuple[list[str], np.ndarray]) -> None:
    paths, _ = shards
    ((numbers, pictures),) = distorted_batches(paths, np.ones((18, 5), bool), 90)
    wanted = np.zeros((18, 5), bool)
    wanted[[0, 3, 3, 17], [4, 0, 2, 1]] = True
    ((some, few),) = distorted_batches(paths, wanted, 6)
    assert sorted(some.tolist()) == [-1, -1, 4, 15, 17, 86]
    for number, picture in zip(some[:4], few[:4], strict=True):
        np.testing.assert_array_equal(picture, pictures[numbers == number][0])


def test_every_pass_is_in_order_and_has_no_thread_that_tunes(
    shards: tuple[list[str], np.ndarray],
) -> None:
    """The end of a pass would wait for it, for seconds at times: it sleeps longer and longer."""
    everything, seeds = np.ones(18, bool), np.arange(18)
    passes = [
        pipeline.one_pass(shards[0], RECORDS, everything, MODEL, 4),
        pipeline.one_pass_distorted(
            shards[0], RECORDS, everything[:, None], MODEL, 4, DISTORTIONS, seeds
        ),
        pipeline.distorted_steps(
            lambda row: b'', lambda step: np.zeros(3, np.int32), 4, 0, MODEL, DISTORTIONS, seeds
        ),
    ]
    assert [each.options().autotune.enabled for each in passes] == [False, False, False]
    assert [each.options().deterministic for each in passes] == [True, True, True]


def test_nothing_is_left_in_the_temporary_folder(
    shards: tuple[list[str], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AutoGraph would write a file for each function, and a stopped process would leave them."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    paths, pictures = shards
    wanted = np.ones(len(pictures), bool)
    wanted[0] = False
    assert batches_of(paths, wanted, 4)
    copies = pipeline.one_pass_distorted(
        paths, RECORDS, wanted[:, None].repeat(2, 1), MODEL, 4, DISTORTIONS, np.arange(len(wanted))
    )
    assert len(list(copies)) == 9
    assert list(tmp_path.iterdir()) == []
