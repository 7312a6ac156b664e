"""poets-serve over HTTP and in a real browser, as a process of its own."""

from __future__ import annotations

import collections
import contextlib
import csv
import http.client
import io
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser as browsers
import colours
import numpy as np
import pytest
from command_line import ROOT, Ended, Places, call, page_of, start

from poets_tfr import tables
from poets_tfr.label import provenance, serve
from poets_tfr.label.labeller import Labelled, Labeller
from poets_tfr.label.provenance import Accuracy, Provenance
from poets_tfr.label.settings import ServeConfig
from poets_tfr.reporting.metrics import wilson_interval
from poets_tfr.serving import Server, listen
from poets_tfr.sources import headers


@pytest.fixture(scope='module')
def port(trained: tuple[Places, Ended]) -> Iterator[int]:
    with page_of(
        'serve', f'--graph={trained[0].graph}', '--max_upload_mib=1', '--min_score=0.1'
    ) as number:
        yield number


def ask(
    port: int, method: str, path: str, body: bytes = b'', sent: dict[str, Any] | None = None
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body or None, sent or {})
        response = connection.getresponse()
        content = response.read()
        is_json = response.headers['Content-Type'] == 'application/json'
        value = json.loads(content) if is_json else content.decode()
        return response.status, value, dict(response.headers)


def picture(folder: str, seed: int = 0, picture_format: str = 'JPEG') -> bytes:
    pixels = colours.draw(folder, np.random.default_rng(seed))
    return colours.encoded(pixels, picture_format)


@pytest.mark.parametrize('picture_format', ['JPEG', 'PNG', 'BMP'])
def test_scripts_post_bytes(port: int, trained: tuple[Places, Ended], picture_format: str) -> None:
    content = picture('Red_Roses', picture_format=picture_format)
    status, answer, _ = ask(port, 'POST', '/label', content)
    assert status == 200
    labeller = Labeller(str(trained[0].graph))
    wanted = labeller.best_first(labeller.scores(content))
    assert (answer['label'], answer['unsure']) == ('red roses', False)
    assert answer['score'] == pytest.approx(wanted[0][1], abs=1e-5)
    assert [line['label'] for line in answer['labels']] == [x for x, score in wanted if score > 0.1]


def test_what_is_served(port: int) -> None:
    status, page, headers = ask(port, 'GET', '/')
    assert status == 200
    assert '<title>What is in the image?</title>' in page
    assert "default-src 'none'" in headers['Content-Security-Policy']
    for name in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert ask(port, 'GET', f'/{name}')[0] == 200, name
    script = ask(port, 'GET', '/page.js')[1]
    assert not re.search(
        r'https?:|innerHTML|insertAdjacentHTML|document\.write|eval', page + script
    )
    status, model, _ = ask(port, 'GET', '/model')
    assert (status, model['labels']) == (200, colours.LABELS)


@pytest.mark.parametrize(
    ('method', 'path', 'body', 'headers', 'status'),
    [
        ('POST', '/label', b'no image', {}, 415),
        ('POST', '/label', picture('bluebells')[:-200], {}, 415),
        ('POST', '/label', b'', {'Content-Length': '0'}, 415),
        (
            'POST',
            '/label',
            picture('bluebells'),
            {'Content-Type': 'multipart/form-data; boundary=x'},
            415,
        ),
        ('POST', '/label', b'', {'Transfer-Encoding': 'chunked'}, 411),
        ('POST', '/label', bytes((1 << 20) + 1), {}, 413),
        ('POST', '/label', b'', {'Content-Length': '-5'}, 411),
        ('POST', '/label', b'', {'Content-Length': 'abc'}, 411),
        ('POST', '/label', b'', {'Content-Length': '٣'.encode()}, 411),
        ('POST', '/label', b'', {'Content-Length': '9' * 5000}, 413),
        ('POST', '/', b'x', {}, 405),
        ('GET', '/label', b'', {}, 405),
        ('GET', '/../setup.cfg', b'', {}, 404),
        ('GET', '/page.css/../../labeller.py', b'', {}, 404),
        ('GET', '/', b'', {'Host': 'evil.example'}, 403),
        ('GET', '/model', b'', {'Host': 'evil.example:80'}, 403),
        ('POST', '/label', picture('bluebells'), {'Host': 'evil.example'}, 403),
        ('POST', '/label', picture('bluebells'), {'Origin': 'http://evil.example'}, 403),
        ('POST', '/label', picture('bluebells'), {'Origin': 'null'}, 403),
        ('POST', '/label', picture('bluebells'), {'Origin': 'http://['}, 403),
        ('GET', '/', b'', {'Host': '['}, 403),
        ('GET', '/', b'', {'Host': 'localhost['}, 403),
        ('GET', '/', b'', {'Host': ''}, 403),
        ('GET', '/', b'', {'Host': 'localhost:99'}, 200),
        ('GET', '/', b'', {'Host': '[::1]:99'}, 200),
        ('DELETE', '/', b'', {}, 405),
        ('PUT', '/label', picture('bluebells'), {}, 405),
    ],
)
def test_what_is_refused(
    port: int, method: str, path: str, body: bytes, headers: dict[str, Any], status: int
) -> None:
    found, answer, _ = ask(port, method, path, body, headers)
    assert found == status, answer
    if status != 200:
        assert list(answer) == ['error']
    assert ask(port, 'POST', '/label', picture('bluebells'))[1]['label'] == 'bluebells'


