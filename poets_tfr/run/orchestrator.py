"""The orchestrator: every stage in order, each skipped when its result is there."""

from __future__ import annotations

import contextlib
import logging

from poets_tfr import distribution, export_check, locks
from poets_tfr.backbones import frozen
from poets_tfr.distribution import Cluster, Task
from poets_tfr.progress import timed
from poets_tfr.records import conversion
from poets_tfr.records import manifest as manifests
from poets_tfr.records.reading import Records
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.reporting.about import versions
from poets_tfr.reporting.summaries import Summaries
from poets_tfr.run import (
    checks,
    confidence,
    evidence,
    exporting,
    flagfile,
    folders,
    summary,
    training,
)
from poets_tfr.run.evidence import Evidence
from poets_tfr.run.result import Run
from poets_tfr.run.settings import RunConfig
from poets_tfr.run.work import Work
from poets_tfr.sources.listing import Listing
from poets_tfr.training import head_checkpoints

log = logging.getLogger('poets_tfr')

# What TensorBoard's table of runs always shows; of the other settings those that were changed.
_ALWAYS_SHOWN = 'architecture', 'how_many_training_steps', 'learning_rate'


def train(config: RunConfig) -> Run | None:
    """Makes a classifier of a folder of images, or of records made before.

    Returns:
      What came of it; None in all workers but the chief.

    Raises:
      InputError: something the user can mend; all that can be known early is said early.
    """
    task = distribution.task_of(config.distribution.distribution)
    if not task.is_chief or not config.folder.run_dir:
        return _train(config, task)
    with folders.taken(config.folder.run_dir, config.checkpoint.resume) as folder:
        log.info('Run: %s', folder)
        run = _train(config.in_folder(folder), task)
        folders.succeeded(folder)
    return run


def _train(config: RunConfig, task: Task) -> Run | None:
    listing = checks.check_inputs(config, task.is_chief)
    if not task.is_chief:
        return _all_stages(config, None)
    checkpoint_path = config.checkpoint.checkpoint_path
    with locks.only_run({**config.written, 'checkpoint_path': checkpoint_path}):
        return _all_stages(config, listing)


def _all_stages(config: RunConfig, listing: Listing | None) -> Run | None:
    cluster = distribution.start(config.distribution.distribution)
    cluster.check_shared(config.conversion.records_dir, 'records_dir')
    cluster.check_shared(config.extraction.bottleneck_dir, 'bottleneck_dir')
    if listing and config.fine_tune.is_on:  # else the network itself is built at once
        frozen.check_keras_layer(config.backbone, config.fine_tune.fine_tune_from)
    timings: dict[str, float] = {}
    with timed(timings, 'conversion'):
        records = _records(config.conversion, listing, cluster)
    checks.check_validation(config, records)
    work = Work(config, records, cluster)
    with timed(timings, 'backbone'):
        backbone = frozen.load(config.backbone)
        graph = exporting.trial_export(work, backbone)
        tuning = training.fine_tuning_of(work)
    if not cluster.is_chief:
        training.assist(work, backbone, tuning)
        cluster.wait_for_all('worker 0, which trains the head and exports it')
        return None
    checkpoint_settings = training.checkpoint_settings(work, backbone)
    head_checkpoints.check(checkpoint_settings, config.checkpoint)
    start = training.start_of(work, backbone)
    flagfile.save(config)  # not sooner: a run that fails leaves no summaries_dir
    with contextlib.ExitStack() as stack:
        summaries = stack.enter_context(
            Summaries(config.reporting.summaries_dir, config.checkpoint.resume)
        )
        summaries.describe(
            config.values, _hyperparameters(config), records.manifest, versions(), graph.graph_def
        )
        with timed(timings, 'features'):
            splits = work.features(backbone, summaries.input_rate)
        self_test = stack.enter_context(export_check.started(config.export.self_test_pictures))
        with timed(timings, 'training'):
            head = training.train_head(work, splits, backbone, graph, summaries, start)
        trained = training.head_alone(work, backbone, head, splits)
        if tuning:
            with timed(timings, 'fine_tuning'):
                trained = training.better_by_fine_tuning(work, tuning, trained, summaries)
            graph = exporting.trial_export(work, trained.backbone)
        trained, predictions, found, described = confidence.of(work, trained)
        evidence.log_test(config, records.labels, predictions)
        confidence.tell(found, predictions)
        graph.describe(**described)
        with timed(timings, 'export'):
            exports = exporting.export(work, graph, trained)
        verdicts = export_check.begun(
            self_test, exports, trained.splits, trained.head, records, config.conversion.image_dir
        )
        run = Evidence(
            config, records, trained.backbone, trained.splits, predictions, summaries.evaluations
        )
        with timed(timings, 'reporting'):
            figures = evidence.show(run, summaries)
        with timed(timings, 'self-test'):
            verdict = verdicts()
    result = evidence.save_report(run, figures, timings, found, verdict)
    cluster.wait_for_all('the other workers')
    if verdict:
        export_check.check(verdict)
    summary.log_summary(result, config, records.manifest.splits_are_drawn)
    return result


def _records(config: ConversionConfig, listing: Listing | None, cluster: Cluster) -> Records:
    """The chief converts; the others wait for its manifest."""
    made = conversion.convert(config, listing) if listing else None
    cluster.wait_for_all('worker 0, which converts the images')
    records = Records(config.records_dir, made) if made else Records.open(config.records_dir)
    records.check_current()
    if not made:
        splits = records.manifest.splits
        counts = {name: split.pictures_per_class for name, split in splits.items()}
        log.info('%s', manifests.table(records.labels, counts))
    return records


def _hyperparameters(config: RunConfig) -> dict[str, object]:
    """What may change the result: of the settings those that are not at their defaults."""
    default = RunConfig().values
    return {
        name: value
        for name, value in config.chosen('records', 'result').items()
        if value != default[name] or name in _ALWAYS_SHOWN
    }
