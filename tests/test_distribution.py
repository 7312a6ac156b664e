"""Workers and devices: the same result as one, no matter who dies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
import workers
from command_line import ROOT, Places, call, start

from poets_tfr import distribution
from poets_tfr.distribution import Cluster, Distribution, Task
from poets_tfr.errors import InputError
from poets_tfr.label.labeller import Labeller

PICTURES = 390


def config_of(cluster: object, kind: str = 'worker', index: object = 0) -> str:
    return json.dumps({'cluster': cluster, 'task': {'type': kind, 'index': index}})


TWO = {'worker': ['a:1', 'b:2']}


@pytest.mark.parametrize(
    ('mode', 'tf_config', 'task'),
    [
        ('auto', '', Task()),
        ('auto', '{}', Task()),
        ('auto', config_of(TWO, index=1), Task(1, ('a:1', 'b:2'))),
        ('multi_worker', config_of(TWO), Task(0, ('a:1', 'b:2'))),
        ('multi_worker', config_of(TWO, index='1'), Task(1, ('a:1', 'b:2'))),
        # The older form: a chief apart.
        ('auto', config_of({'chief': ['c:3'], **TWO}, 'chief'), Task(0, ('c:3', 'a:1', 'b:2'))),
        ('auto', config_of({'chief': ['c:3'], **TWO}), Task(1, ('c:3', 'a:1', 'b:2'))),
        ('auto', config_of({'worker': ['a:1']}), Task(0, ('a:1',))),
        ('auto', config_of({'worker': ['a:1', '[fd00::1]:1']}), Task(0, ('a:1', '[fd00::1]:1'))),
        ('off', config_of(TWO, index=1), Task()),
        ('mirrored', config_of(TWO, index=1), Task()),
    ],
)
def test_the_place_that_tf_config_gives(
    monkeypatch: pytest.MonkeyPatch, mode: Distribution, tf_config: str, task: Task
) -> None:
    monkeypatch.setenv('TF_CONFIG', tf_config)
    assert distribution.task_of(mode) == task


@pytest.mark.parametrize(
    ('mode', 'tf_config', 'complaint'),
    [
        ('multi_worker', '', 'TF_CONFIG, which names the machines, is not set'),
        ('auto', '{', 'not understood'),
        ('auto', '[]', 'not understood'),
        ('auto', '{"cluster": {"worker": ["a:1", "b:1"]}}', "'task'"),
        ('auto', config_of(TWO, index=2), 'there is no worker 2'),
        ('auto', config_of(TWO, index=-1), 'there is no worker -1'),
        ('auto', config_of(TWO, kind='chief'), "'chief'"),
        ('auto', config_of({'ps': ['p:1'], **TWO}), "no 'ps'"),
        ('auto', config_of({'worker': ['a', 'b:2']}), "'a' is not host:port"),
        ('auto', config_of({'worker': ['a:1', 'a:1']}), "'a:1' is listed twice"),
        ('auto', config_of({'chief': ['a:1'], 'worker': ['A:01']}), "'A:01' is listed twice"),
        ('auto', config_of({'worker': ['a:1', 'http://b:2']}), "'http://b:2' is not host:port"),
        ('auto', config_of({'worker': ['a:1', 'b c:2']}), "'b c:2' is not host:port"),
        ('auto', config_of({'worker': ['a:1', '::1:2']}), "'::1:2' is not host:port"),
        ('auto', config_of({'worker': ['a:1', 2]}), "'2' is not host:port"),
        ('auto', config_of({'worker': ['a:99999', 'b:2']}), "'a:99999': the port must be a number"),
        ('auto', config_of({'worker': ['a:1', 'b:0']}), "'b:0': the port must be a number"),
        ('auto', config_of({'worker': ['a:1', 'b:']}), "'b:': the port must be a number"),
        ('auto', config_of({'worker': ['a:1', f'b:{"9" * 5000}']}), 'the port must be a number'),
    ],
)
def test_a_tf_config_that_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch, mode: Distribution, tf_config: str, complaint: str
) -> None:
    monkeypatch.setenv('TF_CONFIG', tf_config)
    with pytest.raises(InputError, match=re.escape(complaint)) as raised:
        distribution.task_of(mode)
    assert 'TF_CONFIG' in str(raised.value)
    assert '\n' not in str(raised.value)


def test_a_tf_config_that_cannot_work_is_refused_before_tensorflow(tmp_path: Path) -> None:
    program = f"""
