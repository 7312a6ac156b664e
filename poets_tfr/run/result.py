"""What came of a run, as its report has it: an object with names and units."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.reporting import report
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.report import Mistake

_SPLITS = 'test', 'validation', 'train'
_MISTAKES_SHOWN = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    folder: where its report, curves and settings are.
    title: the name of the data set, and of the network.
    labels: the classes by name, in the order of the scores.
    metrics: by split, 'test' and 'validation': accuracy (a fraction of 1), cross_entropy (nats),
      confusion and per-class precision, recall and f1 (numpy), pictures (how many).
    mistakes: the test images that were classified wrongly with the highest scores; the worst first:
      path, label, predicted and score of each.
    exports: setting -> path, of what was written ('output_graph', 'output_labels' ...); where a
      run's folder was moved, at its new place.
    settings: every setting of the run, by name.
    timings: stage -> seconds.
    images: split -> how many of each class.
    left_out: found, skipped, ignored (how many files) and skip_reasons (reason -> how many); of
      corrected images relabelled, too.
    digests: what the run was made from, and its graph and labels -> their SHA-256.
    confidence: what `calibrate` found: `calibration`, with the temperature, and the
      calibration_error and cross_entropy of each split before and after; and what
      `target_precision` found: `threshold`, with min_score, and each split's precision and
      coverage. And of `refuse_unlike`: `unlike`, with the images of each split that it refuses.
      Empty without.
    finished: when, ISO 8601, UTC.

    >>> run = poets_tfr.train('~/pets')                           # doctest: +SKIP
    >>> run.accuracy, run.accuracy_interval                       # doctest: +SKIP
    (0.903, (0.868, 0.930))
    """

    folder: str
    title: str
    labels: Sequence[str]
    metrics: Mapping[str, Metrics]
    mistakes: Sequence[Mistake]
    exports: Mapping[str, str]
    settings: Mapping[str, Any]
    timings: Mapping[str, float]
    images: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, Any]
    digests: Mapping[str, str]
    confidence: Mapping[str, Any]
    finished: str

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """The run whose report.json is in `folder`. Raises InputError: there is none."""
        folder = os.path.expanduser(folder)
        path = files.join(folder, report.JSON)
        if not files.exists(path):
            raise InputError(f'{folder}: no finished run there: it has no {report.JSON}.')
        value = files.read_json(path)
        try:
            return cls.of(value, folder)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f'{path} is damaged, or no report of a run ({error!r}).') from None

    @classmethod
    def of(cls, value: Mapping[str, Any], folder: str) -> Run:
        """The run whose report.json holds `value`. Raises KeyError, TypeError, ValueError."""
        labels = value['labels']
        return cls(
            folder=folder,
            title=value['title'],
            labels=labels,
            metrics={
                split: Metrics.from_json(value[split], len(labels))
                for split in _SPLITS
                if split in value
            },
            mistakes=[Mistake(**mistake) for mistake in value['mistakes']],
            exports=_exports(value['outputs'], folder),
            settings=value['settings'],
            timings=value['timings'],
            images={s: report.by_label(of, labels) for s, of in value['pictures'].items()},
            left_out=value.get('left_out', {}),
            digests=value['digests'],
            confidence=value.get('confidence', {}),
            finished=value['finished'],
        )

    @property
    def accuracy(self) -> float | None:
        """Of the test, a fraction of 1; None where there was none."""
        return self.metrics['test'].accuracy if 'test' in self.metrics else None

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Where the accuracy on endless images lies, with 95 % confidence (Wilson 1927)."""
        return self.metrics['test'].interval if 'test' in self.metrics else None

    @property
    def report(self) -> str:
        """The path of report.html."""
        return files.join(self.folder, report.HTML)

    def __repr__(self) -> str:
        lines = [f'<Run {self.title}, {len(self.labels)} classes']
        for split, figures in self.metrics.items():
            if figures.interval:
                low, high = figures.interval
                lines.append(
                    f'  {split} accuracy {figures.accuracy:.1%} '
                    f'({low:.1%} to {high:.1%}, N={figures.pictures})'
                )
        return '\n'.join([*lines, f'  report {self.report}>'])

    def _repr_html_(self) -> str:
        """What a notebook shows: the figures, and the worst mistakes."""
        rows = [
            f'<tr><td>{split} accuracy</td><td>{figures.accuracy:.1%}</td>'
            f'<td>{figures.interval[0]:.1%} to {figures.interval[1]:.1%}</td>'
            f'<td>{figures.pictures}</td></tr>'
            for split, figures in self.metrics.items()
            if figures.interval
        ]
        mistakes = [
            f'<li>{_text(m.path)}: {_text(m.label)}, classified as {_text(m.predicted)} '
            f'({m.score:.0%})</li>'
            for m in self.mistakes[:_MISTAKES_SHOWN]
        ]
        return (
            f'<b>{_text(self.title)}</b>'
            '<table><tr><th></th><th></th><th>95 % range</th><th>images</th></tr>'
            f'{"".join(rows)}</table>'
            + (f'The surest mistakes:<ul>{"".join(mistakes)}</ul>' if mistakes else '')
            + f'Report: <code>{_text(os.path.abspath(self.report))}</code>'
        )


def _exports(outputs: Mapping[str, str], folder: str) -> dict[str, str]:
    """Setting -> path; what lay in the run's folder lies there still, wherever that is now."""
    former = files.join(outputs.get('summaries_dir', ''), '')
    here = files.join(files.absolute(folder), '')
    return {
        name: here + path.removeprefix(former) if former and path.startswith(former) else path
        for name, path in outputs.items()
        if name != 'summaries_dir'
    }


def _text(text: str) -> str:
    return html.escape(text.encode('utf-8', 'backslashreplace').decode())
