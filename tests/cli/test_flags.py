"""The command line of retrain.py: the originals' flags, and how each spelling is taken."""

from __future__ import annotations

import re
from pathlib import Path

import graphs
import pytest
from command_line import ROOT, Ended, Places, call, start, without_few_images

from poets_tfr.cli import command, label_image, retrain

# Name -> (type, default), as the originals document them. Only additions are allowed here.
ORIGINAL = {
    'image_dir': ('string', ''),
    'output_graph': ('string', '/tmp/output_graph.pb'),
    'intermediate_output_graphs_dir': ('string', '/tmp/intermediate_graph/'),
    'intermediate_store_frequency': ('int', 0),
    'output_labels': ('string', '/tmp/output_labels.txt'),
    'summaries_dir': ('string', '/tmp/retrain_logs'),
    'how_many_training_steps': ('int', 4000),
    'learning_rate': ('float', 0.01),
    'testing_percentage': ('int', 10),
    'validation_percentage': ('int', 10),
    'eval_step_interval': ('int', 10),
    'train_batch_size': ('int', 100),
    'test_batch_size': ('int', -1),
    'validation_batch_size': ('int', 100),
    'print_misclassified_test_images': ('bool', False),
    'model_dir': ('string', '/tmp/imagenet'),
    'bottleneck_dir': ('string', '/tmp/bottleneck'),
    'final_tensor_name': ('string', 'final_result'),
    'flip_left_right': ('bool', False),
    'random_crop': ('int', 0),
    'random_scale': ('int', 0),
    'random_brightness': ('int', 0),
    'architecture': ('string', 'inception_v3'),
}
HUB = {
    'tfhub_module': ('string', ''),  # the hub's own default is a TF1 module, which cannot be loaded
    'saved_model_dir': ('string', ''),
    'logging_verbosity': ('string enum', 'INFO'),
    'checkpoint_path': ('string', '/tmp/_retrain_checkpoint'),
}
OURS = {
    'records_dir': ('string', ''),
    'dataset_name': ('string', ''),
    'classes': ('comma separated list of strings', []),
    'min_class_size': ('int', 0),
    'label_style': ('string enum', 'original'),
    'split_by': ('string enum', 'auto'),
    'labels_file': ('string', ''),
    'path_column': ('string', ''),
    'label_column': ('string', ''),
    'split_column': ('string', ''),
    'image_tfrecords': ('string', ''),
    'image_key': ('string', ''),
    'label_key': ('string', ''),
    'first_label': ('string enum', 'auto'),
    'image_parquet': ('string', ''),
    'label_names': ('string', ''),
    'split_prefix': ('string', ''),
    'recursive': ('bool', False),
    'follow_links': ('bool', True),
    'store_max_side': ('int', 0),
    'max_pixels': ('int', 178956970),
    'on_duplicate': ('string enum', 'keep'),
    'near_duplicates': ('string', ''),
    'on_near_duplicate': ('string enum', 'group'),
    'corrections': ('string', ''),
    'write_index': ('bool', False),
    'num_shards': ('int', 0),
    'shard_mib': ('int', 128),
    'workers': ('int', 0),
    'on_bad_image': ('string enum', 'skip'),
    'max_bad_fraction': ('float', 0.1),
    'lock_timeout': ('int', 3600),
    'image_size': ('int', 0),
    'weights': ('string', 'imagenet'),
    'xla': ('string enum', 'auto'),
    'precision': ('string enum', 'float32'),
    'feature_batch_size': ('int', 32),
    'features_in_memory': ('string enum', 'on'),
    'augment_copies': ('int', 8),
    'fine_tune_from': ('string', ''),
    'fine_tune_steps': ('int', 1000),
    'fine_tune_learning_rate': ('float', 0.0001),
    'fine_tune_warmup_steps': ('int', 100),
    'fine_tune_batch_size': ('int', 32),
    'fine_tune_eval_interval': ('int', 100),
    'fine_tune_patience': ('int', 5),
    'fine_tune_batch_norm': ('string enum', 'fixed'),
    'fine_tune_precision': ('string enum', 'auto'),
    'sampling': ('string enum', 'class_uniform'),
    'seed': ('int', 0),
    'optimizer': ('string enum', 'sgd'),
    'learning_rate_schedule': ('string enum', 'constant'),
    'weight_decay': ('float', 0.0),
    'label_smoothing': ('float', 0.0),
    'class_weights': ('string enum', 'none'),
    'standardize_features': ('bool', False),
    'early_stopping_patience': ('int', 0),
    'head_search': ('string enum', 'none'),
    'warm_start': ('string', ''),
    'save_checkpoints_secs': ('float', 10.0),
    'resume': ('bool', False),
    'run_dir': ('string', ''),
    'log_steps': ('string enum', 'auto'),
    'projector_pictures': ('int', 1000),
    'profile_steps': ('string', ''),
    'distribution': ('string enum', 'auto'),
    'calibrate': ('bool', False),
    'target_precision': ('float', 0.0),
    'refuse_unlike': ('float', 0.0),
    'inference_graph': ('string', ''),
    'keras_output': ('string', ''),
    'onnx_output': ('string', ''),
    'self_test_pictures': ('int', 32),
    'tflite_output': ('string', ''),
    'tflite_quantization': ('string enum', 'float32'),
}


