"""report.json and report.html: the figures, and no harm from any name."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import io
import json
import re
from importlib import resources
from pathlib import Path

import browser
import colours
import numpy as np
import pytest
from command_line import Ended, Places
from PIL import Image

from poets_tfr import files
from poets_tfr.reporting import metrics, page, report
from poets_tfr.reporting.report import Mistake, Report
from poets_tfr.run.result import Run
from poets_tfr.training.loop import Evaluation
from poets_tfr.training.predictions import Predictions

HOSTILE = [
    '<script>document.title="hacked"</script>',
    '"><img src=x onerror=alert(1)>',
    "it's {{ 7 * 7 }} {% raw %}",
    'two\nlines\tand a tab',
    '\u202edrowkcab \x1b[31m',
    'not utf-8 \udcff',
    '雏菊 & Co.',
]


class Parsed(html.parser.HTMLParser):
    """Elements and text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ''
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def jpeg() -> bytes:
    return colours.encoded(np.full((20, 30, 3), 128, np.uint8))


def reported(labels: list[str], n: int = 40) -> Report:
    rng = np.random.default_rng(2)
    scores = rng.dirichlet(np.ones(len(labels)), n).astype(np.float32)
    truth = rng.integers(0, len(labels), n).astype(np.int32)
    predictions = Predictions(tuple(f'{labels[t]}/{t}.jpg' for t in truth), truth, scores)
    figures = metrics.measure(predictions)
    return Report(
        title=f'{labels[0]} with a network',
        labels=labels,
        metrics={'validation': figures, 'test': figures},
        mistakes=[Mistake(f'{labels[0]}/{labels[1]}', labels[0], labels[1], 0.9, jpeg())],
        settings={'image_dir': labels[0], 'seed': 7},
        versions={'tensorflow': '1'},
        timings={'training': 1.25},
        digests={'manifest.json': 'abc'},
        pictures={'train': [1] * len(labels), 'test': figures.support.tolist()},
        evaluations=[Evaluation(s, 0.5, 1.0, 0.25, 2.0, 10) for s in range(0, 20_000, 10)],
        outputs={'output_graph': f'/tmp/{labels[0]}.pb', 'output_labels': "/tmp/l'.txt"},
        self_test={
            'passed': False,
            'fault': labels[0],
            'pictures': 2,
            'split': 'test',
            'seconds': 1.0,
            'exports': {
                'output_graph': {
                    'path': f'/tmp/{labels[0]}.pb',
                    'measure': 'largest',
                    'tolerance': 1e-4,
                    'passed': False,
                    'fault': labels[0],
                    'warning': '',
                    'stored': {
                        'pictures': 2,
                        'largest_difference': 0.25,
                        'mean_difference': 0.1,
                        'top_1_agreement': 0.5,
                    },
                    'files': {'pictures': 0},
                }
            },
        },
    )


def test_what_was_left_out_is_told_by_reason(tmp_path: Path) -> None:
    needs = 'HEIC needs pi-heif: pip install pi-heif'
    left_out = {
        'found': 53, 'ignored': 3, 'skipped': 36, 'skip_reasons': {'too large': 6, needs: 30},
    }  # fmt: skip
    made = dataclasses.replace(reported(colours.LABELS), left_out=left_out)
    assert report.save(str(tmp_path), made)['left_out'] == left_out
    written = (tmp_path / 'report.html').read_text()
    said = ' '.join(Parsed(written).text.split())
    assert 'Left out 36 of 50 images were left out; skipped.tsv' in said
    table = written[written.index('id="left_out"') :]
    rows = re.findall('<td class="path">(.*)</td><td>(.*)</td>', table[: table.index('</table>')])
    assert rows == [(needs, '30'), ('too large', '6')]
    report.save(str(tmp_path), reported(colours.LABELS))
    assert 'Left out' not in (tmp_path / 'report.html').read_text()


