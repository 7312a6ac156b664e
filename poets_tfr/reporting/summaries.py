"""What TensorBoard shows of a run: `train`, `validation` and `test` below summaries_dir.

summaries_dir itself is a run too: what the run is, and was made of.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr.progress import printable
from poets_tfr.records.manifest import Manifest
from poets_tfr.reporting import about, metrics, sheets
from poets_tfr.reporting.about import ACCURACY, CROSS_ENTROPY
from poets_tfr.reporting.event_files import EventFiles
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.sheets import Sheet, Tile
from poets_tfr.training.loop import Evaluation, Measurements
from poets_tfr.training.predictions import Predictions

_RUN = ''
_RUNS = _RUN, 'train', 'validation', 'test'
_STEPS_BETWEEN_HISTOGRAMS = 500
_SECONDS_BETWEEN_RATES = 2.0
# Pictures and curves are kept for so many classes, so that the files stay small with thousands.
MOST_CURVES, MOST_SHEETS = 60, 20
TILES_PER_SHEET, MOST_MISTAKES = 24, 24
_MISTAKES_PER_SHEET = 6  # a card is 350 pixels wide: more columns, and captions are unreadable


class Summaries:
    """The event files of one run. With `resume` they go on where a former run's end.

    evaluations: those added so far.
    """

    def __init__(self, summaries_dir: str, resume: bool = False):
        self._files = EventFiles(summaries_dir, _RUNS, resume)
        self._resume = resume
        self._next_histogram = self._steps = 0
        self._sample: np.ndarray | None = None
        self._session = False
        self.evaluations: list[Evaluation] = []
        self._rate = _Rate()

    def __enter__(self) -> Summaries:
        self._files.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._session:
            self._files.plugin(_RUN, 0, about.session_end(succeeded=kind is None))
        self._files.__exit__(kind, error, trace)

    def describe(
        self,
        settings: Mapping[str, object],
        hyperparameters: Mapping[str, object],
        manifest: Manifest,
        versions: Mapping[str, str],
        graph_def: Any,
    ) -> None:
        """What the run is: hyperparameters, flags, data set, graph, and the page of charts."""
        write = self._files.plugin
        for summary in about.hparams_summaries(hyperparameters):
            write(_RUN, 0, summary)
        self._session = True
        write(_RUN, 0, about.text('configuration', about.configuration_text(settings, versions)))
        write(_RUN, 0, about.text('pictures', about.records_text(manifest)))
        write(_RUN, 0, about.layout())
        graph = about.without_weights(graph_def).SerializeToString(deterministic=True)
        self._files.write(_RUN, 0, graph_def=graph)
        self._files.flush()

    def input_rate(self, pictures: int, waited: float) -> None:
        """Called for each batch that the backbone saw, with the seconds waited for its pictures."""
        rate = self._rate
        rate.pictures += pictures
        rate.since += pictures
        rate.waited += waited
        seconds = time.perf_counter() - rate.start
        if seconds >= _SECONDS_BETWEEN_RATES:
            scalars = {
                'input/pictures_per_second': rate.since / seconds,
                'input/waiting_for_data': min(rate.waited / seconds, 1.0),
            }
            self._files.scalars('train', rate.pictures, scalars)
            self._files.flush()
            self._rate = _Rate(rate.pictures)

    def sample(self, features: np.ndarray) -> None:
        """Features float32 [n, width] whose logits the histograms show."""
        self._sample = features

    def add(self, measured: Measurements) -> None:
        """Every step to `train`, every evaluation to `validation`, histograms now and then."""
        if self._resume:
            self._files.supersede(measured.first_step)
            self._resume = False
        scores = zip(measured.accuracies.tolist(), measured.cross_entropies.tolist(), strict=True)
        for step, (accuracy, cross_entropy) in enumerate(scores, measured.first_step):
            self._write_scores('train', step, accuracy, cross_entropy)
        self.evaluations += measured.evaluations
        for evaluation in measured.evaluations:
            accuracy = evaluation.validation_accuracy
            cross_entropy = evaluation.validation_cross_entropy
            if accuracy is not None and cross_entropy is not None:
                self._write_scores('validation', evaluation.step, accuracy, cross_entropy)
        self._steps = measured.last_step + 1
        if measured.seconds:
            rates = {
                'training/steps_per_second': len(measured.accuracies) / measured.seconds,
                'training/waiting_for_data': measured.waited / measured.seconds,
            }
            self._files.scalars('train', measured.last_step, rates)
        if measured.last_step >= self._next_histogram:
            self._next_histogram = measured.last_step + _STEPS_BETWEEN_HISTOGRAMS
            self._write_histograms(measured)
        self._files.flush()

    def evaluated(self, split: str, predictions: Predictions, labels: Sequence[str]) -> Metrics:
        """All the figures of a split, to the run of its name."""
        step = self._steps
        measured = metrics.measure(predictions)
        self._write_metrics(split, step, measured, labels)
        title = f'{split}: {measured.accuracy:.1%} of {measured.pictures} classified correctly'
        matrix = sheets.confusion_matrix(measured, labels, title)
        self._show(split, step, 'confusion_matrix', matrix)
        diagram = sheets.reliability(measured.calibration, f'{split}: calibration')
        self._show(split, step, 'calibration', diagram)
        self._write_curves(split, step, predictions, measured, labels)
        self._files.flush()
        return measured

    def mistakes(self, tiles: Sequence[Tile]) -> None:
        """The most confidently wrong test pictures, the worst first."""
        for first in range(0, len(tiles), _MISTAKES_PER_SHEET):
            some = tiles[first : first + _MISTAKES_PER_SHEET]
            tag = f'confidently_wrong/{first + 1:02d}-{first + len(some):02d}'
            self._show('test', self._steps, tag, sheets.contact_sheet(some, 2, 170))
        self._files.flush()

    def inputs(self, label: str, tiles: Sequence[Tile]) -> None:
        """Pictures of one class as the network gets them."""
        tag = f'what_the_network_sees/{_tag(label)}'
        self._show('train', 0, tag, sheets.contact_sheet(tiles, 4, 84))
        self._files.flush()

    def _write_scores(self, run: str, step: int, accuracy: float, cross_entropy: float) -> None:
        self._files.scalars(run, step, {ACCURACY: accuracy, CROSS_ENTROPY: cross_entropy})

    def _write_histograms(self, measured: Measurements) -> None:
        values = {
            f'final_training_ops/{name}/summaries/histogram': value.numpy()
            for name, value in measured.head._asdict().items()
        }
        if self._sample is not None:
            weights, biases = (value.numpy() for value in measured.head)
            values['final_training_ops/Wx_plus_b/pre_activations'] = self._sample @ weights + biases
        for tag, array in values.items():
            self._files.histogram('train', measured.last_step, tag, array)

    def _write_metrics(self, run: str, step: int, measured: Metrics, labels: Sequence[str]) -> None:
        scalars = {
            about.FINAL_ACCURACY: measured.accuracy,
            about.MACRO: measured.macro_accuracy,
            about.MEAN_CROSS_ENTROPY: measured.cross_entropy,
            about.CALIBRATION_ERROR: measured.calibration.error,
        }
        tags = [_tag(label) for label in labels]
        for name in 'precision', 'recall', 'f1':
            values = getattr(measured, name).tolist()
            scalars |= {
                f'final_{name}/{tag}': value for tag, value in zip(tags, values, strict=True)
            }
        defined = {tag: value for tag, value in scalars.items() if not math.isnan(value)}
        self._files.scalars(run, step, defined)

    def _write_curves(
        self,
        run: str,
        step: int,
        predictions: Predictions,
        measured: Metrics,
        labels: Sequence[str],
    ) -> None:
        from tensorboard.plugins.pr_curve import summary

        for label in measured.most_mistaken(MOST_CURVES):
            truth = predictions.labels == label
            if not truth.any():
                continue
            curve = metrics.precision_recall(predictions.scores[:, label], truth)
            name = _tag(labels[label])
            pb = summary.raw_data_pb(name, *curve, num_thresholds=curve.shape[1])
            self._files.plugin(run, step, pb)

    def _show(self, run: str, step: int, tag: str, sheet: Sheet) -> None:
        self._files.picture(run, step, tag, *sheet)


class _Rate:
    def __init__(self, pictures: int = 0):
        self.pictures, self.since, self.waited = pictures, 0, 0.0
        self.start = time.perf_counter()


def _tag(label: str) -> str:
    """A label as a part of a tag: TensorBoard groups tags by their slashes."""
    return printable(label).strip().replace('/', '-')
