"""Downloads, against a real server on this machine that can also fail in the ways servers fail."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import re
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poets_tfr import downloads
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError

CONTENT = bytes(range(256)) * 4000  # larger than a block of the download
SHA256 = f'sha256:{hashlib.sha256(CONTENT).hexdigest()}'

Answer = Callable[[http.server.BaseHTTPRequestHandler], object]


class Server:
    """Gives the answers of `answers` one after another; the last of them again and again."""

    def __init__(self, port: int):
        self.url = f'http://127.0.0.1:{port}'
        self.answers: list[Answer] = []
        self.requests: list[str] = []

    def download(self, digest: str = SHA256) -> downloads.Download:
        return downloads.Download(f'{self.url}/models/weights.bin', digest)


def content(body: bytes = CONTENT, announced: int | None = None) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header('Content-Length', str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def broken_chunk(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Without a length, in chunks, of which the last never comes."""
    handler.send_response(200)
    handler.send_header('Transfer-Encoding', 'chunked')
    handler.end_headers()
    handler.wfile.write(b'1000\r\n' + CONTENT[:100])


def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def gibberish(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b'this is no HTTP\r\n\r\n')


def raw(*lines: bytes) -> Answer:
    return lambda handler: handler.wfile.write(b'\r\n'.join([*lines, b'', b'']))


def dripping(beginning: bytes) -> Answer:
    """Sends the beginning, and then a byte now and then for as long as somebody listens."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(beginning)
        with contextlib.suppress(OSError):
            while not threading.Event().wait(0.01):
                handler.wfile.write(b'1')

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self) -> None:
            self.close_connection = True
            served.requests.append(self.path)
            place = min(len(served.requests), len(served.answers)) - 1
            served.answers[place](self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        served = Server(running.server_address[1])
        thread = threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield served
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, noted instead of slept."""
    pauses: list[float] = []
    monkeypatch.setattr(time, 'sleep', pauses.append)
    return pauses


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.answers = [content()]
    path = downloads.fetch(server.download(), str(tmp_path / 'new/folder'))
    assert path == str(tmp_path / 'new/folder/weights.bin')
    assert Path(path).read_bytes() == CONTENT
    assert os.listdir(tmp_path / 'new/folder') == ['weights.bin']
    assert downloads.fetch(server.download(), str(tmp_path / 'new/folder')) == path
    assert server.requests == ['/models/weights.bin']


def test_md5_as_keras_publishes_it(server: Server, tmp_path: Path) -> None:
    server.answers = [content()]
    digest = f'md5:{hashlib.md5(CONTENT).hexdigest()}'
    assert downloads.fetch(server.download(digest), str(tmp_path))


def test_another_file_than_the_published_one_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.answers = [content(b'<html>Please log in</html>')]
    with pytest.raises(InputError, match='another file than the published one: its sha256 is '):
        downloads.fetch(server.download(), str(tmp_path))
    assert not list(tmp_path.iterdir())
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    'failure',
    [
        content(CONTENT[:-1], announced=len(CONTENT)),
        content(b'', announced=len(CONTENT)),
        status(500),
        status(503),
        broken_chunk,
        hang_up,
        gibberish,
    ],
    ids=['short', 'empty', '500', '503', 'broken chunk', 'hang-up', 'gibberish'],
)
def test_what_may_pass_is_tried_again(
    server: Server, tmp_path: Path, slept: list[float], failure: Answer
) -> None:
    server.answers = [failure, failure, content()]
    path = downloads.fetch(server.download(), str(tmp_path))
    assert Path(path).read_bytes() == CONTENT
    assert len(server.requests) == 3
    assert slept == [1, 2]
    assert os.listdir(tmp_path) == ['weights.bin']


