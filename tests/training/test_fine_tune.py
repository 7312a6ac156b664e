"""Fine-tuning: what is trained is what was asked for, and what is exported is what was trained."""

from __future__ import annotations

import dataclasses
import itertools
import re
import signal
import subprocess
import sys
from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
from command_line import ROOT, Ended, Places, call
from PIL import Image

from poets_tfr.backbones import forward, frozen
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records import conversion
from poets_tfr.records.manifest import Manifest
from poets_tfr.records.reading import Records
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources.listing import list_images
from poets_tfr.training import head as heads
from poets_tfr.training.fine_tune import FineTuning
from poets_tfr.training.loop import Measurements
from poets_tfr.training.settings import (
    BatchNorm,
    CheckpointConfig,
    FineTuneConfig,
    HeadConfig,
)

TINY = BackboneConfig(architecture='MobileNet_0.25', weights='random', image_size=32)
SMALL_FLAGS = (
    '--architecture=MobileNet_0.25', '--weights=random', '--image_size=32',
    '--validation_percentage=25', '--testing_percentage=25', '--feature_batch_size=8',
)  # fmt: skip


@pytest.fixture(scope='module')
def patchwork(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Manifest]:
    """Records of a few pictures, each of its own patches of colour, whose classes say nothing."""
    root = tmp_path_factory.mktemp('patchwork')
    rng = np.random.default_rng(0)
    for number in range(24):
        path = root / 'pictures' / f'class {number % 3}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        patches = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(patches).resize((32, 32), Image.Resampling.NEAREST).save(path)
    config = ConversionConfig(
        image_dir=str(root / 'pictures'), records_dir=str(root / 'records'),
        validation_percentage=25,
    )  # fmt: skip
    return config.records_dir, conversion.convert(config, list_images(config))


def tuned(
    records: tuple[str, Manifest],
    directory: Path,
    config: FineTuneConfig,
    resume: bool = False,
    stop_after: int = 0,
) -> tuple[FineTuning, list[Measurements]]:
    """stop_after: how many steps, to end then as a process does that is told to."""
    records_dir, manifest = records
    tuning = FineTuning(TINY, config, len(manifest.labels))
    tuning.start_from(heads.init(256, len(manifest.labels), seed=0))
    split = Records.open(records_dir)
    pictures = {name: split[name] for name in ('train', 'validation')}
    distortions = Distortions(DistortionConfig(), seed=0)
    kept = CheckpointConfig(checkpoint_path=str(directory), resume=resume)
    with tuning.checkpoints({}, kept) as save_if_due:

        def after_a_step() -> None:
            save_if_due()
            if tuning.steps_done == stop_after:
                raise SystemExit(143)

        return tuning, list(tuning.train(pictures, distortions, HeadConfig(), 100, after_a_step))


@pytest.mark.slow
def test_it_overfits_a_tiny_set(patchwork: tuple[str, Manifest], tmp_path: Path) -> None:
    """A network whose gradients reach every layer can overfit a few images."""
    config = FineTuneConfig(
        fine_tune_from='all', fine_tune_steps=45, fine_tune_learning_rate=2e-3,
        fine_tune_warmup_steps=5, fine_tune_batch_size=16, fine_tune_eval_interval=15,
        fine_tune_patience=0,
    )  # fmt: skip
    _, measured = tuned(patchwork, tmp_path, config)
    assert [one.first_step for one in measured] == [100, 115, 130]
    assert [one.evaluations[0].step for one in measured] == [114, 129, 144]
    assert measured[0].cross_entropies[0] == pytest.approx(np.log(3), abs=0.1)
    assert measured[-1].accuracies[-5:].mean() > 0.95
    assert measured[-1].cross_entropies[-5:].mean() < 0.3


