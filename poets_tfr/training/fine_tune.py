"""Pictures -> a better network: its top layers are trained on, together with the head.

    tuning = FineTuning(backbone_config, config, classes)  # raises when the layer does not exist
    tuning.start_from(head)
    with tuning.checkpoints(settings, checkpoint_config) as save_if_due:
        for measured in tuning.train(pictures, distortions, head_config, first_step, save_if_due):
            ...
    backbone, head = tuning.best()

Batch norms keep their statistics, and dropout is off: the network stays in inference mode, so that
what is trained is what is exported. From random weights it would hardly learn so: for them,
`fine_tune_batch_norm=batch` (Ioffe and Szegedy 2015). Adam, its learning rate rising linearly over
the warm-up steps and then falling along a cosine (Loshchilov and Hutter 2017, 'SGDR'; warm-up:
Goyal et al. 2017, 'Accurate, large minibatch SGD').
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.backbones import frozen, keras_models
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.distribution import ONE_DEVICE, Cluster
from poets_tfr.errors import InputError
from poets_tfr.pictures import pipeline
from poets_tfr.pictures.distort import Distortions
from poets_tfr.records.reading import SplitRecords
from poets_tfr.training import fine_tune_data
from poets_tfr.training.best_weights import BestWeights
from poets_tfr.training.checkpoints import Checkpoints
from poets_tfr.training.head import Head
from poets_tfr.training.loop import Evaluation, Measurements
from poets_tfr.training.sampling import TRAIN_STREAM, Sampler
from poets_tfr.training.settings import (
    CheckpointConfig,
    FineTuneConfig,
    HeadConfig,
)

log = logging.getLogger('poets_tfr')

_FOLDER = 'fine_tune'  # below checkpoint_path
_CHIEF = 'worker 0'
_BFLOAT16_CAPABILITY = 8, 0  # the first NVIDIA GPUs that compute in bfloat16: Ampere


class FineTuning:
    """A network and its head, trained together on all devices of a cluster.

    Every worker makes the same calls; the chief's head, checkpoint and evaluations are everybody's.
    """

    def __init__(
        self,
        backbone: BackboneConfig,
        config: FineTuneConfig,
        classes: int,
        evaluation_batch_size: int = 32,
        cluster: Cluster = ONE_DEVICE,
    ):
        """Builds the network.

        Raises:
          InputError: it has no layer `config.fine_tune_from`, or its weights cannot be had.
        """
        import tensorflow as tf

        self._config, self._backbone_config = config, backbone
        self._evaluation_batch_size = evaluation_batch_size
        self._cluster = cluster
        self._strategy = cluster.strategy or tf.distribute.get_strategy()
        replicas = self._strategy.num_replicas_in_sync
        if config.fine_tune_batch_size % replicas:
            raise InputError(
                f'--fine_tune_batch_size={config.fine_tune_batch_size} does not divide among '
                f'{replicas} devices: give a multiple of {replicas}.'
            )
        self.precision = _precision(config)
        self.model, self._spec = frozen.build_keras(backbone, self.precision, cluster.strategy)
        with self._strategy.scope():
            layers = keras_models.layers_from(self.model, config.fine_tune_from)
            self._head = tf.keras.layers.Dense(classes, dtype='float32', name='final_training_ops')
            self._head.build([None, self._spec.feature_width])
            self._trained = [
                v for layer in (*layers, self._head) for v in layer.trainable_variables
            ]
            moving = self._moving(layers, replicas)
            self._optimizer = tf.keras.optimizers.Adam(_schedule(config))
            self._optimizer.build(self._trained)
        self._variables = [variable.value for variable in self._trained]
        self._changing = [*self._variables, *moving]
        self._best = BestWeights(self._changing)
        self._score_step = tf.function(self._distributed_step, autograph=False)
        self._score_batch = tf.function(self._evaluate_batch, autograph=False)

    @property
    def _uses_batches(self) -> bool:
        return self._config.fine_tune_batch_norm == 'batch'

    def _moving(self, layers: Sequence[Any], replicas: int) -> list[Any]:
        """What training changes besides the weights: the means and variances of batch norms."""
        if not self._uses_batches:
            return []
        if replicas > 1:
            raise InputError(
                f'--fine_tune_batch_norm=batch trains on one device, and here are {replicas}.'
            )
        for layer in self.model.layers:
            layer.trainable = layer in layers  # the others go by their own statistics
        import tensorflow as tf

        norms = [x for x in layers if isinstance(x, tf.keras.layers.BatchNormalization)]
        return [v.value for norm in norms for v in norm.non_trainable_variables]

    @property
    def steps_done(self) -> int:
        return int(self._optimizer.iterations.value.numpy())

    def start_from(self, head: Head) -> None:
        """Raises InputError: a worker is gone."""
        arrays = [np.asarray(value) for value in head]
        self._head.set_weights(self._cluster.arrays_from_chief(arrays, _CHIEF))

    @contextlib.contextmanager
    def checkpoints(
        self, settings: Mapping[str, Any], config: CheckpointConfig
    ) -> Iterator[Callable[[], None]]:
        """Yields what saves the state when it is time; a process told to stop saves it first.

        Args:
          settings: what the training is made of, besides its own flags.
          config: where, how often, and whether to go on from what lies there.

        Raises:
          InputError: the checkpoint to resume from cannot be read, or is of another run.
        """
        directory = directory_of(config)
        checkpoints = Checkpoints(
            directory,
            {**settings, **settings_of(self._config)},
            config.save_checkpoints_secs,
            trained=self._changing,
            optimizer=[variable.value for variable in self._optimizer.variables],
            best=self._best.kept,
            notes=self._best.noted,
        )
        save_if_due, is_resumed = _save_nothing, False
        with contextlib.ExitStack() as stack:
            if self._cluster.is_chief:
                try:
                    stack.enter_context(checkpoints)
                    save_if_due = checkpoints.save_if_due
                    is_resumed = config.resume and checkpoints.restore()
                except InputError as error:
                    if config.resume:
                        raise
                    log.warning('%s This run keeps no checkpoints of its fine-tuning.', error)
            if is_resumed:
                log.info('Resuming fine-tuning at step %d, from %s.', self.steps_done, directory)
            if self._cluster.workers > 1 and self._cluster.from_chief(float(is_resumed), _CHIEF):
                self._take_state_of_chief()
            yield save_if_due

    def _take_state_of_chief(self) -> None:
        import tensorflow as tf

        optimizer = [variable.value for variable in self._optimizer.variables]
        state = [*self._changing, *optimizer, *self._best.kept, self._best.noted]
        arrays = [tf.convert_to_tensor(variable).numpy() for variable in state]
        for variable, value in zip(
            state, self._cluster.arrays_from_chief(arrays, _CHIEF), strict=True
        ):
            variable.assign(value)

    def train(
        self,
        pictures: dict[str, SplitRecords],
        distortions: Distortions,
        head_config: HeadConfig,
        first_step: int,
        save_if_due: Callable[[], None],
    ) -> Iterator[Measurements]:
        """Trains from where it stands; yields at every evaluation.

        Args:
          pictures: 'train' and 'validation'.
          distortions: what is done to the training pictures, anew in every step.
          head_config: says how pictures are drawn, and the seed.
          first_step: what the first step is called: the head's own come before it.
          save_if_due: called after every step, see `checkpoints`.

        Raises:
          InputError: the cross entropy is no longer a number; or a worker is gone.
        """
        config, is_chief = self._config, self._cluster.is_chief
        batches = self._batches(pictures['train'], distortions, head_config)
        validation = pictures['validation']
        scores: list[Any] = []
        while True:
            done = self.steps_done
            is_due = done % config.fine_tune_eval_interval == 0 or done == config.fine_tune_steps
            if is_due and done != self._best.notes.steps:
                scored = self._evaluate(validation) if is_chief else np.zeros(2)
                self._best.note(done, *self._cluster.arrays_from_chief([scored], _CHIEF))
                if scores:
                    yield self._measured(first_step + done, scores, len(validation))
                scores = []
            if done == config.fine_tune_steps:
                return
            if 0 < config.fine_tune_patience <= self._best.notes.waited:
                return
            with self._cluster.naming_the_lost():
                scores.append(self._score_step(next(batches)).numpy())
            if not np.isfinite(scores[-1]).all():
                raise InputError(
                    f'Step {first_step + done}: the cross entropy is not a finite number. The '
                    'steps are too long: lower --fine_tune_learning_rate (it is '
                    f'{config.fine_tune_learning_rate}).'
                )
            save_if_due()

    def best(self) -> tuple[Backbone, Head]:
        """The network, frozen, and the head, as they were at the evaluation that was best."""
        self._best.restore()
        model = self.model if self.precision == 'float32' else self.keras_network()
        digest = hashlib.sha256()
        for value in model.get_weights():
            digest.update(np.ascontiguousarray(value).tobytes())
        backbone = frozen.freeze_model(model, self._spec, digest.hexdigest())
        return backbone, self.head()

    def keras_network(self) -> Any:
        """The network as it is now, on one device and in float32."""
        weights = self.model.get_weights()
        model, _ = frozen.build_keras(self._backbone_config)
        model.set_weights(weights)
        return model

    def head(self) -> Head:
        """As it is now."""
        import tensorflow as tf

        return Head(*(tf.constant(value) for value in self._head.get_weights()))

    def _batches(
        self, pictures: SplitRecords, distortions: Distortions, head_config: HeadConfig
    ) -> Iterator[Any]:
        """From the next step on; see `distorted_batches`."""
        sampler = Sampler.of(
            pictures.labels, int(self._head.units), self._config.fine_tune_batch_size,
            head_config.sampling, head_config.seed, TRAIN_STREAM,
        )  # fmt: skip
        return fine_tune_data.distorted_batches(
            pictures, sampler, self.steps_done, self._spec.preprocessing, distortions,
            self._strategy,
        )  # fmt: skip

    def logits(self, pictures: Any, training: bool = False) -> Any:
        """float32 [n, size, size, 3], normalised -> float32 [n, classes]."""
        import tensorflow as tf

        features = self.model(pictures, training=training)
        return self._head(tf.cast(features, tf.float32))

    def _distributed_step(self, batch: Any) -> Any:
        """float32 [2]: accuracy and mean cross entropy of the whole batch, before the update."""
        import tensorflow as tf

        parts = self._strategy.run(self._step, args=batch)
        return tf.stack([self._strategy.reduce('SUM', part, axis=None) for part in parts])

    def _step(self, pictures: Any, labels: Any) -> tuple[Any, Any]:
        """One replica's share of a step's accuracy and cross entropy; the update is everybody's."""
        import tensorflow as tf

        batch_size = self._config.fine_tune_batch_size
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            right, losses = _right_and_losses(self.logits(pictures, self._uses_batches), labels)
            loss = tf.reduce_sum(losses) / batch_size
        gradients = tape.gradient(loss, self._variables)
        self._optimizer.apply(gradients, self._trained)
        return tf.reduce_sum(right) / batch_size, loss

    def _evaluate(self, pictures: SplitRecords) -> np.ndarray:
        """float64 [2]: accuracy and mean cross entropy over a whole split, undistorted."""
        import tensorflow as tf

        batches = pipeline.one_pass(
            pictures.shards, pictures.records_per_shard, np.ones(len(pictures), bool),
            self._spec.preprocessing, self._evaluation_batch_size,
        )  # fmt: skip
        labels = tf.constant(pictures.labels)
        sums = np.sum([self._score_batch(*batch, labels) for batch in batches], axis=0)
        return sums / len(pictures)

    def _evaluate_batch(self, rows: Any, pictures: Any, labels: Any) -> Any:
        """float64 [2]: how many are right, and the sum of cross entropies; without the padding."""
        import tensorflow as tf

        real = rows >= 0
        scores = _right_and_losses(self.logits(pictures), tf.gather(labels, tf.maximum(rows, 0)))
        return tf.stack([tf.reduce_sum(tf.cast(x, tf.float64)[real]) for x in scores])

    def _measured(self, end: int, scores: list[Any], pictures: int) -> Measurements:
        """Of the steps that ended before step `end`, at which validation was noted."""
        accuracies, cross_entropies = np.stack(scores).T
        accuracy, cross_entropy = scores[-1].tolist()
        unseen = self._best.notes.last
        evaluation = Evaluation(end - 1, accuracy, cross_entropy, *unseen, pictures)
        first = end - len(scores)
        return Measurements(
            first, accuracies, cross_entropies, [evaluation], self.head(), state=None
        )


