"""The settings of training: the head, its checkpoints, and fine-tuning."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

from poets_tfr.errors import InputError
from poets_tfr.settings import (
    Check,
    Settings,
    a_path,
    at_least,
    default_of,
    names_of,
    positive,
    require_defaults,
    setting,
    within,
)

Sampling = Literal['class_uniform', 'natural']
BatchNorm = Literal['fixed', 'batch']
TrainingPrecision = Literal['auto', 'float32', 'bfloat16']
Optimizer = Literal['sgd', 'momentum', 'adam', 'lbfgs']
LearningRateSchedule = Literal['constant', 'cosine']
ClassWeights = Literal['none', 'auto']
HeadSearch = Literal['none', 'auto']

_MOST_STEPS = 10_000_000  # each is drawn, logged and kept as a point of the curves
_MOST_IN_BATCH = 1_000_000


def _batch_size() -> Check:
    return Check(
        f'1 to {_MOST_IN_BATCH}, or -1 for the whole split',
        lambda size: size == -1 or 1 <= size <= _MOST_IN_BATCH,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadConfig(Settings):
    """Features -> a trained softmax layer. Batch sizes of -1 take the whole split."""

    TITLE: ClassVar[str] = 'Training the head'

    # fmt: off
    how_many_training_steps: int = setting(4000, 'How many training steps to run before ending.',
        within(0, _MOST_STEPS))
    learning_rate: float = setting(0.01, 'How large a learning rate to use when training.',
        positive())
    train_batch_size: int = setting(100, 'How many images to train on at a time; -1: all.',
        _batch_size())
    validation_batch_size: int = setting(100,
        'How many images, drawn at random, an evaluation uses; -1: the whole validation set, which '
        'gives steadier results.', _batch_size())
    test_batch_size: int = setting(-1,
        'How many images to test on at the end; -1: the whole test set, exactly.', _batch_size())
    eval_step_interval: int = setting(10, 'How often to evaluate the training results, in steps.',
        within(1, _MOST_STEPS))
    seed: int = setting(0, 'The same seed gives the same result, to the bit, on one machine.',
        within(0, 2**31 - 1))
    optimizer: Optimizer = setting('sgd',
        "sgd (plain, the original's), momentum (0.9), adam, or lbfgs: the whole training set in "
        'each step, until it has converged.')
    learning_rate_schedule: LearningRateSchedule = setting('constant',
        'constant, or cosine: from learning_rate down to 0 at the end.')
    weight_decay: float = setting(0.0,
        'Half of this, times the sum of the squared weights, is added to the loss; with adam the '
        'decay is decoupled (AdamW).',
        Check('a finite number, 0 or more', lambda value: 0 <= value < math.inf))
    label_smoothing: float = setting(0.0,
        'How much of each label is spread evenly over all classes.',
        Check('0 to below 1', lambda value: 0 <= value < 1))
    standardize_features: bool = setting(False,
        'Train on features of mean 0 and deviation 1, by the training set; the exported model is '
        'of the usual form.')
    sampling: Sampling = setting('class_uniform',
        'How images are drawn: class_uniform (each class as often) or natural (each image).')
    class_weights: ClassWeights = setting('none',
        'auto: the images of rare classes weigh more, so that all classes weigh alike; for '
        '--sampling=natural, whole batches and lbfgs.')
    early_stopping_patience: int = setting(0,
        'Stop after so many evaluations without a better one on the whole validation set, and keep '
        'the best head; 0: never.', within(0, _MOST_STEPS, f'0 (never) to {_MOST_STEPS}'))
    head_search: HeadSearch = setting('none',
        'auto: try a small grid of settings beside those given, and take the best by validation '
        'accuracy; seconds, on computed features.')
    warm_start: str = setting('',
        'A graph that this program wrote, or a --checkpoint_path: classes of the same names start '
        'from its weights.', path='path')
    # fmt: on

    def check(self) -> None:
        self._check_lbfgs()
        self._check_class_weights()

    def _check_lbfgs(self) -> None:
        if self.optimizer != 'lbfgs':
            return
        for name in 'learning_rate', 'learning_rate_schedule', 'train_batch_size':
            value = getattr(self, name)
            if value not in (default_of(HeadConfig, name), -1):
                raise InputError(
                    f'--optimizer=lbfgs takes the whole training split and finds the length of '
                    f'each step itself: leave --{name}={value} out.'
                )

    def _check_class_weights(self) -> None:
        whole = self.optimizer == 'lbfgs' or self.train_batch_size == -1
        if self.class_weights == 'auto' and self.sampling == 'class_uniform' and not whole:
            raise InputError(
                '--class_weights=auto goes with --sampling=natural: class_uniform draws each class '
                'as often already.'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig(Settings):
    """Where a stopped training leaves what it has, and whether this one goes on from there."""

    TITLE: ClassVar[str] = 'Going on after a kill'

    # fmt: off
    resume: bool = setting(False,
        'Go on from the checkpoint in --checkpoint_path, to the same result as an undisturbed run; '
        'where there is none, begin.', affects='output')
    checkpoint_path: str = setting('/tmp/_retrain_checkpoint',
        'A folder where training keeps its state, so that --resume can go on.',
        a_path(), affects='output', path='path')
    save_checkpoints_secs: float = setting(10.0,
        'How often training keeps its state: what a killed run loses at most.',
        at_least(0, '0 or more'), affects='output')
    # fmt: on


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuneConfig(Settings):
    """The network, from a layer on, and the head -> both better trained."""

    TITLE: ClassVar[str] = 'Fine-tuning the network'

    # fmt: off
    fine_tune_from: str = setting('',
        'After the head, train the network too: from this layer on (its name in Keras), or all. '
        'For inception_v3 and keras.applications. The better by validation is exported.')
    fine_tune_steps: int = setting(1000, 'How many steps to fine-tune at most.',
        within(1, _MOST_STEPS))
    fine_tune_learning_rate: float = setting(1e-4,
        "The highest learning rate of fine-tuning, Adam's.", positive())
    fine_tune_warmup_steps: int = setting(100,
        'Over how many steps the learning rate rises from 0.', within(0, _MOST_STEPS))
    fine_tune_batch_size: int = setting(32, 'How many images a step of fine-tuning trains on.',
        within(1, _MOST_IN_BATCH))
    fine_tune_eval_interval: int = setting(100,
        'How often to go through the validation images, in steps.', within(1, _MOST_STEPS))
    fine_tune_patience: int = setting(5,
        'Stop after so many evaluations that are no better; 0: never.',
        within(0, _MOST_STEPS, f'0 (never stop early) to {_MOST_STEPS}'))
    fine_tune_batch_norm: BatchNorm = setting('fixed',
        'Statistics of batch norms: fixed (as the network has them) or batch (of each batch, and '
        'dropout is on: to train a network from random weights; on one device).')
    fine_tune_precision: TrainingPrecision = setting('auto',
        'bfloat16: mixed precision, faster where the GPU has it; auto: on such GPUs (NVIDIA Ampere '
        'and later).')
    # fmt: on

    def check(self) -> None:
        if not self.is_on:
            require_defaults(self, names_of(FineTuneConfig), 'fine_tune_from')

    @property
    def is_on(self) -> bool:
        return bool(self.fine_tune_from)
