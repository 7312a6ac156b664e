"""Every setting, its default written once, and its check.

A field has the name of the flag that sets it. The checks need no TensorFlow, so that a wrong value
is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import os
import re
from collections.abc import Iterable
from typing import Literal, get_args

SplitBy = Literal['relative_path', 'given_path']
Sampling = Literal['class_uniform', 'natural']
Xla = Literal['auto', 'on', 'off']
Precision = Literal['float32', 'bfloat16', 'float16']
OnBadImage = Literal['skip', 'fail']
OnDuplicate = Literal['keep', 'drop', 'fail']
OnOff = Literal['on', 'off']
Split = Literal['train', 'validation', 'test']
TfliteQuantization = Literal['float32', 'float16', 'int8']
TrainingPrecision = Literal['auto', 'float32', 'bfloat16']
LabelFormat = Literal['text', 'json', 'csv', 'tsv']
Optimizer = Literal['sgd', 'momentum', 'adam', 'lbfgs']
LearningRateSchedule = Literal['constant', 'cosine']
ClassWeights = Literal['none', 'auto']
HeadSearch = Literal['none', 'auto']
Distribution = Literal['auto', 'off', 'mirrored', 'multi_worker']

KERAS_SUFFIX = '.keras'  # Keras takes no other
MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs

_MOBILENET_WIDTHS, _MOBILENET_SIZES = '1.0|0.75|0.50|0.25', '224|192|160|128'
MOBILENET = re.compile(
    f'mobilenet_({_MOBILENET_WIDTHS})_({_MOBILENET_SIZES})(_quantized)?'.replace('.', r'\.')
)
INCEPTION_V3 = 'inception_v3'
INCEPTION_2015 = 'inception_2015_12_05'
# The models of keras.applications, by Keras's names; a number behind one is its width (`alpha`).
KERAS_APPLICATIONS = tuple(
    """
    ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge
    DenseNet121 DenseNet169 DenseNet201
    EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3
    EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7
    EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3
    EfficientNetV2S EfficientNetV2M EfficientNetV2L
    InceptionResNetV2 InceptionV3
    MobileNet MobileNet_0.75 MobileNet_0.5 MobileNet_0.25
    MobileNetV2 MobileNetV2_1.4 MobileNetV2_1.3 MobileNetV2_0.75 MobileNetV2_0.5 MobileNetV2_0.35
    MobileNetV3Large MobileNetV3Large_0.75 MobileNetV3Small MobileNetV3Small_0.75
    NASNetLarge NASNetMobile
    ResNet50 ResNet101 ResNet152 ResNet50V2 ResNet101V2 ResNet152V2
    VGG16 VGG19 Xception
    """.split()
)


class InputError(Exception):
    """Something the user can mend. The message names the file or flag, the fault and the remedy."""


def default_records_dir(image_dir: str) -> str:
    """Where `retrain` keeps the records of `image_dir` unless told: one folder for each path."""
    absolute = os.path.abspath(image_dir)
    digest = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:8]
    return f'/tmp/poets_records/{dataset_name_of(image_dir)}-{digest}'


def dataset_name_of(image_dir: str) -> str:
    """The base name of `image_dir` in [a-z0-9_], beginning with a letter: TFDS's rule."""
    base = os.path.basename(os.path.abspath(image_dir)).lower()
    name = re.sub(r'[^a-z0-9]+', '_', base).strip('_') or 'pictures'
    return name if name[0].isalpha() else f'd_{name}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """A picture folder -> sharded TFRecords."""

    image_dir: str = ''
    records_dir: str = ''
    dataset_name: str = ''
    classes: tuple[str, ...] = ()
    validation_percentage: int = 10
    testing_percentage: int = 10
    split_by: SplitBy = 'relative_path'
    split_prefix: str = ''
    recursive: bool = False
    follow_links: bool = True
    store_max_side: int = 0
    max_pixels: int = MAX_PIXELS
    on_duplicate: OnDuplicate = 'keep'
    num_shards: int = 0
    shard_mib: int = 128
    write_index: bool = False
    workers: int = 0
    on_bad_image: OnBadImage = 'skip'
    max_bad_fraction: float = 0.1

    def __post_init__(self) -> None:
        if self.image_dir and self.records_dir and _is_inside(self.records_dir, self.image_dir):
            raise InputError(
                f'--records_dir={self.records_dir} lies in --image_dir={self.image_dir}: nothing '
                'is written among the pictures; name a folder elsewhere.'
            )
        percentages = 'validation_percentage', 'testing_percentage'
        for field in percentages:
            _require(self, field, '0 to 99', 0 <= getattr(self, field) <= 99)
        total = self.validation_percentage + self.testing_percentage
        if total > 99:
            raise InputError(
                f'--validation_percentage + --testing_percentage is {total}: at most 99, '
                'so that something is left to train on.'
            )
        _require_one_of(self, 'split_by', get_args(SplitBy))
        _require_one_of(self, 'on_bad_image', get_args(OnBadImage))
        _require_one_of(self, 'on_duplicate', get_args(OnDuplicate))
        side = self.store_max_side
        _require(self, 'store_max_side', '0 (as large as it is) or more', side >= 0)
        _require(
            self, 'max_pixels', f'1 to {2 * MAX_PIXELS}', 1 <= self.max_pixels <= 2 * MAX_PIXELS
        )
        _require(self, 'num_shards', '0 (from the sizes) to 99999', 0 <= self.num_shards <= 99_999)
        _require(self, 'shard_mib', 'at least 1', self.shard_mib >= 1)
        _require(self, 'workers', '0 (as the cores want) or more', self.workers >= 0)
        _require(self, 'max_bad_fraction', '0 to 1', 0 <= self.max_bad_fraction <= 1)
        if self.dataset_name:
            _require(
                self,
                'dataset_name',
                'lower-case letters, digits and _, beginning with a letter',
                re.fullmatch(r'[a-z][a-z0-9_]*', self.dataset_name) is not None,
            )

    @property
    def name(self) -> str:
        """The data set's name, which begins every shard's file name."""
        return self.dataset_name or dataset_name_of(self.image_dir)

    @property
    def splits_by_given_path(self) -> bool:
        return self.split_by == 'given_path' or bool(self.split_prefix)

    @property
    def hash_prefix(self) -> str:
        """What stands before `<class folder>/<file>` in the path that decides the split."""
        return (self.split_prefix or self.image_dir) if self.splits_by_given_path else ''


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Pictures -> features."""

    architecture: str = INCEPTION_V3
    tfhub_module: str = ''
    image_size: int = 0
    weights: str = 'imagenet'
    model_dir: str = '/tmp/imagenet'
    xla: Xla = 'auto'
    precision: Precision = 'float32'
    feature_batch_size: int = 32
    features_in_memory: OnOff = 'on'

    def __post_init__(self) -> None:
        _check_architecture(self.architecture)
        if self.weights != 'imagenet' and not self.is_keras:
            raise InputError(
                f'--weights={self.weights!r} goes with {INCEPTION_V3} and the models of '
                'keras.applications only: the other backbones bring their own weights.'
            )
        _require_one_of(self, 'xla', get_args(Xla))
        _require_one_of(self, 'precision', get_args(Precision))
        _require_one_of(self, 'features_in_memory', get_args(OnOff))
        _require(self, 'feature_batch_size', 'at least 1', self.feature_batch_size >= 1)
        _require(self, 'image_size', '0 (the size of its own) or more', self.image_size >= 0)
        if self.image_size and not (self.tfhub_module or self.is_keras):
            raise InputError(
                f'--image_size={self.image_size} does not go with {self.architecture}, which has a '
                'fixed size: it is for --tfhub_module and the models of keras.applications.'
            )

    @property
    def is_keras(self) -> bool:
        """Whether it is built by Keras, from weights that may be imagenet, random or a file."""
        keras = INCEPTION_V3, *KERAS_APPLICATIONS
        return not self.tfhub_module and self.architecture in keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistortionConfig:
    """Random changes to training pictures, in percent. Validation and test are never distorted.

    augment_copies: how many distorted copies of each picture are kept as features, to train on
      beside the picture itself; 0: every step distorts its pictures anew.
    """

    flip_left_right: bool = False
    random_crop: int = 0
    random_scale: int = 0
    random_brightness: int = 0
    augment_copies: int = 8

    def __post_init__(self) -> None:
        for field in 'random_crop', 'random_scale', 'random_brightness':
            _require(self, field, '0 to 100', 0 <= getattr(self, field) <= 100)
        copies = self.augment_copies
        _require(self, 'augment_copies', '0 (distort in every step) to 1000', 0 <= copies <= 1000)
        if copies != DistortionConfig.augment_copies and not self.are_on:
            raise InputError(
                f'--augment_copies={copies} goes with a distortion only: give --flip_left_right, '
                '--random_crop, --random_scale or --random_brightness too.'
            )

    @property
    def are_on(self) -> bool:
        percentages = self.random_crop, self.random_scale, self.random_brightness
        return self.flip_left_right or any(percentages)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Features -> a trained softmax layer. Batch sizes of -1 take the whole split."""

    how_many_training_steps: int = 4000
    learning_rate: float = 0.01
    eval_step_interval: int = 10
    train_batch_size: int = 100
    validation_batch_size: int = 100
    test_batch_size: int = -1
    sampling: Sampling = 'class_uniform'
    seed: int = 0
    optimizer: Optimizer = 'sgd'
    learning_rate_schedule: LearningRateSchedule = 'constant'
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    class_weights: ClassWeights = 'none'
    standardize_features: bool = False
    early_stopping_patience: int = 0
    head_search: HeadSearch = 'none'
    warm_start: str = ''

    def __post_init__(self) -> None:
        steps = self.how_many_training_steps
        _require(self, 'how_many_training_steps', '0 or more', steps >= 0)
        rate = self.learning_rate
        _require(self, 'learning_rate', 'a finite number above 0', rate > 0 and math.isfinite(rate))
        _require(self, 'eval_step_interval', 'at least 1', self.eval_step_interval >= 1)
        for field in 'train_batch_size', 'validation_batch_size', 'test_batch_size':
            size = getattr(self, field)
            _require(self, field, 'at least 1, or -1 for the whole split', size >= 1 or size == -1)
        _require_one_of(self, 'sampling', get_args(Sampling))
        _require(self, 'seed', '0 to 2147483647', 0 <= self.seed <= 2**31 - 1)
        _require_one_of(self, 'optimizer', get_args(Optimizer))
        _require_one_of(self, 'learning_rate_schedule', get_args(LearningRateSchedule))
        decay = self.weight_decay
        _require(self, 'weight_decay', 'a finite number, 0 or more', 0 <= decay < math.inf)
        _require(self, 'label_smoothing', '0 to below 1', 0 <= self.label_smoothing < 1)
        _require_one_of(self, 'class_weights', get_args(ClassWeights))
        patience = self.early_stopping_patience
        _require(self, 'early_stopping_patience', '0 (never) or more', patience >= 0)
        _require_one_of(self, 'head_search', get_args(HeadSearch))
        self._check_lbfgs()
        self._check_class_weights()

    def _check_lbfgs(self) -> None:
        if self.optimizer != 'lbfgs':
            return
        for name in 'learning_rate', 'learning_rate_schedule', 'train_batch_size':
            value = getattr(self, name)
            if value not in (getattr(HeadConfig, name), -1):
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
class CheckpointConfig:
    """Where a stopped training leaves what it has, and whether this one goes on from there."""

    checkpoint_path: str = '/tmp/_retrain_checkpoint'
    save_checkpoints_secs: float = 10.0
    resume: bool = False

    def __post_init__(self) -> None:
        _require(self, 'checkpoint_path', 'a path', bool(self.checkpoint_path))
        _require(self, 'save_checkpoints_secs', '0 or more', self.save_checkpoints_secs >= 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """The network, from a layer on, and the head -> both better trained.

    fine_tune_from: a layer's name in Keras, or 'all'; '': no fine-tuning.
    """

    fine_tune_from: str = ''
    fine_tune_steps: int = 1000
    fine_tune_learning_rate: float = 1e-4
    fine_tune_warmup_steps: int = 100
    fine_tune_batch_size: int = 32
    fine_tune_eval_interval: int = 100
    fine_tune_patience: int = 5
    fine_tune_precision: TrainingPrecision = 'auto'

    def __post_init__(self) -> None:
        for field in 'fine_tune_steps', 'fine_tune_batch_size', 'fine_tune_eval_interval':
            _require(self, field, 'at least 1', getattr(self, field) >= 1)
        rate = self.fine_tune_learning_rate
        is_rate = rate > 0 and math.isfinite(rate)
        _require(self, 'fine_tune_learning_rate', 'a finite number above 0', is_rate)
        warm_up = self.fine_tune_warmup_steps
        _require(self, 'fine_tune_warmup_steps', '0 or more', warm_up >= 0)
        patience = self.fine_tune_patience
        _require(self, 'fine_tune_patience', '0 (never stop early) or more', patience >= 0)
        _require_one_of(self, 'fine_tune_precision', get_args(TrainingPrecision))
        if not self.is_on:
            _require_defaults(self, vars(self), 'fine_tune_from')

    @property
    def is_on(self) -> bool:
        return bool(self.fine_tune_from)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """Where a run writes, and what it says."""

    bottleneck_dir: str = '/tmp/bottleneck'
    output_graph: str = '/tmp/output_graph.pb'
    output_labels: str = '/tmp/output_labels.txt'
    saved_model_dir: str = ''
    tflite_output: str = ''
    tflite_quantization: TfliteQuantization = 'float32'
    keras_output: str = ''
    self_test_pictures: int = 32
    summaries_dir: str = '/tmp/retrain_logs'
    intermediate_output_graphs_dir: str = '/tmp/intermediate_graph/'
    intermediate_store_frequency: int = 0
    final_tensor_name: str = 'final_result'
    print_misclassified_test_images: bool = False
    projector_pictures: int = 1000
    profile_steps: str = ''

    def __post_init__(self) -> None:
        for field in 'bottleneck_dir', 'output_graph', 'output_labels', 'summaries_dir':
            _require(self, field, 'a path', bool(getattr(self, field)))
        _require_one_of(self, 'tflite_quantization', get_args(TfliteQuantization))
        named = not self.keras_output or self.keras_output.endswith(KERAS_SUFFIX)
        _require(self, 'keras_output', f'a file whose name ends in {KERAS_SUFFIX}', named)
        pictures = self.self_test_pictures
        _require(self, 'self_test_pictures', '0 (no self-test) or more', pictures >= 0)
        frequency = self.intermediate_store_frequency
        _require(self, 'intermediate_store_frequency', '0 (never) or more', frequency >= 0)
        if frequency:
            directory = self.intermediate_output_graphs_dir
            _require(self, 'intermediate_output_graphs_dir', 'a path', bool(directory))
        pictures = self.projector_pictures
        _require(self, 'projector_pictures', '0 (none) to 10000', 0 <= pictures <= 10_000)
        steps = re.fullmatch(r'(\d{1,9}),(\d{1,9})', self.profile_steps or '0,0')
        in_order = steps is not None and int(steps[1]) <= int(steps[2])
        _require(self, 'profile_steps', 'two steps, the first and the last: 100,200', in_order)
        name = self.final_tensor_name
        _require(
            self,
            'final_tensor_name',
            'a TensorFlow op name: letters, digits and . _ - /, without a colon',
            re.fullmatch(r'[A-Za-z0-9.][A-Za-z0-9_.\-/]*', name) is not None,
        )
        if not self.tflite_output:
            _require_defaults(self, ['tflite_quantization'], 'tflite_output')
        directory = self.intermediate_output_graphs_dir
        default = OutputConfig.intermediate_output_graphs_dir
        is_default = os.path.abspath(directory) == os.path.abspath(default)  # as flagfiles have it
        if directory and not is_default and not frequency:
            needing = ['intermediate_output_graphs_dir']
            _require_defaults(self, needing, 'intermediate_store_frequency')

    @property
    def profiled(self) -> tuple[int, int] | None:
        """The first and the last step of the profile; None without one."""
        first, _, last = self.profile_steps.partition(',')
        return (int(first), int(last)) if last else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributionConfig:
    """One device or several, on one machine or several."""

    distribution: Distribution = 'auto'

    def __post_init__(self) -> None:
        _require_one_of(self, 'distribution', get_args(Distribution))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """One run. `conversion.image_dir` may be empty: the records are then taken as they are."""

    conversion: ConversionConfig
    backbone: BackboneConfig
    head: HeadConfig
    output: OutputConfig
    distribution: DistributionConfig = dataclasses.field(default_factory=DistributionConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    distortions: DistortionConfig = dataclasses.field(default_factory=DistortionConfig)
    fine_tune: FineTuneConfig = dataclasses.field(default_factory=FineTuneConfig)

    def __post_init__(self) -> None:
        if self.fine_tune.is_on and not self.backbone.is_keras:
            raise InputError(
                f'--fine_tune_from={self.fine_tune.fine_tune_from} goes with a network that Keras '
                f'builds: {INCEPTION_V3}, or a model of keras.applications (MobileNet, say).'
            )
        if self._takes_lbfgs and self.backbone.features_in_memory == 'off':
            raise InputError(
                '--features_in_memory=off reads the few features of each step, and lbfgs, which '
                '--head_search tries too, takes all of them in every step: choose another.'
            )
        if self.output.keras_output and not self.backbone.is_keras:
            raise InputError(
                f'--keras_output={self.output.keras_output}: Keras did not build this network. It '
                f'goes with --architecture={INCEPTION_V3} and the models of keras.applications.'
            )
        self._check_live_distortions()
        self._check_profile()

    @property
    def _takes_lbfgs(self) -> bool:
        return self.head.optimizer == 'lbfgs' or self.head.head_search == 'auto'

    def _check_live_distortions(self) -> None:
        whole = self._takes_lbfgs or self.head.train_batch_size == -1
        if self.distortions.are_on and self.distortions.augment_copies == 0 and whole:
            flag = '--train_batch_size=-1'
            if self._takes_lbfgs:
                lbfgs = self.head.optimizer == 'lbfgs'
                flag = '--optimizer=lbfgs' if lbfgs else '--head_search=auto'
            raise InputError(
                f'--augment_copies=0 distorts the pictures of every step anew, and {flag} makes '
                'every step take all of them: keep copies (--augment_copies=8), or take batches.'
            )

    def _check_profile(self) -> None:
        profiled, steps = self.output.profiled, self.head.how_many_training_steps
        if profiled and profiled[0] >= steps:
            raise InputError(
                f'--profile_steps={self.output.profile_steps}: nothing to profile, for training '
                f'ends before step {profiled[0]} (--how_many_training_steps={steps}, from 0 on).'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How labels and scores are written."""

    format: LabelFormat = 'text'
    top_k: int = 0
    min_score: float = 0.0

    def __post_init__(self) -> None:
        _require_one_of(self, 'format', get_args(LabelFormat))
        _require(self, 'top_k', '0 (all labels) or more', self.top_k >= 0)
        _require(self, 'min_score', '0 to 1', 0 <= self.min_score <= 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Which labelled pictures an export is tried on: those of image_dir, or of records."""

    image_dir: str = ''
    records_dir: str = ''
    split: Split = 'test'
    report_dir: str = ''
    recursive: bool = ConversionConfig.recursive
    follow_links: bool = ConversionConfig.follow_links

    def __post_init__(self) -> None:
        if bool(self.image_dir) == bool(self.records_dir):
            raise InputError(
                'Must set flag --image_dir (a folder with one folder per class) or --records_dir, '
                'and not both.'
            )
        _require_one_of(self, 'split', get_args(Split))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """The page that labels. Loopback only, unless told otherwise; port 0: any that is free."""

    host: str = '127.0.0.1'
    port: int = 8077
    max_upload_mib: int = 20
    top_k: int = 0
    min_score: float = 0.0

    def __post_init__(self) -> None:
        _require(self, 'host', 'an address or a name', bool(self.host))
        _require(self, 'port', '0 to 65535', 0 <= self.port <= 65535)
        _require(self, 'max_upload_mib', '1 to 1024', 1 <= self.max_upload_mib <= 1024)
        _require(self, 'top_k', '0 (all labels) or more', self.top_k >= 0)
        _require(self, 'min_score', '0 to 1', 0 <= self.min_score <= 1)


def _is_inside(path: str, directory: str) -> bool:
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(os.path.join(directory, ''))


def _check_architecture(name: str) -> None:
    named = INCEPTION_V3, INCEPTION_2015, *KERAS_APPLICATIONS
    if name in named or MOBILENET.fullmatch(name):
        return
    widths, sizes = _MOBILENET_WIDTHS.split('|'), _MOBILENET_SIZES.split('|')
    mobilenets = [f'mobilenet_{width}_{size}' for width in widths for size in sizes]
    raise InputError(
        f'--architecture={name!r} is not known{did_you_mean(name, [*named, *mobilenets])}: '
        f'{INCEPTION_V3}, {INCEPTION_2015}, '
        f'mobilenet_<{_MOBILENET_WIDTHS}>_<{_MOBILENET_SIZES}>[_quantized], '
        f'or one of {", ".join(KERAS_APPLICATIONS)}.'
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean a or b?)': of what is known, what is spelt much like `name`; or ''."""
    spelt = {each.lower(): each for each in known}
    near = [spelt[each] for each in difflib.get_close_matches(name.lower(), spelt, 3)]
    return f' (did you mean {" or ".join(near)}?)' if near else ''


def _require(config: object, field: str, constraint: str, holds: bool) -> None:
    if not holds:
        raise InputError(f'--{field}={getattr(config, field)!r} must be {constraint}.')


def _require_defaults(config: object, fields: Iterable[str], needed: str) -> None:
    """Refuses what would do nothing without the flag `needed`."""
    values = {field: getattr(config, field) for field in fields}
    idle = [
        f'--{field}={value}'
        for field, value in values.items()
        if value != getattr(type(config), field)
    ]
    if idle:
        raise InputError(
            f'{", ".join(idle)} would do nothing without --{needed}: give --{needed} too, or leave '
            'out what needs it.'
        )


def _require_one_of(config: object, field: str, choices: tuple[str, ...]) -> None:
    _require(config, field, ' or '.join(choices), getattr(config, field) in choices)
