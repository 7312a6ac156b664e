"""examine.html, examine.json and the tables of what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from poets_tfr import files, tables
from poets_tfr.examination import page, saying
from poets_tfr.examination.examination import Accuracy, Examination
from poets_tfr.examination.odd import REASONS
from poets_tfr.records.reading import Records
from poets_tfr.reporting.metrics import wilson_interval

PAGE, JSON = 'examine.html', 'examine.json'
SUSPECTS, NEAR_DUPLICATES, ODD = 'suspects.tsv', 'near_duplicates.tsv', 'odd.tsv'


def save(found: Examination, records: Records, directory: str) -> None:
    """All together; each appears whole.

    Raises:
      InputError: a record is damaged.
    """
    files.make_dirs(directory)
    figures = {'records_dir': files.absolute(records.records_dir), **as_json(found)}
    contents = {
        SUSPECTS: _suspects(found),
        NEAR_DUPLICATES: _near_duplicates(found),
        ODD: _odd(found),
        JSON: files.json_bytes(figures),
        PAGE: page.render(found, records).encode('utf-8', 'backslashreplace'),
    }
    files.write_together({files.join(directory, n): content for n, content in contents.items()})


def as_json(found: Examination) -> dict[str, Any]:
    columns, suspects, curve = found.columns, found.suspects, found.crossed.curve
    counts = np.bincount(columns.labels, minlength=len(columns.names))
    right = np.bincount(columns.labels[found.right], minlength=len(columns.names))
    gains = curve.doubled_of_class()
    doubled, error = curve.doubled()
    return {
        'architecture': found.architecture,
        'pictures': len(columns),
        'accuracy': _accuracy(found.accuracy),
        'test_accuracy': _accuracy(found.test_accuracy()),
        'test_accuracy_without_leaked': _accuracy(found.test_accuracy(without_leaked=True)),
        'leaked_test_pictures': [columns.paths[row] for row in np.flatnonzero(found.leaked)],
        'suspects': {
            'expected': suspects.expected,
            'expected_range': suspects.expected_range,
            'pairs': [
                {'label': label, 'suggested_label': other, 'pictures': len(rows)}
                for label, other, rows in saying.pairs(found)
            ],
        },
        'near_duplicates': [
            {'paths': [columns.paths[row] for row in rows], 'crosses': found.crosses(rows)}
            for rows in found.copies.groups()
        ],
        'odd': {reason: sum(each.reason == reason for each in found.odd) for reason in REASONS},
        'learning_curve': {
            'pictures': curve.pictures,
            'accuracy': curve.mean.tolist(),
            'standard_error': [None if np.isnan(e) else e for e in curve.error.tolist()],
            'doubled_adds': doubled,
            'doubled_adds_standard_error': None if np.isnan(error) else error,
        },
        'networks': [dataclasses.asdict(network) for network in found.networks],
        'confused': [
            {'label': label, 'taken_for': other, 'pictures': count}
            for label, other, count in saying.confused(found)
        ],
        'classes': [
            {
                'label': name,
                'pictures': int(counts[i]),
                'recognised': int(right[i]),
                'doubled_adds': float(gains[i]),
            }
            for i, name in enumerate(columns.names)
        ],
    }


def _accuracy(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    interval = wilson_interval(accuracy.right, accuracy.pictures)
    return {'accuracy': accuracy.share, 'interval': interval, 'pictures': accuracy.pictures}


def _suspects(found: Examination) -> bytes:
    columns, suspects = found.columns, found.suspects

    def rows() -> Iterator[tuple[str, ...]]:
        for row in suspects.order.tolist():
            suggested = columns.names[suspects.suggested[row]]
            quality = f'{suspects.quality[row]:.4f}'
            yield columns.paths[row], columns.label_of(row), suggested, quality

    return tables.tsv(('path', 'label', 'suggested_label', 'quality'), rows())


def _near_duplicates(found: Examination) -> bytes:
    columns, copies = found.columns, found.copies
    rows = (
        (number, columns.paths[row], f'{copies.similarity[row]:.4f}', columns.label_of(row),
         columns.split_of(row))
        for number, group in enumerate(copies.groups(), 1)
        for row in group.tolist()
    )  # fmt: skip
    return tables.tsv(('group', 'path', 'similarity', 'label', 'split'), rows)


def _odd(found: Examination) -> bytes:
    rows = ((found.columns.paths[each.row], each.reason, f'{each.value:.4g}') for each in found.odd)
    return tables.tsv(('path', 'reason', 'value'), rows)