def test_names_do_no_harm(tmp_path: Path) -> None:
    report.save(str(tmp_path), reported(HOSTILE))
    found = Parsed((tmp_path / 'report.html').read_bytes().decode('utf-8'))
    tags = {tag for tag, _ in found.elements}
    assert not tags & {'script', 'iframe', 'object', 'link', 'form', 'base'}
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith('on')]
        if tag == 'img':
            assert str(attributes['src']).startswith('data:image/jpeg;base64,')
            assert set(attributes) == {'src', 'alt'}
    assert HOSTILE[0] in found.text
    assert HOSTILE[2] in found.text, 'nothing in a name is taken for a template'
    assert r'two\nlines\tand a tab' in found.text
    assert '雏菊 & Co.' in found.text
    assert '\x1b' not in found.text
    assert '\u202e' not in found.text


def test_only_its_own_reports_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    html, json_ = tmp_path / 'report.html', tmp_path / 'report.json'
    report.save(str(tmp_path), reported(['a', 'b']))
    first = html.read_bytes(), json_.read_bytes()
    report.save(str(tmp_path), reported(['c', 'd']))
    assert (html.read_bytes() != first[0], json_.read_bytes() != first[1]) == (True, True)
    assert not [record for record in caplog.records if record.levelname == 'WARNING']

    html.write_text('<!DOCTYPE html><title>my thesis</title>')
    json_.write_text('{"format": "mine"}')
    report.save(str(tmp_path), reported(['a', 'b']))
    assert html.read_text() == '<!DOCTYPE html><title>my thesis</title>'
    assert json_.read_text() == '{"format": "mine"}'
    for path in html, json_:
        assert f'{path} was not written by this program: it stays' in caplog.text


def test_names_survive_in_json(tmp_path: Path) -> None:
    report.save(str(tmp_path), reported(HOSTILE))
    value = json.loads((tmp_path / 'report.json').read_bytes())
    assert value['labels'] == HOSTILE
    assert value['mistakes'][0]['path'] == f'{HOSTILE[0]}/{HOSTILE[1]}'


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    report.save(str(tmp_path), reported(['a', 'b']))
    content = (tmp_path / 'report.html').read_text()
    assert not re.search(r'https?://|url\(|@import|<script', content)


def test_tables_can_be_scrolled_by_keyboard_and_their_cells_be_read(tmp_path: Path) -> None:
    report.save(str(tmp_path), reported(['a', 'b']))
    content = (tmp_path / 'report.html').read_text()
    template = resources.files('poets_tfr.reporting') / 'templates/report.html'
    for text in content, template.read_text():
        assert '<th></th>' not in text
        assert text.count('<div class="scroll"') == text.count('class="scroll" tabindex="0"') > 3
    shades = [float(s) for s in re.findall(r'rgba\(var\(--\w+\), ([\d.]+)\)', content)]
    # On a stronger red or blue the figures have a contrast below 4.5 in one of the themes.
    assert max(shades) <= 0.55
    assert '<main>' in content


def test_thousands_of_classes_and_evaluations_stay_readable(tmp_path: Path) -> None:
    many = [f'class {i}' for i in range(300)]
    report.save(str(tmp_path), reported(many, 3000))
    content = (tmp_path / 'report.html').read_text()
    matrix = content[content.index('class="matrix"') : content.index('id="classes"')]
    assert matrix.count('<td') == page.MOST_CLASSES**2
    assert content.count('<tr><td>class ') == 300
    value = json.loads((tmp_path / 'report.json').read_bytes())
    assert len(value['curves']) <= report.MOST_POINTS + 1
    assert value['curves'][-1]['step'] == 19_990


