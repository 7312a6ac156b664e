"""absl flags <-> the config dataclasses, and how every tool starts and ends.

One define_* per dataclass: a flag's name, type and default are the field's own, the help stands
here. Flags live in a FlagValues of the tool's own, so importing a tool defines nothing globally.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import logging
import os
import re
import signal
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from absl import flags

from poets_tfr.config import (
    KERAS_APPLICATIONS,
    BackboneConfig,
    CheckpointConfig,
    ConversionConfig,
    DistortionConfig,
    DistributionConfig,
    EvaluationConfig,
    FineTuneConfig,
    HeadConfig,
    InputError,
    LabelConfig,
    OutputConfig,
    ServeConfig,
)
from poets_tfr.export.foreign_graph import Feeding
from poets_tfr.label import Labeller
from poets_tfr.tools import start_up

Config = TypeVar('Config')

_INTERRUPTED, _TERMINATED = 130, 143  # 128 + the signal, as shells have it

_CONVERSION = {
    'image_dir': 'Path to folders of labeled images: one folder per class.',
    'records_dir': (
        'Where the TFRecords go. retrain.py: by default a folder below /tmp/poets_records; given '
        'without --image_dir, it trains from the records there.'
    ),
    'dataset_name': "Begins the shards' names; by default the base name of image_dir.",
    'classes': 'Folders to take as classes, comma-separated; by default all.',
    'validation_percentage': 'What percentage of images to use as a validation set.',
    'testing_percentage': 'What percentage of images to use as a test set.',
    'split_by': (
        'Which path decides the split: relative_path (<class>/<file>: moving the folder changes '
        'nothing) or given_path (image_dir as typed, as the original did).'
    ),
    'split_prefix': (
        "Split by given path, with this in place of image_dir: 'tf_files/flower_photos' gives the "
        "published tutorial's test set."
    ),
    'recursive': 'Take the pictures of nested folders too; the class is the first level.',
    'follow_links': 'Whether links that lead out of image_dir are followed.',
    'store_max_side': (
        'Store larger pictures scaled down to this many pixels on their longer side (JPEG of '
        'quality 95): phone photos take a tenth of the space and are read many times faster. '
        '0: as large as they are.'
    ),
    'max_pixels': 'Skip pictures of more pixels; their header tells, before they are decoded.',
    'on_duplicate': (
        'What to do with files of the same content: keep them (and warn of those in two classes '
        'or splits), drop all but the first by name, or fail.'
    ),
    'num_shards': 'Shards per split; 0: one for every --shard_mib.',
    'shard_mib': 'About how large a shard is, in MiB.',
    'write_index': "Also write <shard>.idx: each record's offset and size, as DALI reads them.",
    'workers': 'Threads that decode and check pictures; 0: one more than there are cores.',
    'on_bad_image': 'What to do with a file that is no whole picture: skip (and list) it, or fail.',
    'max_bad_fraction': 'Fail when more than this fraction of the pictures is bad.',
}
_BACKBONE = {
    'architecture': (
        'Which network makes the features: inception_v3, inception_2015_12_05, '
        'mobilenet_<1.0|0.75|0.50|0.25>_<224|192|160|128>[_quantized], or a model of '
        f'keras.applications: {", ".join(KERAS_APPLICATIONS)}.'
    ),
    'tfhub_module': 'A TF2 SavedModel, a folder or a URL, to use instead of --architecture.',
    'image_size': (
        'Picture height and width, instead of what a keras.applications model has by default, or '
        'for a --tfhub_module that does not state it.'
    ),
    'weights': (
        'For inception_v3 and keras.applications: imagenet, random (untrained, for demonstrations) '
        'or a weights file.'
    ),
    'model_dir': 'Where downloaded weights are kept.',
    'xla': 'Compile the network with XLA; auto: on a GPU only, where it pays.',
    'precision': (
        'What the network computes its features in; 16 bits pay on a GPU, pooling and features '
        'stay float32. Exports are float32 in any case.'
    ),
    'feature_batch_size': 'How many pictures go through the network at a time.',
    'features_in_memory': (
        'off: read the features of each step from bottleneck_dir, for sets too large for memory.'
    ),
}
_DISTORTION = {
    'flip_left_right': 'Whether to randomly flip half of the training images horizontally.',
    'random_crop': (
        'How much of a margin, in percent, to randomly crop off the training images: the window '
        'is 1 / (1 + P/100) of the picture, anywhere in it.'
    ),
    'random_scale': (
        'How much, in percent, to randomly scale up the size of the training images by.'
    ),
    'random_brightness': (
        'How much, in percent, to randomly multiply the training image input pixels up or down by.'
    ),
    'augment_copies': (
        'With a distortion: how many distorted copies of each training picture are kept as '
        'features and trained on beside it; 0: distort the pictures of each step anew, which sends '
        'them through the network in every step, as the original did.'
    ),
}
_HEAD = {
    'how_many_training_steps': 'How many training steps to run before ending.',
    'learning_rate': 'How large a learning rate to use when training.',
    'eval_step_interval': 'How often to evaluate the training results, in steps.',
    'train_batch_size': 'How many images to train on at a time; -1: all.',
    'validation_batch_size': (
        'How many images, drawn at random, an evaluation uses; -1: the whole validation set, which '
        'gives steadier results.'
    ),
    'test_batch_size': 'How many images to test on at the end; -1: the whole test set, exactly.',
    'sampling': (
        'How pictures are drawn: class_uniform (each class as often) or natural (each picture).'
    ),
    'seed': 'The same seed gives the same result, to the bit, on one machine.',
    'optimizer': (
        "sgd (plain, the original's), momentum (0.9), adam, or lbfgs: the whole training set in "
        'each step, until it has converged.'
    ),
    'learning_rate_schedule': 'constant, or cosine: from learning_rate down to 0 at the end.',
    'weight_decay': (
        'Half of this, times the sum of the squared weights, is added to the loss; with adam the '
        'decay is decoupled (AdamW).'
    ),
    'label_smoothing': 'How much of each label is spread evenly over all classes.',
    'class_weights': (
        'auto: the pictures of rare classes weigh more, so that all classes weigh alike; for '
        '--sampling=natural, whole batches and lbfgs.'
    ),
    'standardize_features': (
        'Train on features of mean 0 and deviation 1, by the training set; the exported model is '
        'of the usual form.'
    ),
    'early_stopping_patience': (
        'Stop after so many evaluations without a better one on the whole validation set, and keep '
        'the best head; 0: never.'
    ),
    'head_search': (
        'auto: try a small grid of settings beside those given, and take the best by validation '
        'accuracy; seconds, on computed features.'
    ),
    'warm_start': (
        'A graph that this program wrote, or a --checkpoint_path: classes of the same names start '
        'from its weights.'
    ),
}
_CHECKPOINT = {
    'checkpoint_path': 'A folder where training keeps its state, so that --resume can go on.',
    'save_checkpoints_secs': 'How often training keeps its state: what a killed run loses at most.',
    'resume': (
        'Go on from the checkpoint in --checkpoint_path, to the same result as an undisturbed run; '
        'where there is none, begin.'
    ),
}
_FINE_TUNE = {
    'fine_tune_from': (
        'After the head, train the network too: from this layer on (its name in Keras), or all. '
        'For inception_v3 and keras.applications. The better by validation is exported.'
    ),
    'fine_tune_steps': 'How many steps to fine-tune at most.',
    'fine_tune_learning_rate': "The highest learning rate of fine-tuning, Adam's.",
    'fine_tune_warmup_steps': 'Over how many steps the learning rate rises from 0.',
    'fine_tune_batch_size': 'How many images a step of fine-tuning trains on.',
    'fine_tune_eval_interval': 'How often to go through the validation images, in steps.',
    'fine_tune_patience': 'Stop after so many evaluations that are no better; 0: never.',
    'fine_tune_precision': (
        'bfloat16: mixed precision, faster where the GPU has it; auto: on such GPUs (NVIDIA Ampere '
        'and later).'
    ),
}
_OUTPUT = {
    'bottleneck_dir': 'Where computed features are kept for the next run.',
    'output_graph': 'Where to save the trained graph.',
    'output_labels': "Where to save the trained graph's labels.",
    'saved_model_dir': (
        'Where to save the model as a SavedModel too, each in a version folder as TensorFlow '
        'Serving wants it; by default nowhere.'
    ),
    'tflite_output': 'Where to save the model for TensorFlow Lite too; by default nowhere.',
    'tflite_quantization': (
        'How the TensorFlow Lite model computes: float32, float16 weights (half the size) or int8 '
        '(a quarter; calibrated on training pictures).'
    ),
    'keras_output': (
        'Where to save the model as a .keras file too, for networks that Keras built; by default '
        'nowhere.'
    ),
    'self_test_pictures': (
        'How many test pictures a fresh process labels with every export, to prove that each '
        'scores as the trained model does; 0: none.'
    ),
    'summaries_dir': 'Where to save summary logs for TensorBoard.',
    'intermediate_output_graphs_dir': 'Where to save the intermediate graphs.',
    'intermediate_store_frequency': 'Store an intermediate graph every so many steps; 0: never.',
    'final_tensor_name': 'The name of the output classification layer in the retrained graph.',
    'print_misclassified_test_images': 'Whether to print out the test images that were mistaken.',
    'projector_pictures': "How many pictures TensorBoard's projector shows; 0: no projector.",
    'profile_steps': (
        'Record a profile of these training steps, the first and the last: 100,200. TensorBoard '
        'shows it where tensorboard-plugin-profile is installed.'
    ),
}
_DISTRIBUTION = {
    'distribution': (
        'Which devices compute: off (one), mirrored (all GPUs of this machine), multi_worker (the '
        'machines that TF_CONFIG names) or auto (whichever there are).'
    ),
}

_LABEL = {
    'format': "How to write: text (the tutorial's lines), json (an object a line), csv or tsv.",
    'top_k': 'How many labels to give for a picture, the best first; 0: all.',
    'min_score': "Labels below this score are left out; with none left a picture is 'unsure'.",
}
_EVALUATION = {
    'image_dir': 'Path to folders of labeled images: one folder per class.',
    'records_dir': 'Or where a conversion wrote its TFRecords.',
    'split': 'Which pictures of records_dir.',
    'report_dir': 'Where report.html and report.json go; by default nowhere.',
    'recursive': _CONVERSION['recursive'],
    'follow_links': _CONVERSION['follow_links'],
}
_SERVE = {
    'host': (
        'Where to listen: 127.0.0.1 is this computer alone; 0.0.0.0 lets everybody in the network '
        'label.'
    ),
    'port': 'On which port; 0: any that is free.',
    'max_upload_mib': 'The largest picture file that is taken, in MiB.',
    'top_k': _LABEL['top_k'],
    'min_score': _LABEL['min_score'],
}
_FEEDING = {
    'input_layer': 'Where pictures go into the graph.',
    'output_layer': 'Where scores come out of the graph.',
    'input_height': 'Picture height that the graph wants.',
    'input_width': 'Picture width that the graph wants.',
    'input_mean': 'The graph wants (pixel 0..255 - mean) / std.',
    'input_std': 'The graph wants (pixel 0..255 - mean) / std.',
}


def define_conversion(values: flags.FlagValues) -> None:
    _define(values, ConversionConfig, _CONVERSION)


def define_backbone(values: flags.FlagValues) -> None:
    _define(values, BackboneConfig, _BACKBONE)


def define_distortion(values: flags.FlagValues) -> None:
    _define(values, DistortionConfig, _DISTORTION)


def define_head(values: flags.FlagValues) -> None:
    _define(values, HeadConfig, _HEAD)


def define_checkpoint(values: flags.FlagValues) -> None:
    _define(values, CheckpointConfig, _CHECKPOINT)


def define_fine_tune(values: flags.FlagValues) -> None:
    _define(values, FineTuneConfig, _FINE_TUNE)


def define_output(values: flags.FlagValues) -> None:
    _define(values, OutputConfig, _OUTPUT)


def define_label(values: flags.FlagValues) -> None:
    _define(values, LabelConfig, _LABEL)
    flags.DEFINE_alias('num_top_predictions', 'top_k', flag_values=values)


def define_evaluation(values: flags.FlagValues) -> None:
    _define(values, EvaluationConfig, _EVALUATION)


def define_serve(values: flags.FlagValues) -> None:
    _define(values, ServeConfig, _SERVE)


def define_export_to_open(values: flags.FlagValues) -> None:
    """Which export, and how graphs of other programs are fed: None where it was not said."""
    graph = 'What to label with: a graph, a SavedModel folder, a TFLite or a Keras file.'
    flags.DEFINE_string('graph', OutputConfig().output_graph, graph, flag_values=values)
    labels = 'Its labels, one a line; by default those that it carries.'
    flags.DEFINE_string('labels', None, labels, flag_values=values)
    define_of = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float}
    for name, kind in typing.get_type_hints(Feeding).items():
        help_ = f'{_FEEDING[name]} For graphs of other programs: ours say it themselves.'
        define: Any = define_of[typing.get_args(kind)[0]]
        define(name, None, help_, flag_values=values)


def open_labeller(values: flags.FlagValues) -> Labeller:
    """Raises InputError when the export or its labels cannot be used."""
    return Labeller(values.graph, values.labels, build(Feeding, values))


def define_distribution(values: flags.FlagValues) -> None:
    _define(values, DistributionConfig, _DISTRIBUTION)


def define_verbosity(values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        'logging_verbosity',
        'INFO',
        ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'],
        'How much logging output should be produced.',
        flag_values=values,
    )


def build(config: type[Config], values: flags.FlagValues, **overrides: Any) -> Config:
    """The dataclass filled from the flags of its fields' names.

    Raises:
      InputError: a value is out of its range.
    """
    fields = dataclasses.fields(config)  # type: ignore[arg-type]
    given = {field.name: values[field.name].value for field in fields}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return config(**{**given, **overrides})


def typed(values: flags.FlagValues, names: Iterable[str]) -> list[str]:
    """Those of `names` that were given, on the command line or in a flagfile."""
    return [name for name in names if values[name].present]


def run(
    define: Callable[[flags.FlagValues], None],
    main: Callable[[flags.FlagValues, list[str]], int | None],
    usage: str,
    argv: list[str] | None = None,
    keep_unknown: bool = False,
) -> int:
    """Parses the command line, runs `main(flags, positional arguments)`, gives the exit status.

    Whatever the user can mend ends with one line on stderr and status 1; ^C with 130, SIGTERM 143.
    With `keep_unknown`, flags that are not ours are left among the positional arguments.
    """
    if argv is not None:
        return _status_of(define, main, usage, list(argv), keep_unknown)
    status = 1  # of an error that nobody foresaw

    @atexit.register  # before anything else is, and so called last
    def leave_with_status() -> None:
        # tensorflow-io's file systems may abort the process while it takes itself down.
        if 'tensorflow_io' in sys.modules:
            _leave(status)

    try:
        status = _status_of(define, main, usage, sys.argv, keep_unknown)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
        if status != _TERMINATED:
            raise
    if status in (_INTERRUPTED, _TERMINATED):
        _leave(status)  # all is settled, and TensorFlow takes seconds to take itself down
    return status


def _leave(status: int) -> NoReturn:
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _status_of(
    define: Callable[[flags.FlagValues], None],
    main: Callable[[flags.FlagValues, list[str]], int | None],
    usage: str,
    argv: list[str],
    keep_unknown: bool,
) -> int:
    program = os.path.basename(argv[0])
    former = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        return _parse_and_run(define, main, usage, argv, keep_unknown)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f'{program}: interrupted. The same command goes on from here.', file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        message = _for_the_user(error)
        if message is None:
            raise
        print(f'{program}: error: {message}', file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, former)


def _parse_and_run(
    define: Callable[[flags.FlagValues], None],
    main: Callable[[flags.FlagValues, list[str]], int | None],
    usage: str,
    argv: list[str],
    keep_unknown: bool,
) -> int:
    values = flags.FlagValues()
    define(values)
    define_verbosity(values)
    values.set_gnu_getopt(True)
    if any(argument in ('--help', '-help', '-h', '--helpfull') for argument in argv[1:]):
        print(f'{_as_called(usage, argv[0])}\nflags:\n{_help(values)}', flush=True)
        return 0
    positional = values(_flagfiles_first(argv), known_only=keep_unknown)[1:]
    _check_split(values, argv)
    _start_logging(values.logging_verbosity)
    start_up.prepare_tensorflow()
    return main(values, positional) or 0


def _for_the_user(error: Exception) -> str | None:
    """One line for what a person can mend; None for what looks like a mistake in this program."""
    if isinstance(error, InputError | flags.Error):
        return str(error)
    if isinstance(error, OSError):
        return f'{error.filename}: {error.strerror}' if error.filename else str(error)
    if tensorflow := sys.modules.get('tensorflow'):
        errors = tensorflow.errors  # what TensorFlow's file systems raise, a full disk say
        of_files = errors.ResourceExhaustedError, errors.PermissionDeniedError, errors.NotFoundError
        if isinstance(error, of_files):
            return error.message.splitlines()[0]
    return None


def no_stray_arguments(positional: list[str]) -> None:
    """Accepts the tutorial's spelling `--flip_left_right True`; refuses all other leftovers."""
    for argument in positional:
        if argument.lower() == 'false':
            logging.getLogger('poets_tfr').warning(
                "WARNING: '%s' after a space is not read: to switch a flag off, write --noFLAG.",
                argument,
            )
        elif argument.lower() != 'true':
            raise InputError(f'{argument!r} is not a flag: flags begin with --, see --help.')


