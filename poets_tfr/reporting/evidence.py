"""A finished run -> what TensorBoard shows of it, and its report."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import OutputConfig, RetrainConfig
from poets_tfr.features import SplitFeatures
from poets_tfr.pictures.distort import Distortions
from poets_tfr.records.manifest import MANIFEST, Manifest
from poets_tfr.records.reading import read_pictures
from poets_tfr.reporting import about, gallery, metrics, projector, report
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.report import Report
from poets_tfr.reporting.summaries import (
    MOST_MISTAKES,
    MOST_SHEETS,
    TILES_PER_SHEET,
    Summaries,
)
from poets_tfr.training.evaluation import Predictions
from poets_tfr.training.loop import Evaluation


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run was made of and what came of it.

    splits, predictions: by split; empty splits are left out.
    """

    config: RetrainConfig
    manifest: Manifest
    backbone: Backbone
    splits: Mapping[str, SplitFeatures]
    predictions: Mapping[str, Predictions]
    evaluations: Sequence[Evaluation]

    @property
    def worst(self) -> tuple[list[int], dict[str, bytes]]:
        """The rows of the worst mistakes of the test, and their pictures by path."""
        tested = self.predictions.get('test')
        if tested is None:
            return [], {}
        rows = metrics.worst_mistakes(tested, MOST_MISTAKES).tolist()
        paths = [tested.paths[row] for row in rows]
        records_dir = self.config.conversion.records_dir
        return rows, read_pictures(records_dir, self.manifest, 'test', paths)


def show(run: Run, summaries: Summaries) -> dict[str, Metrics]:
    """Figures and pictures, for TensorBoard; the figures are given back by split."""
    labels = run.manifest.labels
    figures = {
        split: summaries.evaluated(split, predicted, labels)
        for split, predicted in run.predictions.items()
    }
    rows, pictures = run.worst
    if rows:
        tiles = gallery.mistakes(run.predictions['test'], rows, pictures, labels)
        summaries.mistakes(tiles)
    seen = gallery.seen_by_network(
        run.config.conversion.records_dir,
        run.manifest,
        run.splits['train'],
        run.backbone.preprocessing,
        MOST_SHEETS,
        TILES_PER_SHEET,
        Distortions.of(run.config.distortions, run.config.head.seed),
    )
    for label, tiles in seen:
        summaries.inputs(label, tiles)
    projector.save(
        run.config.output.summaries_dir,
        run.config.conversion.records_dir,
        run.manifest,
        run.splits,
        run.config.output.projector_pictures,
        run.config.head.seed,
    )
    return figures


def save_report(
    run: Run,
    figures: Mapping[str, Metrics],
    timings: Mapping[str, float],
    self_test: Mapping[str, Any] | None = None,
) -> None:
    """Writes report.json and report.html into summaries_dir."""
    output, manifest = run.config.output, run.manifest
    rows, pictures = run.worst
    labels = manifest.labels
    tested = run.predictions.get('test')
    report.save(
        output.summaries_dir,
        Report(
            title=f'{manifest.dataset_name} with {run.backbone.name}',
            labels=labels,
            metrics=figures,
            mistakes=report.mistakes(tested, rows, pictures, labels) if tested else (),
            settings=about.settings_of(run.config),
            versions=about.versions(),
            timings=timings,
            digests=_digests(run),
            pictures={name: s.pictures_per_class for name, s in manifest.splits.items()},
            evaluations=run.evaluations,
            outputs=_outputs(output),
            self_test=self_test,
        ),
    )


def _outputs(output: OutputConfig) -> dict[str, str]:
    """Flag -> where it is, of what the run wrote and people use."""
    kinds = (
        'output_graph', 'output_labels', 'saved_model_dir', 'tflite_output', 'keras_output',
        'summaries_dir',
    )  # fmt: skip
    return {kind: files.absolute(path) for kind in kinds if (path := getattr(output, kind))}


def _digests(run: Run) -> dict[str, str]:
    """Of what the run was made from, and of the two files that it always writes."""
    records_dir, output = run.config.conversion.records_dir, run.config.output
    manifest = files.read_bytes(files.join(records_dir, MANIFEST))
    shards = {
        shard.file: shard.sha256 for split in run.manifest.splits.values() for shard in split.shards
    }
    return {
        'network weights': run.backbone.digest,
        MANIFEST: hashlib.sha256(manifest).hexdigest(),
        **shards,
        os.path.basename(output.output_graph): files.sha256_of(output.output_graph),
        os.path.basename(output.output_labels): files.sha256_of(output.output_labels),
    }