@pytest.fixture(scope='module')
def thousands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of 3,000 classes and 6,000 images, half classified correctly."""
    folder = tmp_path_factory.mktemp('thousands')
    rng = np.random.default_rng(4)
    truth = (np.arange(6000) % 3000).astype(np.int32)
    scores = np.full((6000, 3000), 1e-4, np.float32)
    given = np.where(rng.random(6000) < 0.5, truth, rng.integers(0, 3000, 6000))
    scores[np.arange(6000), given] = 0.7
    few = reported([f'species {i:05d}' for i in range(3000)], n=2)
    figures = metrics.measure(Predictions(('p.jpg',) * 6000, truth, scores))
    counts = dict.fromkeys(('train', 'validation', 'test'), figures.support.tolist())
    both = {'validation': figures, 'test': figures}
    report.save(str(folder), dataclasses.replace(few, metrics=both, pictures=counts))
    return folder


def test_reports_of_thousands_of_classes_are_small_and_useful(thousands: Path) -> None:
    """The limits of 10,000 classes are 2 and 3 MB."""
    assert (thousands / 'report.json').stat().st_size < 600_000
    assert (thousands / 'report.html').stat().st_size < 900_000
    content = (thousands / 'report.html').read_text()
    tables = re.findall(r'<table id="(weakest|pairs|classes)">(.*?)</table>', content, re.DOTALL)
    assert [(name, table.count('<tr><td')) for name, table in tables] == [
        ('weakest', 20), ('pairs', 20), ('classes', 3000),
    ]  # fmt: skip
    value = json.loads((thousands / 'report.json').read_bytes())
    small = json.loads(files.json_bytes(reported(['a', 'b']).to_json()))
    assert (set(value), set(value['test'])) == (set(small), set(small['test']))


def test_a_run_of_thousands_of_classes_is_opened(thousands: Path) -> None:
    run = Run.open(str(thousands))
    assert run.images['test'] == {f'species {i:05d}': 2 for i in range(3000)}
    assert run.metrics['test'].confusion.sum() == 6000
    assert run.metrics['test'].accuracy == run.metrics['test'].right.sum() / 6000


def test_a_class_is_found_among_thousands(thousands: Path, tmp_path: Path) -> None:
    """In a browser, which runs no other script than the page's own."""
    with browser.started(tmp_path) as chromium:
        chromium.get((thousands / 'report.html').as_uri())
        chromium.find_element('id', 'find').send_keys('ES 0012')
        shown = chromium.execute_script(
            "return [...document.querySelectorAll('#classes tbody tr')]"
            '.filter(row => !row.hidden).map(row => row.cells[0].textContent)'
        )
        assert shown == [f'species 0012{i}' for i in range(10)]
        assert not browser.complaints(chromium)


def test_the_only_script_is_the_one_that_the_policy_names(thousands: Path) -> None:
    content = (thousands / 'report.html').read_text()
    (script,) = re.findall('<script>(.*?)</script>', content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'content="(default-src [^"]*)"', content)
    assert policy.endswith(f"; script-src 'sha256-{digest}'")


@pytest.mark.parametrize('labels', [['a', 'b']])
def test_a_run_without_a_test(tmp_path: Path, labels: list[str]) -> None:
    bare = Report(
        title='bare', labels=labels, metrics={}, mistakes=(), settings={}, versions={}, timings={},
        digests={},
    )  # fmt: skip
    report.save(str(tmp_path), bare)
    assert 'nothing is known of how good' in (tmp_path / 'report.html').read_text()


def test_wilson_is_the_textbooks() -> None:
    """Newcombe 1998, table I: 81 of 263 and 0 of 20."""
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert metrics.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_a_whole_run_reports_what_it_printed(trained: tuple[Places, Ended]) -> None:
    places, ended = trained
    value = json.loads((places.summaries / 'report.json').read_bytes())
    match = re.search(r'Final test accuracy = (\d+\.\d)% \(N=(\d+)\)', ended.out)
    assert match
    assert round(value['test']['accuracy'] * 100, 1) == float(match[1])
    assert value['test']['pictures'] == int(match[2])
    assert value['labels'] == colours.LABELS
    assert value['settings']['how_many_training_steps'] == 200
    assert value['curves'][-1]['step'] == 199
    assert set(value['timings']) >= {'conversion', 'features', 'training', 'export'}
    assert sum(sum(counts.values()) for counts in value['pictures'].values()) == 72
    assert len(value['digests']['network weights']) == 64
    content = (places.summaries / 'report.html').read_text()
    assert f'<div class="big" id="accuracy">{value["test"]["accuracy"] * 100:.1f} %' in content


def test_thumbnails_are_small_jpegs() -> None:
    from poets_tfr.reporting.sheets import thumbnail

    big = colours.encoded(np.zeros((400, 800, 3), np.uint8), 'PNG')
    with Image.open(io.BytesIO(thumbnail(big))) as picture:
        assert (picture.format, picture.size) == ('JPEG', (160, 80))
