"""The event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from command_line import Ended, Places
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from poets_tfr import files
from poets_tfr.reporting import event_files
from poets_tfr.reporting.summaries import Summaries
from poets_tfr.training.head import Head
from poets_tfr.training.loop import Evaluation, Measurements, State

LIST = '.poets_tfr_event_files.json'
RUNS = '', 'train', 'validation', 'test'
HEAD = Head(tf.constant([[1.0, -2.0], [0.5, 0.5], [0.0, 3.0]]), tf.constant([0.25, -0.25]))
STATE = State(tf.constant(0), HEAD, (), (), tf.constant(False))  # not looked at


def measured(first: int, steps: int, validated: bool = True) -> Measurements:
    numbers = np.arange(first, first + steps, dtype=np.float32)
    evaluations = [
        Evaluation(
            step, 0.5, 1.0, 0.75 if validated else None, step / 8 if validated else None, 100
        )
        for step in range(first, first + steps, 5)
    ]
    return Measurements(first, numbers / 100, numbers / 4, evaluations, HEAD, STATE)


def read(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={'scalars': 0, 'histograms': 0})
    accumulator.Reload()
    return accumulator


def scalars(run: Path, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in read(run).Scalars(tag)}


def written_files(directory: Path) -> list[Path]:
    return sorted(directory.rglob('events.out.tfevents.*'))


def test_every_step_and_every_evaluation(tmp_path: Path) -> None:
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 20))
        written.add(measured(20, 5))
    train, validation = tmp_path / 'train', tmp_path / 'validation'
    for run in train, validation:
        assert {'accuracy_1', 'cross_entropy_1'} <= set(read(run).Tags()['scalars'])
    assert scalars(train, 'accuracy_1') == pytest.approx({s: s / 100 for s in range(25)})
    assert scalars(train, 'cross_entropy_1') == {s: s / 4 for s in range(25)}
    assert scalars(validation, 'accuracy_1') == dict.fromkeys(range(0, 25, 5), 0.75)
    assert scalars(validation, 'cross_entropy_1') == {s: s / 8 for s in range(0, 25, 5)}
    assert {path.parent for path in written_files(tmp_path)} == {tmp_path / run for run in RUNS}


def test_histograms_hold_the_head(tmp_path: Path) -> None:
    with Summaries(str(tmp_path)) as written:
        for first in range(0, 1200, 100):
            written.add(measured(first, 100))
    accumulator = read(tmp_path / 'train')
    tags = [f'final_training_ops/{name}/summaries/histogram' for name in ('weights', 'biases')]
    assert sorted(accumulator.Tags()['histograms']) == sorted(tags)
    events = accumulator.Histograms(tags[0])
    assert [event.step for event in events] == [99, 599, 1099], 'now and then, not at every step'
    histogram: Any = events[0].histogram_value
    values = HEAD.weights.numpy()
    assert (histogram.min, histogram.max, histogram.num) == (-2, 3, 6)
    assert histogram.sum == pytest.approx(values.sum())
    assert histogram.sum_squares == pytest.approx(np.square(values).sum())
    counts, limits = np.array(histogram.bucket), np.array(histogram.bucket_limit)
    assert counts.sum() == 6
    assert counts[limits > 2.9].sum() == 1
    assert not read(tmp_path / 'validation').Tags()['histograms']


def test_they_can_be_watched_while_they_grow(tmp_path: Path) -> None:
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 7))
        assert len(scalars(tmp_path / 'train', 'accuracy_1')) == 7


def test_a_resumed_run_appends_and_supersedes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from step 20, though the run that was killed had come to 29."""
    clock = iter(range(1000, 9000))
    monkeypatch.setattr(time, 'time', lambda: float(next(clock)))
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 30))
    with Summaries(str(tmp_path), resume=True) as written:
        written.add(measured(20, 20))
    assert len(written_files(tmp_path)) == 2 * len(RUNS)
    assert list(scalars(tmp_path / 'train', 'accuracy_1')) == list(range(40))
    events = [event.step for event in read(tmp_path / 'train').Scalars('accuracy_1')]
    assert events == list(range(40)), 'each step once, in order'
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 4))
    assert len(written_files(tmp_path)) == len(RUNS), 'a fresh run replaces both'