def test_the_learning_rate_rises_over_the_warm_up_and_then_falls(
    patchwork: tuple[str, Manifest], tmp_path: Path
) -> None:
    """Adam moves a weight whose gradient keeps its sign by about the learning rate."""
    config = FineTuneConfig(
        fine_tune_from='conv_pw_13', fine_tune_steps=12, fine_tune_learning_rate=1e-3,
        fine_tune_warmup_steps=4, fine_tune_batch_size=8, fine_tune_eval_interval=1,
        fine_tune_patience=0,
    )  # fmt: skip
    tuning, measured = tuned(patchwork, tmp_path, config)
    heads_ = [heads.init(256, 3, seed=0), *(one.head for one in measured)]
    moves = [
        abs(after.weights.numpy() - before.weights.numpy()).max() / 1e-3
        for before, after in itertools.pairwise(heads_)
    ]
    assert moves[0] == 0, 'the rise begins at 0'
    wanted = [0.25, 0.5, 0.75, *(0.5 * (1 + np.cos(np.pi * step / 8)) for step in range(8))]
    np.testing.assert_allclose(moves[1:], wanted, rtol=0.2, atol=0.02)


def test_what_is_trained_and_what_is_exported(
    patchwork: tuple[str, Manifest], tmp_path: Path
) -> None:
    config = FineTuneConfig(
        fine_tune_from='conv_dw_12', fine_tune_steps=4, fine_tune_learning_rate=1e-2,
        fine_tune_warmup_steps=0, fine_tune_batch_size=8, fine_tune_eval_interval=2,
    )  # fmt: skip
    tuning, measured = tuned(patchwork, tmp_path, config)
    assert len(measured) == 2
    start = frozen.build_keras(TINY)[0]
    changed = {
        before.name
        for before, after in zip(start.layers, tuning.model.layers, strict=True)
        for old, new in zip(before.get_weights(), after.get_weights(), strict=True)
        if not np.array_equal(old, new)
    }
    assert changed == {
        f'conv_{kind}_{number}{norm}'
        for kind in ('dw', 'pw') for number in (12, 13) for norm in ('', '_bn')
    }  # fmt: skip
    for before, after in zip(start.layers, tuning.model.layers, strict=True):
        if before.name.endswith('_bn'):
            for old, new in zip(before.get_weights()[2:], after.get_weights()[2:], strict=True):
                np.testing.assert_array_equal(old, new)  # the statistics
    backbone, head = tuning.best()
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    wanted = np.asarray(tuning.logits(pixels))
    found = forward.compile_forward(backbone, 4, 'off')(pixels)
    np.testing.assert_allclose(heads.logits(head, found), wanted, atol=1e-4)
    again, _ = tuning.best()
    assert again.digest == backbone.digest
    as_keras = tuning.keras_network()(pixels, training=False)  # what .keras is made of
    np.testing.assert_allclose(as_keras, found, atol=1e-3)
    assert backbone.cache_key != frozen.load(TINY).cache_key


