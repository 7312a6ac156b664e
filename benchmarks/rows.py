"""The rows, in the order of the flow. Each takes the data and gives lines of the table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import Data
from benchmarks.examining import examine
from benchmarks.gpu import forward_work, gpu
from benchmarks.large import large
from benchmarks.measuring import (
    Row,
    Work,
    against,
    compare,
    median_rates,
)
from benchmarks.originals import FileReadingHead, OneByOne
from benchmarks.peers import (
    decode_only,
    image_dataset_from_directory,
    onnx_runtime,
    openvino,
)
from poets_tfr import files
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.extraction.extract import Extraction, SplitFeatures
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records import conversion
from poets_tfr.reporting.summaries import Summaries
from poets_tfr.sources.listing import list_images
from poets_tfr.training import loop
from poets_tfr.training.settings import HeadConfig

_IMAGES_S = 'images/s'
_INCEPTION_PICTURES = 256
_INCEPTION_GFLOP = 11.46  # per picture of 299 x 299: 5.73 G multiply-adds


def read(data: Data) -> list[Row]:
    import tensorflow as tf

    shards, records = data.shards
    mb = sum(map(os.path.getsize, shards)) / 1e6

    def ours() -> int:
        dataset = tf.data.TFRecordDataset(shards, buffer_size=1 << 20)
        return int(dataset.reduce(0, lambda n, _: n + 1).numpy())

    def plain() -> int:
        for shard in shards:
            with open(shard, 'rb', buffering=0) as file:
                while file.read(1 << 20):
                    pass
        return sum(records)

    rates = median_rates({'ours': ours, 'plain': plain})
    in_mb = {name: rate / sum(records) * mb for name, rate in rates.items()}
    peer = 'plain sequential read'
    return [
        against('read', 'records/s', rates['ours'], peer, rates['plain']),
        against('read', 'MB/s', in_mb['ours'], peer, in_mb['plain']),
    ]


def decode(data: Data) -> list[Row]:
    limit = 'decode only, all cores'
    rows = []
    for size, goal in (128, 0.95), (299, None):
        goals = {limit: goal} if goal else None
        ours = _drain(partial(data.one_pass, Preprocessing(size, 127.5, 127.5)))
        rows += compare(
            f'decode, {size} px', _IMAGES_S, ours, {limit: decode_only(data.paths)}, goals
        )
    return rows


def convert(data: Data) -> list[Row]:
    listing = list_images(data.conversion())
    work = tempfile.mkdtemp(dir=data.work_dir)

    def ours() -> int:
        conversion.convert(data.conversion(os.path.join(work, 'records')), listing)
        return len(listing.pictures)

    def tar() -> int:
        with tarfile.open(os.path.join(work, 'pictures.tar'), 'w') as archive:
            archive.add(data.image_dir)
        return len(listing.pictures)

    peers = {
        'decode only, all cores': decode_only(data.paths),
        'naive loop': lambda: _naive_conversion(data.paths, os.path.join(work, 'naive')),
        'tar': tar,
    }
    goals = {'decode only, all cores': 0.85, 'naive loop': 1.5}

    def clear() -> None:  # to delete 240 MB takes a tenth of a second
        shutil.rmtree(work)
        os.mkdir(work)

    rows = compare('convert', _IMAGES_S, ours, peers, goals, repeats=3, clear=clear)
    shutil.rmtree(work)
    return rows


def pipeline(data: Data) -> list[Row]:
    peer = 'image_dataset_from_directory'
    rows = []
    for size in 128, 299:
        ours = _drain(partial(data.one_pass, Preprocessing(size, 127.5, 127.5)))
        goals = {peer: 1.1} if size == 299 else None
        with image_dataset_from_directory(data.image_dir, size) as theirs:
            rows += compare(f'pipeline, {size} px', _IMAGES_S, ours, {peer: theirs}, goals)
    return rows


def backbone(data: Data) -> list[Row]:
    import keras

    rows = []
    mobilenet, inception = data.mobilenet(), data.inception()
    keras_inception = keras.applications.InceptionV3(include_top=False, weights=None, pooling='avg')
    predict = 'Keras predict'
    for network, model, batches in (
        (mobilenet, None, 16),
        (inception, keras_inception, 2),
    ):
        pictures = _random_pictures(network, 32)
        sides = {
            'XLA': forward_work(network, len(pictures), 'on', batches),
            predict: partial(_predict, model, pictures) if model else None,
            'OpenVINO': openvino(network, pictures, batches),
            'ONNX Runtime': onnx_runtime(network, pictures, batches),
        }
        beside = {name: work for name, work in sides.items() if work}
        ours = forward_work(network, len(pictures), 'off', batches)
        goals = {predict: 1.1, 'OpenVINO': 1.0} if network is inception else None
        rows += compare(f'backbone {network.name}', _IMAGES_S, ours, beside, goals, repeats=3)
    gflops = _matmul_gflops()
    limit = f'matrix multiply, {gflops:.0f} GFLOP/s'
    inception_rate = rows[-1].rate
    rows.append(
        against(
            'backbone inception_v3', _IMAGES_S, inception_rate, limit, gflops / _INCEPTION_GFLOP
        )  # fmt: skip
    )
    return rows


def features_(data: Data) -> list[Row]:
    rows = []
    bound, loop_ = 'no-overlap bound', 'one by one'
    inception = data.inception()
    for network, originals_network, config, most in (
        (data.mobilenet(), data.mobilenet_as_published(), data.mobilenet_config(), 0),
        (inception, inception, data.inception_config(), _INCEPTION_PICTURES),
    ):
        work = tempfile.mkdtemp(dir=data.work_dir)
        ours = _extraction(data, network, config, work, most)
        size = ExtractionConfig.feature_batch_size
        one = OneByOne(originals_network, os.path.join(work, 'text'))
        some = data.paths[: 8 if most else 64]
        sides: dict[str, Work] = {
            'ours': ours,
            'decode': _drain(partial(data.one_pass, network.preprocessing, 32, most)),
            'forward': forward_work(network, size, config.xla, 2 if most else 16),
            loop_: partial(_one_by_one, one, some),
        }
        rates = median_rates(sides, repeats=2 if most else 3)
        no_overlap = 1 / (1 / rates['decode'] + 1 / rates['forward'])
        name = f'features {network.name}'
        peers = {bound: no_overlap, 'forward only': rates['forward'], loop_: rates[loop_]}
        goals = {'forward only': 0.95} if most else {bound: 0.9}
        rows += [against(name, _IMAGES_S, rates['ours'], p, r, goals) for p, r in peers.items()]
        shutil.rmtree(work)
    return rows


def head(data: Data) -> list[Row]:
    width, classes, steps = 1001, 5, 4000
    rng = np.random.default_rng(0)
    splits = {}
    for name, count in (('train', 2936), ('validation', 367)):
        labels = rng.integers(classes, size=count, dtype=np.int32)
        values = rng.normal(0, 1, (count, width)).astype(np.float32)
        splits[name] = SplitFeatures(values, labels, tuple(map(str, range(count))))
    work = tempfile.mkdtemp(dir=data.work_dir)
    config = HeadConfig(how_many_training_steps=steps)

    def ours() -> int:
        with Summaries(os.path.join(work, 'logs')) as summaries:
            for measured in loop.train(splits, classes, config):
                summaries.add(measured)
        return steps

    bare = 'bare compiled loop'
    rows = compare('head', 'steps/s', ours, {bare: _bare_loop(splits['train'], classes, steps)},
                   {bare: 0.5}, repeats=3)  # fmt: skip
    reading = 'Python loop reading text files'
    theirs = _file_reading_rate(splits['train'], classes, work)
    rows.append(against('head', 'steps/s', rows[0].rate, reading, theirs))
    shutil.rmtree(work)
    return rows


def job(data: Data) -> list[Row]:
    """First and second run of the whole command, beside their parts and the original's two stages.

    Self-test and report do not count there: they stand among the rows by stage.
    """
    work = tempfile.mkdtemp(dir=data.work_dir)
    network = data.mobilenet()
    pictures = len(list_images(data.conversion()).pictures)
    (first, stages), (second, second_stages) = (_run_job(data, work) for _ in range(2))
    one = OneByOne(data.mobilenet_as_published(), os.path.join(work, 'text'))
    some = data.paths[:128]
    rate = median_rates({'': partial(_one_by_one, one, some)}, 3)['']
    labels = [i % 2 for i in range(len(some))]
    reader = FileReadingHead([one.bottleneck(p) for p in some], labels, 2, network.feature_width)
    steps = _steps_rate(reader)
    original = pictures / rate + 4000 / steps
    alone = first - _seconds_aside(stages), second - _seconds_aside(second_stages)
    start = time.perf_counter()
    command = [sys.executable, '-c', 'import tensorflow']
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    imported = time.perf_counter() - start
    least = imported + _head_seconds(data, network)
    parts = {
        'decode': decode_only(data.paths),
        'forward': forward_work(network, ExtractionConfig.feature_batch_size, 'off', 16),
    }
    once = sum(pictures / rate for rate in median_rates(parts, 3).values())
    bound, third = 'import + decode + forward + head', '3 x (import tensorflow + head)'
    firsts = {bound: least + once, "the original's features and head": original}
    rows = [
        against('job, first run', 'jobs/h', 3600 / alone[0], peer, 3600 / seconds, {bound: 0.5})
        for peer, seconds in firsts.items()
    ]
    rows.append(
        against('job, second run', 'jobs/h', 3600 / alone[1], third, 1200 / least, {third: 1})
    )
    rows += _by_stage('job, first run', first, stages)
    rows += _by_stage('job, second run', second, second_stages)
    shutil.rmtree(work)
    return rows


def _seconds_aside(stages: dict[str, float]) -> float:
    """Of what the original did not do at all; it has rows of its own."""
    return stages.get('self-test', 0.0) + stages.get('reporting', 0.0)


def _by_stage(run: str, whole: float, stages: dict[str, float]) -> list[Row]:
    """Seconds of each stage, by the run's own report, and of all that is in none."""
    start_up = {'start-up and the rest': whole - sum(stages.values())}
    return [
        against(f'{run}: {stage}', 's', seconds, 'whole run', whole)
        for stage, seconds in {**start_up, **stages}.items()
    ]


