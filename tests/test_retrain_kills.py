"""SIGKILL at any moment: the same command again ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
from command_line import ROOT, Places

from poets_tfr.label.labeller import Labeller

pytestmark = pytest.mark.slow

PICTURES_PER_CLASS = 130
STEPS = 20_000  # seconds of training, so that there is something to stop


@pytest.fixture(scope='module')
def pictures_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('many') / 'many'
    return colours.write(directory, per_class=PICTURES_PER_CLASS, seed=6)


class Run:
    """retrain.py in a process group of its own, its output line by line."""

    def __init__(self, root: Path, pictures_dir: Path, model_dir: Path, *flags: str):
        self.places = Places(root)
        self.log = root / 'log'
        root.mkdir(exist_ok=True)
        command = [
            sys.executable,
            str(ROOT / 'tools/retrain.py'),
            f'--image_dir={pictures_dir}',
            f'--architecture={graphs.MOBILENET}',
            f'--model_dir={model_dir}',
            f'--how_many_training_steps={STEPS}',
            '--num_shards=4',
            '--feature_batch_size=4',
            f'--saved_model_dir={root / "saved_model"}',
            *self.places.flags(),
            *flags,
        ]
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def says(self, sentence: str) -> bool:
        return sentence.encode() in self.log.read_bytes()

    def wait_until(self, condition: Callable[[Run], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition(self):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def kill(self, may_have_ended: bool = False) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        assert status == -signal.SIGKILL or (may_have_ended and status == 0)

    def finish(self) -> None:
        assert self.process.wait(timeout=120) == 0, self.log.read_text()


@pytest.fixture(scope='module')
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, pictures_dir: Path, model_dir: Path
) -> tuple[dict[str, bytes], float]:
    """What the run must end with, and how many seconds it takes."""
    start = time.monotonic()
    run = Run(tmp_path_factory.mktemp('undisturbed'), pictures_dir, model_dir)
    run.finish()
    return results_of(run.places), time.monotonic() - start


def results_of(places: Places) -> dict[str, bytes]:
    """The records, the features and the classifier; not what is hidden, and no event files."""
    folders = [places.records, *places.bottlenecks.iterdir()]
    paths = [path for folder in folders for path in folder.iterdir() if path.name[0] != '.']
    paths += [places.graph, places.labels]
    return {str(path.relative_to(places.root)): path.read_bytes() for path in paths}


def leftovers(places: Places) -> list[Path]:
    return [
        path
        for folder in (places.records, places.bottlenecks)
        for path in folder.rglob('.*')
        if path.name.endswith('.part') or path.name == '.unfinished'
    ]


def check_whole_or_absent(places: Places) -> None:
    """Whoever labels while a run is killed sees the old graph, or the new one, or none."""
    if places.graph.exists() and places.labels.exists():
        scores = Labeller(str(places.graph), str(places.labels)).scores(
            colours.encoded(colours.draw('bluebells', np.random.default_rng(0)))
        )
        assert scores.argmax() == colours.LABELS.index('bluebells')


def a_shard_stands(run: Run) -> bool:
    return any((run.places.records / '.unfinished').glob('*.index.jsonl'))


def features_stand(run: Run) -> bool:
    return any(run.places.bottlenecks.glob('*/*.npy'))


MOMENTS: dict[str, Callable[[Run], bool]] = {
    'convert': a_shard_stands,
    'convert, the last moment': lambda run: (run.places.records / 'features.json').exists(),
    'before features': lambda run: run.says('images to compute'),
    'features': features_stand,
    'training': lambda run: run.says(': Step 5000: '),
    'export': lambda run: run.says('Final test accuracy'),
    'export, labels': lambda run: run.places.graph.exists(),
    'saved model': lambda run: run.places.labels.exists(),
}


@pytest.mark.parametrize('moment', MOMENTS)
def test_killed_in_a_stage(
    undisturbed: tuple[dict[str, bytes], float],
    pictures_dir: Path,
    model_dir: Path,
    tmp_path: Path,
    moment: str,
) -> None:
    run = Run(tmp_path, pictures_dir, model_dir)
    run.wait_until(MOMENTS[moment])
    run.kill()
    check_whole_or_absent(run.places)
    again = Run(tmp_path, pictures_dir, model_dir)
    again.finish()
    assert results_of(again.places) == undisturbed[0]
    assert not leftovers(again.places)
    if moment == 'features':
        assert not again.says(f'Features: {3 * PICTURES_PER_CLASS} of'), 'none of it was lost'
        assert again.says(f'Records in {again.places.records} are up to date.')


def moments(seconds: float, count: int) -> Iterator[float]:
    """Spread over the part of a run in which it writes: the first third loads TensorFlow."""
    rng = np.random.default_rng(0)
    for place in range(count):
        yield seconds * (0.3 + 0.7 * (place + rng.uniform()) / count)


def test_killed_again_and_again(
    undisturbed: tuple[dict[str, bytes], float], pictures_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    wanted, seconds = undisturbed
    for moment in moments(seconds, count=8):
        run = Run(tmp_path, pictures_dir, model_dir)
        try:
            run.process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            run.kill(may_have_ended=True)  # just then
        check_whole_or_absent(run.places)
    last = Run(tmp_path, pictures_dir, model_dir)
    last.finish()
    assert results_of(last.places) == wanted
    assert not leftovers(last.places)


TRAININGS = {
    'default': (),
    'adam, best head kept': (
        '--optimizer=adam', '--learning_rate_schedule=cosine', '--standardize_features',
        '--early_stopping_patience=1000000',
    ),
}  # fmt: skip
RESUME = '--resume', '--save_checkpoints_secs=0'


@pytest.fixture(scope='module')
def prepared(tmp_path_factory: pytest.TempPathFactory, pictures_dir: Path, model_dir: Path) -> Path:
    """A folder whose records and features stand."""
    root = tmp_path_factory.mktemp('prepared')
    Run(root, pictures_dir, model_dir, '--how_many_training_steps=1').finish()
    return root


def copy_of(prepared: Path, root: Path) -> Path:
    for folder in 'records', 'bottlenecks':
        shutil.copytree(prepared / folder, root / folder)
    return root


@pytest.mark.parametrize('flags', TRAININGS.values(), ids=list(TRAININGS))
def test_a_training_killed_again_and_again_resumes_to_the_same_bits(
    prepared: Path, pictures_dir: Path, model_dir: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    undisturbed = Run(copy_of(prepared, tmp_path / 'a'), pictures_dir, model_dir, *flags)
    undisturbed.wait_until(lambda run: run.says(': Step 0: '))
    start = time.monotonic()
    undisturbed.finish()
    seconds = time.monotonic() - start
    rng = np.random.default_rng(1)
    root, resumed = copy_of(prepared, tmp_path / 'b'), 0
    for _ in range(3):
        run = Run(root, pictures_dir, model_dir, *flags, *RESUME)
        run.wait_until(lambda run: run.says('Resuming at step') or run.says('training begins.'))
        resumed += run.says('Resuming at step')
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(timeout=rng.uniform(0.1, 0.5) * seconds)
        run.kill()
    last = Run(root, pictures_dir, model_dir, *flags, *RESUME)
    last.finish()
    assert last.says('Resuming at step')
    assert last.places.graph.read_bytes() == undisturbed.places.graph.read_bytes()
    names = {path.name for path in (last.places.checkpoints / 'head').iterdir()}
    assert len([name for name in names if name.endswith('.index')]) == 1, 'the newest alone stays'


def test_sigterm_in_training_saves_and_resumes(
    prepared: Path, pictures_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    never = '--resume', '--save_checkpoints_secs=100000'
    undisturbed = Run(copy_of(prepared, tmp_path / 'a'), pictures_dir, model_dir)
    root = copy_of(prepared, tmp_path / 'b')
    run = Run(root, pictures_dir, model_dir, *never)
    run.wait_until(lambda run: run.says(': Step 500: '))
    run.process.terminate()
    assert run.process.wait(timeout=60) == 143
    assert 'Traceback' not in run.log.read_text()
    again = Run(root, pictures_dir, model_dir, *never)
    again.finish()
    undisturbed.finish()
    (step,) = re.findall(r'Resuming at step (\d+), from ', again.log.read_text())
    assert int(step) > 0
    assert again.places.graph.read_bytes() == undisturbed.places.graph.read_bytes()


def test_sigterm_ends_with_its_status(pictures_dir: Path, model_dir: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, pictures_dir, model_dir)
    run.wait_until(features_stand)
    run.process.terminate()
    assert run.process.wait(timeout=60) == 143
    assert not leftovers(run.places)
    assert 'Traceback' not in run.log.read_text()


def test_interrupt_says_that_it_goes_on(
    pictures_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path, pictures_dir, model_dir)
    run.wait_until(features_stand)
    # Now and then the first one falls into a callback of C++, which loses it; a person presses ^C
    # again.
    for _ in range(3):
        run.process.send_signal(signal.SIGINT)
        try:
            run.process.wait(timeout=2)
            break
        except subprocess.TimeoutExpired:
            continue
    assert run.process.wait(timeout=60) == 130
    assert run.says('interrupted. What was converted and computed is kept: the same command ')
    assert 'Traceback' not in run.log.read_text()
