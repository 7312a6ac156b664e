"""The last lines of a run: how good it is, how far that is to be trusted, and what to do next."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys

import numpy as np

from poets_tfr.progress import printable
from poets_tfr.records.manifest import told_left_out
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.verdict import FEW_TEST_IMAGES, more_test_images
from poets_tfr.run.result import Run
from poets_tfr.run.settings import RunConfig

log = logging.getLogger('poets_tfr')

_WEAKEST = 3  # classes
_WIDE = 0.3  # a range of 30 points says little


def log_summary(run: Run, config: RunConfig, splits_are_drawn: bool = True) -> None:
    """At most 12 lines; what must not be missed is a warning."""
    for split, name in ('test', 'Test'), ('validation', 'Validation'):
        if split in run.metrics and run.metrics[split].interval:
            log.info('%s', _accuracy_line(name, run.metrics[split]))
    if 'test' in run.metrics:
        if weak := _weakest(run.metrics['test'], run):
            log.info('Weakest classes: %s', weak)
        _warn_of_few(run.metrics['test'], splits_are_drawn)
    counts = {name: run.left_out[name] for name in ('found', 'ignored', 'skip_reasons')}
    if left_out := told_left_out(**counts):
        log.warning('%s', left_out)
    log.info('Next:')
    for command, what in _next_commands(run, config):
        log.info('  %s   %s', command, what)


def _accuracy_line(name: str, figures: Metrics) -> str:
    low, high = figures.interval or (0.0, 1.0)
    return (
        f'{name}: {figures.accuracy:.1%} of {figures.pictures:,} images are classified correctly '
        f'(95 % range {low:.1%} to {high:.1%}; always guessing the commonest class: '
        f'{figures.baseline:.1%}).'
    )


def _weakest(figures: Metrics, run: Run) -> str:
    """The classes with the lowest recall, where any image of theirs is classified wrongly."""
    recall = np.where(np.isnan(figures.recall), 1.0, figures.recall)
    order = np.argsort(recall, kind='stable')[:_WEAKEST]
    return ', '.join(
        f'{printable(run.labels[i])} ({recall[i]:.0%} of {figures.support[i]})'
        for i in order
        if recall[i] < 1
    )


def _warn_of_few(figures: Metrics, splits_are_drawn: bool) -> None:
    low, high = figures.interval or (0.0, 1.0)
    if figures.pictures < FEW_TEST_IMAGES or high - low > _WIDE:
        log.warning(
            'WARNING: %d test images are too few to say how good the classifier is: anything from '
            '%.0f%% to %.0f%% is likely. %s.',
            figures.pictures, low * 100, high * 100,
            more_test_images(splits_are_drawn).capitalize(),
        )  # fmt: skip


def _next_commands(run: Run, config: RunConfig) -> list[tuple[str, str]]:
    """What can be typed as it stands, where and as the run was started, and what it does."""
    folder = config.folder.run_dir or ''
    graph = run.exports['output_graph']
    program = os.path.basename(sys.argv[0])
    if not (program.startswith('poets-') or os.path.isfile(_beside('label_image'))):
        model = repr(_short(folder or graph))
        return [
            (f"poets_tfr.load({model}).predict('my.jpg')", 'label an image'),
            (f"poets_tfr.evaluate({model}, 'my_images')", 'try it on a folder of other images'),
            (_short(run.report), 'the report'),
        ]
    if 'MAKELEVEL' in os.environ and not program.startswith('poets-'):
        said = f' RUN={shlex.quote(folder)}' if folder else f' FLAGS="--graph={graph}"'
        return [
            (f'make label PICTURE=my.jpg{said}', 'label an image'),
            (f'make serve{said}', 'label images on a page in the browser'),
            (_show(run.report), 'see the report'),
        ]
    label, serve = _tool('label_image', 'poets-label'), _tool('serve', 'poets-serve')
    named = f'--graph={shlex.quote(_short(folder or graph))}'
    return [
        (f'{label} {named} my.jpg', 'label an image'),
        (f'{serve} {named}', 'label images on a page in the browser'),
        (_show(run.report), 'see the report'),
    ]


def _tool(script: str, command: str) -> str:
    """How this installation calls a tool: its command, or the script in this checkout."""
    if os.path.isfile(_beside(script)):
        return f'{_short(sys.executable)} {shlex.quote(_short(_beside(script)))}'
    installed = os.path.join(os.path.dirname(sys.executable), command)
    return command if shutil.which(command) else _short(installed)


def _beside(script: str) -> str:
    """The path of a tool's script, where the one that was started is its neighbour."""
    return os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), f'{script}.py')


def _show(report: str) -> str:
    opener = 'open' if sys.platform == 'darwin' else 'xdg-open'
    return f'{opener} {shlex.quote(_short(report))}'


def _short(path: str) -> str:
    """From the current folder, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(os.path.abspath(path)) else path