def test_every_flag_has_its_name_type_default_and_help() -> None:
    values = command.flag_values(retrain.SECTIONS)
    table = {name: (values[name].flag_type(), values[name].default) for name in values}
    assert table == {**ORIGINAL, **HUB, **OURS}
    for name in values:
        assert values[name].help
    for level in 'DEBUG INFO WARN ERROR FATAL'.split():
        values['logging_verbosity'].parse(level)


@pytest.fixture
def job(colours_dir: Path, model_dir: Path, tmp_path: Path) -> Places:
    """A folder `D` of pictures and a folder `M` of models, to name them briefly from there."""
    (tmp_path / 'D').symlink_to(colours_dir)
    (tmp_path / 'M').symlink_to(model_dir)
    return Places(tmp_path)


def test_the_tutorials_command_works_as_typed(job: Places) -> None:
    typed = (
        '--bottleneck_dir=B --how_many_training_steps 500 --model_dir=M --output_graph=G '
        '--output_labels=L --image_dir D'
    )
    # What it left at its defaults, kept inside this folder, and a network that is at hand.
    added = (
        f'--summaries_dir=S --records_dir=R --checkpoint_path=C --architecture={graphs.MOBILENET}'
    )
    ended = start(ROOT / 'tools/retrain.py', *typed.split(), *added.split(), cwd=job.root)
    assert ended.status == 0, ended.err
    assert (job.root / 'L').read_text() == 'green grass\nred roses\nbluebells\n'
    assert (job.root / 'G').stat().st_size > 100_000
    assert ': Step 499: Train accuracy = ' in ended.out
    assert without_few_images(ended.err) == '', 'no chatter of TensorFlow, no warning of ours'
    (cache,) = (job.root / 'B').iterdir()
    assert cache.name.startswith('mobilenet_0.50_128-')


def run(job: Places, *arguments: object) -> Ended:
    """A short run; what is typed comes last."""
    fixed = f'--architecture={graphs.MOBILENET}', f'--model_dir={job.root / "M"}'
    return call(
        'retrain', *fixed, *job.flags(), f'--image_dir={job.root / "D"}',
        '--how_many_training_steps=1', *arguments,
    )  # fmt: skip


@pytest.mark.parametrize(
    'typed',
    [
        ['-seed', '5'],
        ['--test_batch_size', '-1'],
        ['--print_misclassified_test_images', 'True'],  # the documented spelling of 2016
        ['True', '--noprint_misclassified_test_images'],
        ['--print_misclassified_test_images=true'],
        ['--noflip_left_right'],
        ['--flip_left_right', 'True'],
    ],
)
def test_spellings_that_work(job: Places, typed: list[str]) -> None:
    ended = run(job, *typed)
    assert (ended.status, without_few_images(ended.err)) == (0, '')


def test_minus_seed_is_read(job: Places) -> None:
    def graph(*typed: str) -> bytes:
        assert run(job, *typed).status == 0
        return job.graph.read_bytes()

    assert graph('-seed', '5') == graph('--seed=5') != graph('--seed=6')


def test_test_batch_size_after_a_space(job: Places) -> None:
    assert re.search(r'Final test accuracy = .*\(N=7\)', run(job, '--test_batch_size', '7').out)
    assert '(N=7)' not in run(job, '--test_batch_size', '-1').out