def test_what_does_not_pass_ends_with_what_to_do(server: Server, tmp_path: Path) -> None:
    server.answers = [status(500)]
    with pytest.raises(InputError) as raised:
        downloads.fetch(server.download(), str(tmp_path))
    assert len(server.requests) == 3
    assert f'{server.url}/models/weights.bin' in str(raised.value)
    assert f'put it at {tmp_path}/weights.bin' in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.answers = [status(404)]
    with pytest.raises(InputError, match='Could not download'):
        downloads.fetch(server.download(), str(tmp_path))
    assert len(server.requests) == 1


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative model_dir is shown in full, so that the file gets to the right place."""
    monkeypatch.chdir(tmp_path)
    url = 'http://127.0.0.1:1/weights.bin'  # nobody listens at port 1
    with pytest.raises(InputError) as raised:
        downloads.fetch(downloads.Download(url, SHA256), 'models')
    assert url in str(raised.value)
    assert str(tmp_path / 'models/weights.bin') in str(raised.value)


STARTED = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n'


@pytest.mark.parametrize(
    'beginning',
    [
        b'HTTP/1.1 ',
        STARTED,
        STARTED + b'\r\n',
        STARTED + b'\r\n' + bytes(500_000),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ids=['first line', 'headers', 'content', 'rest', 'chunks'],
)
def test_a_server_that_drips_does_not_hold_the_run(
    server: Server, tmp_path: Path, beginning: bytes
) -> None:
    server.answers = [dripping(beginning)]
    with pytest.raises(InputError, match='under 1,000 bytes/s for 0.3 s') as raised:
        downloads.fetch(server.download(), str(tmp_path), patience=0.3)
    assert f'{server.url}/models/weights.bin' in str(raised.value)
    assert f'put it at {tmp_path}/weights.bin' in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'answer',
    [
        raw(b'HTTP/1.1 404 Not\x1b[2J found'),
        raw(b'HTTP/1.1 302 Found', b'Location: evil://\x1b]0;title\x07'),
        raw(b'HTTP/1.1 302 Found', b'Location: http://['),
        raw(b'HTTP/1.1 \x1b[2J OK'),
    ],
    ids=['reason', 'location', 'no location', 'status'],
)
def test_what_a_server_says_does_not_reach_the_terminal_as_it_is(
    server: Server, tmp_path: Path, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [answer]
    with caplog.at_level('INFO', 'poets_tfr'), pytest.raises(InputError) as raised:
        downloads.fetch(server.download(), str(tmp_path))
    assert 'Download failed' in caplog.text
    assert all(c.isprintable() or c == '\n' for c in caplog.text + str(raised.value))


@pytest.mark.parametrize('length', [b'abc', b'-5', b'9' * 5000, '٣'.encode()])
def test_a_length_that_is_none(server: Server, tmp_path: Path, length: bytes) -> None:
    answer = raw(b'HTTP/1.1 200 OK', b'Content-Length: ' + length, b'', CONTENT)
    server.answers = [answer]
    digest = f'sha256:{hashlib.sha256(CONTENT + bytes([13, 10] * 2)).hexdigest()}'
    assert downloads.fetch(server.download(digest), str(tmp_path))


def test_a_file_put_there_by_hand_is_used_and_checked(server: Server, tmp_path: Path) -> None:
    path = tmp_path / 'weights.bin'
    path.write_bytes(CONTENT)
    assert downloads.fetch(server.download(), str(tmp_path)) == str(path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=f'{path} is not the published file.*Delete it'):
        downloads.fetch(server.download(), str(tmp_path))
    assert path.read_bytes() == CONTENT[:-1], 'it may be dear to somebody'
    assert not server.requests


def test_the_offline_message_reaches_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog's own URL through check_available, without a network."""
    from poets_tfr.backbones import frozen

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError('[Errno -2] Name or service not known')

    monkeypatch.setattr(urllib.request.OpenerDirector, 'open', refuse)
    config = BackboneConfig(architecture='mobilenet_1.0_224', model_dir=str(tmp_path))
    with pytest.raises(InputError) as raised:
        frozen.check_available(config)
    message = str(raised.value)
    assert 'https://download.tensorflow.org/models/mobilenet_v1_1.0_224_frozen.tgz' in message
    assert str(tmp_path / 'mobilenet_v1_1.0_224_frozen.tgz') in message


# Archives


def archive_of(path: Path, *members: tuple[str, bytes | str]) -> bytes:
    """A .tgz of files (bytes) and links (str, the target), under any name whatever."""
    with tarfile.open(path, 'w:gz') as archive:
        for name, what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what, str):
                info.type, info.linkname = tarfile.SYMTYPE, what
                archive.addfile(info)
            else:
                info.size = len(what)
                archive.addfile(info, io.BytesIO(what))
    return path.read_bytes()


HOSTILE: list[tuple[str, bytes | str]] = [
    ('../outside', b'x'),
    ('/tmp/poets_tfr_outside', b'x'),
    ('way_out', '..'),
    ('way_out/outside', b'x'),
]


def test_reading_a_member_unpacks_nothing(tmp_path: Path) -> None:
    archive = tmp_path / 'models/a.tgz'
    archive.parent.mkdir()
    archive_of(archive, *HOSTILE, ('./folder/graph.pb', b'graph'), ('link.pb', 'folder/graph.pb'))
    assert downloads.read_member(str(archive), 'folder/graph.pb') == b'graph'
    with pytest.raises(InputError, match='holds no link.pb'):
        downloads.read_member(str(archive), 'link.pb')
    assert os.listdir(tmp_path) == ['models']
    assert os.listdir(archive.parent) == ['a.tgz']


@pytest.mark.parametrize('damage', [b'', b'no archive', None])
def test_a_damaged_archive_is_named(tmp_path: Path, damage: bytes | None) -> None:
    archive = tmp_path / 'a.tgz'
    whole = archive_of(archive, ('graph.pb', os.urandom(5000)))
    archive.write_bytes(whole[:-1000] if damage is None else damage)
    with pytest.raises(InputError, match=f'{archive} is damaged.*delete it'):
        downloads.read_member(str(archive), 'graph.pb')