def test_the_address_is_taken(port: int) -> None:
    ended = call('serve', '--graph=nowhere.pb', f'--port={port}')  # the port is looked at first
    assert ended.status == 1
    assert ended.err.startswith(f'serve.py: error: --host=127.0.0.1 --port={port}: ')
    assert 'Another --port' in ended.err


@pytest.mark.parametrize('host', ['nosuchhost.invalid', '192.0.2.1', 'two..dots'])
def test_a_host_that_is_none_of_this_computer(trained: tuple[Places, Ended], host: str) -> None:
    program = f"""
import sys
from poets_tfr.cli import serve
status = serve.main(['serve.py', '--host={host}', '--graph={trained[0].graph}'])
print(status, 'tensorflow' in sys.modules)
"""
    ended = start('-c', program)
    assert ended.out == '1 False\n'
    assert ended.err.startswith(f'serve.py: error: --host={host}: ')
    assert '127.0.0.1' in ended.err
    assert '--port' not in ended.err


DESKTOP = {'DISPLAY': ':99'}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('flags', 'environment', 'make_output', 'opened'),
    [
        ([], DESKTOP, os.openpty, True),
        ([], {'WAYLAND_DISPLAY': 'wayland-0'}, os.openpty, True),
        (['--noopen'], DESKTOP, os.openpty, False),
        ([], {}, os.openpty, False),
        ([], {**DESKTOP, 'SSH_CONNECTION': '192.0.2.1 5 192.0.2.2 22'}, os.openpty, False),
        ([], DESKTOP, os.pipe, False),
    ],
)
def test_the_browser_is_opened_from_a_terminal_on_a_desktop(
    trained: tuple[Places, Ended],
    tmp_path: Path,
    flags: list[str],
    environment: dict[str, str],
    make_output: Callable[[], tuple[int, int]],
    opened: bool,
) -> None:
    flags = [f'--graph={trained[0].graph}', *flags]
    patience = 60 if opened else 0.5
    said, status, urls = run_until_opened(tmp_path, flags, environment, make_output(), patience)
    (url,) = re.findall(r'Open (http://127\.0\.0\.1:\d+/) in the browser', said)
    assert (urls, status) == ([url] if opened else [], 0)


def run_until_opened(
    folder: Path,
    flags: list[str],
    environment: dict[str, str],
    output: tuple[int, int],
    patience: float,
) -> tuple[str, int, list[str]]:
    """Starts the server; what it said, its status after ^C, and what a browser was asked for.

    output: where its output is read, and where it is written. patience: seconds for the browser.
    """
    urls, browser = folder / 'urls', folder / 'browser'
    os.mkfifo(urls)
    browser.write_text(f'#!/bin/sh\necho "$1" > {urls}\n')
    browser.chmod(0o755)
    inherited = {k: v for k, v in os.environ.items() if 'DISPLAY' not in k and 'SSH' not in k}
    asked = os.open(urls, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, ROOT / 'tools/serve.py', '--port=0', *flags],
        stdout=output[1],
        stderr=subprocess.DEVNULL,
        env={**inherited, **environment, 'BROWSER': f'{browser} %s'},
    )
    os.close(output[1])
    try:
        said = os.read(output[0], 4096).decode()
        select.select([asked], [], [], patience)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
        found = os.read(asked, 4096).decode().split()
        os.close(asked)
        os.close(output[0])
    return said, status, found