def memory(data: Data) -> list[Row]:
    """Peak memory of the whole command, and of the same with four times the pictures."""
    work = tempfile.mkdtemp(dir=data.work_dir)
    plenty = Data(work, images=os.path.join(work, 'pictures'), models=data.models)
    for copy in range(4):
        for path in data.paths:
            folder = os.path.join(plenty.images, os.path.basename(os.path.dirname(path)))
            os.makedirs(folder, exist_ok=True)
            with open(path, 'rb') as source:
                content = source.read()
            with open(os.path.join(folder, f'{copy}_{os.path.basename(path)}'), 'wb') as target:
                target.write(content + bytes([copy]))  # another picture to the cache: other bytes
    once = _job_peak_mb(data, os.path.join(work, 'once'))
    four = _job_peak_mb(plenty, os.path.join(work, 'four'))
    shutil.rmtree(work)
    count = len(data.paths)
    return [
        against(f'memory, {count} images', '1/GB', 1e3 / once, '1.5 GB', 1 / 1.5, {'1.5 GB': 1}),
        against(
            f'memory, {4 * count} images',
            '1/GB',
            1e3 / four,
            f'{count} images',
            1e3 / once,
            {f'{count} images': 1 / 1.2},
        ),  # fmt: skip
    ]


ROWS: dict[str, Callable[[Data], list[Row]]] = {
    'read': read,
    'decode': decode,
    'convert': convert,
    'pipeline': pipeline,
    'backbone': backbone,
    'features': features_,
    'head': head,
    'job': job,
    'memory': memory,
    'gpu': gpu,
    'large': large,
    'examine': examine,
}
ONLY_IF_NAMED = 'large', 'examine'  # they take minutes


