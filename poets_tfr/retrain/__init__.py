"""The orchestrator: every stage in order, each skipped when its result stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from poets_tfr import distribution, self_test
from poets_tfr.backbones import frozen
from poets_tfr.config import ConversionConfig, RetrainConfig
from poets_tfr.distribution import Cluster
from poets_tfr.progress import timed
from poets_tfr.records import manifest as manifests
from poets_tfr.records import writing
from poets_tfr.records.image_dir import Listing
from poets_tfr.records.manifest import Manifest
from poets_tfr.reporting import evidence
from poets_tfr.reporting.about import versions
from poets_tfr.reporting.evidence import Run
from poets_tfr.reporting.summaries import Summaries
from poets_tfr.retrain import checks, results, training
from poets_tfr.retrain.work import Work
from poets_tfr.training import head_checkpoints

log = logging.getLogger('poets_tfr')


def retrain(config: RetrainConfig, insisted: Mapping[str, Any] | None = None) -> float | None:
    """Makes a classifier of a picture folder, or of records made before.

    Args:
      config: the run.
      insisted: conversion settings that were asked for explicitly; records made otherwise are
        refused.

    Returns:
      The test accuracy, a fraction of 1; None where there are no test pictures, and in all workers
      but the chief.

    Raises:
      InputError: something the user can mend; all that can be known early is said early.
    """
    task = distribution.task_of(config.distribution.distribution)
    listing = checks.check_inputs(config, insisted or {}, task.is_chief)
    cluster = distribution.start(config.distribution.distribution)
    cluster.check_shared(config.conversion.records_dir, 'records_dir')
    cluster.check_shared(config.output.bottleneck_dir, 'bottleneck_dir')
    timings: dict[str, float] = {}
    with timed(timings, 'conversion'):
        manifest = _records(config.conversion, listing, cluster)
    checks.check_validation(config, manifest)
    work = Work(config, manifest, cluster)
    with timed(timings, 'backbone'):
        backbone = frozen.load(config.backbone)
        graph = results.trial_export(work, backbone)
        tuning = training.fine_tuning_of(work)
    if not cluster.is_chief:
        training.assist(work, backbone, tuning)
        cluster.wait_for_all('worker 0, which trains the head and exports it')
        return None
    made_of = training.settings_of(work, backbone)
    head_checkpoints.check(made_of, config.checkpoint)
    start = training.start_of(work, backbone)
    with Summaries(config.output.summaries_dir, config.checkpoint.resume) as summaries:
        summaries.describe(config, manifest, versions(), graph.graph_def)
        with timed(timings, 'features'):
            splits = work.features(backbone, summaries.input_rate)
        with self_test.started(config.output.self_test_pictures) as test:
            with (
                timed(timings, 'training'),
                work.trained_on(splits['train'], backbone, summaries.input_rate) as train,
            ):
                seen = {**splits, 'train': train}
                head = training.train_head(work, seen, graph, summaries, made_of, start)
            trained = training.alone(work, backbone, head, splits)
            if tuning:
                with timed(timings, 'fine_tuning'):
                    trained = training.better_by_fine_tuning(
                        work, tuning, trained, made_of, summaries
                    )
                graph = results.trial_export(work, trained.backbone)
            predictions = results.evaluate(work, trained.splits, trained.head)
            with timed(timings, 'export'):
                exports = results.export(work, graph, trained)
            prove = results.begin_proof(test, work, exports, trained)
            with timed(timings, 'reporting'):
                run = Run(
                    config, manifest, trained.backbone, trained.splits, predictions,
                    summaries.evaluations,
                )  # fmt: skip
                figures = evidence.show(run, summaries)
            with timed(timings, 'self-test'):
                verdicts = prove()
    evidence.save_report(run, figures, timings, verdicts)
    cluster.wait_for_all('the other workers')
    if verdicts:
        self_test.check(verdicts)
    return predictions['test'].accuracy if 'test' in predictions else None


def _records(config: ConversionConfig, listing: Listing | None, cluster: Cluster) -> Manifest:
    """The chief converts; the others wait for its manifest."""
    if listing:
        manifest = writing.convert(config, listing)
    cluster.wait_for_all('worker 0, which converts the pictures')
    if not listing:
        manifest = manifests.load_manifest(config.records_dir)
        counts = {name: split.pictures_per_class for name, split in manifest.splits.items()}
        log.info('%s', manifests.table(manifest.labels, counts))
    return manifest
