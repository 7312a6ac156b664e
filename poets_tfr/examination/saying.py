"""What was found, in words: at most 20 lines for the terminal."""

from __future__ import annotations

from collections import Counter

import numpy as np

from poets_tfr.examination.examination import Accuracy, Examination
from poets_tfr.progress import printable
from poets_tfr.reporting.metrics import wilson_interval
from poets_tfr.reporting.verdict import SMALL_CLASS

_MOST_PAIRS = 3
_MOST_NAMED = 5
_MOST_NETWORKS = 4
_LEAST_GAIN = 0.005


def lines(found: Examination) -> list[str]:
    return [
        *_suspects(found),
        *_copies(found),
        *_odd(found),
        *help_needed(found),
        *_networks(found),
    ]


def percent(share: float) -> str:
    return f'{share * 100:.1f} %'


def with_range(accuracy: Accuracy) -> str:
    low, high = wilson_interval(accuracy.right, accuracy.pictures)
    return f'{percent(accuracy.share)} ({percent(low)} to {percent(high)})'


def pairs(found: Examination) -> list[tuple[str, str, np.ndarray]]:
    """(label, label suggested, rows) of the likely suspects, the most frequent pair first."""
    rows = found.suspects.likely()
    labels, suggested = found.columns.labels[rows], found.suspects.suggested[rows]
    counts = Counter(zip(labels.tolist(), suggested.tolist(), strict=True))
    names = found.columns.names
    return [
        (names[label], names[other], rows[(labels == label) & (suggested == other)])
        for (label, other), _ in counts.most_common()
    ]


def confused(found: Examination) -> list[tuple[str, str, int]]:
    """(label, what it was taken for, how many), the most frequent first."""
    rows = np.flatnonzero(found.suspects.differs)
    labels, taken_for = found.columns.labels[rows], found.suspects.suggested[rows]
    counts = Counter(zip(labels.tolist(), taken_for.tolist(), strict=True))
    names = found.columns.names
    return [(names[one], names[other], count) for (one, other), count in counts.most_common()]


def _suspects(found: Examination) -> list[str]:
    low, high = found.suspects.expected_range
    said = [
        f'Likely mislabelled: about {found.suspects.expected:,.0f} ({low:,.0f} to {high:,.0f}) of '
        f'{len(found.columns):,} images, hard ones among them. suspects.tsv: the worst first'
    ]
    for label, suggested, rows in pairs(found)[:_MOST_PAIRS]:
        said.append(f'  {len(rows):,} of {printable(label)} look like {printable(suggested)}')
    return said


def _copies(found: Examination) -> list[str]:
    groups = found.copies.groups()
    if not groups:
        return ['Near duplicates: none']
    crossing = Counter(name for rows in groups for name in found.crosses(rows))
    said = [
        f'Near duplicates: {len(groups):,} groups, {sum(map(len, groups)):,} images; '
        f'across splits: {crossing["splits"]:,}, across classes: {crossing["classes"]:,}. '
        'near_duplicates.tsv'
    ]
    test, rest = found.test_accuracy(), found.test_accuracy(without_leaked=True)
    if found.leaked.any() and test:
        without = percent(rest.share) if rest else 'unknown'
        said.append(
            f'  {found.leaked.sum():,} test images have a near duplicate in another split: test '
            f'accuracy {percent(test.share)}, {without} without them'
        )
    return said


def _odd(found: Examination) -> list[str]:
    counts = Counter(each.reason for each in found.odd)
    if not counts:
        return ['Odd images: none']
    named = ', '.join(f'{count:,} {reason}' for reason, count in counts.items())
    return [f'Odd images: {len(found.odd):,} ({named}). odd.tsv']


def help_needed(found: Examination) -> list[str]:
    """What would make the classifier better, and how far its accuracy is to be trusted."""
    curve, counts = found.crossed.curve, np.bincount(found.columns.labels)
    names = [printable(name) for name in found.columns.names]
    shown = ', '.join(
        f'{percent(mean)} with {pictures:,}'
        for mean, pictures in zip(curve.mean, curve.pictures, strict=True)
    )
    said = [
        f'Accuracy on images not seen: {with_range(found.accuracy)}',
        f'  {shown}',
        f'  Twice as many images may add {_points(*curve.doubled())}{_most_gain(found)}',
    ]
    small = [name for name, count in zip(names, counts, strict=True) if count < SMALL_CLASS]
    if small:
        more = ' ...' if len(small) > _MOST_NAMED else ''
        said.append(
            f'{len(small):,} of {len(names):,} classes have fewer than {SMALL_CLASS} images: '
            f'{", ".join(small[:_MOST_NAMED])}{more}'
        )
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[low] < counts[high]:
        said.append(
            f'Largest class: {names[high]} ({counts[high]:,}), '
            f'{counts[high] / max(counts[low], 1):.1f} times the smallest, {names[low]} '
            f'({counts[low]:,})'
        )
    return said


def _networks(found: Examination) -> list[str]:
    if not found.networks:
        return []
    said = ['Networks, by accuracy on images not seen:']
    for network in found.networks[:_MOST_NETWORKS]:
        said.append(
            f'  {network.name}: {percent(network.accuracy)} (± {network.error * 100:.1f}), '
            f'{network.images_per_second:,.0f} images a second here, '
            f'{network.export_bytes / 1e6:,.1f} MB'
        )
    if (more := len(found.networks) - _MOST_NETWORKS) > 0:
        said.append(f'  and {more:,} more: examine.json')
    return said


def _points(gain: float, error: float) -> str:
    said = f'{gain * 100:.1f} points'
    return said if np.isnan(error) else f'{said} (± {error * 100:.1f})'


def _most_gain(found: Examination) -> str:
    gains = found.crossed.curve.doubled_of_class()
    best = int(gains.argmax())
    if gains[best] < _LEAST_GAIN:
        return ''
    return f'; most for {printable(found.columns.names[best])} ({gains[best] * 100:.1f})'
