"""The lines that tell of training: all of the original's, or a few, and a bar."""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
from collections.abc import Iterator

from poets_tfr import progress
from poets_tfr.progress import Progress
from poets_tfr.reporting.settings import LogSteps
from poets_tfr.training.loop import Evaluation, Measurements
from poets_tfr.training.settings import HeadConfig

log = logging.getLogger('poets_tfr')

_FEW = 10


class StepLog:
    """all: every evaluation's three lines. Else about ten evaluations' validation accuracy."""

    def __init__(self, every: int, bar: Progress | None):
        """every: how many steps lie between two evaluations that are logged; 0: log all of them."""
        self._every, self._bar, self._next = every, bar, 0

    @classmethod
    @contextlib.contextmanager
    def of(cls, mode: LogSteps, config: HeadConfig) -> Iterator[StepLog]:
        """Inside, the log of a training by `config`."""
        steps = config.how_many_training_steps
        if mode == 'all' or (mode == 'auto' and not _is_watched()):
            yield cls(0, None)
            return
        with progress.bar(steps, 'steps', 'Training') as bar:
            yield cls(max(1, steps // _FEW), bar)

    def add(self, measured: Measurements) -> None:
        for evaluation in measured.evaluations:
            if not self._every:
                log_evaluation(evaluation)
            elif evaluation.step >= self._next:
                self._next = evaluation.step - evaluation.step % self._every + self._every
                _log_in_one_line(evaluation)
        if self._bar:
            self._bar.update(len(measured.accuracies))


def log_evaluation(evaluation: Evaluation) -> None:
    """The original's lines, word for word: documents and scripts quote them."""
    now, step = datetime.datetime.now(), evaluation.step
    log.info('%s: Step %d: Train accuracy = %.1f%%', now, step, evaluation.train_accuracy * 100)
    log.info('%s: Step %d: Cross entropy = %f', now, step, evaluation.cross_entropy)
    _log_validation(evaluation, now)


def _log_in_one_line(evaluation: Evaluation) -> None:
    now = datetime.datetime.now()
    if evaluation.validation_accuracy is not None:
        _log_validation(evaluation, now)
    else:
        percent = evaluation.train_accuracy * 100
        log.info('%s: Step %d: Train accuracy = %.1f%%', now, evaluation.step, percent)


def _log_validation(evaluation: Evaluation, now: datetime.datetime) -> None:
    if evaluation.validation_accuracy is not None:
        percent = evaluation.validation_accuracy * 100
        draws = evaluation.validation_draws
        log.info(
            '%s: Step %d: Validation accuracy = %.1f%% (N=%d)',
            now, evaluation.step, percent, draws,
        )  # fmt: skip


def _is_watched() -> bool:
    """By a person, at a terminal or in a notebook: nobody reads a thousand lines there."""
    return sys.stdout.isatty() or _is_notebook()


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel; one that drives notebooks is none."""
    ipython = sys.modules.get('IPython')
    return ipython is not None and hasattr(ipython.get_ipython(), 'kernel')