def _save_nothing() -> None:
    pass


def directory_of(config: CheckpointConfig) -> str:
    return files.join(config.checkpoint_path, _FOLDER)


def settings_of(config: FineTuneConfig) -> dict[str, Any]:
    return {f'--{name}': value for name, value in dataclasses.asdict(config).items()}


def _right_and_losses(logits: Any, labels: Any) -> tuple[Any, Any]:
    """float32 [n] each: 1 where the highest logit is the label's; softmax cross entropy in nats."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
    return tf.cast(right, tf.float32), losses


def _schedule(config: FineTuneConfig) -> Any:
    import tensorflow as tf

    rate, warm_up = config.fine_tune_learning_rate, config.fine_tune_warmup_steps
    falling = max(1, config.fine_tune_steps - warm_up)
    if not warm_up:
        return tf.keras.optimizers.schedules.CosineDecay(rate, falling)
    return tf.keras.optimizers.schedules.CosineDecay(
        0.0, falling, warmup_target=rate, warmup_steps=warm_up
    )


def _precision(config: FineTuneConfig) -> str:
    """A name of Keras's dtype policies."""
    import tensorflow as tf

    if config.fine_tune_precision != 'auto':
        is_mixed = config.fine_tune_precision == 'bfloat16'
        return 'mixed_bfloat16' if is_mixed else 'float32'
    gpus = tf.config.list_physical_devices('GPU')
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    able = [d.get('compute_capability', (0, 0)) >= _BFLOAT16_CAPABILITY for d in details]
    return 'mixed_bfloat16' if able and all(able) else 'float32'