def test_no_graph() -> None:
    ended = call('serve', '--graph=nowhere.pb', '--port=0')
    assert (ended.status, ended.out) == (1, '')
    assert 'nowhere.pb not found' in ended.err


@contextlib.contextmanager
def serving(labeller: Labeller, patience: float, connect: int = 1) -> Iterator[list[socket.socket]]:
    """Connections that were made before anything was served; in this process."""
    config = ServeConfig(port=0, max_upload_mib=200)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(listen(config))
        address = listening.getsockname()
        connections = [
            stack.enter_context(socket.create_connection(address, 60)) for _ in range(connect)
        ]
        application = serve.Application(labeller, 'graph', config)
        server = stack.enter_context(Server(listening, config.host, application, patience))
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield connections


def answer_of(connection: socket.socket) -> tuple[int, Any]:
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        return response.status, json.loads(response.read())


@pytest.fixture(scope='module')
def labeller(trained: tuple[Places, Ended]) -> Labeller:
    return Labeller(str(trained[0].graph))


def test_two_hundred_connect_at_once(labeller: Labeller) -> None:
    with serving(labeller, 60, connect=200) as connections:
        for connection in connections:
            connection.sendall(b'GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n')
        answers = [answer_of(connection) for connection in connections]
    model = {'graph': 'graph', 'labels': colours.LABELS, 'min_score': 0.0}
    model |= {'made': '', 'tested': None}
    assert answers == [(200, model)] * 200


def post(length: int, content: bytes = b'') -> bytes:
    lines = f'POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n'
    return lines.encode() + content


def test_what_is_announced_and_not_sent_is_not_waited_for(labeller: Labeller) -> None:
    with serving(labeller, 600) as (connection,):
        connection.sendall(post(300 << 20))
        assert answer_of(connection) == (413, {'error': 'Over 200 MiB.'})
    for dripping in False, True:
        with serving(labeller, 0.2) as (connection,):
            connection.sendall(post(100 << 20, b'some of it'))
            while not select.select([connection], [], [], 0.01 if dripping else 60)[0]:
                connection.send(b'0')
            status, answer = answer_of(connection)
        assert (status, list(answer)) == (408, ['error'])
        assert 'It came too slowly' in answer['error']


@pytest.mark.parametrize('beginning', [b'', b'GET', b'GET / HTTP/1.1\r\nHost: local'])
def test_who_asks_for_nothing_is_not_waited_for(labeller: Labeller, beginning: bytes) -> None:
    with serving(labeller, 0.1) as (connection,):
        connection.sendall(beginning)
        assert connection.recv(1) == b''


def test_what_is_no_request_is_refused_as_json(labeller: Labeller) -> None:
    with serving(labeller, 60) as (connection,):
        connection.sendall(b'GET / \x1b[2J HTTP/1.1\r\n\r\n')
        status, answer = answer_of(connection)
    assert (status, list(answer)) == (400, ['error'])
    assert answer['error'].isprintable()


class Watched(Labeller):
    """Knows how many pictures it had at once; a large one is not ready before a small one is."""

    def __init__(self, graph: str):
        super().__init__(graph)
        self.lock, self.small_is_done = threading.Lock(), threading.Event()
        self.at_work, self.most = collections.Counter[str](), collections.Counter[str]()

    def settled(self, content: bytes) -> Labelled:
        kind = 'small' if headers.read(content).width < 5000 else 'large'
        with self.lock:
            self.at_work[kind] += 1
            self.most |= self.at_work
        try:
            if kind == 'large':
                assert self.small_is_done.wait(60)
            time.sleep(0.02)  # for another to come
            return super().settled(content)
        finally:
            if kind == 'small':
                self.small_is_done.set()
            with self.lock:
                self.at_work[kind] -= 1


