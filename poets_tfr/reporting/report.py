"""report.json and report.html: a run's evidence for people and programs without TensorBoard."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import logging
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.reporting import page, verdict
from poets_tfr.reporting.metrics import Metrics, is_dense
from poets_tfr.reporting.sheets import thumbnail
from poets_tfr.training.loop import Evaluation
from poets_tfr.training.predictions import Predictions

log = logging.getLogger('poets_tfr')

JSON, HTML = 'report.json', 'report.html'
FORMAT = 'poets_tfr report 1'
MOST_POINTS = 500  # of a curve
MOST_EXAMPLES = 12
_MARKS = {
    JSON: b'"format": "poets_tfr report',
    HTML: b'<meta name="generator" content="poets_tfr">',
}


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An image that was classified wrongly.

    path: relative to image_dir. score: 0 to 1. thumbnail: a small JPEG; b'' of a run that is read.
    """

    path: str
    label: str
    predicted: str
    score: float
    thumbnail: bytes = dataclasses.field(default=b'', repr=False)


@dataclasses.dataclass(frozen=True)
class Example:
    """An image that was classified correctly; its fields as those of a Mistake."""

    path: str
    label: str
    score: float
    thumbnail: bytes = dataclasses.field(default=b'', repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """All that is known of a run, or of an evaluation. What does not apply is left empty.

    metrics: of each split (or whatever was evaluated), by its name.
    pictures: split -> pictures of each class, in the order of the labels.
    left_out: how many files were found, skipped, ignored and relabelled; why they were skipped.
    evaluations: the course of the training.
    timings: stage -> seconds.
    digests: input or output -> sha256.
    outputs: flag -> path, of what was written.
    confidence: what --calibrate found, as run.confidence has it.
    self_test: what export.self_test found.
    examples: of the classes that the mistakes are about, one each.
    duplicates: of images of the same bytes, `copies`, and contents `across_splits` and
      `across_classes`.
    lists: the name of a table beside the records -> its path.
    again, examine: commands that repeat the run, and that look over its images.
    splits_are_drawn: whether it is us who choose the test images.
    """

    title: str
    labels: Sequence[str]
    metrics: Mapping[str, Metrics]
    mistakes: Sequence[Mistake]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    timings: Mapping[str, float]
    digests: Mapping[str, str]
    pictures: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    confidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    self_test: Mapping[str, Any] | None = None
    examples: Sequence[Example] = ()
    duplicates: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
    again: str = ''
    examine: str = ''
    splits_are_drawn: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values. Accuracies and the like are fractions of 1, entropies nats, times s.

        Of many classes (see Metrics.to_json) `pictures` has lists in the order of the labels.
        """
        found = verdict.findings(self)
        return {
            'format': FORMAT,
            'title': self.title,
            'finished': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'labels': list(self.labels),
            **{name: metrics.to_json(self.labels) for name, metrics in self.metrics.items()},
            'verdict': verdict.verdict(found),
            'findings': [finding._asdict() for finding in found],
            'mistakes': [_without_thumbnail(mistake) for mistake in self.mistakes],
            'examples': [_without_thumbnail(example) for example in self.examples],
            'pictures': {
                split: by_label(counts, self.labels) if is_dense(self.labels) else list(counts)
                for split, counts in self.pictures.items()
            },
            'left_out': dict(self.left_out),
            'duplicates': dict(self.duplicates),
            'curves': [evaluation._asdict() for evaluation in thinned(self.evaluations)],
            'settings': dict(self.settings),
            'versions': dict(self.versions),
            'timings': {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
            'digests': dict(self.digests),
            'outputs': dict(self.outputs),
            'lists': dict(self.lists),
            'examine': self.examine,
            'confidence': dict(self.confidence),
            'self_test': dict(self.self_test) if self.self_test is not None else None,
        }


def save(directory: str, report: Report) -> dict[str, Any]:
    """Writes report.json and report.html, whole or not at all; other people's stay as they are.

    Returns:
      What report.json holds.
    """
    value = report.to_json()
    html = page.render(
        value,
        report.metrics,
        mistakes=[_base64(mistake) for mistake in report.mistakes],
        examples=[_base64(example) for example in report.examples],
        links=_links(directory, {**report.outputs, **report.lists}),
    )
    content_of = {
        HTML: html.encode('utf-8'),
        JSON: files.json_bytes(value, indent=is_dense(report.labels)),
    }
    for name, content in content_of.items():
        path = files.join(directory, name)
        if files.may_replace(path, _MARKS[name]):
            files.write_bytes(path, content)
            log.info('Report: %s', path)
    return value


def _without_thumbnail(shown: Mistake | Example) -> dict[str, Any]:
    return {name: value for name, value in vars(shown).items() if name != 'thumbnail'}


def _base64(shown: Mistake | Example) -> str:
    return base64.b64encode(shown.thumbnail).decode('ascii')


def _links(directory: str, paths: Mapping[str, str]) -> dict[str, str]:
    """Name -> address from the page's own folder, so that a folder that is moved keeps them.

    Of what exists on this machine only.
    """
    if files.is_remote(directory):
        return {}
    return {
        name: urllib.parse.quote(os.fsencode(os.path.relpath(path, directory)))
        for name, path in paths.items()
        if not files.is_remote(path) and os.path.exists(path)
    }


def by_label(counts: Mapping[str, int] | Sequence[int], labels: Sequence[str]) -> Mapping[str, int]:
    """Label -> pictures, of either form that report.json has."""
    return counts if isinstance(counts, Mapping) else dict(zip(labels, counts, strict=True))


def mistakes(
    predictions: Predictions,
    rows: Sequence[int],
    pictures: Mapping[str, bytes],
    labels: Sequence[str],
) -> list[Mistake]:
    """The pictures of these rows; `pictures` holds their encoded bytes by path."""
    found = []
    for row in rows:
        path, given = predictions.paths[row], int(predictions.predicted[row])
        found.append(
            Mistake(
                path=path,
                label=labels[predictions.labels[row]],
                predicted=labels[given],
                score=float(predictions.scores[row, given]),
                thumbnail=thumbnail(pictures[path]),
            )
        )
    return found


def examples(
    predictions: Predictions,
    rows: Sequence[int],
    pictures: Mapping[str, bytes],
    labels: Sequence[str],
) -> list[Example]:
    """As `mistakes`, of rows that were classified correctly."""
    return [
        Example(m.path, m.label, m.score, m.thumbnail)
        for m in mistakes(predictions, rows, pictures, labels)
    ]


def thinned(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """At most about MOST_POINTS of them, evenly; always the last."""
    step = -(-len(evaluations) // MOST_POINTS) or 1
    kept = list(evaluations[::step])
    if evaluations and kept[-1] is not evaluations[-1]:
        kept.append(evaluations[-1])
    return kept
