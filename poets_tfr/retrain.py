"""The orchestrator: every stage in order, each skipped when its result stands."""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poets_tfr import (
    distribution,
    features,
    files,
    flagfile,
    live_features,
    progress,
    self_test,
    warm_start,
)
from poets_tfr.backbones import frozen
from poets_tfr.backbones.catalog import KerasSource
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import (
    BackboneConfig,
    ConversionConfig,
    HeadConfig,
    InputError,
    OutputConfig,
    RetrainConfig,
)
from poets_tfr.distribution import Cluster
from poets_tfr.export import frozen_graph
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.export.tflite import CALIBRATION_PICTURES
from poets_tfr.export.writing import Export, check_outputs, write_exports
from poets_tfr.features import SplitFeatures
from poets_tfr.pictures.distort import Distortions
from poets_tfr.progress import timed
from poets_tfr.records import manifest as manifests
from poets_tfr.records import writing
from poets_tfr.records.image_dir import Listing, list_image_dir
from poets_tfr.records.manifest import Manifest
from poets_tfr.records.reading import read_pictures
from poets_tfr.reporting import evidence, metrics
from poets_tfr.reporting.about import versions
from poets_tfr.reporting.evidence import Run
from poets_tfr.reporting.profiling import Profile
from poets_tfr.reporting.summaries import Summaries
from poets_tfr.self_test import SelfTest
from poets_tfr.training import head as heads
from poets_tfr.training import head_checkpoints, search
from poets_tfr.training.early_stopping import Best
from poets_tfr.training.evaluation import Predictions, predict
from poets_tfr.training.fine_tune import FineTuning, Pictures
from poets_tfr.training.head import Head
from poets_tfr.training.head_checkpoints import HeadCheckpoints
from poets_tfr.training.loop import Evaluation, Measurements, State, Training

log = logging.getLogger('poets_tfr')

_SAMPLE = 512  # pictures, whose logits TensorBoard shows


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
    listing = _check_inputs(config, insisted or {}, task.is_chief)
    cluster = distribution.start(config.distribution.distribution)
    cluster.check_shared(config.conversion.records_dir, 'records_dir')
    cluster.check_shared(config.output.bottleneck_dir, 'bottleneck_dir')
    timings: dict[str, float] = {}
    with timed(timings, 'conversion'):
        manifest = _records(config.conversion, listing, cluster)
    _check_validation(config.head, manifest)
    with timed(timings, 'backbone'):
        backbone = frozen.load(config.backbone)
        graph = _trial_export(backbone, manifest, config.output)
        tuning = _fine_tuning(config, manifest, cluster)
    if not cluster.is_chief:
        _assist(config, manifest, backbone, tuning, cluster)
        cluster.wait_for_all('worker 0, which trains the head and exports it')
        return None
    made_of = head_checkpoints.settings_of(
        (config.head, config.distortions),
        manifest.labels,
        manifest.digest('train', 'validation'),
        backbone.cache_key,
    )
    head_checkpoints.check(made_of, config.checkpoint)
    start = _warm_start(config.head, backbone, manifest.labels)
    with Summaries(config.output.summaries_dir, config.checkpoint.resume) as summaries:
        summaries.describe(config, manifest, versions(), graph.graph_def)
        with timed(timings, 'features'):
            splits = _features(config, manifest, backbone, cluster, summaries.input_rate)
        with self_test.started(config.output.self_test_pictures) as test:
            with (
                timed(timings, 'training'),
                _trained_on(
                    config, manifest, backbone, splits['train'], cluster, summaries
                ) as train,
            ):
                head = _train(config, {**splits, 'train': train}, graph, summaries, made_of, start)
            if tuning:
                with timed(timings, 'fine_tuning'):
                    tell = functools.partial(_tell, summaries)
                    tuned = _fine_tune(config, manifest, tuning, head, made_of, cluster, tell)
                backbone, head, splits = _better(_Trained(backbone, head, splits), tuned)
                graph = _trial_export(backbone, manifest, config.output)
            predictions = _evaluate(config, splits, head, manifest)
            with timed(timings, 'export'):
                calibration = functools.partial(_calibration, config, manifest)
                network = functools.partial(_keras_network, config.backbone)
                exports = write_exports(config.output, backbone, graph, head, calibration, network)
            with timed(timings, 'self-test'):
                verdicts = _self_test(test, config, exports, splits, head) if test else None
        with timed(timings, 'reporting'):
            run = Run(config, manifest, backbone, splits, predictions, summaries.evaluations)
            figures = evidence.show(run, summaries)
    evidence.save_report(run, figures, timings, verdicts)
    cluster.wait_for_all('the other workers')
    if verdicts:
        self_test.check(verdicts)
    return predictions['test'].accuracy if 'test' in predictions else None