def large_picture() -> bytes:
    """A PNG whose header says that it is large; most of its pixels are missing."""
    small = picture('bluebells', picture_format='PNG')
    said = b'IHDR' + (5001).to_bytes(4, 'big') * 2 + small[24:29]
    return small[:12] + said + zlib.crc32(said).to_bytes(4, 'big') + small[33:]


def test_large_pictures_are_labelled_one_at_a_time_and_small_ones_beside_them(
    trained: tuple[Places, Ended],
) -> None:
    watched = Watched(str(trained[0].graph))
    pictures = [large_picture()] * 3 + [picture('bluebells')] * 12
    with serving(watched, 60, connect=len(pictures)) as connections:
        for connection, content in zip(connections, pictures, strict=True):
            connection.sendall(post(len(content), content))
        statuses = [answer_of(connection)[0] for connection in connections]
    assert statuses == [415] * 3 + [200] * 12
    assert watched.most == {'large': 1, 'small': 2}


def report_beside(trained: Places, folder: Path) -> dict[str, Any]:
    """Copies graph and report.json there; gives what the report holds."""
    shutil.copy(trained.graph, folder)
    shutil.copy(trained.summaries / 'report.json', folder)
    value: dict[str, Any] = json.loads((folder / 'report.json').read_bytes())
    return value


def test_the_report_beside_the_graph_says_how_good_it_is(
    trained: tuple[Places, Ended], tmp_path: Path
) -> None:
    value = report_beside(trained[0], tmp_path)
    images = value['test']['pictures']
    value['test']['accuracy'] = (images - 1) / images
    (tmp_path / 'report.json').write_text(json.dumps(value))
    tested = Accuracy((images - 1) / images, images, wilson_interval(images - 1, images))
    graph = tmp_path / 'output_graph.pb'
    assert provenance.of_export(str(graph)) == Provenance(value['finished'], tested)
    del value['test']
    (tmp_path / 'report.json').write_text(json.dumps(value))
    assert provenance.of_export(str(graph)) == Provenance(value['finished'])


def test_exports_without_a_digest_are_known_by_their_place(tmp_path: Path) -> None:
    value = {
        'finished': '2026-01-02T03:04:05+00:00',
        'digests': {},
        'outputs': {'summaries_dir': '/then/3', 'saved_model_dir': '/then/3/saved'},
        'test': {'accuracy': 0.9, 'pictures': 100},
    }
    (tmp_path / 'report.json').write_text(json.dumps(value))
    found = provenance.of_export(f'{tmp_path}/saved/')
    assert found.made == '2026-01-02T03:04:05+00:00'
    assert found.tested
    assert [round(x, 3) for x in found.tested.interval] == [0.826, 0.945]
    assert provenance.of_export(f'{tmp_path}/other') == Provenance()


