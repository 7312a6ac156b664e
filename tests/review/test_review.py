"""poets-review over HTTP and in a real browser, on faults that were planted."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as browsers
import colours
import graphs
import numpy as np
import planted
import pytest
from command_line import Ended, call, page_of
from planted import HOSTILE, Planted

from poets_tfr import tables
from poets_tfr.records import corrections
from poets_tfr.records.corrections import Correction
from poets_tfr.records.reading import Records
from poets_tfr.review import deck
from poets_tfr.review.decisions import Decisions
from poets_tfr.review.settings import ReviewConfig
from poets_tfr.review.site import ReviewSite
from poets_tfr.serving import Server, listen

WORST = 'bluebells'  # what the two wrong images of Red_Roses show


@pytest.fixture(scope='module')
def examined(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> tuple[Path, Planted]:
    """A folder with pictures, records and examination. Nobody may change it."""
    root = tmp_path_factory.mktemp('examined')
    faults = planted.write(root / 'pictures', per_class=16)
    ended = call(
        'examine', faults.image_dir, f'--examine_dir={root / "examination"}',
        f'--records_dir={root / "records"}', f'--bottleneck_dir={root / "features"}',
        f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return root, faults


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / 'corrections.tsv'


def started(root: Path, table: Path) -> contextlib.AbstractContextManager[int]:
    """Starts tools/review.py; yields its port."""
    counted = r'\d+ images to look at, \d+ not decided yet\.\n'
    flags = root / 'examination', f'--corrections={table}'
    return page_of('review', *flags, first=[counted])


@contextlib.contextmanager
def reviewed(root: Path, table: Path, records_dir: str = '') -> Iterator[int]:
    """The same in this process."""
    config = ReviewConfig(
        examine_dir=str(root / 'examination'), records_dir=records_dir, corrections=str(table),
        port=0,
    )  # fmt: skip
    dealt = deck.of(config.examine_dir, deck.open_records(config))
    site = ReviewSite(dealt, Decisions(config.table, dealt), config.host)
    with listen(config) as listening, Server(listening, config.host, site) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server.port
        finally:
            server.shutdown()
            thread.join()


def ask(
    port: int, method: str, path: str, body: Any = None, sent: dict[str, Any] | None = None
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    with contextlib.closing(connection):
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, sent or {})
        response = connection.getresponse()
        content = response.read()
        is_json = response.headers['Content-Type'] == 'application/json'
        return response.status, json.loads(content) if is_json else content, dict(response.headers)


class Page:
    """What the page's script does."""

    def __init__(self, port: int):
        self.port = port
        self.load()

    def load(self) -> None:
        status, self.state, _ = ask(self.port, 'GET', '/cards')
        assert status == 200, self.state
        self.paths = [image['path'] for image in self.state['images']]

    def post(self, path: str, value: Any, token: str | None = None) -> tuple[int, Any]:
        sent = {'X-Token': self.state['token'] if token is None else token}
        status, answer, _ = ask(self.port, 'POST', path, value, sent)
        return status, answer

    def decide(self, path: str, action: str, label: str | None = None) -> dict[str, Any]:
        place = None if label is None else self.state['labels'].index(label)
        value = {'image': self.paths.index(path), 'action': action, 'label': place}
        status, answer = self.post('decide', value)
        assert status == 200, answer
        return answer

    def card(self, path: str) -> dict[str, Any]:
        number = self.paths.index(path)
        (found,) = [card for card in self.state['cards'] if card['image'] == number]
        return dict(found)