def _drain(make: Callable[[], Any]) -> Work:
    """Counts the pictures of a fresh dataset of (something, batch of pictures or labels)."""

    def work() -> int:
        return sum(int((batch[0].numpy() >= 0).sum()) if batch[0].dtype.is_integer
                   else len(batch[1]) for batch in make())  # fmt: skip

    return work


def _naive_conversion(paths: list[str], target: str) -> int:
    import tensorflow as tf

    with tf.io.TFRecordWriter(target) as writer:
        for path in paths:
            with open(path, 'rb') as file:
                content = file.read()
            tf.io.decode_jpeg(content)
            value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
            example = tf.train.Example(features=tf.train.Features(feature={'image/encoded': value}))
            writer.write(example.SerializeToString())
    return len(paths)


def _predict(model: Any, pictures: np.ndarray) -> int:
    return len(model.predict(pictures, batch_size=16, verbose=0))


def _one_by_one(one: OneByOne, paths: list[str]) -> int:
    return len([one.bottleneck(path) for path in paths])


def _random_pictures(network: Backbone, count: int) -> np.ndarray:
    size = network.preprocessing.size
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def _matmul_gflops(size: int = 2048) -> float:
    import tensorflow as tf

    a = tf.random.stateless_normal([size, size], seed=[0, 0])
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))

    def work() -> int:
        multiply().numpy()
        return 2 * size**3

    return median_rates({'': work})[''] / 1e9