def _check_inputs(
    config: RetrainConfig, insisted: Mapping[str, Any], is_chief: bool
) -> Listing | None:
    """All that can go wrong and is known without TensorFlow, before any long work."""
    if not config.conversion.image_dir and not config.conversion.records_dir:
        raise InputError('Must set flag --image_dir (a folder with one folder per class).')
    listing = None
    if is_chief:
        listing = _check_records(config.conversion, insisted)
        _check_output(config.output)
        files.check_writable_dir(config.checkpoint.checkpoint_path, 'checkpoint_path')
    files.check_writable_dir(config.output.bottleneck_dir, 'bottleneck_dir')
    frozen.check_available(config.backbone)
    if config.head.warm_start and not files.exists(config.head.warm_start):
        raise InputError(f'--warm_start: {config.head.warm_start} not found.')
    if is_chief:
        flagfile.save(config, insisted)
    return listing


def _check_records(config: ConversionConfig, insisted: Mapping[str, Any]) -> Listing | None:
    if config.image_dir:
        listing = list_image_dir(config)
        files.check_writable_dir(config.records_dir, 'records_dir')
        return listing
    manifest = manifests.load_manifest(config.records_dir)
    manifests.check_settings(config.records_dir, manifest, insisted)
    manifests.check_shards(config.records_dir, manifest)
    return None


def _check_output(output: OutputConfig) -> None:
    check_outputs(output)
    files.check_writable_dir(output.summaries_dir, 'summaries_dir')
    if output.intermediate_store_frequency:
        directory = output.intermediate_output_graphs_dir
        files.check_writable_dir(directory, 'intermediate_output_graphs_dir')


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


def _trial_export(backbone: Backbone, manifest: Manifest, output: OutputConfig) -> FrozenGraph:
    """Builds, serialises and reads back the graph with an empty head: no run dies saving."""
    import tensorflow as tf

    graph = FrozenGraph(
        backbone, manifest.labels, output.final_tensor_name, manifest.store_max_side
    )
    shape = backbone.feature_width, len(manifest.labels)
    empty = graph.with_head(np.zeros(shape, np.float32), np.zeros(shape[1], np.float32))
    tf.compat.v1.GraphDef.FromString(frozen_graph.serialized(empty))
    return graph


def _features(
    config: RetrainConfig,
    manifest: Manifest,
    backbone: Backbone,
    cluster: Cluster,
    observe: features.Observe = features.unobserved,
) -> dict[str, SplitFeatures]:
    """Of every split that is not empty."""
    splits = features.extract(
        config.conversion.records_dir,
        manifest,
        backbone,
        config.output.bottleneck_dir,
        config.backbone,
        cluster,
        observe,
    )
    return {name: split for name, split in splits.items() if len(split)}


def _distorted_copies(
    config: RetrainConfig,
    manifest: Manifest,
    backbone: Backbone,
    cluster: Cluster,
    observe: features.Observe = features.unobserved,
) -> SplitFeatures:
    return features.extract_distorted(
        config.conversion.records_dir,
        manifest,
        backbone,
        config.output.bottleneck_dir,
        config.backbone,
        Distortions(config.distortions, config.head.seed),
        cluster,
        observe,
    )


def _assist(
    config: RetrainConfig,
    manifest: Manifest,
    backbone: Backbone,
    tuning: FineTuning | None,
    cluster: Cluster,
) -> None:
    """What the other workers do for the chief: their share of the features and of fine-tuning."""
    _features(config, manifest, backbone, cluster)
    if config.distortions.are_on and config.distortions.augment_copies:
        _distorted_copies(config, manifest, backbone, cluster)
    if tuning:
        blank = heads.init(backbone.feature_width, len(manifest.labels), config.head.seed)
        _fine_tune(config, manifest, tuning, blank, {}, cluster, lambda measured: None)


@contextlib.contextmanager
def _trained_on(
    config: RetrainConfig,
    manifest: Manifest,
    backbone: Backbone,
    train: SplitFeatures,
    cluster: Cluster,
    summaries: Summaries,
) -> Iterator[SplitFeatures]:
    """The training pictures, and what the distortions make of them."""
    if not config.distortions.are_on:
        yield train
        return
    if copies := config.distortions.augment_copies:
        log.info(
            'Distortions: %d copies of each training picture beside itself (--augment_copies).',
            copies,
        )
        distorted = _distorted_copies(config, manifest, backbone, cluster, summaries.input_rate)
        yield features.joined(train, distorted)
        return
    log.info('Distortions: anew for the pictures of every step (--augment_copies=0).')
    distortions = Distortions(config.distortions, config.head.seed)
    with live_features.live(
        config.conversion.records_dir, manifest, train, backbone, config.backbone, distortions
    ) as split:
        yield split