def test_batch_norms_that_use_their_batches(
    patchwork: tuple[str, Manifest], tmp_path: Path
) -> None:
    config = FineTuneConfig(
        fine_tune_from='conv_pw_13', fine_tune_steps=4, fine_tune_learning_rate=1e-3,
        fine_tune_warmup_steps=0, fine_tune_batch_size=8, fine_tune_eval_interval=2,
        fine_tune_batch_norm='batch',
    )  # fmt: skip
    tuning, _ = tuned(patchwork, tmp_path, config)
    start = frozen.build_keras(TINY)[0]
    moved = {
        before.name
        for before, after in zip(start.layers, tuning.model.layers, strict=True)
        if before.name.endswith('_bn')
        for old, new in zip(before.get_weights()[2:], after.get_weights()[2:], strict=True)
        if not np.array_equal(old, new)
    }
    assert moved == {'conv_pw_13_bn'}, 'the means and variances of what is trained, and no others'

    backbone, head = tuning.best()
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    found = forward.compile_forward(backbone, 4, 'off')(pixels)
    wanted = np.asarray(tuning.logits(pixels))
    np.testing.assert_allclose(heads.logits(head, found), wanted, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('batch_norm', ['fixed', 'batch'])
def test_stopped_between_two_evaluations_it_goes_on_to_the_same_bits(
    patchwork: tuple[str, Manifest], tmp_path: Path, batch_norm: BatchNorm
) -> None:
    """All that the next step depends on is in the checkpoint, the place in the data too."""
    config = FineTuneConfig(
        fine_tune_from='conv_dw_9', fine_tune_steps=8, fine_tune_learning_rate=1e-3,
        fine_tune_warmup_steps=2, fine_tune_batch_size=8, fine_tune_eval_interval=3,
        fine_tune_batch_norm=batch_norm,
    )  # fmt: skip
    undisturbed, _ = tuned(patchwork, tmp_path / 'undisturbed', config)
    with pytest.raises(SystemExit):
        tuned(patchwork, tmp_path / 'stopped', config, stop_after=4)
    resumed, measured = tuned(patchwork, tmp_path / 'stopped', config, resume=True)
    assert [one.first_step for one in measured] == [104, 106]
    values = zip(resumed.model.get_weights(), undisturbed.model.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in values)
    for one, other in zip(resumed.best()[1], undisturbed.best()[1], strict=True):
        np.testing.assert_array_equal(one, other)
    longer = dataclasses.replace(config, fine_tune_steps=9)
    with pytest.raises(InputError, match='fine_tune_steps 8 there, 9 here'):
        tuned(patchwork, tmp_path / 'stopped', longer, resume=True)


def test_a_layer_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(InputError, match=r'no such layer \(did you mean .*conv_pw_13') as raised:
        FineTuning(TINY, FineTuneConfig(fine_tune_from='conv_pw_14'), 3)
    assert 'conv1, conv1_bn, conv_dw_1, ' in str(raised.value)
    with pytest.raises(InputError, match='has nothing to train'):
        FineTuning(TINY, FineTuneConfig(fine_tune_from='conv_pw_13_relu'), 3)


@pytest.mark.slow
def test_mixed_precision(patchwork: tuple[str, Manifest], tmp_path: Path) -> None:
    """It learns, its weights stay float32, and what is exported computes in float32."""
    config = FineTuneConfig(
        fine_tune_from='conv_dw_13', fine_tune_steps=6, fine_tune_warmup_steps=0,
        fine_tune_learning_rate=1e-3, fine_tune_batch_size=16, fine_tune_eval_interval=6,
        fine_tune_precision='bfloat16',
    )  # fmt: skip
    tuning, (measured,) = tuned(patchwork, tmp_path, config)
    assert measured.cross_entropies[-1] < measured.cross_entropies[0]
    backbone, head = tuning.best()
    assert head.weights.dtype == 'float32'
    assert {node.attr['T'].type for node in backbone.graph_def.node if node.op == 'Conv2D'} == {1}


class Run:
    """retrain.py with fine-tuning, as a person starts it; one folder for all it writes."""

    def __init__(self, root: Path, pictures: Path, *flags: object):
        self.places = Places(root)
        self.flags = [
            f'--image_dir={pictures}', f'--model_dir={root.parent / "models"}',
            f'--checkpoint_path={root / "checkpoints"}', *self.places.flags(), *flags,
        ]  # fmt: skip

    def call(self, *more: object) -> Ended:
        return call('retrain', *self.flags, *more)

    def start(self, *more: object) -> subprocess.Popen[str]:
        command = [sys.executable, '-u', ROOT / 'tools/retrain.py', *self.flags, *more]
        return subprocess.Popen(
            [str(part) for part in command], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


SMALL = (
    '--architecture=MobileNet_0.25', '--weights=random', '--image_size=32', '--fine_tune_from=all',
    '--validation_percentage=25', '--testing_percentage=25', '--feature_batch_size=8',
    '--how_many_training_steps=20', '--fine_tune_batch_size=8', '--fine_tune_warmup_steps=3',
    '--fine_tune_learning_rate=0.001', '--fine_tune_patience=0',
)  # fmt: skip


def test_through_the_command_line(colours_dir: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / 'run', colours_dir, *SMALL, '--fine_tune_steps=4',
              '--fine_tune_eval_interval=2', '--fine_tune_from=conv_pw_13')  # fmt: skip
    ended = run.call()
    assert ended.status == 0, ended.err
    steps = re.findall(r'Step (\d+): Validation accuracy = (\d+\.\d)% \(N=(\d+)\)', ended.out)
    assert [int(step) for step, *_ in steps[-2:]] == [21, 23], 'they follow those of the head'
    kept = re.search(r'By validation, the (head alone|fine-tuned network) is kept', ended.out)
    both = dict(re.findall(r'(\w+) accuracy: head alone = .*?, fine-tuned = (.*)%', ended.out))
    assert set(both) == {'Validation', 'Test'}
    (alone, tuned_), tested = (
        re.findall(r'Test accuracy: head alone = (.*)%, fine-tuned = (.*)% \(N', ended.out)[0],
        re.findall(r'Final test accuracy = (.*)% \(N=\d+\)', ended.out)[0],
    )
    assert kept
    assert tested == (tuned_ if kept[1] == 'fine-tuned network' else alone)
    labeller = Labeller(str(run.places.graph), str(run.places.labels))
    assert labeller.labels == colours.LABELS


@pytest.mark.parametrize(
    ('flags', 'says'),
    [
        (['--fine_tune_from=conv_pw_99'], '--fine_tune_from=conv_pw_99: '),
        (['--fine_tune_from=conv_pw_13_relu'], 'has nothing to train'),
    ],
)
def test_a_layer_that_does_not_do_is_told_before_the_conversion(
    colours_dir: Path, tmp_path: Path, flags: list[str], says: str
) -> None:
    run = Run(tmp_path / 'run', colours_dir, *SMALL, *flags)
    ended = run.call()
    assert ended.status == 1
    assert says in ended.err.splitlines()[-1]
    assert 'Converting' not in ended.out
    assert not run.places.records.exists()


def test_a_missing_validation_split_is_told_before_the_features(
    colours_dir: Path, tmp_path: Path
) -> None:
    flags = '--fine_tune_from=all', '--validation_percentage=0'
    ended = Run(tmp_path / 'run', colours_dir, *SMALL, *flags).call()
    assert ended.status == 1
    assert 'give --validation_percentage' in ended.err
    assert 'bottlenecks' not in ended.out


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(colours_dir: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, then SIGTERM, then --resume; beside a run that nobody disturbed."""
    flags = (
        *SMALL, '--fine_tune_steps=60', '--fine_tune_eval_interval=10', '--random_crop=10',
        '--self_test_pictures=0',
    )  # fmt: skip
    undisturbed = Run(tmp_path / 'undisturbed', colours_dir, *flags)
    assert undisturbed.call().status == 0
    run = Run(tmp_path / 'run', colours_dir, *flags, '--save_checkpoints_secs=0')
    for stop, after, status in (signal.SIGKILL, 39, -signal.SIGKILL), (signal.SIGTERM, 59, 143):
        process = run.start('--resume')
        assert process.stdout
        with process.stdout as output:
            lines = []
            for line in output:
                lines.append(line)
                if f'Step {after}: Validation' in line:
                    process.send_signal(stop)
        assert process.wait() == status, ''.join(lines)
        assert not run.places.graph.exists()
    ended = run.call('--resume')
    assert ended.status == 0, ended.err
    (resumed_at,) = re.findall(r'Resuming fine-tuning at step (\d+)', ended.out)
    assert 40 <= int(resumed_at) < 60
    assert run.places.graph.read_bytes() == undisturbed.places.graph.read_bytes()


@pytest.mark.slow
def test_it_improves_on_the_head_alone_on_real_photos(
    photos_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    """From MobileNet's published weights, which were made for pictures of twice the size: on 64
    pixels the head alone gets about 65 %. A quarter of the photos each to choose and to test by.
    """
    archive = models_dir / 'mobilenet_v1_0.25_128_frozen.tgz'
    weights = graphs.write_keras_mobilenet(archive, '0.25', 128, tmp_path / 'imagenet.weights.h5')
    ended = Run(
        tmp_path / 'run', photos_dir, '--architecture=MobileNet_0.25', '--image_size=64',
        f'--weights={weights}', '--validation_percentage=25', '--testing_percentage=25',
        '--how_many_training_steps=2000', '--flip_left_right', '--augment_copies=2',
        '--fine_tune_from=all', '--fine_tune_steps=300', '--fine_tune_warmup_steps=30',
        '--fine_tune_learning_rate=0.0005', '--fine_tune_eval_interval=60',
    ).call()  # fmt: skip
    assert ended.status == 0, ended.err
    found = re.findall(r'accuracy: head alone = (.*)%, fine-tuned = (.*)% \(N', ended.out)
    (alone, tuned_), (alone_tested, tuned_tested) = [tuple(map(float, pair)) for pair in found]
    assert 60 < alone < tuned_
    assert (tuned_ + tuned_tested) / 2 > (alone + alone_tested) / 2 + 1.5