def test_without_validation(tmp_path: Path) -> None:
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 7, validated=False))
    assert len(scalars(tmp_path / 'train', 'accuracy_1')) == 7
    assert read(tmp_path / 'validation').Tags()['scalars'] == []


def test_a_run_that_dies_still_leaves_what_it_wrote(tmp_path: Path) -> None:
    def die() -> None:
        with Summaries(str(tmp_path)) as written:
            written.add(measured(0, 7))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert len(scalars(tmp_path / 'train', 'accuracy_1')) == 7
    before = written_files(tmp_path)
    event_files.remove_former(str(tmp_path))
    assert before
    assert not written_files(tmp_path)


def test_the_former_run_is_replaced_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = [
        'thesis.txt',
        'train/notes.txt',
        'train/events.out.tfevents.0000000001.other.1',
        'other_run/events.out.tfevents.0000000002.other.2',
    ]
    for name in foreign:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('dear')
    clock = iter(range(1000, 9000))
    monkeypatch.setattr(time, 'time', lambda: float(next(clock)))
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 30))
    first = set(written_files(tmp_path)) - {tmp_path / name for name in foreign}
    assert len(first) == len(RUNS)
    with Summaries(str(tmp_path)) as written:
        written.add(measured(0, 4))
    left = set(written_files(tmp_path)) - {tmp_path / name for name in foreign}
    assert len(left) == len(RUNS)
    assert not left & first
    for name in foreign:
        assert (tmp_path / name).read_text() == 'dear'


HOSTILE = [
    '../events.out.tfevents.1',
    'train/../../events.out.tfevents.1',
    'train/events.out.tfevents.1/../../../events.out.tfevents.1',
    '/events.out.tfevents.1',
    './../events.out.tfevents.1',
    'thesis.txt',
    'train/thesis.txt',
    '',
    'events.out.tfevents.1',
    7,
    None,
    ['train/events.out.tfevents.1'],
]


def test_a_hostile_list_removes_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list may come from anybody, with the folder. An absolute name is one, too."""
    logs = tmp_path / 'logs'
    (logs / 'train').mkdir(parents=True)
    dear = ['events.out.tfevents.1', 'logs/thesis.txt', 'logs/train/thesis.txt']
    for name in dear:
        (tmp_path / name).write_text('dear')
    absolute = str(tmp_path / 'events.out.tfevents.1')
    removed: list[str] = []
    monkeypatch.setattr(files, 'remove', removed.append)
    (logs / LIST).write_text(json.dumps([*HOSTILE, absolute]))
    event_files.remove_former(str(logs))
    for path in removed:
        inside = os.path.relpath(os.path.normpath(path), logs)
        assert re.fullmatch(r'(\w+/)?events\.out\.tfevents\.1', inside), path


@pytest.mark.parametrize('content', ['', '{', '7', 'null', '{"a": 1}', '"train"', '[[]]'])
def test_a_damaged_list_removes_nothing_and_is_written_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / 'train').mkdir()
    former = tmp_path / 'train/events.out.tfevents.1.x.1'
    former.write_text('perhaps ours')
    (tmp_path / LIST).write_text(content)
    with Summaries(str(tmp_path)):
        pass
    assert former.exists()
    assert len(json.loads((tmp_path / LIST).read_text())) == len(RUNS)


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    """logs/train is a link into somebody else's folder: its files are not ours to remove."""
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'events.out.tfevents.1').write_text('dear')
    logs = tmp_path / 'logs'
    logs.mkdir()
    (logs / 'elsewhere').symlink_to(other)
    (logs / LIST).write_text(json.dumps(['elsewhere/events.out.tfevents.1']))
    event_files.remove_former(str(logs))
    assert (other / 'events.out.tfevents.1').exists()


def test_a_whole_run_wrote_all_its_steps(trained: tuple[Places, Ended]) -> None:
    """What TensorBoard shows is what the run printed."""
    places, ended = trained
    curve = scalars(places.summaries / 'train', 'accuracy_1')
    assert list(curve) == list(range(200))
    printed = re.findall(r'Step (\d+): Validation accuracy = ([\d.]+)%', ended.out)
    shown = scalars(places.summaries / 'validation', 'accuracy_1')
    assert [(int(step), float(percent)) for step, percent in printed] == [
        (step, round(value * 100, 1)) for step, value in shown.items()
    ]