def written(table: Path) -> dict[str, tuple[str, str]]:
    return {path: (said.action, said.label) for path, said in corrections.read(str(table)).items()}


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope='module')
def shared(
    examined: tuple[Path, Planted], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """A server for tests that decide nothing."""
    with started(examined[0], tmp_path_factory.mktemp('shared') / 'corrections.tsv') as port:
        yield Page(port)


def test_cards_are_the_findings_the_worst_first(
    shared: Page, examined: tuple[Path, Planted]
) -> None:
    root, faults = examined
    state = shared.state
    rows = tables.read(str(root / 'examination/suspects.tsv'), [])
    suspects = [row for row in rows if row['label'] != row['suggested_label']]
    of_kind = {
        kind: [shared.paths[c['image']] for c in state['cards'] if c['kind'] == kind]
        for kind in state['kinds']
    }
    assert of_kind['suspects'] == [row['path'] for row in suspects]
    assert faults.relabelled.keys() <= {*of_kind['suspects']}
    for path, label in faults.relabelled.items():
        assert state['labels'][shared.card(path)['suggested']] == label
    assert len({card['image'] for card in state['cards']}) == len(state['cards'])
    # The pair across classes comes before all others; its other half is a suspect.
    assert of_kind['near duplicates'][0] == 'bluebells/002.jpg'
    scaled = shared.card('Red_Roses/scaled.jpg')
    assert scaled['kind'] == 'suspects'
    assert scaled['alike'] == [shared.paths.index('bluebells/002.jpg')]
    assert any(
        said.startswith('one of 2 near duplicates, across classes') for said in scaled['said']
    )
    assert any(said.startswith('tiny (18') for said in shared.card('Green Grass/tiny.jpg')['said'])
    assert state['decided'] == {}
    assert not state['can_undo']


def test_images_are_those_of_the_records(shared: Page, examined: tuple[Path, Planted]) -> None:
    number = shared.paths.index('Red_Roses/wrong_0.jpg')
    status, content, headers = ask(shared.port, 'GET', f'/image/{number}')
    assert (status, headers['Content-Type']) == (200, 'image/jpeg')
    assert content == (examined[1].image_dir / 'Red_Roses/wrong_0.jpg').read_bytes()


def test_the_page_runs_its_own_script_alone(shared: Page) -> None:
    status, page, headers = ask(shared.port, 'GET', '/')
    assert status == 200
    assert "default-src 'none'" in headers['Content-Security-Policy']
    for name in re.findall(rb'(?:href|src)="([^"]+)"', page):
        assert ask(shared.port, 'GET', f'/{name.decode()}')[0] == 200, name
    script = ask(shared.port, 'GET', '/page.js')[1]
    forbidden = rb'https?:|innerHTML|insertAdjacentHTML|document\.write|eval'
    assert not re.search(forbidden, page + script)


RIGHT = {'image': 0, 'action': 'right'}


@pytest.mark.parametrize(
    ('method', 'path', 'body', 'sent', 'status'),
    [
        ('POST', '/decide', RIGHT, {}, 403),
        ('POST', '/decide', RIGHT, {'X-Token': ''}, 403),
        ('POST', '/decide', RIGHT, {'X-Token': 'x' * 43}, 403),
        ('POST', '/decide', RIGHT, {'X-Token': 'é'}, 403),
        ('POST', '/undo', {}, {}, 403),
        ('POST', '/undo', {}, {'X-Token': 'TOKEN'}, 409),
        ('POST', '/decide', RIGHT, {'X-Token': 'TOKEN', 'Origin': 'http://evil.example'}, 403),
        ('POST', '/decide', RIGHT, {'X-Token': 'TOKEN', 'Host': 'evil.example'}, 403),
        ('GET', '/cards', None, {'Host': 'evil.example'}, 403),
        ('GET', '/cards', None, {'Origin': 'null'}, 403),
        ('GET', '/decide', None, {}, 405),
        ('GET', '/image/99999', None, {}, 404),
        ('GET', '/image/-1', None, {}, 404),
        ('GET', '/image/..%2F..%2Fsetup.cfg', None, {}, 404),
        ('POST', '/decide', b'x' * 5000, {'X-Token': 'TOKEN'}, 413),
        ('POST', '/decide', b'no json', {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', b'[' * 4000, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', [], {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': 0}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': -1, 'action': 'right'}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': True, 'action': 'right'}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': '0', 'action': 'right'}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': 0, 'action': 'delete'}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': 0, 'action': ['right']}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {'image': 0, 'action': 'relabel'}, {'X-Token': 'TOKEN'}, 400),
        ('POST', '/decide', {**RIGHT, 'action': 'relabel', 'label': 3}, {'X-Token': 'TOKEN'}, 400),
    ],
)  # fmt: skip
def test_what_is_refused(
    shared: Page, method: str, path: str, body: Any, sent: dict[str, str], status: int
) -> None:
    headers = {name: value.replace('TOKEN', shared.state['token']) for name, value in sent.items()}
    if headers.get('X-Token') == 'é':
        headers['X-Token'] = 'é'.encode('latin-1')  # type: ignore[assignment]
    found, answer, _ = ask(shared.port, method, path, body, headers)
    assert (found, list(answer)) == (status, ['error']), answer
    shared.load()
    assert shared.state['decided'] == {}


def test_decisions_are_written_at_once_undone_and_gone_on_with(
    examined: tuple[Path, Planted], table: Path
) -> None:
    root, faults = examined
    before = {path: digest_of(path) for path in faults.image_dir.rglob('*') if path.is_file()}
    with reviewed(root, table) as port:
        page = Page(port)
        ask(port, 'GET', f'/image/{page.paths.index("Red_Roses/wrong_0.jpg")}')
        page.decide('Red_Roses/wrong_0.jpg', 'relabel', WORST)
        assert written(table) == {'Red_Roses/wrong_0.jpg': ('relabel', WORST)}
        page.decide('Green Grass/black.jpg', 'leave_out')
        page.decide('Red_Roses/wrong_1.jpg', 'relabel', 'red roses')  # what it is called already
        assert written(table)['Red_Roses/wrong_1.jpg'] == ('right', '')
        # Taken back: the last one, then a second thought, then there is what was there before.
        page.decide('Green Grass/black.jpg', 'right')
        assert page.post('undo', {})[1]['undone'] == page.paths.index('Green Grass/black.jpg')
        assert page.post('undo', {})[1]['undone'] == page.paths.index('Red_Roses/wrong_1.jpg')
        assert written(table) == {
            'Red_Roses/wrong_0.jpg': ('relabel', WORST),
            'Green Grass/black.jpg': ('leave_out', ''),
        }
        first = corrections.read(str(table))['Red_Roses/wrong_0.jpg']
        assert first.digest == digest_of(faults.image_dir / 'Red_Roses/wrong_0.jpg')
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', first.when_first_shown)
        old = page.state['token']
    with reviewed(root, table) as port:
        page = Page(port)
        decided = {page.paths[int(number)]: said for number, said in page.state['decided'].items()}
        assert decided == {
            'Red_Roses/wrong_0.jpg': {
                'action': 'relabel', 'label': page.state['labels'].index(WORST)
            },
            'Green Grass/black.jpg': {'action': 'leave_out', 'label': None},
        }  # fmt: skip
        assert page.post('decide', RIGHT, token=old)[0] == 403, 'the token of another start'
        assert page.post('undo', {})[0] == 409
    assert {path: digest_of(path) for path in before} == before
    assert sorted(p.name for p in table.parent.iterdir()) == ['corrections.tsv']


def test_lines_of_others_stay_and_those_of_changed_images_are_open_again(
    examined: tuple[Path, Planted], table: Path
) -> None:
    other = Correction('oaks/1.jpg', 'a' * 64, 'relabel', 'elms', 'long ago')
    changed = Correction('Red_Roses/wrong_0.jpg', 'b' * 64, 'leave_out', '', 'long ago')
    corrections.write(str(table), [other, changed])
    with reviewed(examined[0], table) as port:
        page = Page(port)
        assert page.state['decided'] == {}
        later = Correction('=1+1.jpg', 'c' * 64, 'right', '', '')
        corrections.write(str(table), [other, changed, later])  # by another program, meanwhile
        page.decide('Red_Roses/wrong_0.jpg', 'right')
        assert written(table) == {
            'oaks/1.jpg': ('relabel', 'elms'), '=1+1.jpg': ('right', ''),
            'Red_Roses/wrong_0.jpg': ('right', ''),
        }  # fmt: skip
        assert '\n\\=1+1.jpg\t' in table.read_text()
        table.write_text('no table\n')
        status, answer = page.post('decide', RIGHT)
        assert status == 409
        assert "names no column 'path'" in answer['error']
        assert table.read_text() == 'no table\n'
        table.unlink()
        table.mkdir()
        status, answer = page.post('decide', RIGHT)
        assert (status, answer['error']) == (409, f'corrections: {table}: Is a directory.')


def test_convert_follows_and_hostile_names_do_no_harm(
    examined: tuple[Path, Planted], tmp_path: Path, table: Path
) -> None:
    root, faults = examined
    shutil.copytree(root / 'records', tmp_path / 'records')
    hostile = f'bluebells/{HOSTILE}'
    shown = 'bluebells/=cmd|\\t\\n"<script>alert(1)<!--.jpg'
    with reviewed(root, table) as port:
        page = Page(port)
        for path, label in faults.relabelled.items():
            page.decide(path, 'relabel', label)
        page.decide(shown, 'leave_out')
        page.decide('bluebells/no\\udcffutf8.jpg', 'leave_out')
    assert written(table)[hostile] == ('leave_out', '')
    ended = convert(faults, tmp_path, table)
    assert ended.status == 0, ended.err
    assert 'Corrections: relabelled 4, left out 2, right as they are 0.' in ended.out
    now = Records.open(tmp_path / 'records')
    labels = {
        path: now.labels[label]
        for split in now.splits
        for path, label in zip(now[split].paths, now[split].labels, strict=True)
    }
    assert {path: labels[path] for path in faults.relabelled} == faults.relabelled
    assert hostile not in labels
    # The records show the new labels: called right, they keep them.
    with reviewed(root, table, str(tmp_path / 'records')) as port:
        page = Page(port)
        assert hostile not in page.paths
        decided = {page.paths[int(number)] for number in page.state['decided']}
        assert decided == {*faults.relabelled} & {*page.paths}
        for path in decided:
            page.decide(path, 'right')
            assert written(table)[path] == ('relabel', faults.relabelled[path])


def convert(faults: Planted, tmp_path: Path, table: Path) -> Ended:
    return call(
        'convert_images', f'--image_dir={faults.image_dir}',
        f'--records_dir={tmp_path / "records"}', f'--corrections={table}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['nowhere'], '--examine_dir=nowhere has no examine.json: examine first'),
        (['~/nowhere'], f'--examine_dir={Path.home()}/nowhere has no examine.json'),
        (['E', '--records_dir=nowhere'], 'nowhere has no manifest.json'),
        (['E', '--corrections=E'], 'is a folder; a file name is wanted'),
        (['E', '--corrections=E/odd.tsv'], "odd.tsv: its first line names no column 'digest'"),
        (['E', 'E'], "'E' is not a flag"),
    ],
)
def test_what_cannot_be_reviewed(
    examined: tuple[Path, Planted], arguments: list[str], said: str
) -> None:
    place = str(examined[0] / 'examination')
    ended = call('review', '--port=0', *(re.sub('^E|(?<==)E', place, each) for each in arguments))
    assert (ended.status, ended.out) == (1, '')
    assert said.replace("'E'", repr(place)) in ended.err
    assert ended.err.count('\n') == 1


