"""Features -> a trained head, and with `--fine_tune_from` a better network under it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from poets_tfr import files, progress
from poets_tfr.backbones import frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.export.settings import ExportConfig
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.reporting.profiling import Profile
from poets_tfr.reporting.summaries import Summaries
from poets_tfr.run import warm_start
from poets_tfr.run.step_log import StepLog, log_evaluation
from poets_tfr.run.work import Work
from poets_tfr.training import head as heads
from poets_tfr.training import head_checkpoints, search
from poets_tfr.training.early_stopping import Best
from poets_tfr.training.fine_tune import FineTuning
from poets_tfr.training.head import Head
from poets_tfr.training.head_checkpoints import HeadCheckpoints
from poets_tfr.training.loop import Measurements, State, Training
from poets_tfr.training.predictions import predict
from poets_tfr.training.settings import HeadConfig

log = logging.getLogger('poets_tfr')

_SAMPLE = 512  # pictures, whose logits TensorBoard shows


class Trained(NamedTuple):
    """A network, the head on it, and the splits as the network sees them.

    keras_network: gives the network as a Keras model, where Keras built it.
    """

    backbone: Backbone
    head: Head
    splits: dict[str, SplitFeatures]
    keras_network: Callable[[], Any]


def checkpoint_settings(work: Work, backbone: Backbone) -> dict[str, Any]:
    """What the head is made of: a checkpoint of other settings is not resumed."""
    return head_checkpoints.settings_of(
        (work.config.head, work.config.distortions),
        work.records.labels,
        work.records.manifest.digest('train', 'validation'),
        backbone.cache_key,
    )


def start_of(work: Work, backbone: Backbone) -> Head | None:
    """What `--warm_start` names; None without. Raises InputError: it is of another network."""
    config, labels = work.config.head, work.records.labels
    if not config.warm_start:
        return None
    return warm_start.load(config.warm_start, backbone, labels).start(labels, config.seed)


def train_head(
    work: Work,
    splits: dict[str, SplitFeatures],
    backbone: Backbone,
    graph: FrozenGraph,
    summaries: Summaries,
    start: Head | None,
) -> Head:
    """Trains from `start`, or a fresh head; every measurement goes to summaries.

    The training images come with what the distortions make of them.
    """
    with work.trained_on(splits['train'], backbone, summaries.input_rate) as train:
        settings = checkpoint_settings(work, backbone)
        return _train_head(work, {**splits, 'train': train}, graph, summaries, settings, start)


def _train_head(
    work: Work,
    splits: dict[str, SplitFeatures],
    graph: FrozenGraph,
    summaries: Summaries,
    checkpoint_settings: Mapping[str, Any],
    start: Head | None,
) -> Head:
    config = work.config
    frequency = config.export.intermediate_store_frequency
    train = splits['train']
    summaries.sample(train.features[np.arange(min(len(train), _SAMPLE))])
    classes, settings = len(graph.description.labels), config.head
    if settings.head_search == 'auto':
        with progress.stage('Head search'):
            settings = search.best(splits, classes, settings, start)
    training = Training(splits, classes, settings)
    with (
        progress.stage(f'Training {config.head.how_many_training_steps} steps'),
        HeadCheckpoints(
            training, training.start(start), checkpoint_settings, config.checkpoint
        ) as checkpoints,
        Profile(config.reporting.summaries_dir, config.reporting.profiled) as profile,
        StepLog.of(config.reporting.log_steps, config.head) as step_log,
    ):
        profile.before(int(checkpoints.state.step))
        for measured in training.run(checkpoints.state, frequency, profile.pauses):
            step_log.add(measured)
            summaries.add(measured)
            if frequency:
                _store_intermediate(measured, frequency, config.export, graph)
            checkpoints.keep(measured.state)
            profile.before(int(measured.state.step))
    state = checkpoints.state
    _log_end(state, settings)
    return training.trained(state)


def fine_tuning_of(work: Work) -> FineTuning | None:
    """The network, ready to be trained on; made before any long work, because it may fail."""
    config = work.config
    if not config.fine_tune.is_on:
        return None
    return FineTuning(
        config.backbone,
        config.fine_tune,
        len(work.records.labels),
        config.extraction.feature_batch_size,
        work.cluster,
    )


def head_alone(
    work: Work, backbone: Backbone, head: Head, splits: dict[str, SplitFeatures]
) -> Trained:
    """A head on the network as it came."""
    network = functools.partial(_keras_network, work)
    return Trained(backbone, head, splits, network)


def better_by_fine_tuning(
    work: Work,
    tuning: FineTuning,
    trained: Trained,
    summaries: Summaries,
) -> Trained:
    """The fine-tuned network where validation says that it is better, else what was there."""

    def tell(measured: Measurements) -> None:
        for evaluation in measured.evaluations:
            log_evaluation(evaluation)
        summaries.add(measured)

    settings = checkpoint_settings(work, trained.backbone)
    return _better(trained, _fine_tune(work, tuning, trained.head, settings, tell))


def assist(work: Work, backbone: Backbone, tuning: FineTuning | None) -> None:
    """What the other workers do for the chief: their share of the features and of fine-tuning."""
    work.features(backbone)
    if work.config.distortions.are_on and work.config.distortions.augment_copies:
        work.extraction(backbone).of_copies(work.distortions)
    if tuning:
        classes = len(work.records.labels)
        blank = heads.init(backbone.feature_width, classes, work.config.head.seed)
        _fine_tune(work, tuning, blank, {}, lambda measured: None)


def _fine_tune(
    work: Work,
    tuning: FineTuning,
    head: Head,
    checkpoint_settings: Mapping[str, Any],
    tell: Callable[[Measurements], None],
) -> Trained:
    """The fine-tuned network, with its head and its features; every worker takes part."""
    config, head_steps = work.config, work.config.head.how_many_training_steps
    pictures = {name: work.records[name] for name in ('train', 'validation')}
    for split in pictures.values():
        split.check_digests()
    settings = {**checkpoint_settings, '--how_many_training_steps': head_steps}
    tuning.start_from(head)
    with (
        progress.stage(f'Fine-tuning from {config.fine_tune.fine_tune_from}'),
        tuning.checkpoints(settings, config.checkpoint) as save_if_due,
    ):
        for measured in tuning.train(
            pictures, work.distortions, config.head, head_steps, save_if_due
        ):
            tell(measured)
    backbone, head = tuning.best()
    return Trained(backbone, head, work.features(backbone), tuning.keras_network)


def _better(head_alone: Trained, tuned: Trained) -> Trained:
    """By validation; says what both are worth."""
    scores = {}
    for split in [name for name in ('validation', 'test') if name in head_alone.splits]:
        scores[split] = [predict(x.head, x.splits[split]) for x in (head_alone, tuned)]
        log.info(
            '%s accuracy: head alone = %.1f%%, fine-tuned = %.1f%% (N=%d)', split.capitalize(),
            *(each.accuracy * 100 for each in scores[split]), len(scores[split][0]),
        )  # fmt: skip
    before, after = scores['validation']
    is_better = heads.better(after, before)
    kept = 'the fine-tuned network' if is_better else 'the head alone'
    log.info('By validation, %s is kept.', kept)
    return tuned if is_better else head_alone


def _keras_network(work: Work) -> Any:
    model, _ = frozen.build_keras(work.config.backbone)
    return model


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


def _store_intermediate(
    measured: Measurements, frequency: int, output: ExportConfig, graph: FrozenGraph
) -> None:
    step = measured.last_step
    if step == 0 or step % frequency:
        return
    name = f'intermediate_{step}.pb'
    path = files.join(output.intermediate_output_graphs_dir, name)
    log.info('Save intermediate result to : %s', path)
    graph.save(path, measured.head.weights.numpy(), measured.head.biases.numpy())