def _extraction(
    data: Data, network: Backbone, config: BackboneConfig, work: str, most: int
) -> Work:
    """Pictures to cached features, into a fresh cache each time."""
    records = data.records
    if most:
        some = tempfile.mkdtemp(dir=work)
        for label in range(2):
            folder = os.path.join(some, 'pictures', f'class_{label}')
            os.makedirs(folder)
            for path in data.paths[label : 2 * (most // 2) : 2]:
                shutil.copy(path, folder)
        few = Data(some, images=os.path.join(some, 'pictures'))
        records = few.records

    def extract() -> int:
        cache = ExtractionConfig(bottleneck_dir=tempfile.mkdtemp(dir=work))
        splits = Extraction(records, network, cache, config.xla).features()
        return sum(map(len, splits.values()))

    return extract


def _bare_loop(split: SplitFeatures, classes: int, steps: int) -> Work:
    """The same steps on the same draws, without evaluation, without summaries."""
    import tensorflow as tf

    from poets_tfr.training import head as heads
    from poets_tfr.training import objective, optimizers
    from poets_tfr.training.sampling import TRAIN_STREAM, Sampler

    sgd = optimizers.of(HeadConfig())
    objective_of = objective.of(HeadConfig(), split.labels, classes)
    sampler = Sampler.of(split.labels, classes, 100, 'class_uniform', 0, TRAIN_STREAM)
    values, labels = tf.constant(split.features), tf.constant(split.labels)

    def body(i: Any, weights: Any, biases: Any) -> Any:
        rows = sampler.draw(i)
        batch = tf.gather(values, rows), tf.gather(labels, rows)
        trained = sgd.step(i, heads.Head(weights, biases), (), objective_of(batch)).head
        return i + 1, *trained

    @tf.function(autograph=False)
    def run() -> Any:
        start = heads.init(split.features.shape[1], classes, 0)
        return tf.while_loop(lambda i, *_: i < steps, body, (0, *start), parallel_iterations=1)

    def work() -> int:
        run()[1].numpy()
        return steps

    return work


def _file_reading_rate(split: SplitFeatures, classes: int, work: str) -> float:
    paths = []
    for row in range(300):
        path = os.path.join(work, f'{row}.txt')
        with open(path, 'w', encoding='ascii') as text:
            text.write(','.join(map(str, split.features[row])))
        paths.append(path)
    width = split.features.shape[1]
    return _steps_rate(FileReadingHead(paths, split.labels[:300].tolist(), classes, width))


def _steps_rate(reader: FileReadingHead) -> float:
    def work() -> int:
        for _ in range(10):
            reader.step()
        return 10

    return median_rates({'': work}, 3)['']


def _run_job(data: Data, work: str) -> tuple[float, dict[str, float]]:
    """Seconds of tools/retrain.py, start-up included, and of each of its stages."""
    start = time.perf_counter()
    subprocess.run(_job_command(data, work), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    report = files.read_json(os.path.join(work, 'summaries_dir', 'report.json'))
    return seconds, report['timings']


def _job_peak_mb(data: Data, work: str) -> float:
    """The most memory that tools/retrain.py holds with its features left on disk."""
    command = [*_job_command(data, work), '--features_in_memory=off']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return usage.ru_maxrss / 1024


def _job_command(data: Data, work: str) -> list[str]:
    config = data.mobilenet_config()
    command = [sys.executable, '-m', 'poets_tfr.cli.retrain', f'--image_dir={data.image_dir}']
    if data.models:
        command += [f'--architecture={config.architecture}', f'--model_dir={config.model_dir}']
    else:
        command += [f'--tfhub_module={config.tfhub_module}']
    places = (
        'records_dir', 'bottleneck_dir', 'summaries_dir', 'checkpoint_path', 'output_graph',
        'output_labels',
    )  # fmt: skip
    return command + [f'--{place}={os.path.join(work, place)}' for place in places]


def _head_seconds(data: Data, network: Backbone) -> float:
    cache = ExtractionConfig(bottleneck_dir=os.path.join(data.work_dir, 'bottlenecks'))
    splits = Extraction(data.records, network, cache).features()
    start = time.perf_counter()
    for _ in loop.train(splits, len(data.records.labels), HeadConfig()):
        pass
    return time.perf_counter() - start