def _define(values: flags.FlagValues, config: type, helps: Mapping[str, str]) -> None:
    types = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        name, help_, kind = field.name, helps[field.name], types[field.name]
        default: Any = field.default
        if typing.get_origin(kind) is typing.Literal:
            choices = typing.get_args(kind)
            flags.DEFINE_enum(name, default, choices, help_, flag_values=values)
        elif typing.get_origin(kind) is tuple:
            flags.DEFINE_list(name, list(default), help_, flag_values=values)
        else:
            define: Any = {
                str: flags.DEFINE_string,
                int: flags.DEFINE_integer,
                float: flags.DEFINE_float,
                bool: flags.DEFINE_boolean,
            }[kind]
            define(name, default, help_, flag_values=values)


def _flagfiles_first(argv: list[str]) -> list[str]:
    """absl lets a flagfile that stands last win; here typed flags always win over flagfiles."""
    first, rest, arguments = [], [], iter(argv[1:])
    for argument in arguments:
        name = argument.lstrip('-')
        if argument.startswith('-') and name == 'flagfile':
            first += [f'--flagfile={next(arguments, "")}']
        elif argument.startswith('-') and name.startswith('flagfile='):
            first.append(argument)
        else:
            rest.append(argument)
    return [argv[0], *first, *rest]


