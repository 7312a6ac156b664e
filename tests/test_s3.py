"""Records and pictures on s3://, against a real S3 server on this machine.

This process itself never opens s3://, for tensorflow-io may abort the process that did.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import colours
import graphs
import pytest
import tensorflow as tf
from command_line import ROOT, Ended, Places, call, start
from conversion import contents

# 0.37.1, the newest, loads beside TensorFlow 2.16 only.
HAS_TENSORFLOW_IO = bool(importlib.util.find_spec('tensorflow_io')) and '2.16.' in tf.__version__
needs_s3 = pytest.mark.skipif(not HAS_TENSORFLOW_IO, reason='s3:// needs tensorflow-io')

BUCKET = 's3://bucket'
# Four shards, of which some stay empty: a file store makes nothing of a file without a byte.
SETTINGS = '--dataset_name=colours', '--num_shards=4'


class Server:
    """What the tests ask of the server themselves, in plain HTTP."""

    def __init__(self, url: str):
        self._url = url

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        headers = {'Content-Type': 'application/octet-stream', 'Authorization': 'AWS any:any'}
        request = urllib.request.Request(f'{self._url}/{path}', content, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def make_bucket(self) -> None:
        self._ask('PUT', 'bucket')

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.glob('*/*')):
            key = f'{prefix}/{path.parent.name}/{path.name}'.replace(' ', '%20')
            self._ask('PUT', f'bucket/{key}', path.read_bytes())

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Every object that a reader of records_dir sees."""
        listed = self._ask('GET', f'bucket?list-type=2&prefix={prefix}/').decode()
        keys = [key.removeprefix(f'{prefix}/') for key in re.findall('<Key>(.*?)</Key>', listed)]
        return {key: self._ask('GET', f'bucket/{prefix}/{key}') for key in keys if key[0] != '.'}


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp('s3') / 'log'
    command = [sys.executable, '-m', 'moto.server', '--host', '127.0.0.1', '--port', '0']
    with log.open('wb') as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r'http://127\.0\.0\.1:\d+', log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        environment = {
            'S3_ENDPOINT': found[0],
            'AWS_REGION': 'us-east-1',
            'AWS_ACCESS_KEY_ID': 'any',
            'AWS_SECRET_ACCESS_KEY': 'any',
        }
        with pytest.MonkeyPatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            one = Server(found[0])
            one.make_bucket()
            yield one
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope='module')
def image_dir(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """Below `BUCKET`/pictures too; a picture is bad."""
    directory = colours.write(tmp_path_factory.mktemp('s3') / 'pictures', per_class=12)
    (directory / 'bluebells' / 'bad.jpg').write_bytes(b'\xff\xd8\xff half')
    server.put_folder(directory, 'pictures')
    return directory


@pytest.fixture(scope='module')
def wanted(tmp_path_factory: pytest.TempPathFactory, image_dir: Path) -> dict[str, bytes]:
    """What a conversion from one local folder to another makes."""
    records_dir = tmp_path_factory.mktemp('local')
    arguments = f'--image_dir={image_dir}', f'--records_dir={records_dir}', *SETTINGS
    assert call('convert_images', *arguments).status == 0
    assert b'' in contents(records_dir).values(), 'no shard is empty'
    return contents(records_dir)


def convert(image_dir: Path | str, records_dir: Path | str, *more: str) -> Ended:
    tool = ROOT / 'tools/convert_images.py'
    return start(tool, f'--image_dir={image_dir}', f'--records_dir={records_dir}', *SETTINGS, *more)


@needs_s3
@pytest.mark.slow
def test_records_go_to_s3(server: Server, image_dir: Path, wanted: dict[str, bytes]) -> None:
    for outcome in 'Found 37 files', 'are up to date':
        ended = convert(image_dir, f'{BUCKET}/records')
        assert ended.status == 0, ended.err
        assert outcome in ended.out
        assert server.contents('records') == wanted


@needs_s3
@pytest.mark.slow
def test_pictures_come_from_s3(
    tmp_path: Path, server: Server, image_dir: Path, wanted: dict[str, bytes]
) -> None:
    assert convert(f'{BUCKET}/pictures', tmp_path).status == 0
    assert contents(tmp_path) == wanted
    assert convert(f'{BUCKET}/pictures', f'{BUCKET}/from_s3').status == 0
    assert server.contents('from_s3') == wanted


@needs_s3
@pytest.mark.slow
def test_training_from_records_on_s3(tmp_path: Path, server: Server, image_dir: Path) -> None:
    (tmp_path / 'models').mkdir()
    graphs.write_mobilenet(tmp_path / 'models')
    places = Places(tmp_path)
    ended = start(
        ROOT / 'tools/retrain.py',
        f'--image_dir={image_dir}',
        f'--architecture={graphs.MOBILENET}',
        f'--model_dir={tmp_path / "models"}',
        '--how_many_training_steps=100',
        *places.flags(),
        f'--records_dir={BUCKET}/trained',  # the last one counts
        f'--bottleneck_dir={BUCKET}/bottlenecks',
    )
    assert ended.status == 0, ended.err
    assert 'Final test accuracy = 100.0%' in ended.out
    assert places.labels.read_text().split('\n') == [*colours.LABELS, '']

    # Whatever is on s3:// stands, and the same accuracy comes from the records alone.
    again = start(
        ROOT / 'tools/retrain.py',
        f'--architecture={graphs.MOBILENET}',
        f'--model_dir={tmp_path / "models"}',
        '--how_many_training_steps=100',
        *places.flags(),
        f'--records_dir={BUCKET}/trained',
        f'--bottleneck_dir={BUCKET}/bottlenecks',
    )
    assert again.status == 0, again.err
    assert 'Final test accuracy = 100.0%' in again.out
    assert 'Creating' not in again.out, 'the features stand'


@needs_s3
@pytest.mark.slow
@pytest.mark.parametrize(
    ('image_dir_on_s3', 'flag', 'message'),
    [
        ('pictures', '--on_bad_image=fail', 'bluebells/bad.jpg'),
        ('no_such', '--on_bad_image=skip', "'s3://bucket/no_such' not found (looked at s3://"),
    ],
)
def test_an_error_is_one_line_and_status_1(
    server: Server, image_dir: Path, image_dir_on_s3: str, flag: str, message: str
) -> None:
    ended = convert(f'{BUCKET}/{image_dir_on_s3}', f'{BUCKET}/failed', flag)
    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith('convert_images.py: error: ')
    assert message in ended.err.splitlines()[-1]
    assert 'Traceback' not in ended.err
    assert server.contents('failed') == {}


@needs_s3
@pytest.mark.slow
@pytest.mark.parametrize(('sent', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_has_its_status(
    server: Server, image_dir: Path, sent: signal.Signals, status: int
) -> None:
    command = [sys.executable, 'tools/convert_images.py', f'--image_dir={BUCKET}/pictures']
    command += [f'--records_dir={BUCKET}/stopped_{status}', *SETTINGS]
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert any(b'Converting' in line for line in process.stdout)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status, err.decode()
    assert b'pure virtual' not in err
    assert server.contents(f'stopped_{status}') == {}


@pytest.mark.skipif(HAS_TENSORFLOW_IO, reason='tensorflow-io is here, and serves s3://')
@pytest.mark.parametrize('flag', ['image_dir', 'records_dir'])
def test_without_tensorflow_io_s3_is_refused_in_one_line(
    tmp_path: Path, colours_dir: Path, flag: str
) -> None:
    places = {'image_dir': str(colours_dir), 'records_dir': str(tmp_path), flag: f'{BUCKET}/x'}
    ended = call('convert_images', *(f'--{name}={path}' for name, path in places.items()))
    assert ended.status == 1
    assert ended.err.startswith(f'convert_images.py: error: {BUCKET}/x')
    assert 'need tensorflow-io' in ended.err
    assert len(ended.err.splitlines()) == 1