def test_a_stray_false_is_warned_of(job: Places) -> None:
    ended = run(job, '--print_misclassified_test_images', 'False')
    assert ended.status == 0
    assert without_few_images(ended.err) == (
        "WARNING: 'False' after a space is not read: to switch a flag off, write --noFLAG.\n"
    )
    assert '=== MISCLASSIFIED TEST IMAGES ===' in ended.out


@pytest.mark.parametrize(
    ('typed', 'says'),
    [
        (['--output_label=x'], "flag 'output_label'. Did you mean: output_labels ?"),
        (['--training_batch_size=32'], "Unknown command line flag 'training_batch_size'"),
        (['--num_gpus=2'], "Unknown command line flag 'num_gpus'"),
        (['--learning_rate=fast'], 'learning_rate'),
        (['--how_many_training_steps=1.5'], 'how_many_training_steps'),
        (['--split_by=magic'], 'split_by'),
        (['--learning_rate=nan'], '--learning_rate=nan must be a finite number above 0.'),
        (['--eval_step_interval=0'], '--eval_step_interval=0 must be 1 to '),
        (['--train_batch_size=0'], '--train_batch_size=0 must be 1 to 1000000, or -1'),
        (['--optimizer=lbfgs', '--learning_rate=0.1'], 'each step itself: leave --learning_rate='),
        (['--optimizer=lbfgs', '--train_batch_size=9'], 'leave --train_batch_size=9 out'),
        (['--class_weights=auto'], '--class_weights=auto goes with --sampling=natural'),
        (['--testing_percentage=60', '--validation_percentage=60'], 'is 120: at most 99'),
        (['--architecture=flower'], "--architecture='flower' is not known: inception_v3"),
        (['--architecture=resnet5'], "='resnet5' is not known (did you mean ResNet50"),
        (['--architecture=mobilenet_1.0_225'], 'did you mean mobilenet_1.0_224 or mobilenet_1.0_'),
        (['--random_crop=101'], '--random_crop=101 must be 0 to 100.'),
        (['--random_brightness=0.2'], 'random_brightness'),
        (['--augment_copies=3'], '--augment_copies=3 goes with a distortion only'),
        (['--checkpoint_path='], "--checkpoint_path='' must be a path"),
        (['--save_checkpoints_secs=-1'], '--save_checkpoints_secs=-1.0 must be 0 or more'),
        (['--fine_tune_from=all', '--architecture=mobilenet_1.0_224'], 'network that Keras builds'),
        (['--fine_tune_learning_rate=0'], '--fine_tune_learning_rate=0.0 must be'),
        (['--fine_tune_learning_rate=0.001'], '--fine_tune_learning_rate=0.001 would do nothing'),
        (
            ['--fine_tune_patience=0', '--fine_tune_steps=5'],
            '--fine_tune_steps=5, --fine_tune_patience=0 would do nothing without --fine_tune_from',
        ),
        (['--tflite_quantization=int8'], 'would do nothing without --tflite_output'),
        (['--tflite_quantization=float16'], 'would do nothing without --tflite_output'),
        (['--epochs=3'], "Unknown command line flag 'epochs': did you mean --how_many_training_st"),
        (['--how_many_training_steps=99999999999999999999'], 'must be 0 to 10000000'),
        (['--train_batch_size=999999999999'], 'must be 1 to 1000000, or -1'),
        (['--profile_steps=1,9'], 'ends before step 1 (--how_many_training_steps=1, from 0 on)'),
        (['--split_by=relative_path', '--split_prefix=x'], 'exclude each other, for --split'),
        (['--split_prefix', 'x', '-split_by', 'relative_path'], 'exclude each other, for --split'),
        (['--tfhub_module=somewhere'], '--tfhub_module and --architecture exclude each other'),
        (['flowers'], "'flowers' is not a flag"),
        (['--flagfile=nowhere.flags'], 'nowhere.flags'),
        (['--classes=roses,bluebells'], "no folder 'roses'; it has Green Grass, Red_Roses"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(job: Places, typed: list[str], says: str) -> None:
    ended = run(job, *typed)
    assert ended.status == 1
    assert says in ended.err
    assert ended.err.startswith('retrain.py: error: ')
    assert ended.err.count('\n') == 1
    assert not job.graph.exists()
    assert not job.bottlenecks.exists(), 'nothing long was begun'


def test_a_module_alone_does_not_clash_with_the_default_architecture(tmp_path: Path) -> None:
    ended = call('retrain', f'--tfhub_module={tmp_path}', f'--records_dir={tmp_path}')
    assert ended.status == 1
    assert 'exclude each other' not in ended.err


def test_a_file_where_models_are_to_be_kept(job: Places) -> None:
    ended = run(job, f'--model_dir={__file__}')
    assert ended.status == 1
    assert ended.err == (
        f'retrain.py: error: --model_dir: {__file__}: a file is in the way; name a folder.\n'
    )
    assert not job.records.exists(), 'nothing long was begun'


def test_no_image_dir() -> None:
    ended = call('retrain')
    assert ended.status == 1
    assert ended.err.startswith('retrain.py: error: Must set flag --image_dir')


@pytest.mark.parametrize('place', ['first', 'last', 'after a space'])
def test_a_flagfile_loses_to_typed_flags(job: Places, place: str) -> None:
    flagfile = job.root / 'run.flags'
    flagfile.write_text('# a comment\n--how_many_training_steps=7\n--eval_step_interval=3\n')
    typed: list[object] = ['--how_many_training_steps=5']
    given: list[object] = (
        ['--flagfile', flagfile] if place == 'after a space' else [f'--flagfile={flagfile}']
    )
    ended = run(job, *(given + typed if place == 'first' else typed + given))
    assert ended.status == 0, ended.err
    steps = [line.split()[3] for line in ended.out.splitlines() if 'Train accuracy' in line]
    assert steps == ['0:', '3:', '4:'], 'interval from the file, the number of steps as typed'


def test_a_flagfile_can_insist_on_a_split(job: Places) -> None:
    assert run(job).status == 0
    flagfile = job.root / 'run.flags'
    flagfile.write_text('--testing_percentage=11\n')
    ended = call('retrain', f'--flagfile={flagfile}', f'--records_dir={job.records}')
    assert ended.status == 1
    assert '--testing_percentage=11' in ended.err


def test_a_folder_may_be_named_without_its_flag(tmp_path: Path) -> None:
    for tool in 'retrain', 'evaluate':
        ended = call(tool, tmp_path / 'pets')
        assert ended.status == 1
        assert str(tmp_path / 'pets') in ended.err
        assert 'not a flag' not in ended.err


def test_intermediate_graphs_that_would_not_be_written_are_warned_of(job: Places) -> None:
    """The original took the flag alone."""
    ended = run(job, f'--intermediate_output_graphs_dir={job.root / "I"}')
    assert ended.status == 0
    assert ended.err.startswith('WARNING: nothing will be written to --intermediate_output_gra')
    assert not (job.root / 'I').exists()


@pytest.mark.parametrize(
    'typed',
    [
        ['--split_by=given_path', '--split_prefix=x'],
        ['--split_by=relative_path', '--split_prefix='],
        ['--fine_tune_steps=1000', '--fine_tune_learning_rate=1e-4'],  # the defaults
        ['--tflite_quantization=float32'],
        ['--intermediate_output_graphs_dir=/tmp/intermediate_graph'],  # as flagfiles have it
        ['--intermediate_output_graphs_dir='],
        ['--profile_steps=1,9', '--how_many_training_steps=2'],
    ],
)  # fmt: skip
def test_what_goes_together_is_taken(tmp_path: Path, typed: list[str]) -> None:
    ended = call('retrain', f'--image_dir={tmp_path / "missing"}', *typed)
    assert ended.status == 1
    assert 'not found' in ended.err


def test_the_flagfile_of_a_run_with_a_split_prefix_repeats_it(job: Places) -> None:
    ended = run(job, '--split_prefix=x', '--profile_steps=0,5', '--validation_percentage=30')
    assert ended.status == 0, ended.err
    graph = job.graph.read_bytes()
    stored = job.summaries / 'retrain.flags'
    said = stored.read_text()
    assert '\n--split_by=auto\n' in said
    assert '\n--split_prefix=x\n' in said
    job.graph.unlink()
    ended = call('retrain', f'--flagfile={stored}')
    assert ended.status == 0, ended.err
    assert (job.graph.read_bytes(), stored.read_text()) == (graph, said)


def test_a_split_prefix_beside_a_flagfile(tmp_path: Path) -> None:
    """A run's flagfile lists --split_by, whatever it is, and the run must be repeated."""
    flagfile = tmp_path / 'retrain.flags'
    flagfile.write_text(f'--image_dir={tmp_path / "missing"}\n--split_by=relative_path\n')
    for tool, further in ('retrain', []), ('convert_images', [f'--records_dir={tmp_path / "R"}']):
        ended = call(tool, f'--flagfile={flagfile}', '--split_prefix=x', *further)
        assert 'not found' in ended.err
        ended = call(tool, '--split_by=relative_path', '--split_prefix=x', *further)
        assert ended.err.startswith(f'{tool}.py: error: --split_by=relative_path and --split_pre')
        assert ended.status == 1


@pytest.mark.parametrize('tool', ['retrain', 'label_image', 'convert_images'])
def test_help_needs_no_tensorflow(tool: str) -> None:
    ended = start('-X', 'importtime', ROOT / f'tools/{tool}.py', '--help')
    assert ended.status == 0
    assert not [line for line in ended.err.splitlines() if line.endswith((' tensorflow', ' keras'))]
    assert f'python tools/{tool}.py ' in ended.out
    if tool == 'retrain':
        for name, (_, default) in {**ORIGINAL, **HUB, **OURS}.items():
            (line,) = (x for x in ended.out.splitlines() if x.startswith(f'  --{name}: '))
            assert default in (None, '', []) or line.endswith(f' (default: {default})')
        subjects = [line for line in ended.out.splitlines() if re.match(r'[A-Z].*:$', line)]
        assert subjects[:3] == [
            'Images and records:', 'The network that makes the features:', 'The run:'
        ]  # fmt: skip
        assert '  --image_dir: ' in ended.out.split('Images and records:\n')[1][:20]


@pytest.mark.parametrize(
    ('program', 'named'),
    [
        ('tools/label_image.py', "python tools/label_image.py PICTURE|FOLDER|'PATTERN'|- ..."),
        ('/usr/bin/poets-label', "poets-label PICTURE|FOLDER|'PATTERN'|- ..."),
    ],
)
def test_the_usage_names_the_command_that_was_called(
    program: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label_image.main([program, '--help']) == 0
    assert f'\n{named}' in capsys.readouterr().out


REFUSED_WITHOUT_TENSORFLOW = [
    ['--learning_rate=-1'],
    ['--image_dir=missing'],
    ['--image_dir=.', '--output_graph=/proc/nowhere/graph.pb'],
    ['--image_dir=.', '--random_scale=-1'],
    ['--records_dir=.'],
    ['--image_dir=.', '--split_by=relative_path', '--split_prefix=x'],
    ['--image_dir=.', '--tflite_quantization=int8'],
    ['--image_dir=.', '--fine_tune_steps=5'],
    ['--image_dir=.', '--profile_steps=4000,4001'],
    ['--image_dir=.', '--how_many_training_steps=100000000'],
    ['--image_dir='],
    ['--unknown'],
]


def test_wrong_values_are_refused_before_tensorflow_is_imported(tmp_path: Path) -> None:
    """One process for all, for the start of Python is what takes the time."""
    for folder in 'a', 'b':
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f'{number}.jpg').touch()
    code = (
        'import sys\n'
        'from poets_tfr.cli import retrain\n'
        f'for arguments in {REFUSED_WITHOUT_TENSORFLOW!r}:\n'
        f"    argv = ['retrain.py', '--records_dir={tmp_path}_records', *arguments]\n"
        '    assert retrain.main(argv) == 1, arguments\n'
        "    assert not {'tensorflow', 'keras'} & set(sys.modules), arguments\n"
    )
    ended = start('-c', code, cwd=tmp_path)
    assert ended.status == 0, ended.err
    assert ended.err.count('retrain.py: error: ') == len(REFUSED_WITHOUT_TENSORFLOW)


def test_importing_every_module_imports_no_tensorflow_and_defines_no_flag() -> None:
    code = (
        'import importlib, pkgutil, sys\n'
        'import poets_tfr\n'
        'from absl import flags\n'
        'before = set(flags.FLAGS)\n'
        "names = [m.name for m in pkgutil.walk_packages(poets_tfr.__path__, 'poets_tfr.')]\n"
        'for name in names:\n'
        '    try:\n'
        '        importlib.import_module(name)\n'
        '    except ModuleNotFoundError as error:\n'
        "        assert error.name == 'apache_beam', error\n"  # an extra of its own
        "assert not {'tensorflow', 'keras', 'tensorflow_io'} & set(sys.modules)\n"
        'assert set(flags.FLAGS) == before\n'
        'print(len(names))\n'
    )
    ended = start('-c', code)
    assert ended.status == 0, ended.err
    assert int(ended.out) > 20
