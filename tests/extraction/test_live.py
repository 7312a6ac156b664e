"""Features of distorted pictures, kept as copies or made in every step: those of the right ones."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest

from poets_tfr.backbones import forward, frozen
from poets_tfr.backbones.forward import compile_forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.extraction import extract as extraction
from poets_tfr.extraction import live as live_features
from poets_tfr.extraction.extract import Extraction, SplitFeatures
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.pictures import distort, preprocess
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records import conversion
from poets_tfr.records.reading import Records, seeds_of
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources.listing import list_images

BATCH = 4
STRENGTH: dict[str, Any] = {
    'flip_left_right': True,
    'random_crop': 20,
    'random_scale': 10,
    'random_brightness': 30,
}


@pytest.fixture(scope='module')
def pictures_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('few') / 'few', per_class=8, seed=3)


@pytest.fixture(scope='module')
def records(tmp_path_factory: pytest.TempPathFactory, pictures_dir: Path) -> Path:
    directory = tmp_path_factory.mktemp('records')
    settings = ConversionConfig(
        image_dir=str(pictures_dir), records_dir=str(directory), num_shards=2,
        testing_percentage=20, validation_percentage=20,
    )  # fmt: skip
    conversion.convert(settings, list_images(settings))
    return directory


@pytest.fixture(scope='module')
def config(model_dir: Path) -> BackboneConfig:
    return BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir))


@pytest.fixture(scope='module')
def backbone(config: BackboneConfig) -> Backbone:
    return frozen.load(config)


class Truth:
    """The features of one distorted picture at a time, from its file."""

    def __init__(self, pictures_dir: Path, backbone: Backbone):
        self._directory, self._preprocessing = pictures_dir, backbone.preprocessing
        self._forward = compile_forward(backbone, 1, 'off')

    def of(self, path: str, distortions: Distortions, copy: int) -> np.ndarray:
        content = (self._directory / path).read_bytes()
        digest = np.array([hashlib.sha256(content).digest()], 'S32')
        (seed,) = seeds_of(digest).tolist()
        distortion = distort.draw(distortions, self._preprocessing.size, seed, copy)
        picture = distort.apply(distortion, preprocess.decode(content), self._preprocessing)
        return self._forward(picture[None]).numpy()[0]


@pytest.fixture(scope='module')
def truth(pictures_dir: Path, backbone: Backbone) -> Truth:
    return Truth(pictures_dir, backbone)


@pytest.fixture
def job(
    records: Path,
    backbone: Backbone,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> Job:
    caplog.set_level('INFO')
    return Job(records, backbone, tmp_path / 'cache', caplog)


class Job:
    def __init__(
        self,
        records: Path,
        backbone: Backbone,
        cache: Path,
        caplog: pytest.LogCaptureFixture,
    ):
        self.records, self.backbone, self.cache, self.caplog = records, backbone, cache, caplog
        self.settings: dict[str, Any] = {'feature_batch_size': BATCH}

    @property
    def extraction(self) -> Extraction:
        self.caplog.clear()
        config = ExtractionConfig(bottleneck_dir=str(self.cache), **self.settings)
        return Extraction(Records.open(str(self.records)), self.backbone, config)

    def copies(self, seed: int = 0, copies: int = 3, **strength: Any) -> SplitFeatures:
        wanted = DistortionConfig(**(strength or STRENGTH), augment_copies=copies)
        return self.extraction.of_copies(Distortions(wanted, seed))

    def undistorted(self) -> dict[str, SplitFeatures]:
        return self.extraction.features()

    @property
    def computed(self) -> int:
        if match := re.search(r'Features: (\d+) of \d+ .* to compute', self.caplog.text):
            return int(match[1])
        assert 'Features: all ' in self.caplog.text
        return 0


def test_every_copy_has_its_own_features(job: Job, truth: Truth) -> None:
    split = job.copies()
    pictures = Records.open(str(job.records)).splits['train']
    assert split.features.shape == (3 * pictures, 1001)
    assert split.features.dtype == np.float32
    folders = sorted(colours.COLOURS)
    distortions = Distortions(DistortionConfig(**STRENGTH), 0)
    for row, (path, label) in enumerate(zip(split.paths, split.labels, strict=True)):
        assert folders[label] == path.split('/')[0]
        assert path == split.paths[row - row % 3]
        wanted = truth.of(path, distortions, copy=row % 3)
        np.testing.assert_allclose(split.features[row], wanted, atol=1e-4)
    assert len(set(split.paths)) == pictures
    assert len(np.unique(split.features, axis=0)) == 3 * pictures


def test_a_second_run_computes_nothing_and_reads_no_picture(job: Job, tmp_path: Path) -> None:
    first = job.copies()
    assert job.computed == len(first)
    job.records = shutil.copytree(job.records, tmp_path / 'blank')
    for shard in job.records.glob('*.tfrecord-?????-of-?????'):
        shard.write_bytes(bytes(shard.stat().st_size))
    again = job.copies()
    assert job.computed == 0
    np.testing.assert_array_equal(again.features, first.features)


def test_more_copies_begin_with_the_same_ones(job: Job) -> None:
    two = job.copies(copies=2)
    five = job.copies(copies=5)
    pictures = len(two) // 2
    assert job.computed == 3 * pictures
    by_copy = five.features.reshape(pictures, 5, -1)
    np.testing.assert_array_equal(by_copy[:, :2].reshape(2 * pictures, -1), two.features)
    job.copies(copies=4)
    assert job.computed == 0


@pytest.mark.parametrize(
    'other', [{'seed': 1}, {**STRENGTH, 'random_crop': 21}, {'random_crop': 20}], ids=str
)
def test_other_settings_are_computed_anew(job: Job, other: dict[str, Any]) -> None:
    one = job.copies()
    another = job.copies(**other)
    assert job.computed == len(one)
    assert not np.isclose(one.features, another.features).all(axis=1).any()
    np.testing.assert_array_equal(job.copies().features, one.features)
    assert job.computed == 0


def test_undistorted_features_stay_as_they_are(job: Job) -> None:
    before = job.undistorted()
    (folder,) = job.cache.iterdir()
    stats = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    job.copies()
    after = job.undistorted()
    assert job.computed == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stats
    for split in 'train', 'validation', 'test':
        np.testing.assert_array_equal(before[split].features, after[split].features)


def test_the_batch_size_changes_no_feature(job: Job, tmp_path: Path) -> None:
    one = job.copies()
    job.cache = tmp_path / 'other'
    job.settings = {'feature_batch_size': 7}
    np.testing.assert_allclose(job.copies().features, one.features, atol=1e-4)


@pytest.mark.parametrize('at_call', [2, 6])
def test_an_interrupted_extraction_goes_on_to_the_same_bits(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_call: int
) -> None:
    """Also where it ends between the copies of a picture: a batch of 4 has one and a third."""
    monkeypatch.setattr(forward, '_BATCHES_AT_ONCE', 1)  # so that the calls come in order
    undisturbed = job.copies()
    job.cache = tmp_path / 'killed'
    calls = iter(range(1, at_call + 1))

    def interrupted(*arguments: Any) -> Any:
        compiled = compile_forward(*arguments)
        return lambda pictures: compiled(pictures) if next(calls) < at_call else ctrl_c()

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(extraction, 'compile_forward', interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.copies()
    resumed = job.copies()
    assert job.computed == len(undisturbed) - BATCH * (at_call - 1)
    np.testing.assert_array_equal(resumed.features, undisturbed.features)


@pytest.mark.parametrize('in_memory', ['on', 'off'])
def test_they_join_the_undistorted_ones(job: Job, in_memory: Any) -> None:
    job.settings['features_in_memory'] = in_memory
    undistorted, copies = job.undistorted()['train'], job.copies()
    both = extraction.joined(undistorted, copies)
    pictures = len(undistorted)
    assert both.features.shape == (4 * pictures, 1001)
    rows = np.array([0, pictures - 1, pictures, 4 * pictures - 1])
    wanted = [
        *undistorted.features[rows[:2]],
        *copies.features[rows[2:] - pictures],
    ]
    np.testing.assert_array_equal(both.features[rows], wanted)
    np.testing.assert_array_equal(both.labels, [*undistorted.labels, *copies.labels])
    assert both.paths == [*undistorted.paths, *copies.paths]


LIVE = Distortions(DistortionConfig(**STRENGTH, augment_copies=0), seed=5)


@pytest.fixture
def live(job: Job) -> Iterator[SplitFeatures]:
    with live_split(job) as split:
        yield split


def live_split(job: Job, batch_size: int = BATCH) -> Any:
    undistorted, train = job.undistorted()['train'], Records.open(str(job.records))['train']
    return live_features.live(train, undistorted, job.backbone, LIVE, batch_size)


def rows_of(step: Any) -> Any:
    """Seven draws of a step; some rows are drawn twice."""
    import tensorflow as tf

    return tf.cast((tf.range(7, dtype=tf.int64) ** 2 + tf.cast(step, tf.int64)) % 11, tf.int32)


def taken(split: SplitFeatures, steps: list[int]) -> list[np.ndarray]:
    import tensorflow as tf

    features_of = tf.function(split.features.drawn_by(rows_of, 7), autograph=False)
    return [features_of(tf.constant(step)).numpy() for step in steps]


def test_every_draw_of_every_step_is_distorted_anew(live: SplitFeatures, truth: Truth) -> None:
    for step, values in enumerate(taken(live, [0, 1, 2])):
        assert values.shape == (7, 1001)
        for draw, row in enumerate(rows_of(step).numpy()):
            wanted = truth.of(live.paths[row], LIVE, copy=7 * step + draw)
            np.testing.assert_allclose(values[draw], wanted, atol=1e-4)


def test_steps_may_be_taken_in_any_order(live: SplitFeatures) -> None:
    """A run that is resumed begins in the middle."""
    in_order = taken(live, [0, 1, 2, 3])
    jumped = taken(live, [2, 3, 1, 0])
    for place, step in enumerate([2, 3, 1, 0]):
        np.testing.assert_array_equal(jumped[place], in_order[step])


@pytest.mark.parametrize('batch_size', [1, 7, 100])
def test_live_features_do_not_depend_on_the_networks_batch(
    live: SplitFeatures, job: Job, batch_size: int
) -> None:
    with live_split(job, batch_size) as other:
        for one, another in zip(taken(live, [4, 5]), taken(other, [4, 5]), strict=True):
            np.testing.assert_allclose(one, another, atol=1e-4)


def test_looked_up_they_are_the_undistorted_ones(live: SplitFeatures, job: Job) -> None:
    undistorted = job.undistorted()['train']
    assert live.features.shape == undistorted.features.shape
    rows = np.array([3, 0])
    np.testing.assert_array_equal(live.features[rows], undistorted.features[rows])
    np.testing.assert_array_equal(live.labels, undistorted.labels)
    assert live.paths == undistorted.paths


def test_a_damaged_shard_is_named_before_training(job: Job, tmp_path: Path) -> None:
    job.undistorted()
    job.records = shutil.copytree(job.records, tmp_path / 'damaged')
    shard = sorted(job.records.glob('*train.tfrecord-?????-of-?????'))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=f'the shard {re.escape(str(shard))} is damaged'):
        live_split(job).__enter__()