import os, sys
from poets_tfr.cli import retrain
os.environ['TF_CONFIG'] = '{config_of({'worker': ['localhost:23451'] * 2})}'
status = retrain.main(['retrain.py', '--image_dir={tmp_path}'])
print(status, 'tensorflow' in sys.modules)
"""
    ended = start('-c', program)
    assert ended.out == '1 False\n', ended.err
    assert ended.err.startswith("retrain.py: error: TF_CONFIG: 'localhost:23451' is listed twice")
    assert ended.err.count('\n') == 1


@pytest.mark.parametrize('number', [0, 11])
def test_the_kubernetes_job_in_the_docs_makes_tf_config(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    page = (ROOT / 'docs/scaling.md').read_text()
    lines = page[page.index('names=$(seq') : page.index('exec poets-retrain')]
    environment = {**os.environ, 'WORKERS': '12', 'JOB_COMPLETION_INDEX': str(number)}
    script = f'{lines}\nprintenv TF_CONFIG'
    made = subprocess.run(['sh', '-c', script], env=environment, capture_output=True, check=True)
    monkeypatch.setenv('TF_CONFIG', made.stdout.decode())
    pods = tuple(f'poets-{pod}.poets:2222' for pod in range(12))
    assert distribution.task_of('multi_worker') == Task(number, pods)


@pytest.mark.parametrize('wanted', [[], [0] * 7, [1] * 7, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]])
@pytest.mark.parametrize('count', [1, 2, 3, 9])
def test_shares_are_even_and_all_of_it(wanted: list[int], count: int) -> None:
    addresses = tuple(f'host:{port}' for port in range(count))
    mask = np.array(wanted, bool)
    shares = [Cluster(None, Task(i, addresses)).share_of(mask) for i in range(count)]
    np.testing.assert_array_equal(np.sum(shares, axis=0), mask)
    sizes = [int(share.sum()) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    firsts = [int(np.argmax(share)) for share in shares if share.any()]
    assert firsts == sorted(firsts)


def test_off_imports_no_tensorflow() -> None:
    ended = start('-c', (
        'import sys; from poets_tfr import distribution\n'
        "cluster = distribution.start('off')\n"
        "assert cluster.is_chief and cluster.workers == cluster.replicas == 1\n"
        "assert cluster.sum_of(3.0, '') == 3.0\n"
        "assert 'tensorflow' not in sys.modules\n"
    ))  # fmt: skip
    assert ended.status == 0, ended.err


def test_a_worker_alone_says_for_whom_it_waits_and_can_be_ended(tmp_path: Path) -> None:
    ports = workers.free_ports(2)
    environment = {'TF_CONFIG': workers.tf_config(1, ports)}
    code = (
        'import sys; from poets_tfr.cli import command; from poets_tfr import distribution\n'
        'sys.exit(command.run(lambda *_: distribution.start("auto"), "", []))'
    )
    with workers.Worker(tmp_path / 'log', environment, '-c', code) as worker:
        worker.wait_until(lambda: f'127.0.0.1:{ports[0]}' in worker.said)
        assert 'Waiting for 1 of 2 workers' in worker.said
        worker.process.terminate()
        assert worker.ends() == 143
        assert 'Traceback' not in worker.said


MIRRORED = """
import sys
import numpy as np, tensorflow as tf
cpu, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from poets_tfr import distribution
from poets_tfr.backbones import frozen
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.extraction.extract import Extraction
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.records.reading import Records

