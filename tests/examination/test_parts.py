"""The parts of an examination, on numbers of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from poets_tfr.examination import (
    alignment,
    approximate,
    crossing,
    curve,
    heads,
    near_copies,
    odd,
    suspects,
)
from poets_tfr.examination.columns import Columns
from poets_tfr.examination.curve import Curve
from poets_tfr.examination.thumbnails import Thumbnails


def blobs(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.int32)
    centres = rng.normal(0, 1, (classes, 8))
    return (centres[labels] + rng.normal(0, 1, (count, 8))).astype(np.float32), labels


def test_heads_side_by_side_are_those_of_scikit_learn() -> None:
    linear_model = pytest.importorskip('sklearn.linear_model')
    features, labels = blobs(300, 3)
    features = heads.standardise(features)
    assert features.mean(axis=0) == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(1)
    weights = (rng.random((300, 4)) < [1, 0.8, 0.5, 0.2]).astype(np.float32)
    head = heads.train(features, labels, 3, weights)
    wanted = np.tile(np.arange(4), (300, 1))
    found = heads.scores(head, features, 3, wanted)
    for place, seen in enumerate(weights.T > 0):
        # Its penalty is that of the sum of the losses: 1 / (C n) is ours.
        model = linear_model.LogisticRegression(
            C=1 / (heads.WEIGHT_DECAY * seen.sum()), tol=1e-8, max_iter=1000
        ).fit(features[seen], labels[seen])
        assert found[:, place] == pytest.approx(model.predict_proba(features), abs=2e-3)


def test_more_rows_than_a_block_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(300, 3)
    weights = np.ones((300, 2), np.float32)
    wanted = np.tile([1, 0], (300, 1))

    def scores() -> np.ndarray:
        return heads.scores(heads.train(features, labels, 3, weights), features, 3, wanted)

    whole = scores()
    monkeypatch.setattr(heads, '_ROWS_AT_ONCE', 70)
    assert scores() == pytest.approx(whole, abs=1e-3)


ALONE = np.full((99, 3), -1, np.int32)  # no neighbours


def test_neighbours_vote_with_their_labels() -> None:
    labels = np.array([0, 1, 1, 2], np.int32)
    scores = np.full((4, 3), 1 / 3, np.float32)
    neighbours = np.array([[1, 2, 3], [2, -1, 3], [-1, -1, -1], [0, 1, -1]], np.int32)
    found = suspects.with_neighbours(scores, neighbours, labels)
    votes = np.array([[0, 2 / 3, 1 / 3], [0, 1 / 2, 1 / 2], [1 / 3] * 3, [1 / 2, 1 / 2, 0]])
    wanted = 0.7 * scores + 0.3 * votes
    wanted[2] = scores[2]
    assert found == pytest.approx(wanted)
    many = np.zeros((4, 16), np.int32)
    many[:, 10:] = 3  # the eleventh has no vote
    assert suspects.with_neighbours(scores, many, labels)[:, 2] == pytest.approx(0.7 / 3)


def test_neighbours_are_the_nearest_of_another_group() -> None:
    rng = np.random.default_rng(0)
    features = heads.standardise(rng.normal(0, 1, (40, 8)).astype(np.float32))
    features[39] = features[0] + 0.01  # a copy, as its thumbnail says
    grey = rng.integers(0, 256, (40, 64, 64), np.uint8)
    grey[39] = grey[0]
    digests = [b'%032d' % row for row in range(40)]
    found = near_copies.candidates(columns_of(features, digests)).checked(grey)
    assert found.group[39] == 0
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    cosines[np.diag_indices(40)] = -2
    cosines[0, 39] = cosines[39, 0] = -2
    for row, neighbours in enumerate(found.neighbours):
        wanted = np.argsort(-cosines[row], kind='stable')[:14]
        assert [each for each in neighbours if each >= 0][:14] == wanted.tolist(), row


def test_confident_joint_by_hand() -> None:
    # Class 0 has the threshold 0.6, class 1 has 0.55: of 0 one is surely 1, one is sure of nothing.
    scores = np.array(
        [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.3, 0.7], [0.6, 0.4]], np.float32
    )
    labels = np.array([0, 0, 0, 0, 1, 1], np.int32)
    found = suspects.find(scores, ALONE[: len(labels)], labels, seed=0)
    # Of three sure ones of class 0 one is off; scaled to four. Of class 1 each one.
    assert found.joint == pytest.approx(np.array([[8 / 3, 4 / 3], [1, 1]]))
    assert found.expected == pytest.approx(4 / 3 + 1)
    low, high = found.expected_range
    assert 0 <= low <= found.expected <= high <= 6
    assert found.order.tolist() == [2, 5, 3, 4, 0, 1]
    assert found.quality[[2, 5]] == pytest.approx([0.1, 0.4])
    assert found.suggested.tolist() == [0, 0, 1, 0, 1, 0]
    assert found.likely().tolist() == [2, 5]


def test_a_class_without_pictures_is_no_suspicion() -> None:
    scores = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]] * 10, np.float32)
    found = suspects.find(scores, ALONE[:20], np.array([1, 0] * 10, np.int32), seed=0)
    assert found.likely().tolist() == []
    assert found.expected == 0
    assert list(found.expected_range) == [0, 0]


@pytest.mark.parametrize('is_large', [False, True])
def test_nothing_is_asked_of_a_head_that_saw_it_or_its_copy(
    is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features that name the pair of a picture: who has seen its twin knows the label."""
    if is_large:
        monkeypatch.setattr(crossing, '_LARGE', 0)
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 2)
    labels = rng.integers(0, 3, 60).astype(np.int32)[group]
    split = (rng.random(60) < 0.3).astype(np.int32)[group]
    columns = Columns(
        ['a', 'b', 'c'], [''] * 120, labels, ['train', 'test'], split, np.zeros(120, 'S32'),
        np.eye(60, dtype=np.float32)[group] * 8,
    )  # fmt: skip
    seen = crossing.validate(columns, np.arange(120), seed=0)
    unseen = crossing.validate(columns, group, seed=0)
    assert (seen.scores.argmax(axis=1) == labels).mean() > 0.8
    assert (unseen.scores.argmax(axis=1) == labels).mean() < 0.6
    assert unseen.by_split is not None
    in_train = split == 0
    assert (unseen.by_split.argmax(axis=1) == labels)[in_train].all()
    assert len(unseen.curve.accuracy) == (1 if is_large else 5)
    small, *_, whole = unseen.curve.pictures
    assert whole == pytest.approx(96, abs=1)
    assert small == pytest.approx(12, abs=6)