@pytest.mark.parametrize('damage', ['another graph', 'no report', '[]', '{"digests": {}}', '{'])
def test_a_report_of_something_else_is_not_used(
    trained: tuple[Places, Ended], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    report_beside(trained[0], tmp_path)
    graph, report = tmp_path / 'output_graph.pb', tmp_path / 'report.json'
    if damage == 'another graph':
        graph.write_bytes(graph.read_bytes() + b'\0')
    else:
        report.write_text(damage)
    assert provenance.of_export(str(graph)) == Provenance()
    (warning,) = caplog.messages
    assert warning.startswith(f'{report} is ')
    assert warning.endswith(': not used.')


class Scoring(Labeller):
    """Gives the scores that it is told to."""

    given = np.array([0.5, 0.3, 0.2])

    def settled(self, content: bytes) -> Labelled:
        return Labelled('', self.given)


@pytest.mark.parametrize(
    ('given', 'clear'), [([0.5, 0.3, 0.2], False), ([0.2, 0.6, 0.3], True), ([1, 0, 0], True)]
)
def test_an_image_is_clear_where_the_second_label_has_half_the_score_at_most(
    trained: tuple[Places, Ended], given: list[float], clear: bool
) -> None:
    scoring = Scoring(str(trained[0].graph))
    scoring.given = np.array(given)
    with serving(scoring, 60) as (connection,):
        content = picture('bluebells')
        connection.sendall(post(len(content), content))
        status, answer = answer_of(connection)
    assert (status, answer['clear'], answer['unsure']) == (200, clear, False)
    assert [each['score'] for each in answer['closest']] == sorted(given, reverse=True)[:2]


HOSTILE = '<img src=x onerror="document.title=1">.jpg'


@pytest.mark.slow
def test_in_a_browser(
    browser: Any, port: int, tmp_path: Path, trained: tuple[Places, Ended]
) -> None:
    """Three pictures are chosen, one of them with a hostile name, one no picture."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    (tmp_path / HOSTILE).write_bytes(picture('Red_Roses'))
    (tmp_path / 'blue.png').write_bytes(picture('bluebells', picture_format='PNG'))
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    browsers.complaints(browser)
    browser.get(f'http://127.0.0.1:{port}/')
    WebDriverWait(browser, 20).until(
        lambda page: '3 labels: green grass' in page.find_element(By.ID, 'few').text
    )
    assert browser.find_element(By.ID, 'model').text == str(trained[0].graph)
    assert not browser.find_element(By.ID, 'tested').is_displayed()
    chosen = '\n'.join(str(path) for path in sorted(tmp_path.iterdir()))
    browser.find_element(By.ID, 'files').send_keys(chosen)
    WebDriverWait(browser, 60).until(
        lambda page: len(page.find_elements(By.CSS_SELECTOR, '.done, .failed')) == 3
    )
    cards = {
        card.find_element(By.CLASS_NAME, 'name').text: card
        for card in browser.find_elements(By.TAG_NAME, 'article')
    }
    assert sorted(cards) == sorted([HOSTILE, 'blue.png', 'broken.jpg'])
    assert cards[HOSTILE].find_element(By.TAG_NAME, 'h2').text == 'red roses'
    assert cards['blue.png'].find_element(By.TAG_NAME, 'h2').text == 'bluebells'
    assert 'No image to label' in cards['broken.jpg'].text
    assert not cards['broken.jpg'].find_elements(By.TAG_NAME, 'img')
    assert len(cards['blue.png'].find_elements(By.TAG_NAME, 'img')) == 1
    assert browser.title == 'What is in the image?'
    assert not cards[HOSTILE].find_elements(By.CSS_SELECTOR, 'img[src="x"]')
    (fill,) = cards['blue.png'].find_elements(By.CSS_SELECTOR, 'li:first-child .fill')
    (score,) = cards['blue.png'].find_elements(By.CSS_SELECTOR, 'li:first-child .score')
    WebDriverWait(browser, 10).until(lambda _: _share(fill) > 0.5)
    WebDriverWait(browser, 10).until(
        lambda _: abs(_share(fill) - float(score.text.split()[0]) / 100) < 0.02
    )
    browser.save_screenshot(str(tmp_path / 'page.png'))
    if kept := os.environ.get('POETS_TEST_SCREENSHOTS'):
        shutil.copy(tmp_path / 'page.png', Path(kept) / 'serve.png')
    # A picture that is none is answered with 415, which the browser writes down as an error.
    assert [line for line in browsers.complaints(browser) if '415' not in line] == []


@pytest.mark.slow
def test_the_page_says_which_model_and_where_it_is_not_sure(
    browser: Any, tmp_path: Path, trained: tuple[Places, Ended]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    value = report_beside(trained[0], tmp_path)
    value |= {'finished': '2026-01-02T03:04:05+00:00', 'test': {'accuracy': 0.9, 'pictures': 100}}
    (tmp_path / 'report.json').write_text(json.dumps(value))
    (tmp_path / 'blue.png').write_bytes(picture('bluebells', picture_format='PNG'))
    graph = tmp_path / 'output_graph.pb'
    with page_of('serve', f'--graph={graph}', '--min_score=1') as port:
        browser.get(f'http://127.0.0.1:{port}/')
        browser.find_element(By.ID, 'files').send_keys(str(tmp_path / 'blue.png'))
        WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.CLASS_NAME, 'done'))
        assert browser.find_element(By.TAG_NAME, 'header').text.split('\n')[1:] == [
            f'{graph}, made 2026-01-02',
            'Right for 90.0 % of 100 test images (95 % range: 82.6 to 94.5 %)',
            f'3 labels: {", ".join(colours.LABELS)}',
        ]
        (card,) = browser.find_elements(By.TAG_NAME, 'article')
        assert card.find_element(By.TAG_NAME, 'h2').text == 'Not sure: bluebells?'
        assert len(card.find_elements(By.TAG_NAME, 'li')) == 2
        drop(browser, tmp_path)
        WebDriverWait(browser, 20).until(lambda page: page.find_elements(By.CLASS_NAME, 'failed'))
        said = browser.find_element(By.CSS_SELECTOR, '.failed h2').text
        assert said == 'It cannot be read. Is it a folder?'


@pytest.mark.slow
def test_the_results_are_taken_away_as_csv(
    browser: Any, port: int, tmp_path: Path, trained: tuple[Places, Ended]
) -> None:
    """Names that a spreadsheet would run, or that would add a cell or a line, do not."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    pictures, downloads = tmp_path / 'pictures', tmp_path / 'downloads'
    pictures.mkdir()
    names = [
        '-x.png', '=1+1,"a".png', '@x.png', 'a\u200b\xa0\U000e0001.png', 'b\\c.png', 'blåbær 1.png'
    ]  # fmt: skip
    for name in names:
        (pictures / name).write_bytes(picture('bluebells', picture_format='PNG'))
    (pictures / 'z.png').write_bytes(b'no image')
    command = {'behavior': 'allow', 'downloadPath': str(downloads)}
    browser.execute_cdp_cmd('Browser.setDownloadBehavior', command)
    browser.get(f'http://127.0.0.1:{port}/')
    button = browser.find_element(By.CSS_SELECTOR, '#so_far button')
    assert not button.is_displayed()
    chosen = '\n'.join(str(path) for path in sorted(pictures.iterdir()))
    browser.find_element(By.ID, 'files').send_keys(chosen)
    status = browser.find_element(By.CSS_SELECTOR, '[role=status]')
    WebDriverWait(browser, 60).until(lambda _: status.text == '7 of 7 done, 1 failed')
    button.send_keys('\n')
    table = downloads / 'labels.csv'
    WebDriverWait(browser, 20).until(lambda _: table.exists() and table.stat().st_size)
    labeller = Labeller(str(trained[0].graph))
    scores = labeller.scores(picture('bluebells', picture_format='PNG'))
    (label, score), (second, second_score) = labeller.best_first(scores)[:2]
    header, *rows, failed = csv.reader(io.StringIO(table.read_text('utf-8')))
    assert header == ['file', 'label', 'score', 'second_label', 'second_score', 'sure', 'error']
    assert [row[0] for row in rows] == [
        '\\-x.png', '\\=1+1,"a".png', '\\@x.png', 'a\\u200b\\xa0\\U000e0001.png', 'b\\\\c.png',
        'blåbær 1.png',
    ]  # fmt: skip
    (pictures / 't.tsv').write_bytes(tables.tsv(['file'], [[name] for name in names]))
    assert (pictures / 't.tsv').read_text().split('\n')[1:-1] == [row[0] for row in rows]
    for row in rows:
        assert [row[1], row[3], *row[5:]] == [label, second, 'yes', '']
        assert [float(row[2]), float(row[4])] == pytest.approx([score, second_score], abs=1e-5)
    assert failed[:6] == ['z.png', '', '', '', '', '']
    assert failed[6].startswith('No image to label: ')


@pytest.mark.slow
def test_many_labels_fold_and_two_likely_ones_are_a_question(
    browser: Any, tmp_path: Path, trained: tuple[Places, Ended]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    scoring = Scoring(str(trained[0].graph))
    scoring.labels, scoring.given = list('abcdefghij'), np.array([0.2, 0.3, 0.5, *[0] * 7])
    (tmp_path / 'blue.png').write_bytes(picture('bluebells', picture_format='PNG'))
    with serving(scoring, 60) as (connection,):
        browser.get('http://{}:{}/'.format(*connection.getpeername()))
        browser.find_element(By.ID, 'files').send_keys(str(tmp_path / 'blue.png'))
        WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.CLASS_NAME, 'unsure'))
        assert browser.find_element(By.CSS_SELECTOR, '.unsure h2').text == 'Not sure: c or b?'
        status = browser.find_element(By.CSS_SELECTOR, '[role=status]')
        assert status.text == '1 of 1 done, 1 not sure'
        summary = browser.find_element(By.CSS_SELECTOR, '#many summary')
        assert summary.text == '10 labels: a, b, c, d, e, f, g, h, …'
        summary.send_keys('\n')
        folded = browser.find_element(By.CSS_SELECTOR, '#many p')
        assert folded.text == 'a, b, c, d, e, f, g, h, i, j'


