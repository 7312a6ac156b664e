"""A trained model -> what it is worth: predictions, figures, what TensorBoard shows, the report."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr import files, progress
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.pictures.distort import Distortions
from poets_tfr.records.manifest import DUPLICATES, MANIFEST, SKIPPED, Manifest
from poets_tfr.records.reading import Records
from poets_tfr.reporting import about, gallery, metrics, projector, report
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.report import MOST_EXAMPLES, Example, Report
from poets_tfr.reporting.summaries import (
    MOST_MISTAKES,
    MOST_SHEETS,
    TILES_PER_SHEET,
    Summaries,
)
from poets_tfr.run import next_steps
from poets_tfr.run.result import Run
from poets_tfr.run.settings import RunConfig
from poets_tfr.training.head import Head
from poets_tfr.training.loop import Evaluation
from poets_tfr.training.predictions import Predictions, predict

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a run was made of and what came of it.

    splits, predictions: by split; empty splits are left out.
    """

    config: RunConfig
    records: Records
    backbone: Backbone
    splits: Mapping[str, SplitFeatures]
    predictions: Mapping[str, Predictions]
    evaluations: Sequence[Evaluation]

    @property
    def worst(self) -> tuple[list[int], dict[str, bytes]]:
        """The rows of the worst mistakes of the test, and their images by path."""
        tested = self.predictions.get('test')
        if tested is None:
            return [], {}
        rows = metrics.worst_mistakes(tested, MOST_MISTAKES).tolist()
        return rows, self.images_of(tested, rows)

    def images_of(self, tested: Predictions, rows: Sequence[int]) -> dict[str, bytes]:
        """Encoded, by path."""
        paths = list(dict.fromkeys(tested.paths[row] for row in rows))
        split = self.records['test']
        return dict(zip(paths, split.read_each(split.rows_of(paths)), strict=True))


def predictions_of(
    config: RunConfig, splits: Mapping[str, SplitFeatures], head: Head
) -> dict[str, Predictions]:
    """Every validation image, and the test as it was asked for."""
    predictions = {}
    if 'validation' in splits:
        predictions['validation'] = predict(head, splits['validation'])
    if 'test' in splits:
        batch_size = config.head.test_batch_size
        predictions['test'] = predict(head, splits['test'], batch_size, config.head)
    return predictions


def log_test(
    config: RunConfig, labels: Sequence[str], predictions: Mapping[str, Predictions]
) -> None:
    tested = predictions.get('test')
    if tested is None:
        log.info('No test images (--testing_percentage=0): no final test accuracy.')
        return
    log.info('Final test accuracy = %.1f%% (N=%d)', tested.accuracy * 100, len(tested))
    if config.reporting.print_misclassified_test_images:
        _log_misclassified(tested, config.conversion.place, labels)


def show(run: Evidence, summaries: Summaries) -> dict[str, Metrics]:
    """Figures and images, for TensorBoard; the figures are given back by split."""
    labels, config = run.records.labels, run.config
    figures = {
        split: summaries.evaluated(split, predicted, labels)
        for split, predicted in run.predictions.items()
    }
    rows, images = run.worst
    if rows:
        summaries.mistakes(gallery.mistakes(run.predictions['test'], rows, images, labels))
    for label, tiles in gallery.seen_by_network(
        run.records,
        run.backbone.preprocessing,
        MOST_SHEETS,
        TILES_PER_SHEET,
        Distortions.of(config.distortions, config.head.seed),
    ):
        summaries.inputs(label, tiles)
    projector.save(
        config.reporting.summaries_dir,
        run.records,
        run.splits,
        config.reporting.projector_pictures,
        config.head.seed,
    )
    return figures


def save_report(
    run: Evidence,
    figures: Mapping[str, Metrics],
    timings: Mapping[str, float],
    confidence: Mapping[str, Any],
    self_test: Mapping[str, Any] | None = None,
) -> Run:
    """Writes report.json and report.html into summaries_dir; gives what came of the run."""
    config, manifest = run.config, run.records.manifest
    rows, images = run.worst
    tested = run.predictions.get('test')
    value = report.save(
        config.reporting.summaries_dir,
        Report(
            title=f'{manifest.dataset_name} with {run.backbone.name}',
            labels=manifest.labels,
            metrics=figures,
            mistakes=report.mistakes(tested, rows, images, manifest.labels) if tested else (),
            settings=about.plain(config.values),
            versions=about.versions(),
            timings=timings,
            digests=_digests(run),
            pictures={name: s.pictures_per_class for name, s in manifest.splits.items()},
            left_out=_left_out(manifest),
            evaluations=run.evaluations,
            outputs={name: files.absolute(path) for name, path in config.written.items()},
            confidence=confidence,
            self_test=self_test,
            examples=_examples(run, rows),
            duplicates=run.records.duplicates(),
            lists=_lists(run.records.records_dir),
            again=next_steps.again(config),
            examine=next_steps.examine(config),
            splits_are_drawn=manifest.splits_are_drawn,
        ),
    )
    return Run.of(value, config.reporting.summaries_dir)


def _examples(run: Evidence, mistaken: Sequence[int]) -> list[Example]:
    tested, labels = run.predictions.get('test'), run.records.labels
    if tested is None:
        return []
    rows = metrics.right_beside(tested, mistaken, MOST_EXAMPLES).tolist()
    return report.examples(tested, rows, run.images_of(tested, rows), labels)


def _lists(records_dir: str) -> dict[str, str]:
    return {name: files.absolute(files.join(records_dir, name)) for name in (SKIPPED, DUPLICATES)}


def _left_out(manifest: Manifest) -> dict[str, Any]:
    return {
        'found': manifest.found,
        'skipped': manifest.skipped,
        'ignored': manifest.ignored,
        'skip_reasons': manifest.skip_reasons,
        **({'relabelled': manifest.relabelled} if manifest.relabelled else {}),
    }


def _digests(run: Evidence) -> dict[str, str]:
    """Of what the run was made from, and of the two files that it always writes."""
    export = run.config.export
    manifest = files.read_bytes(files.join(run.records.records_dir, MANIFEST))
    shards = {
        shard.file: shard.sha256
        for split in run.records.manifest.splits.values()
        for shard in split.shards
    }
    return {
        'network weights': run.backbone.digest,
        MANIFEST: hashlib.sha256(manifest).hexdigest(),
        **shards,
        os.path.basename(export.output_graph): files.sha256_of(export.output_graph),
        os.path.basename(export.output_labels): files.sha256_of(export.output_labels),
    }


def _log_misclassified(tested: Predictions, place: str, labels: Sequence[str]) -> None:
    """The original's lines, word for word."""
    log.info('=== MISCLASSIFIED TEST IMAGES ===')
    predicted = tested.predicted
    for row in np.flatnonzero(predicted != tested.labels):
        path = files.join(place, tested.paths[row])
        log.info('%70s  %s', progress.printable(path), labels[predicted[row]])