def _train(
    config: RetrainConfig,
    splits: dict[str, SplitFeatures],
    graph: FrozenGraph,
    summaries: Summaries,
    made_of: Mapping[str, Any],
    start: Head | None,
) -> Head:
    frequency = config.output.intermediate_store_frequency
    train = splits['train']
    summaries.sample(train.features[np.arange(min(len(train), _SAMPLE))])
    classes, settings = len(graph.description.labels), config.head
    if settings.head_search == 'auto':
        with progress.stage('Head search'):
            settings = search.best(splits, classes, settings, start)
    training = Training(splits, classes, settings)
    with (
        progress.stage(f'Training {config.head.how_many_training_steps} steps'),
        HeadCheckpoints(training, training.start(start), made_of, config.checkpoint) as checkpoints,
        Profile(config.output.summaries_dir, config.output.profiled) as profile,
    ):
        profile.before(int(checkpoints.state.step))
        for measured in training.run(checkpoints.state, frequency, profile.pauses):
            for evaluation in measured.evaluations:
                _log_evaluation(evaluation)
            summaries.add(measured)
            if frequency:
                _store_intermediate(measured, frequency, config.output, graph)
            checkpoints.keep(measured.state)
            profile.before(int(measured.state.step))
    state = checkpoints.state
    _log_end(state, settings)
    return training.trained(state)


class _Trained(NamedTuple):
    """A network, the head on it, and the splits as the network sees them."""

    backbone: Backbone
    head: Head
    splits: dict[str, SplitFeatures]


def _fine_tuning(config: RetrainConfig, manifest: Manifest, cluster: Cluster) -> FineTuning | None:
    """The network, ready to be trained on; made before any long work, because it may fail."""
    if not config.fine_tune.is_on:
        return None
    if not manifest.splits['validation'].pictures:
        raise InputError(
            '--fine_tune_from: without validation pictures nothing says whether the network gets '
            'better: give --validation_percentage.'
        )
    return FineTuning(config.backbone, config.fine_tune, len(manifest.labels), cluster)


def _fine_tune(
    config: RetrainConfig,
    manifest: Manifest,
    tuning: FineTuning,
    head: Head,
    made_of: Mapping[str, Any],
    cluster: Cluster,
    tell: Callable[[Measurements], None],
) -> _Trained:
    """The fine-tuned network, with its head and its features; every worker takes part."""
    records_dir, head_steps = config.conversion.records_dir, config.head.how_many_training_steps
    pictures = {name: Pictures.of(records_dir, manifest, name) for name in ('train', 'validation')}
    distortions = Distortions(config.distortions, config.head.seed)
    settings = {**made_of, '--how_many_training_steps': head_steps}
    tuning.start_from(head)
    with (
        progress.stage(f'Fine-tuning from {config.fine_tune.fine_tune_from}'),
        tuning.checkpoints(settings, config.checkpoint) as save_if_due,
    ):
        for measured in tuning.train(pictures, distortions, config.head, head_steps, save_if_due):
            tell(measured)
    backbone, head = tuning.best()
    return _Trained(backbone, head, _features(config, manifest, backbone, cluster))


def _better(alone: _Trained, tuned: _Trained) -> _Trained:
    """By validation accuracy; of equal ones the lower cross entropy; says what both are worth."""
    scores = {}
    for split in [name for name in ('validation', 'test') if name in alone.splits]:
        scores[split] = [metrics.measure(predict(x.head, x.splits[split])) for x in (alone, tuned)]
        log.info(
            '%s accuracy: head alone = %.1f%%, fine-tuned = %.1f%% (N=%d)', split.capitalize(),
            *(each.accuracy * 100 for each in scores[split]), scores[split][0].pictures,
        )  # fmt: skip
    head_alone, fine_tuned = ((x.accuracy, -x.cross_entropy) for x in scores['validation'])
    is_better = fine_tuned > head_alone
    kept = 'the fine-tuned network' if is_better else 'the head alone'
    log.info('By validation, %s is kept.', kept)
    return tuned if is_better else alone


def _check_validation(config: HeadConfig, manifest: Manifest) -> None:
    """What is chosen by the validation split needs one."""
    asked = {
        '--head_search': config.head_search == 'auto',
        '--early_stopping_patience': config.early_stopping_patience > 0,
    }
    for flag, is_on in asked.items():
        if is_on and not manifest.splits['validation'].pictures:
            raise InputError(f'{flag} chooses by validation pictures, and there are none.')