records, cache, models, architecture, xla = sys.argv[1:]
config = BackboneConfig(architecture=architecture, model_dir=models)
cluster = distribution.start('mirrored')
assert cluster.replicas == 2
devices = set()
def where(x):
    y = x * 2
    devices.add(y.device)
    return y
np.testing.assert_array_equal(
    cluster.on_every_replica(where, 3)(tf.range(6)), [0, 2, 4, 6, 8, 10])
assert len(devices) == 2, devices
backbone, records = frozen.load(config), Records.open(records)
def extracted(name, *cluster):
    config = ExtractionConfig(bottleneck_dir=f'{cache}/{name}', feature_batch_size=5)
    return Extraction(records, backbone, config, xla, *cluster).features()
mirrored, one = extracted('mirrored', cluster), extracted('one')
assert sum(map(len, one.values())) % 10, "the last batch is padded"
for split, values in one.items():
    np.testing.assert_array_equal(mirrored[split].features, values.features)
"""


@pytest.mark.parametrize('xla', ['off', 'on'])
def test_mirrored_devices_compute_what_one_does(
    trained: tuple[Places, object], model_dir: Path, tmp_path: Path, xla: str
) -> None:
    places, _ = trained
    ended = start('-c', MIRRORED, places.records, tmp_path, model_dir, graphs.MOBILENET, xla)
    assert ended.status == 0, ended.err


@pytest.fixture(scope='module')
def pictures_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('many') / 'many'
    return colours.write(directory, per_class=PICTURES // 3, seed=6)


@pytest.fixture(scope='module')
def flags(pictures_dir: Path, model_dir: Path) -> list[str]:
    return [
        f'--image_dir={pictures_dir}',
        f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}',
        '--how_many_training_steps=100',
        '--num_shards=3',
        '--feature_batch_size=1',  # many files, and time to be killed in
    ]


@pytest.fixture(scope='module')
def alone(tmp_path_factory: pytest.TempPathFactory, flags: list[str]) -> Places:
    """What one process makes of it."""
    places = Places(tmp_path_factory.mktemp('alone'))
    ended = call('retrain', *flags, *places.flags())
    assert ended.status == 0, ended.err
    return places


def features_in(bottlenecks: Path) -> dict[bytes, np.ndarray]:
    (folder,) = bottlenecks.iterdir()
    rows = [row for path in sorted(folder.glob('*.npy')) for row in np.load(path)]
    features = {row['digest']: row['features'] for row in rows}
    assert len(features) == len(rows), 'computed twice'
    return features


def assert_same_features(bottlenecks: Path, wanted: Path) -> None:
    found, expected = features_in(bottlenecks), features_in(wanted)
    assert found.keys() == expected.keys()
    for digest, values in expected.items():
        np.testing.assert_allclose(found[digest], values, atol=1e-5)


def assert_same_classifier(out: Path, alone: Places, pictures_dir: Path) -> None:
    assert (out / 'labels.txt').read_bytes() == alone.labels.read_bytes()
    ours = Labeller(str(out / 'graph.pb'), str(out / 'labels.txt'))
    theirs = Labeller(str(alone.graph), str(alone.labels))
    for picture in sorted(pictures_dir.glob('*/00*'))[::5]:
        content = picture.read_bytes()
        np.testing.assert_allclose(ours.scores(content), theirs.scores(content), atol=1e-5)


@pytest.mark.slow
def test_two_workers_make_what_one_process_makes(
    alone: Places, flags: list[str], pictures_dir: Path, tmp_path: Path
) -> None:
    with workers.retrain(tmp_path, *flags) as both:
        for worker in both:
            assert worker.ends() == 0, worker.said
        chief, other = (worker.said for worker in both)
    assert workers.computed(chief) == workers.computed(other) == [PICTURES // 2]
    assert_same_features(tmp_path / 'bottlenecks', alone.bottlenecks)
    assert_same_classifier(tmp_path / 'out_0', alone, pictures_dir)
    assert 'Final test accuracy' in chief
    assert 'Final test accuracy' not in other
    assert not (tmp_path / 'out_1').exists(), 'only the chief writes results'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('victim', 'how', 'status'),
    [(1, signal.SIGKILL, -9), (0, signal.SIGTERM, 143)],
)
def test_a_worker_dies_and_the_next_run_goes_on(
    alone: Places, flags: list[str], pictures_dir: Path, tmp_path: Path,
    victim: int, how: signal.Signals, status: int,
) -> None:  # fmt: skip
    with workers.retrain(tmp_path, *flags) as both:
        both[victim].wait_until(lambda: any((tmp_path / 'bottlenecks').glob('*/*.npy')))
        both[victim].process.send_signal(how)
        assert both[victim].ends() == status, both[victim].said
        survivor = both[1 - victim]
        assert survivor.ends() == 1, survivor.said
        sentence = (
            f'\nretrain.py: error: This is worker {1 - victim} of 2: worker {victim} has ended'
        )
        assert sentence in survivor.said
        assert 'Traceback' not in both[0].said + both[1].said
    kept = len(features_in(tmp_path / 'bottlenecks'))
    assert kept
    with workers.retrain(tmp_path, *flags) as both:
        for worker in both:
            assert worker.ends() == 0, worker.said
        assert sum(sum(workers.computed(worker.said)) for worker in both) == PICTURES - kept
    assert_same_features(tmp_path / 'bottlenecks', alone.bottlenecks)
    assert_same_classifier(tmp_path / 'out_0', alone, pictures_dir)


def fine_tuned(checkpoint_path: Path) -> dict[str, np.ndarray]:
    """The numbers in a run's last checkpoint: trained weights, and the optimizer's."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint_path / 'fine_tune'))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    return {k: v for k, v in values.items() if k.startswith(('trained', 'optimizer'))}


