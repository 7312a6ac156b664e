"""The command on faults that were planted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import browser
import colours
import graphs
import numpy as np
import planted
import pytest
from command_line import Ended, Places, call
from planted import Planted

import poets_tfr
from poets_tfr import tables
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.examination import networks
from poets_tfr.examination.examination import Accuracy
from poets_tfr.extraction.settings import ExtractionConfig

FILES = ['examine.html', 'examine.json', 'near_duplicates.tsv', 'odd.tsv', 'suspects.tsv']


class Examined:
    def __init__(self, root: Path, model_dir: Path, faults: Planted):
        self.root, self.faults = root, faults
        self.out, self.out_text = root / 'out', ''
        self.flags = [
            f'--architecture={graphs.MOBILENET}',
            f'--model_dir={model_dir}',
            f'--records_dir={root / "records"}',
            f'--bottleneck_dir={root / "features"}',
        ]

    def examine(self, *arguments: object) -> Ended:
        return call('examine', *arguments, *self.flags)

    def rows(self, name: str) -> list[dict[str, str]]:
        return tables.read(str(self.out / name), [])

    @property
    def json(self) -> dict:
        return json.loads((self.out / 'examine.json').read_text())


@pytest.fixture(scope='module')
def examined(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Examined:
    root = tmp_path_factory.mktemp('examined')
    found = Examined(root, model_dir, planted.write(root / 'pictures'))
    ended = found.examine(found.faults.image_dir, f'--examine_dir={found.out}')
    assert ended.status == 0, ended.err
    found.out_text = ended.out
    return found


def test_the_pictures_with_wrong_labels_come_first_with_the_right_ones(examined: Examined) -> None:
    rows = examined.rows('suspects.tsv')
    wrong = {**examined.faults.relabelled, 'Red_Roses/scaled.jpg': 'bluebells'}
    # A black picture has no right label.
    worst = [row for row in rows if row['path'] != 'Green Grass/black.jpg'][: len(wrong)]
    assert {row['path']: row['suggested_label'] for row in worst} == wrong
    assert len(rows) == 3 * 40 + 4 + 5 + 3
    qualities = [float(row['quality']) for row in rows]
    assert qualities == sorted(qualities)
    assert all(0 <= quality <= 1 for quality in qualities)


def test_every_planted_copy_is_found_and_nothing_else(examined: Examined) -> None:
    groups: dict[str, set[str]] = {}
    for row in examined.rows('near_duplicates.tsv'):
        groups.setdefault(row['group'], set()).add(row['path'])
        assert float(row['similarity']) >= 0.98
    wanted: dict[str, set[str]] = {}
    for copy, original in examined.faults.copies.items():
        wanted.setdefault(original, {original}).add(copy)
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, wanted.values()))
    (crossing,) = (
        group for group in examined.json['near_duplicates'] if 'classes' in group['crosses']
    )
    assert sorted(crossing['paths']) == ['Red_Roses/scaled.jpg', 'bluebells/002.jpg']


def test_odd_pictures_are_named_with_the_reason(examined: Examined) -> None:
    rows = {row['path']: row for row in examined.rows('odd.tsv') if row['reason'] != FAR}
    assert {path: row['reason'] for path, row in rows.items()} == {
        'Green Grass/black.jpg': 'nearly black',
        'Green Grass/tiny.jpg': 'tiny',
        'Green Grass/strip.jpg': 'extremely long',
    }
    assert rows['Green Grass/tiny.jpg']['value'] == '18'
    assert rows['Green Grass/strip.jpg']['value'] == '8'


FAR = 'unlike all others'


def test_the_summary_is_short_and_names_the_page(examined: Examined) -> None:
    said = examined.out_text[examined.out_text.index('Likely mislabelled') :]
    lines = said.splitlines()
    assert len(lines) <= 20
    assert lines[-1] == f'All of it: {examined.out}/examine.html'
    assert 'Near duplicates: 4 groups, 9 images;' in said
    assert re.search(r'^Likely mislabelled: about \d+ \(\d+ to \d+\) of 132 images', said)
    assert '1 nearly black, 1 tiny, 1 extremely long' in said


def test_the_page_is_whole_and_nothing_on_it_runs(examined: Examined) -> None:
    assert sorted(path.name for path in examined.out.iterdir()) == FILES
    page = (examined.out / 'examine.html').read_text()
    said = examined.out_text[examined.out_text.index('Likely mislabelled') :].splitlines()
    assert set(said[:-1]) <= {line.removeprefix('<pre>') for line in page.splitlines()}
    assert '<script' not in page
    assert '&lt;script&gt;' in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert 'red roses: likely bluebells' in page
    assert page.count('data:image/jpeg;base64,') >= 9 + 5 + 3
    assert page.count('<table') == page.count('<div class="scroll" tabindex="0" role="region" ')


def test_the_page_fits_a_phone_and_breaks_no_words(examined: Examined, tmp_path: Path) -> None:
    with browser.started(tmp_path) as chromium:
        size = {'height': 900, 'deviceScaleFactor': 1, 'mobile': False}
        for width in 400, 1280:
            chromium.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size | {'width': width})
            chromium.get((examined.out / 'examine.html').as_uri())
            assert chromium.execute_script('return document.documentElement.scrollWidth') == width
            heights = chromium.execute_script(
                "return [...document.querySelectorAll('#classes tbody tr')]"
                '.map(row => row.clientHeight)'
            )
            assert max(heights) < 70, 'a name of two words takes two lines'
        assert not browser.complaints(chromium)


def test_conversion_keeps_near_duplicates_in_one_split(examined: Examined, tmp_path: Path) -> None:
    def splits_crossed(*flags: str) -> int:
        ended = call(
            'examine', examined.faults.image_dir, f'--examine_dir={tmp_path / "out"}',
            *(flag for flag in examined.flags if not flag.startswith('--records_dir')),
            f'--records_dir={tmp_path / "records"}', '--testing_percentage=40', *flags,
        )  # fmt: skip
        assert ended.status == 0, ended.err
        found = json.loads((tmp_path / 'out/examine.json').read_text())
        assert len(found['near_duplicates']) == 4 or '--on_near_duplicate=drop' in flags
        return sum('splits' in group['crosses'] for group in found['near_duplicates'])

    assert splits_crossed() > 0
    table = (tmp_path / 'out/near_duplicates.tsv').rename(tmp_path / 'near_duplicates.tsv')
    assert splits_crossed(f'--near_duplicates={table}') == 0
    assert splits_crossed(f'--near_duplicates={table}', '--on_near_duplicate=drop') == 0
    assert len(tables.read(str(tmp_path / 'out/suspects.tsv'), [])) == 132 - 5
    assert tables.read(str(tmp_path / 'out/near_duplicates.tsv'), ['group', 'path']) == []


def test_hostile_names_stay_in_their_cells(examined: Examined) -> None:
    text = (examined.out / 'near_duplicates.tsv').read_bytes().decode()
    assert {line.count('\t') for line in text.splitlines()} == {4}
    assert 'no\\udcffutf8.jpg' in text


def test_the_same_seed_gives_the_same_bytes_and_the_records_do_for_the_pictures(
    examined: Examined, tmp_path: Path
) -> None:
    ended = examined.examine(f'--examine_dir={tmp_path}')
    assert ended.status == 0, ended.err
    assert 'Converting' not in ended.out
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (examined.out / name).read_bytes(), name


def test_in_python(examined: Examined, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(examined.root)
    before = sorted(examined.root.iterdir())
    records = poets_tfr.Records.open(examined.root / 'records')
    found = poets_tfr.examine(
        records,
        architecture=graphs.MOBILENET,
        model_dir=model_dir,
        bottleneck_dir=examined.root / 'features',
        examine_dir='',
        seed=1,
    )
    assert sorted(examined.root.iterdir()) == before
    columns, suspects = found.columns, found.suspects
    worst = {columns.paths[row] for row in suspects.order[:8]}
    assert set(examined.faults.relabelled) <= worst
    low, high = suspects.expected_range
    assert low <= suspects.expected <= high
    assert len(found.copies.groups()) == 4
    assert '132 images' in repr(found)
    test = [row for row in range(132) if columns.split_of(row) == 'test']
    leaked = [
        row
        for row in test
        for group in found.copies.groups()
        if row in group and any(columns.split_of(other) != 'test' for other in group)
    ]
    assert np.flatnonzero(found.leaked).tolist() == leaked != []
    assert found.crossed.by_split is not None
    right = {row for row in test if found.crossed.by_split[row].argmax() == columns.labels[row]}
    assert found.test_accuracy() == Accuracy(len(right), len(test))
    rest = set(test) - set(leaked)
    assert found.test_accuracy(without_leaked=True) == Accuracy(len(right & rest), len(rest))


def test_networks_are_compared_each_by_features_of_its_own(
    examined: Examined, tmp_path: Path
) -> None:
    flags = [flag for flag in examined.flags if not flag.startswith('--architecture')]
    names = graphs.MOBILENET, 'inception_2015_12_05'
    ended = call(
        'examine', f'--architectures={",".join([*names, names[1].upper()])}',
        f'--examine_dir={tmp_path}', *flags,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert 'Creating 130 bottlenecks with inception_2015_12_05' in ended.out  # 2 copies
    assert f'bottlenecks with {names[0]}' not in ended.out
    value = json.loads((tmp_path / 'examine.json').read_text())
    assert value['architecture'] == names[0], 'the first of them is looked at'
    networks = {network['name']: network for network in value['networks']}
    assert set(networks) == set(names)
    accuracies = [network['accuracy'] for network in value['networks']]
    assert accuracies == sorted(accuracies, reverse=True)
    # Nine labels are wrong, and a black picture has none.
    assert 0.85 < networks[names[0]]['accuracy'] <= 1 - 5 / 132
    assert all(0 < network['error'] < 0.05 for network in value['networks'])
    assert all(network['images_per_second'] > 0 for network in value['networks'])
    page = (tmp_path / 'examine.html').read_text()
    table = page[page.index('id="networks"') :]
    assert re.findall('<tr><td>(.*?)</td>', table)[:2] == [n['name'] for n in value['networks']]
    said = ended.out[ended.out.index('Networks, by accuracy') :].splitlines()
    assert [line.split(':')[0].strip() for line in said[1:3]] == [
        network['name'] for network in value['networks']
    ]
    assert examined.json['networks'] == []


def test_the_size_is_that_of_the_file_that_training_exports(
    examined: Examined, trained: tuple[Places, Ended], model_dir: Path
) -> None:
    records = poets_tfr.Records.open(examined.root / 'records')
    config = BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir))
    kept = ExtractionConfig(bottleneck_dir=str(examined.root / 'features'))
    group = np.arange(132, dtype=np.int32)
    (network,) = networks.compare(records, [config], kept, group, 0)
    size = trained[0].graph.stat().st_size
    assert size * 0.9 < network.export_bytes < size


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (
            ['D', '--architectures=MobileNet,mobilnet_0.25_128'],
            "--architectures='mobilnet_0.25_128' is not known (did you mean mobilenet_0.25_128 or",
        ),
        ([], 'Must set flag --image_dir'),
        (['D', '--examine_dir=D/bluebells'], 'lies in --image_dir'),
        (['D', '--examine_dir=D/bluebells/000.jpg/x'], 'lies in --image_dir'),
        (['D', '--seed=-1'], '--seed=-1 must be'),
        (['D', '--learning_rate=1'], "Unknown command line flag 'learning_rate'"),
        (['D', '--classes=bluebells'], 'bluebells'),
    ],
)
def test_what_cannot_be_examined_is_said_in_one_line(
    examined: Examined, tmp_path: Path, arguments: list[str], said: str
) -> None:
    folder = str(examined.faults.image_dir)
    flags = [flag for flag in examined.flags if not flag.startswith('--records_dir')]
    ended = call(
        'examine', *(each.replace('D', folder) for each in arguments), *flags,
        *([f'--records_dir={tmp_path / "records"}'] if arguments else []),
    )  # fmt: skip
    assert ended.status == 1
    *_, line = ended.err.splitlines()
    assert said in line
    assert 'Traceback' not in ended.err


def test_weights_of_one_network_are_not_taken_for_several(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='weights=mine.h5 are of one network'):
        poets_tfr.examine(
            tmp_path / 'pictures', architectures=('MobileNet', 'MobileNetV2'), weights='mine.h5',
            records_dir=tmp_path / 'records', bottleneck_dir=tmp_path / 'features', examine_dir='',
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_too_few_pictures_are_refused(model_dir: Path, tmp_path: Path) -> None:
    colours.write(tmp_path / 'pictures', per_class=6)
    with pytest.raises(InputError, match='18 different images are too few to examine'):
        poets_tfr.examine(
            tmp_path / 'pictures', architecture=graphs.MOBILENET, model_dir=model_dir,
            records_dir=tmp_path / 'records', bottleneck_dir=tmp_path / 'features', examine_dir='',
        )  # fmt: skip