def _check_split(values: flags.FlagValues, argv: list[str]) -> None:
    """Of a flagfile --split_prefix wins, for a run's lists both; a typed --split_by is refused."""
    names = {argument.lstrip('-').partition('=')[0] for argument in argv if argument[:1] == '-'}
    if 'split_by' not in names or 'split_by' not in values:
        return
    by, prefix = values['split_by'].value, values['split_prefix'].value
    if prefix and by != 'given_path':
        raise InputError(
            f'--split_by={by} and --split_prefix={prefix} exclude each other, for --split_prefix '
            'splits by given path: give one (--split_prefix= takes back that of a flagfile).'
        )


def _as_called(usage: str, program: str) -> str:
    """The usage of a command that is installed names the command, not its file."""
    if program.endswith('.py'):
        return usage
    return re.sub(r'python tools/\w+\.py', os.path.basename(program), usage)


def _help(values: flags.FlagValues) -> str:
    lines = []
    for name in sorted(values):
        flag = values[name]
        default = '' if flag.default in (None, '', []) else f' (default: {flag.default})'
        lines.append(f'  --{name}: {flag.help}{default}')
    return '\n'.join(lines)


def _start_logging(verbosity: str) -> None:
    """What a run says goes to stdout, warnings to stderr, both as plain lines."""
    log = logging.getLogger('poets_tfr')
    log.handlers.clear()
    log.propagate = False
    log.setLevel(verbosity)
    out, err = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    out.addFilter(lambda record: record.levelno < logging.WARNING)
    err.setLevel(logging.WARNING)
    log.addHandler(out)
    log.addHandler(err)


def _on_sigterm(signum: int, frame: Any) -> None:
    raise SystemExit(_TERMINATED)
