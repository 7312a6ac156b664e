"""report.json's value -> report.html: one file, nothing fetched from anywhere.

It has no script, but for the one that finds a class among many; the page's policy names its digest,
so that nothing else can run.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poets_tfr import runtime
from poets_tfr.progress import printable
from poets_tfr.reporting.metrics import Metrics, wilson_interval

_WIDTH, _HEIGHT = 420, 240  # of a chart, in its own units
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 12, 12, 28
MOST_CLASSES = 60  # in the confusion matrix: more could not be read
_WORST = 20  # classes and pairs that are named where the matrix cannot show all
_FIND = """
const box = document.getElementById('find');
const rows = [...document.querySelectorAll('#classes tbody tr')];
const names = rows.map(row => row.cells[0].textContent.toLowerCase());
const find = () => {
  const wanted = box.value.trim().toLowerCase();
  rows.forEach((row, i) => { row.hidden = !names[i].includes(wanted); });
};
box.hidden = false;
box.addEventListener('input', find);
find();
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """name: of the CSS class that colours it, too. points: as an SVG polyline has them."""

    name: str
    points: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart ready to be drawn; ticks are (place, text)."""

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _HEIGHT - _BOTTOM


class Row(NamedTuple):
    """A class in a table; counts: its pictures in the other splits."""

    label: str
    precision: float
    recall: float
    f1: float
    pictures: int
    counts: tuple[int, ...]


class Tables(NamedTuple):
    """What the page says of the classes of a split.

    splits: the others, whose pictures are counted.
    matrix: of each class shown, the counts of its row, each with its share.
    is_whole: whether the matrix shows all classes.
    weakest: the classes that are found least.
    pairs: class, what it was most often taken for, how many of its pictures, of how many.
    """

    splits: list[str]
    classes: list[Row]
    matrix: list[tuple[str, list[tuple[int, float]]]]
    is_whole: bool
    weakest: list[Row]
    pairs: list[tuple[str, str, int, int]]


def render(
    report: dict[str, Any],
    evaluated: Mapping[str, Metrics],
    mistakes: Sequence[str],
    examples: Sequence[str],
    links: Mapping[str, str],
) -> str:
    """The page.

    Args:
      report: as report.json holds it.
      evaluated: the metrics of the splits; the test, or what is nearest to it, is shown.
      mistakes, examples: a JPEG in base64 for each of them.
      links: the name of an output or a list -> its address.
    """
    page = environment('poets_tfr.reporting')
    page.filters['shell'] = shlex.quote
    page.globals['command'] = runtime.command
    page.filters['seconds'] = lambda value: f'{value:,.1f} s'
    main = 'test' if 'test' in evaluated else next(iter(evaluated), '')
    figures = report.get(main)
    return page.get_template('report.html').render(
        report=report,
        main=main,
        figures=figures,
        interval=_interval(figures) if figures else None,
        evaluated=[(name, report[name]) for name in evaluated],
        charts=_charts(report['curves']),
        tables=_tables(report, main, evaluated[main]) if figures else None,
        script=_FIND,
        script_digest=base64.b64encode(hashlib.sha256(_FIND.encode()).digest()).decode(),
        mistakes=list(zip(report['mistakes'], mistakes, strict=True)),
        examples=list(zip(report['examples'], examples, strict=True)),
        links=links,
    )


def environment(package: str) -> Any:
    """A jinja2.Environment of the templates of a package, in which nothing on a page can run."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.PackageLoader(package, 'templates'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,  # of every value on the page: no control characters, nothing but UTF-8
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters['percent'] = _percent
    return found


def _interval(figures: dict[str, Any]) -> tuple[float, float] | None:
    pictures = figures['pictures']
    if not pictures:
        return None
    return wilson_interval(round(figures['accuracy'] * pictures), pictures)


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not hasattr(value, '__html__'):
        return printable(value)
    return 'not defined' if value is None else value


def _percent(share: float | None, digits: int = 1) -> str:
    return '–' if share is None or math.isnan(share) else f'{share * 100:.{digits}f} %'


def _tables(report: dict[str, Any], main: str, figures: Metrics) -> Tables:
    labels, splits = report['labels'], [split for split in report['pictures'] if split != main]
    counts = [report['pictures'][split] for split in splits]
    counts = [list(of.values()) if isinstance(of, dict) else of for of in counts]
    precision, recall, f1 = figures.precision.tolist(), figures.recall.tolist(), figures.f1.tolist()
    support = figures.support.tolist()
    classes = [
        Row(label, precision[i], recall[i], f1[i], support[i], tuple(of[i] for of in counts))
        for i, label in enumerate(labels)
    ]
    shown = figures.most_mistaken(MOST_CLASSES)
    confusion = figures.confusion_of(shown)
    shares = confusion / np.maximum(figures.support[shown], 1)[:, np.newaxis]
    return Tables(
        splits,
        classes,
        matrix=[
            (labels[i], list(zip(*row, strict=True)))
            for i, *row in zip(shown, confusion.tolist(), shares.tolist(), strict=True)
        ],
        is_whole=len(shown) == len(labels),
        weakest=[classes[i] for i in figures.weakest(_WORST)],
        pairs=[
            (labels[label], labels[predicted], count, classes[label].pictures)
            for label, predicted, count in figures.worst_pairs(_WORST).tolist()
        ],
    )


def _charts(curves: list[dict[str, Any]]) -> list[Chart]:
    if len(curves) < 2:
        return []
    accuracy = {'train': 'train_accuracy', 'validation': 'validation_accuracy'}
    entropy = {'train': 'cross_entropy', 'validation': 'validation_cross_entropy'}
    return [_chart('accuracy', curves, accuracy, 1.0), _chart('cross entropy', curves, entropy)]


def _chart(
    title: str, curves: list[dict[str, Any]], names: dict[str, str], top: float | None = None
) -> Chart:
    series = {
        name: [(point['step'], point[key]) for point in curves if point[key] is not None]
        for name, key in names.items()
    }
    values = [value for points in series.values() for _, value in points]
    low = 0.0 if top is None else max(0.0, math.floor(min(values) * 5) / 5)
    high = top if top is not None else (max(values) or 1.0) * 1.05
    last = curves[-1]['step'] + 1

    def x(step: float) -> float:
        return round(_LEFT + step / last * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (value - low) / ((high - low) or 1)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    lines = [
        Line(name, ' '.join(f'{x(step)},{y(value)}' for step, value in points))
        for name, points in series.items()
        if points
    ]
    levels = [low + (high - low) * i / 4 for i in range(5)]
    return Chart(
        title,
        lines,
        x_ticks=[(x(last * i / 4), f'{round(last * i / 4):,}') for i in range(5)],
        y_ticks=[(y(level), f'{level:.2f}') for level in levels],
    )