def _warm_start(config: HeadConfig, backbone: Backbone, labels: list[str]) -> Head | None:
    if not config.warm_start:
        return None
    return warm_start.load(config.warm_start, backbone, labels).start(labels, config.seed)


def _log_end(state: State, config: HeadConfig) -> None:
    """Why it ended before the last step, and which head is kept, where that is not the last one."""
    steps = int(state.step)
    if isinstance(state.best, Best):
        best = state.best
        accuracy, entropy = float(best.scores.accuracy), float(best.scores.cross_entropy)
        log.info(
            'Best head: of step %d: validation accuracy %.1f%%, cross entropy %f.',
            int(best.step), accuracy * 100, entropy,
        )  # fmt: skip
    if steps < config.how_many_training_steps:
        log.info('Stopped after %d steps: no further step would help.', steps)


def _tell(summaries: Summaries, measured: Measurements) -> None:
    for evaluation in measured.evaluations:
        _log_evaluation(evaluation)
    summaries.add(measured)


def _log_evaluation(evaluation: Evaluation) -> None:
    """The original's lines, word for word: documents and scripts quote them."""
    now, step = datetime.datetime.now(), evaluation.step
    log.info('%s: Step %d: Train accuracy = %.1f%%', now, step, evaluation.train_accuracy * 100)
    log.info('%s: Step %d: Cross entropy = %f', now, step, evaluation.cross_entropy)
    if evaluation.validation_accuracy is not None:
        percent = evaluation.validation_accuracy * 100
        draws = evaluation.validation_draws
        log.info('%s: Step %d: Validation accuracy = %.1f%% (N=%d)', now, step, percent, draws)


def _store_intermediate(
    measured: Measurements, frequency: int, output: OutputConfig, graph: FrozenGraph
) -> None:
    step = measured.last_step
    if step == 0 or step % frequency:
        return
    name = f'intermediate_{step}.pb'
    path = files.join(output.intermediate_output_graphs_dir, name)
    log.info('Save intermediate result to : %s', path)
    graph.save(path, measured.head.weights.numpy(), measured.head.biases.numpy())


def _evaluate(
    config: RetrainConfig, splits: dict[str, SplitFeatures], head: Head, manifest: Manifest
) -> dict[str, Predictions]:
    """Every validation picture, and the test as it was asked for."""
    predictions = {}
    if 'validation' in splits:
        predictions['validation'] = predict(head, splits['validation'])
    if 'test' not in splits:
        log.info('No test pictures (--testing_percentage=0): no final test accuracy.')
        return predictions
    tested = predict(head, splits['test'], config.head.test_batch_size, config.head)
    log.info('Final test accuracy = %.1f%% (N=%d)', tested.accuracy * 100, len(tested))
    if config.output.print_misclassified_test_images:
        _log_misclassified(tested, config.conversion.image_dir, manifest.labels)
    return {**predictions, 'test': tested}


def _log_misclassified(tested: Predictions, image_dir: str, labels: list[str]) -> None:
    """The original's lines, word for word."""
    log.info('=== MISCLASSIFIED TEST IMAGES ===')
    predicted = tested.predicted
    for row in np.flatnonzero(predicted != tested.labels):
        path = os.path.join(image_dir, tested.paths[row])
        log.info('%70s  %s', progress.printable(path), labels[predicted[row]])


def _self_test(
    test: SelfTest,
    config: RetrainConfig,
    exports: Sequence[Export],
    splits: dict[str, SplitFeatures],
    head: Head,
) -> dict[str, Any]:
    pictures = self_test.choose(splits, head, config.output.self_test_pictures)
    conversion = config.conversion
    result = test.run(exports, pictures, conversion.records_dir, conversion.image_dir)
    self_test.log_result(result)
    return result


def _calibration(config: RetrainConfig, manifest: Manifest) -> list[bytes]:
    """Training pictures, spread evenly, as the records hold them."""
    records_dir = config.conversion.records_dir
    paths = [
        entry.path
        for index in manifests.load_indexes(records_dir, manifest, 'train')
        for entry in index.entries
        if entry.is_record
    ]
    chosen = paths[:: -(-len(paths) // CALIBRATION_PICTURES)]
    return list(read_pictures(records_dir, manifest, 'train', chosen).values())


def _keras_network(config: BackboneConfig) -> tuple[Any, KerasSource]:
    model, _, source = frozen.build_keras(config)
    return model, source