def picture(seed: int, noise: float = 0.0) -> np.ndarray:
    """uint8 [200, 200]: a pattern of its own."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
    pixels = np.asarray(coarse.resize((200, 200), Image.Resampling.BICUBIC), np.float32)
    return (pixels + rng.normal(0, noise, pixels.shape)).clip(0, 255).astype(np.uint8)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX))


def test_what_is_cut_brightened_or_noisy_is_alike_and_what_is_mirrored_is_not() -> None:
    whole = picture(0)
    cut = [whole[10:, 10:], whole[:-10, 5:-5], whole[20:, :], whole]
    others = [
        *cut,
        (whole * 0.8 + 20).astype(np.uint8),
        picture(0, noise=8),
        whole[:, ::-1],
        picture(1),
        np.full_like(whole, 90),
    ]
    grey = np.stack([thumbnail(each) for each in [whole, *others]])
    pairs = np.array([[0, row] for row in range(1, len(grey))])
    alike = alignment.similarity(grey, pairs, 0.98)
    assert (alike[:6] > 0.99).all(), alike
    assert alike[3] == pytest.approx(1, abs=1e-4)
    assert (alike[6:] < 0.8).all(), alike
    assert alignment.similarity(grey, pairs[:, ::-1], 0.98)[:6].min() > 0.98


def columns_of(features: np.ndarray, digests: list[bytes]) -> Columns:
    count = len(features)
    zeros = np.zeros(count, np.int32)
    paths = [str(row) for row in range(count)]
    return Columns(['a'], paths, zeros, ['train'], zeros, np.array(digests, 'S32'), features)


def test_groups_hold_what_is_joined_through_others_and_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (9, 40)).astype(np.float32)
    features[3] = features[1] * 1.1
    features[5] = features[3] + 0.01
    features[8] = features[0]
    features[6] = features[2]  # alike to the network, not to the eye
    grey = np.stack([thumbnail(picture(row)) for row in range(9)])
    grey[3] = grey[5] = grey[1]
    grey[8] = grey[0]
    digests = [bytes([row + 1]) * 32 for row in range(8)] + [bytes([1]) * 32]
    found = near_copies.candidates(columns_of(features, digests)).checked(grey)
    assert [rows.tolist() for rows in found.groups()] == [[1, 3, 5], [0, 8]]
    assert found.similarity[[1, 3, 5, 0, 8]] == pytest.approx(1, abs=1e-4)
    assert found.similarity[[2, 4, 6, 7]].tolist() == [0, 0, 0, 0]
    assert found.nearest[[2, 6]] == pytest.approx(1, abs=1e-5)
    assert found.nearest[8] == found.nearest[0] < 0.6
    test, rest = np.arange(9) == 5, np.arange(9) != 5
    assert np.flatnonzero(found.seen_elsewhere(test, rest)).tolist() == [5]


def test_of_many_near_ones_the_nearest_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(2, 1, (300, 12)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    scale = 1 / np.linalg.norm(features, axis=1)
    cosine = unit @ unit.T - 2 * np.eye(300, dtype=np.float32)
    top = np.argsort(-cosine, axis=1)[:, : near_copies._NEIGHBOURS]
    wanted = {tuple(sorted((row, int(near)))) for row in range(300) for near in top[row]}
    for tile in (1024, 8192), (70, 90), (64, 64):
        monkeypatch.setattr(near_copies, '_ROWS_AT_ONCE', tile[0])
        monkeypatch.setattr(near_copies, '_COLUMNS_AT_ONCE', tile[1])
        pairs, nearest = near_copies._neighbours(features, np.arange(300), scale)
        assert (pairs[:, 0] < pairs[:, 1]).all()
        found = set(map(tuple, pairs.tolist()))
        assert len(found) == len(pairs)
        assert found >= wanted
        kept = np.sort(cosine, axis=1)[:, ::-1][:, : near_copies._KEPT]
        assert nearest.cosines == pytest.approx(kept, abs=1e-5)
        of_places = np.take_along_axis(cosine, nearest.places, axis=1)
        assert of_places == pytest.approx(kept, abs=1e-5)
    monkeypatch.setattr(near_copies, '_MOST_HITS', 20)
    found = set(map(tuple, near_copies._neighbours(features, np.arange(300), scale)[0].tolist()))
    assert len(found) < len(pairs)
    for row in range(299):
        assert (row, row + 1 + int(cosine[row, row + 1 :].argmax())) in found


@pytest.mark.parametrize('count', [40, 700])  # of fewer, all are in one cell
def test_among_very_many_faiss_finds_the_same(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (7, 24))
    features = centres[rng.integers(0, 7, count)] + rng.normal(0, 0.4, (count, 24))
    columns = heads.room_for(count, 24)
    columns[:] = heads.standardise(features.astype(np.float32))
    columns[count // 2] = columns[3] + 0.01
    columns[5] = columns[4]
    digests = [b'%032d' % row for row in range(count)]
    digests[5] = digests[4]
    grey = rng.integers(0, 256, (count, 64, 64), np.uint8)
    grey[count // 2], grey[5] = grey[3], grey[4]
    exact = near_copies.candidates(columns_of(columns, digests)).checked(grey)
    monkeypatch.setattr(near_copies, 'MANY', 10)
    monkeypatch.setattr(near_copies, '_neighbours', None)
    found = near_copies.candidates(columns_of(columns, digests)).checked(grey)
    assert [rows.tolist() for rows in found.groups()] == [[3, count // 2], [4, 5]]
    assert (found.group == exact.group).all()
    assert found.nearest == pytest.approx(exact.nearest, abs=1e-5)
    assert np.mean(found.neighbours == exact.neighbours) > 0.98


def test_without_faiss_very_many_are_compared_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    features = np.random.default_rng(0).normal(0, 1, (30, 8)).astype(np.float32)
    columns = columns_of(features, [b'%032d' % row for row in range(30)])
    wanted = near_copies.candidates(columns)
    assert not caplog.messages
    monkeypatch.setattr(near_copies, 'MANY', 29)
    monkeypatch.setattr(approximate, 'is_installed', lambda: False)
    found = near_copies.candidates(columns)
    assert (found.neighbours == wanted.neighbours).all()
    assert caplog.messages == [
        'WARNING: 30 images are compared with each other, which takes four times as long for twice '
        'as many: pip install faiss-cpu is quicker beyond 29.'
    ]


def test_odd_pictures_by_their_figures() -> None:
    count = 40
    figures = {
        'width': np.full(count, 100), 'height': np.full(count, 80),
        'brightness': np.full(count, 120.0), 'contrast': np.full(count, 50.0),
        'sharpness': np.full(count, 0.5), 'text_lines': np.zeros(count, np.int32),
    }  # fmt: skip
    figures['height'][3] = 25  # four times as long, and tiny
    figures['brightness'][4], figures['contrast'][4] = 10, 5
    figures['brightness'][5], figures['contrast'][5] = 250, 2
    figures['contrast'][6], figures['sharpness'][6] = 1, 0
    figures['text_lines'][[8, 10, 11]] = 9, 12, 10
    figures['sharpness'][7] = 0.009
    rng = np.random.default_rng(0)
    nearest = (0.8 + rng.uniform(-0.01, 0.01, count)).astype(np.float32)
    nearest[9], nearest[30] = 0.1, 0.3
    thumbnails = Thumbnails(grey=np.zeros((count, 64, 64), np.uint8), **figures)
    labels = np.repeat([0, 1], 20)
    found = odd.find(thumbnails, labels, nearest)
    assert [(each.row, each.reason) for each in found] == [
        (4, 'nearly black'), (5, 'nearly white'), (6, 'blank'), (3, 'tiny'), (3, 'extremely long'),
        (7, 'very blurred'), (10, 'screenshot or text'), (11, 'screenshot or text'),
        (9, 'unlike all others'), (30, 'unlike all others'),
    ]  # fmt: skip
    assert [each.value for each in found] == pytest.approx(
        [20, 246, 1, 25, 4, 0.009, 12, 10, 0.9, 0.7]
    )
    assert set(odd.REASONS) >= {each.reason for each in found}
    thumbnails.text_lines[:9] = 20  # where every fourth is drawn, none of them is odd
    found = odd.find(thumbnails, labels, nearest)
    assert 'screenshot or text' not in {each.reason for each in found}


def test_twice_as_many_pictures_by_hand() -> None:
    # The mistakes fall by a fifth with each doubling.
    mistakes = 0.5 * 0.8 ** np.arange(4)
    of_class = np.stack([1 - mistakes, np.ones(4), np.full(4, np.nan), 0.5 + mistakes / 10], axis=1)
    found = Curve([1, 2, 4, 8], np.stack([1 - mistakes, 1 - mistakes]), of_class)
    gain, error = found.doubled()
    assert gain == pytest.approx(mistakes[-1] * 0.2)
    assert error == pytest.approx(0, abs=1e-12)
    # One that is always right, or that was never tried, or gets worse, gains nothing.
    assert found.doubled_of_class() == pytest.approx([gain, 0, 0, 0])
    assert len(curve.SHARES) == len(found.mean) == 4
    alone = Curve([1, 2, 4, 8], (1 - mistakes)[None], of_class)
    assert np.isnan(alone.error).all()
    assert np.isnan(alone.doubled()[1])


def test_pairs_are_looked_at_in_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.stack([thumbnail(picture(row)) for row in range(4)])
    pairs = np.array([[0, 1], [1, 1], [2, 3], [0, 3], [3, 3], [1, 2], [0, 0]])
    whole = alignment.unaligned(grey, pairs), alignment.similarity(grey, pairs, 0.975)
    monkeypatch.setattr(alignment, '_PAIRS_AT_ONCE', 3)
    monkeypatch.setattr(alignment, '_UNALIGNED_AT_ONCE', 3)
    blocks = alignment.unaligned(grey, pairs), alignment.similarity(grey, pairs, 0.975)
    for one, other in zip(whole, blocks, strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    assert np.flatnonzero(blocks[1] > 0.99).tolist() == [1, 4, 6]
    assert len(alignment.similarity(grey, pairs[:0], 0.975)) == 0
