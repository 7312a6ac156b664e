"""Labels and scores as lines: the tutorial's, JSON, CSV or TSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from poets_tfr.label.settings import LabelFormat
from poets_tfr.progress import printable
from poets_tfr.tables import json_cell

UNSURE = 'unsure'
_COLUMNS = 'path', 'rank', 'label', 'score'


def header(output_format: LabelFormat) -> str:
    """What stands above all pictures' lines."""
    if output_format == 'csv':
        return _csv([_COLUMNS])
    return '\t'.join(_COLUMNS) + '\n' if output_format == 'tsv' else ''


def lines(
    path: str,
    best_first: Sequence[tuple[str, float]],
    output_format: LabelFormat,
    top_k: int = 0,
    min_score: float = 0.0,
    with_path: bool = True,
) -> str:
    """One picture's labels.

    Args:
      path: of the picture.
      best_first: (label, score) of every class.
      output_format: json gives one object a line, csv and tsv one row for each label.
      top_k: how many labels at most; 0: all.
      min_score: labels below it are left out; where that leaves none, the picture is `unsure`.
      with_path: whether the text format says which picture it is.
    """
    labels = _chosen(best_first, top_k, min_score)
    if output_format == 'json':
        return json.dumps({'path': path, **as_json(best_first, top_k, min_score)}) + '\n'
    labels = labels or [(UNSURE, best_first[0][1])]
    if output_format == 'text':
        text = ''.join(f'{printable(label)} (score = {score:.5f})\n' for label, score in labels)
        return f'{printable(path)}:\n{text}' if with_path else text
    rows = [(path, rank, label, f'{score:.6g}') for rank, (label, score) in enumerate(labels, 1)]
    if output_format == 'csv':
        return _csv(rows)
    # Escaped as JSON strings are: no name can add a column or a line.
    return ''.join('\t'.join(json_cell(str(cell)) for cell in row) + '\n' for row in rows)


def least(min_score: float, is_unlike: bool, asked: float | None) -> float:
    """The score that a picture needs: one unlike the training's has none, unless all are wanted."""
    return math.inf if is_unlike and asked != 0 else min_score


def as_json(
    best_first: Sequence[tuple[str, float]], top_k: int = 0, min_score: float = 0.0
) -> dict[str, Any]:
    """One picture's labels: `label` is the best one, None where the picture is `unsure`.

    What is not UTF-8 in a label is a lone surrogate, as in Python's own decoding.
    """
    labels = _chosen(best_first, top_k, min_score)
    return {
        'label': labels[0][0] if labels else None,
        'score': best_first[0][1],
        'unsure': not labels,
        'labels': [{'label': label, 'score': score} for label, score in labels],
    }


def _chosen(
    best_first: Sequence[tuple[str, float]], top_k: int, min_score: float
) -> list[tuple[str, float]]:
    return [(label, score) for label, score in best_first if score >= min_score][: top_k or None]


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    return text.getvalue().encode('utf-8', 'backslashreplace').decode()