@pytest.mark.slow
def test_more_classes_than_keys_in_a_browser(browser: Any, tmp_path: Path) -> None:
    """Their labels are typed; two of 40 are of another script, and of none."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    rng = np.random.default_rng(0)
    folders = [*(f'kind {number:02d}' for number in range(38)), '<b>', '蒲公英']
    for folder in folders:
        (tmp_path / 'pictures' / folder).mkdir(parents=True)
        for number in range(3):
            content = colours.encoded(colours.draw('bluebells', rng))
            (tmp_path / 'pictures' / folder / f'{number}.jpg').write_bytes(content)
    ended = call(
        'convert_images', f'--image_dir={tmp_path / "pictures"}',
        f'--records_dir={tmp_path / "records"}', '--label_style=folder',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    write_examination(tmp_path, [f'kind 00/{number}.jpg' for number in range(3)], 'kind 00', '<b>')
    table = tmp_path / 'corrections.tsv'

    def press(*keys: str) -> None:
        browser.find_element(By.TAG_NAME, 'body').send_keys(*keys)

    def decided(number: int) -> None:
        WebDriverWait(browser, 20).until(
            lambda _: f'{number} of 3' in browser.find_element(By.ID, 'kinds').text
        )

    browsers.complaints(browser)
    with reviewed(tmp_path, table) as port:
        browser.get(f'http://127.0.0.1:{port}/')
        decided(0)
        press('/')
        name = browser.switch_to.active_element
        assert name.get_attribute('id') == 'name'
        name.send_keys('no such', Keys.ENTER)
        trouble = browser.find_element(By.ID, 'trouble')
        WebDriverWait(browser, 20).until(lambda _: trouble.text == 'There is no label no such.')
        name.clear()
        name.send_keys('蒲公英', Keys.ENTER)
        decided(1)
        press(Keys.ENTER)  # the suggested one
        decided(2)
        press('z')  # the last that has a key
        decided(3)
        assert browser.find_element(By.TAG_NAME, 'h2').text == 'All is decided.'
        assert str(table) in browser.find_element(By.ID, 'command').text
        assert browsers.complaints(browser) == []
    labels = sorted(folders)
    keys = '1234567890abcdefghijklmnopqstvwyz'
    assert written(table) == {
        'kind 00/0.jpg': ('relabel', '蒲公英'),
        'kind 00/1.jpg': ('relabel', '<b>'),
        'kind 00/2.jpg': ('relabel', labels[len(keys) - 1]),
    }


def write_examination(root: Path, paths: list[str], label: str, suggested: str) -> None:
    """As poets-examine would; these are all suspects, nothing else was found."""
    (root / 'examination').mkdir()
    suspects = [(path, label, suggested, '0.1') for path in paths]
    for name, header, rows in (
        ('suspects.tsv', ('path', 'label', 'suggested_label', 'quality'), suspects),
        ('near_duplicates.tsv', ('group', 'path', 'similarity', 'label', 'split'), []),
        ('odd.tsv', ('path', 'reason', 'value'), []),
    ):
        (root / 'examination' / name).write_bytes(tables.tsv(header, rows))
    where = json.dumps({'records_dir': str(root / 'records')})
    (root / 'examination/examine.json').write_text(where)


@pytest.mark.slow
def test_in_a_browser(
    browser: Any, examined: tuple[Path, Planted], tmp_path: Path, table: Path
) -> None:
    """Decide, reload, go on, convert with the corrections, see the counts change."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    root, faults = examined
    shutil.copytree(root / 'records', tmp_path / 'records')

    def text(name: str) -> str:
        return str(browser.find_element(By.ID, name).text)

    def press(key: str, path: str) -> None:
        """And waits until this card is shown."""
        browser.find_element(By.TAG_NAME, 'body').send_keys(key)
        shown(path)

    def shown(path: str) -> None:
        WebDriverWait(browser, 20).until(lambda _: text('path').startswith(f'{path} ('))

    browsers.complaints(browser)
    with started(root, table) as port:
        page = Page(port)
        queue = [page.paths[card['image']] for card in page.state['cards']]
        browser.get(f'http://127.0.0.1:{port}/')
        shown(queue[0])
        wanted = page.card(queue[0])
        suggested = page.state['labels'][wanted['suggested']]
        assert browser.find_element(By.CSS_SELECTOR, '.suggested').text.endswith(suggested)
        press(Keys.ENTER, queue[1])
        assert written(table) == {queue[0]: ('relabel', suggested)}
        press('x', queue[2])
        press('u', queue[1])
        press('r', queue[2])
        press('x', queue[3])
        assert [written(table)[path][0] for path in queue[:3]] == ['relabel', 'right', 'leave_out']
        browser.refresh()
        shown(queue[3])
        card = page.card(queue[3])
        other = next(n for n in range(3) if n != page.state['images'][card['image']]['label'])
        press(str(other + 1), queue[4])
        assert written(table)[queue[3]] == ('relabel', page.state['labels'][other])
        press(Keys.ARROW_LEFT, queue[3])
        assert text('decided') == f'Decided: it is {page.state["labels"][other]}.'
        image = browser.find_element(By.ID, 'image')
        WebDriverWait(browser, 20).until(lambda _: int(image.get_property('naturalWidth')) > 0)
        assert f'suspects: 4 of {sum(c["kind"] == "suspects" for c in page.state["cards"])}' in \
            text('kinds')  # fmt: skip
        if kept := os.environ.get('POETS_TEST_SCREENSHOTS'):
            browser.save_screenshot(str(Path(kept) / 'review.png'))
        for path in queue[4:]:
            if path.startswith('bluebells/=cmd'):
                break
        hostile = queue.index(path)
        for _ in range(hostile - 3):
            browser.find_element(By.TAG_NAME, 'body').send_keys(Keys.ARROW_RIGHT)
        shown(path)
        assert text('path').startswith('bluebells/=cmd|\\t\\n"<script>alert(1)<!--.jpg (')
        assert browser.title == 'Review of pictures'
        # What is asked when the server ends would be complained of.
        WebDriverWait(browser, 20).until(lambda _: image.get_property('complete'))
        assert browsers.complaints(browser) == []
    ended = convert(faults, tmp_path, table)
    assert 'Corrections: relabelled 2, left out 1, right as they are 1.' in ended.out
    manifest = json.loads((tmp_path / 'records/manifest.json').read_bytes())
    before = json.loads((root / 'records/manifest.json').read_bytes())
    counts = [sum(split['pictures'] for split in m['splits'].values()) for m in (before, manifest)]
    assert counts == [60, 59]