@pytest.mark.slow
def test_two_workers_fine_tune_as_one_process_does(colours_dir: Path, tmp_path: Path) -> None:
    flags = [
        f'--image_dir={colours_dir}', '--architecture=MobileNet_0.25', '--weights=random',
        '--image_size=32', f'--model_dir={tmp_path / "models"}', '--validation_percentage=25',
        '--how_many_training_steps=30', '--fine_tune_from=conv_dw_12', '--fine_tune_steps=5',
        '--fine_tune_batch_size=8', '--fine_tune_warmup_steps=0', '--fine_tune_eval_interval=5',
    ]  # fmt: skip
    places = Places(tmp_path / 'alone')
    alone = tmp_path / 'alone_checkpoint'
    ended = call('retrain', *flags, *places.flags(), f'--checkpoint_path={alone}')
    assert ended.status == 0, ended.err

    def own_flags(worker: int) -> list[str]:
        return [f'--checkpoint_path={tmp_path / f"checkpoint_{worker}"}']

    with workers.retrain(tmp_path, *flags, own_flags=own_flags) as both:
        for worker in both:
            assert worker.ends() == 0, worker.said
        assert 'accuracy: head alone' in both[0].said
    assert not (tmp_path / 'checkpoint_1' / 'fine_tune').exists(), 'only the chief writes'
    wanted, found = fine_tuned(alone), fine_tuned(tmp_path / 'checkpoint_0')
    assert found.keys() == wanted.keys()
    assert any(value.ndim == 4 for value in wanted.values())
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_folder_that_is_not_shared(flags: list[str], tmp_path: Path) -> None:
    def own_flags(worker: int) -> list[str]:
        return [f'--bottleneck_dir={tmp_path / f"bottlenecks_{worker}"}']

    with workers.retrain(tmp_path, *flags, own_flags=own_flags) as both:
        for worker in both:
            assert worker.ends() == 1, worker.said
        chief, other = (worker.said for worker in both)
    assert f'--bottleneck_dir={tmp_path / "bottlenecks_0"}: 1 of the workers do not see' in chief
    assert f'--bottleneck_dir={tmp_path / "bottlenecks_1"}: worker 1 does not see' in other
    assert not any(path.name.startswith('.shared') for path in tmp_path.rglob('.*'))
    assert 'Converting' not in chief, 'it is said before long work'