def luminance(colour: str) -> float:
    """As WCAG 2 has it; of #rgb or #rrggbb."""
    digits = ''.join(c * 2 for c in colour[1:]) if len(colour) == 4 else colour[1:]
    shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize('page', ['label', 'review'])
def test_text_has_contrast_on_light_and_dark_pages(page: str) -> None:
    css = (ROOT / f'poets_tfr/{page}/page/page.css').read_text()
    themes = [dict(re.findall(r'--(\w+): (#\w+)', css_of)) for css_of in css.split('@media')[:2]]
    for theme in themes:
        for text in 'ink', 'soft', 'accent':
            for ground in 'ground', 'card':
                lights = sorted(luminance(theme[name]) + 0.05 for name in (text, ground))
                assert lights[1] / lights[0] >= 4.5, (text, ground, theme)


@pytest.mark.slow
def test_by_keyboard_alone(browser: Any, port: int, tmp_path: Path) -> None:
    """Tab goes to the choice of files and to the button, and both are seen to have the focus."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    def outline(selector: str) -> str:
        shown = browser.find_element(By.CSS_SELECTOR, selector)
        return str(shown.value_of_css_property('outline-style'))

    (tmp_path / 'blue.png').write_bytes(picture('bluebells', picture_format='PNG'))
    browser.get(f'http://127.0.0.1:{port}/')
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute('id') == 'files'
    assert (outline('#drop'), outline('#so_far button')) == ('solid', 'none')
    browser.switch_to.active_element.send_keys(str(tmp_path / 'blue.png'))
    WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.CLASS_NAME, 'done'))
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.text == 'Download as CSV'
    assert (outline('#drop'), outline('#so_far button')) == ('none', 'solid')


def drop(browser: Any, path: Path) -> None:
    """As a person drags it from a file manager onto the page."""
    data = {'items': [], 'files': [str(path)], 'dragOperationsMask': 1}
    for kind in 'dragEnter', 'dragOver', 'drop':
        event = {'type': kind, 'x': 300, 'y': 300, 'data': data}
        browser.execute_cdp_cmd('Input.dispatchDragEvent', event)


def _share(fill: Any) -> float:
    track = fill.find_element('xpath', '..')
    return fill.size['width'] / track.size['width']


@pytest.mark.slow
def test_hostile_labels_on_the_page(
    browser: Any, tmp_path: Path, trained: tuple[Places, Ended]
) -> None:
    """A graph whose labels are markup: they are shown as they are written."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    from poets_tfr.export import frozen_graph

    hostile = ['<script>document.title=1</script>', '"><img src=x onerror=alert(1)>', 'a\nb']
    graph_def, _ = frozen_graph.load(str(trained[0].graph))
    (node,) = (node for node in graph_def.node if node.name == 'poets_tfr/description')
    value = json.loads(node.attr['value'].tensor.string_val[0])
    node.attr['value'].tensor.string_val[0] = json.dumps({**value, 'labels': hostile}).encode()
    (tmp_path / 'g.pb').write_bytes(frozen_graph.serialized(graph_def))
    (tmp_path / 'green.png').write_bytes(picture('Green Grass', picture_format='PNG'))
    with page_of('serve', f'--graph={tmp_path / "g.pb"}') as port:
        browser.get(f'http://127.0.0.1:{port}/')
        browser.find_element(By.ID, 'files').send_keys(str(tmp_path / 'green.png'))
        WebDriverWait(browser, 60).until(
            lambda page: page.find_elements(By.CSS_SELECTOR, '.done h2')
        )
        assert browser.find_element(By.CSS_SELECTOR, '.done h2').text == hostile[0]
        assert browser.title == 'What is in the image?'
        assert not browser.find_elements(By.CSS_SELECTOR, '#results script, img[src="x"]')
