"""The examination: how long it takes, and how many changed labels it finds, beside cleanlab."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np

from benchmarks.data import Data
from benchmarks.measuring import Row, against
from poets_tfr.examination import columns as columns_of
from poets_tfr.examination import crossing, near_copies, suspects, thumbnails
from poets_tfr.examination.columns import Columns
from poets_tfr.extraction.extract import Extraction
from poets_tfr.extraction.settings import ExtractionConfig

_GOAL_SECONDS = 15.0
_CHANGED = 0.05  # of the labels
_SEEDS = 10
_SIZES = 25_000, 50_000, 100_000
_CLASSES, _WIDTH = 100, 1001
_COPIES = 0.01


def examine(data: Data, seeds: int = _SEEDS, sizes: tuple[int, ...] = _SIZES) -> list[Row]:
    """`sizes`: synthetic features, for near duplicates alone."""
    return [*_whole(data), *_changed_labels(data, seeds), *_near_copies(sizes)]


def _whole(data: Data) -> list[Row]:
    """The whole command, start-up included, with features in the cache; the second of two runs."""
    config = data.mobilenet_config()
    network = {'tfhub_module': config.tfhub_module}
    if data.models:
        network = {'architecture': config.architecture, 'model_dir': config.model_dir}
    flags = {
        'image_dir': data.image_dir,
        'records_dir': data.records.records_dir,
        'bottleneck_dir': os.path.join(data.work_dir, 'bottlenecks'),
        'examine_dir': os.path.join(data.work_dir, 'examination'),
        **network,
    }
    command = [sys.executable, '-m', 'poets_tfr.cli.examine']
    command += [f'--{name}={value}' for name, value in flags.items()]
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    pictures = sum(data.records.splits.values())
    peer = f'{_GOAL_SECONDS:g} s'
    row = f'examine {pictures} images'
    return [against(row, 'times/h', 3600 / seconds, peer, 3600 / _GOAL_SECONDS, {peer: 1})]


def _changed_labels(data: Data, seeds: int) -> list[Row]:
    """Of as many suspects as labels were changed, how many were; and of those how many are found
    among twice as many. In percent, the mean of all seeds."""
    cache = ExtractionConfig(bottleneck_dir=os.path.join(data.work_dir, 'bottlenecks'))
    columns = columns_of.of(
        data.records, Extraction(data.records, data.mobilenet(), cache).features()
    )
    copies = near_copies.candidates(columns).checked(thumbnails.of(data.records).grey)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        labels, changed = _with_changes(columns, seed)
        changed_columns = Columns(**{**vars(columns), 'labels': labels})
        scores = crossing.validate(changed_columns, copies.group, seed).scores
        order = suspects.find(scores, copies.neighbours, labels, seed).order
        scores = suspects.with_neighbours(scores, copies.neighbours, labels)
        orders = {'': order, **_cleanlab(scores, labels)}
        for name, order in orders.items():
            is_changed = np.isin(order, changed)
            count = len(changed)
            hits = is_changed[:count].mean(), is_changed[: 2 * count].sum() / count
            found.setdefault(name, []).append((100 * float(hits[0]), 100 * float(hits[1])))
    means = {name: np.mean(each, axis=0).tolist() for name, each in found.items()}
    rows = []
    for place, (what, goal) in enumerate((('precision', 66.0), ('recall in twice', 84.0))):
        peers = {f'goal, {goal:g} %': goal}
        peers |= {name: mean[place] for name, mean in means.items() if name}
        rows += [
            against(f'changed labels, {what}', '%', means[''][place], peer, value, {peer: 1})
            for peer, value in peers.items()
        ]
    return rows


def _with_changes(columns: Columns, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, int32 [n]; the rows of those that were changed to another one at random)."""
    rng, classes = np.random.default_rng(seed), len(columns.names)
    rows = rng.choice(len(columns), round(_CHANGED * len(columns)), replace=False)
    labels = columns.labels.copy()
    labels[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return labels, rows


def _cleanlab(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The rows, the worst first, by its score of a label, and by its own choice of them."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print('examine: cleanlab is not installed: not measured beside it.', file=sys.stderr)
        return {}
    by_score = np.argsort(get_label_quality_scores(labels, scores), kind='stable')
    chosen = find_label_issues(labels, scores, return_indices_ranked_by='normalized_margin')
    return {
        'cleanlab, label quality': by_score,
        'cleanlab, label issues': np.concatenate([chosen, by_score[~np.isin(by_score, chosen)]]),
    }


def _near_copies(sizes: tuple[int, ...]) -> list[Row]:
    """Each beside the smallest: the time grows with the square of the pictures."""
    rates = {size: _near_copies_rate(size) for size in sizes}
    least = min(sizes)
    return [
        against(f'near duplicates of {size:,}', 'images/s', rate, f'{least:,}', rates[least])
        for size, rate in rates.items()
    ]


def _near_copies_rate(count: int) -> float:
    """Classes of features with noise, and copies of some."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (_CLASSES, _WIDTH)).astype(np.float32)
    labels = rng.integers(0, _CLASSES, count).astype(np.int32)
    features = rng.normal(0, 1, (count, _WIDTH)).astype(np.float32)
    features += centres[labels]
    grey = rng.integers(0, 256, (count, 64, 64), np.uint8)
    copies = rng.choice(count, round(_COPIES * count), replace=False)
    features[copies], grey[copies] = features[copies - 1], grey[copies - 1]
    digests = np.array([row.to_bytes(4, 'big') * 8 for row in range(1, count + 1)], 'S32')
    zeros = np.zeros(count, np.int32)
    names = [str(label) for label in range(_CLASSES)]
    columns = Columns(names, range(count), labels, ['train'], zeros, digests, features)  # type: ignore[arg-type]
    start = time.perf_counter()
    near_copies.candidates(columns).checked(grey)
    return count / (time.perf_counter() - start)