def test_a_module_is_fetched_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    import numpy as np
    import tensorflow as tf

    from poets_tfr.backbones import frozen

    module = tf.Module()
    images = tf.TensorSpec([None, 16, 16, 3], tf.float32, name='images')
    module.signature = tf.function(lambda images: {'v': tf.reduce_mean(images, [1, 2])}, [images])
    saved = tmp_path / 'saved'
    tf.saved_model.save(module, str(saved), signatures={'serving_default': module.signature})
    with tarfile.open(tmp_path / 'module.tgz', 'w:gz') as archive:
        archive.add(saved, '.')
    server.answers = [content((tmp_path / 'module.tgz').read_bytes())]
    url = f'{server.url}/google/module/1'
    config = BackboneConfig(tfhub_module=url, model_dir=str(tmp_path / 'models'))
    frozen.check_available(config)
    backbone = frozen.load(config)
    assert backbone.feature_width == 3
    assert re.fullmatch(r'module-[0-9a-f]{16}', backbone.name)
    assert server.requests == ['/google/module/1?tf-hub-format=compressed']
    names = os.listdir(tmp_path / 'models')
    assert sorted(names) == [backbone.name, f'{backbone.name}.tgz']
    assert np.isfinite(len(backbone.graph_def.node))


@pytest.mark.parametrize('member', HOSTILE[:3], ids=['..', 'absolute', 'link'])
def test_a_hostile_module_does_nothing(
    server: Server, tmp_path: Path, member: tuple[str, bytes | str]
) -> None:
    body = archive_of(tmp_path / 'a.tgz', ('saved_model.pb', b''), member)
    server.answers = [content(body)]
    models = tmp_path / 'models'
    outside = Path('/tmp/poets_tfr_outside')
    with contextlib.suppress(InputError):  # or it is unpacked inside, without its leading /
        downloads.fetch_module(server.url, str(models))
    assert sorted(os.listdir(tmp_path)) == ['a.tgz', 'models']
    assert not outside.exists()
    assert not (models / 'outside').exists()


def header(kind: bytes, size: int, name: str = 'saved_model.pb') -> bytes:
    """The 512 bytes that begin a member of an archive; its content may never come."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


BOMBS = {
    'large': header(tarfile.REGTYPE, 3 << 30),
    'long header': header(tarfile.XHDTYPE, 3 << 30),
}


@pytest.mark.parametrize('bomb', BOMBS.values(), ids=BOMBS)
def test_an_archive_that_is_more_than_it_looks_is_given_up(
    server: Server, tmp_path: Path, bomb: bytes
) -> None:
    packed = gzip.compress(bomb, 1)
    assert len(packed) < 2 << 20
    server.answers = [content(packed)]
    with pytest.raises(InputError, match='more than 256 MiB') as raised:
        downloads.fetch_module(server.url, str(tmp_path / 'models'))
    assert f'tfhub_module={server.url}: {tmp_path}/models/module-' in str(raised.value)
    assert 'Nothing was kept' in str(raised.value)
    assert not list((tmp_path / 'models').iterdir())
    (tmp_path / 'a.tgz').write_bytes(packed)
    with pytest.raises(InputError, match='more than 256 MiB'):
        downloads.read_member(str(tmp_path / 'a.tgz'), 'graph.pb')


def test_an_archive_of_too_many_files(tmp_path: Path) -> None:
    (tmp_path / 'a.tgz').write_bytes(gzip.compress(header(tarfile.REGTYPE, 0) * 20_001, 1))
    with pytest.raises(InputError, match='more than 20,000 files'):
        downloads.read_member(str(tmp_path / 'a.tgz'), 'graph.pb')


def test_a_refused_archive_that_was_put_there_by_hand_stays(server: Server, tmp_path: Path) -> None:
    server.answers = [content(b'<html>Please log in</html>')]
    with pytest.raises(InputError, match='Not a gzipped file.*Nothing was kept') as raised:
        downloads.fetch_module(server.url, str(tmp_path))
    match = re.search(r'module-[0-9a-f]+\.tgz', str(raised.value))
    assert match
    by_hand = tmp_path / match[0]
    archive_of(by_hand, ('saved_model.pb', b''), ('../\x1b[2J', b''))
    with pytest.raises(InputError, match=r'outside.*Delete it and run again') as raised:
        downloads.fetch_module(server.url, str(tmp_path))
    assert str(raised.value).isprintable()
    assert list(tmp_path.iterdir()) == [by_hand]


def test_an_archive_without_a_module(server: Server, tmp_path: Path) -> None:
    server.answers = [content(archive_of(tmp_path / 'a.tgz', ('readme', b'hello')))]
    models = tmp_path / 'models'
    for _ in range(2):
        with pytest.raises(InputError, match=f'tfhub_module={server.url}.* no saved_model.pb'):
            downloads.fetch_module(server.url, str(models))
        assert not list(models.iterdir())
    assert len(server.requests) == 2
    archive_of(tmp_path / 'a.tgz', ('saved_model.pb', b''))
    server.answers = [content((tmp_path / 'a.tgz').read_bytes())]
    folder = Path(downloads.fetch_module(server.url, str(models)))
    (folder / 'saved_model.pb').unlink()
    with pytest.raises(InputError, match=f'{folder} holds no saved_model.pb. Delete it'):
        downloads.fetch_module(server.url, str(models))
