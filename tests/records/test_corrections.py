"""--corrections of every command that takes it: images of another class, and those left out."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import colours
import corrected
import graphs
import pytest
from command_line import Ended, Places, call
from conversion import config, contents, converted, identities, listed, splits_of

from poets_tfr.errors import InputError
from poets_tfr.records.reading import Records
from poets_tfr.records.schema import parse_all
from poets_tfr.records.shards import plan_shards
from poets_tfr.sources.listing import ClassFolder, Listing, Picture

GRASS, ROSES, BLUEBELLS = 0, 1, 2


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    return colours.write(tmp_path / 'flowers', per_class=24)


@pytest.fixture
def records_dir(tmp_path: Path) -> Path:
    return tmp_path / 'records'


def convert(
    image_dir: Path, table: Path | None, *flags: str, tool: str = 'convert_images'
) -> Ended:
    said = [f'--corrections={table}'] if table else []
    records = f'--records_dir={image_dir.parent / "records"}'
    return call(tool, f'--image_dir={image_dir}', records, *said, *flags)


def written(image_dir: Path, *lines: tuple[str, ...]) -> Path:
    return corrected.write(image_dir.parent / 'corrections.tsv', *lines)


def columns_of(records_dir: Path) -> dict[str, tuple[str, int]]:
    """Path -> split and label, as the records have them."""
    records = Records.open(records_dir)
    return {
        path: (split, int(label))
        for split in records.splits
        for path, label in zip(records[split].paths, records[split].labels, strict=True)
    }


def manifest_of(records_dir: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads((records_dir / 'manifest.json').read_bytes())
    return value


def row_of(out: str, label: str) -> list[str]:
    (*_, row) = re.findall(rf'^{label} +(\d+) +(\d+) +(\d+)$', out, re.MULTILINE)
    return list(row)


def test_labels_change_images_are_left_out_and_splits_stay(
    image_dir: Path, records_dir: Path
) -> None:
    before = splits_of(listed(image_dir))
    of_test = [path for path, split in before.items() if split == 'test']
    rose = next(path for path in of_test if path.startswith('Red_Roses/'))
    table = written(
        image_dir,
        corrected.line(image_dir, rose, 'relabel', 'bluebells'),
        corrected.line(image_dir, 'Red_Roses/003.jpg', 'relabel', 'Green Grass'),  # a folder's name
        corrected.line(image_dir, 'bluebells/001.jpg', 'leave_out'),
        corrected.line(image_dir, 'bluebells/002.jpg', 'right'),
    )
    ended = convert(image_dir, table)
    assert (ended.status, ended.err) == (0, '')
    assert 'Corrections: relabelled 2, left out 1, right as they are 1.' in ended.out
    assert 'Found 72 files: 71 as is, 1 dropped, 0 ignored.' in ended.out
    found = columns_of(records_dir)
    assert found.keys() == before.keys() - {'bluebells/001.jpg'}
    assert {path: split for path, (split, _) in found.items()} == {
        path: split for path, split in before.items() if path != 'bluebells/001.jpg'
    }
    labels = {'Green Grass': GRASS, 'Red_Roses': ROSES, 'bluebells': BLUEBELLS}
    wanted = {path: labels[path.split('/')[0]] for path in found}
    wanted |= {rose: BLUEBELLS, 'Red_Roses/003.jpg': GRASS}
    assert {path: label for path, (_, label) in found.items()} == wanted
    assert [sum(map(int, row_of(ended.out, label))) for label in colours.LABELS] == [25, 22, 24]
    test = Records.open(records_dir)['test']
    record = parse_all(test.record(test.rows_of([rose])[0]))
    assert (record['image/class/label'], record['image/class/text']) == (BLUEBELLS, b'bluebells')


def test_what_was_done_stands_in_the_manifest_and_in_skipped_tsv(
    image_dir: Path, records_dir: Path
) -> None:
    table = written(
        image_dir,
        corrected.line(image_dir, 'bluebells/001.jpg', 'leave_out'),
        corrected.line(image_dir, 'Red_Roses/003.jpg', 'relabel', 'green grass'),
    )
    convert(image_dir, table)
    manifest = manifest_of(records_dir)
    assert manifest['relabelled'] == 1
    assert manifest['skip_reasons'] == {'left out by --corrections': 1}
    assert len(manifest['settings']['corrections']) == 16  # type: ignore[index]
    skipped = (records_dir / 'skipped.tsv').read_text().splitlines()
    assert [line.split('\t')[:2] for line in skipped[1:]] == [
        ['bluebells/001.jpg', 'left out by --corrections']
    ]
    inspected = call('inspect_records', f'--records_dir={records_dir}').out
    assert '1 relabelled.' in inspected
    assert 'skipped 1: left out by --corrections' in inspected


def test_only_the_shards_concerned_are_written_again(image_dir: Path, records_dir: Path) -> None:
    flags = '--num_shards=3', '--validation_percentage=20'
    convert(image_dir, None, *flags)
    stood, bytes_before = identities(records_dir), contents(records_dir)
    table = written(
        image_dir, corrected.line(image_dir, 'bluebells/004.jpg', 'relabel', 'red roses')
    )
    ended = convert(image_dir, table, *flags)
    assert 'Records: 8 of 9 shards stand.' in ended.out
    now = identities(records_dir)
    (other,) = [shard for shard in stood if now[shard] != stood[shard]]
    assert 'bluebells/004.jpg' in (records_dir / f'{other}.index.jsonl').read_text()
    assert f'Records in {records_dir} are up to date.' in convert(image_dir, table, *flags).out
    assert identities(records_dir) == now
    # A word of praise changes nothing; without the table all is as it was, to the byte.
    written(
        image_dir,
        corrected.line(image_dir, 'bluebells/004.jpg', 'relabel', 'red roses'),
        corrected.line(image_dir, 'bluebells/005.png', 'right'),
    )
    assert f'Records in {records_dir} are up to date.' in convert(image_dir, table, *flags).out
    convert(image_dir, None, *flags)
    assert contents(records_dir) == bytes_before


def test_leaving_out_makes_no_fewer_shards() -> None:
    mib = 1 << 20
    pictures = [Picture(f'a/{n}.jpg', 0, 'train', mib, 1) for n in range(5)]
    classes = ClassFolder('a', 'a'), ClassFolder('b', 'b')
    unwanted = dataclasses.replace(pictures[0], is_unwanted=True)
    copy = dataclasses.replace(pictures[0], copy_of='a/1.jpg')
    for first, shards in (pictures[0], 5), (unwanted, 5), (copy, 4):
        listing = Listing(classes, (first, *pictures[1:]), 0)
        assert len(plan_shards(config('images', shard_mib=1), listing)) == shards


def test_a_table_of_right_labels_gives_the_same_bytes(image_dir: Path, records_dir: Path) -> None:
    convert(image_dir, None)
    before = contents(records_dir)
    convert(image_dir, written(image_dir, corrected.line(image_dir, 'bluebells/001.jpg', 'right')))
    assert contents(records_dir) == before
    assert 'corrections' not in manifest_of(records_dir)['settings']  # type: ignore[operator]
    assert 'relabelled' not in manifest_of(records_dir)


def test_images_that_changed_or_went_are_named_and_stay_as_they_are(
    image_dir: Path, records_dir: Path
) -> None:
    table = written(
        image_dir,
        corrected.line(image_dir, 'bluebells/001.jpg', 'leave_out'),
        corrected.line(image_dir, 'bluebells/002.jpg', 'relabel', 'red roses'),
        corrected.line(image_dir, 'bluebells/003.jpg', 'relabel', 'red roses'),
    )
    shutil.copy(image_dir / 'bluebells/004.jpg', image_dir / 'bluebells/001.jpg')
    (image_dir / 'bluebells/002.jpg').unlink()
    ended = convert(image_dir, table)
    assert 'Corrections: relabelled 1, left out 0, right as they are 0.' in ended.out
    assert 'Correction not applied, the image has changed: bluebells/001.jpg' in ended.err
    assert 'Correction not applied, there is no such image: bluebells/002.jpg' in ended.err
    found = columns_of(records_dir)
    assert found['bluebells/001.jpg'][1] == BLUEBELLS
    assert found['bluebells/003.jpg'][1] == ROSES


def test_no_other_image_moves_into_a_split_that_a_class_has_left(
    image_dir: Path, records_dir: Path
) -> None:
    before = splits_of(listed(image_dir, testing_percentage=1))
    (only,) = [p for p, s in before.items() if s == 'test' and p.startswith('bluebells')]
    left_out = next(p for p, s in before.items() if s == 'train' and p.startswith('bluebells'))
    table = written(
        image_dir,
        corrected.line(image_dir, only, 'relabel', 'red roses'),
        corrected.line(image_dir, left_out, 'leave_out'),
    )
    ended = convert(image_dir, table, '--testing_percentage=1')
    assert {path: split for path, (split, _) in columns_of(records_dir).items()} == {
        path: split for path, split in before.items() if path != left_out
    }
    said = 'classes without images in test, once labels are corrected: 1 (bluebells).'
    assert said in ended.err


def test_of_copies_the_one_that_is_wanted_stays(image_dir: Path, records_dir: Path) -> None:
    shutil.copy(image_dir / 'Red_Roses/004.jpg', image_dir / 'bluebells/004.jpg')
    table = written(image_dir, corrected.line(image_dir, 'Red_Roses/004.jpg', 'leave_out'))
    convert(image_dir, table, '--on_duplicate=drop')
    found = columns_of(records_dir)
    assert 'bluebells/004.jpg' in found
    assert 'Red_Roses/004.jpg' not in found


@pytest.mark.parametrize(
    ('lines', 'said'),
    [
        ([('bluebells/001.jpg', 'relabel', 'blubells')], r'blubells.*\(did you mean bluebells\?\)'),
        ([('bluebells/001.jpg', 'relabel', 'oaks')], r"'oaks', which no class is called\. Classes"),
        ([('bluebells/001.jpg', 'relabel', '')], 'bluebells/001.jpg: relabel wants a label'),
        ([('bluebells/001.jpg', 'delete', '')], "'delete', and must be right, relabel or"),
        (
            [('bluebells/001.jpg', 'right', ''), ('bluebells/001.jpg', 'leave_out', '')],
            r'says two things of bluebells/001.jpg: right .*, and leave_out ',
        ),
        (
            [(f'bluebells/{i:03d}.{"jpg" if i % 5 else "png"}', 'relabel', 'red roses')
             for i in range(24)],
            "no training images of 'bluebells' are left",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    lines: list[tuple[str, str, str]], said: str, image_dir: Path, records_dir: Path
) -> None:
    convert(image_dir, None)
    before = contents(records_dir)
    ended = convert(image_dir, written(image_dir, *(corrected.line(image_dir, *x) for x in lines)))
    assert (ended.status, ended.err.count('\n')) == (1, 1)
    assert re.search(f'error: --corrections.*{said}', ended.err), ended.err
    assert contents(records_dir) == before


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, 'there is no such file'),
        (b'path\tdigest\n', "names no column 'action'"),
        (b'path\tdigest\taction\tlabel\twhen_first_shown\na\tb\tright\t\t\n', '64 hex digits'),
    ],
)
def test_what_is_no_table_is_refused(
    content: bytes | None, said: str, image_dir: Path, records_dir: Path
) -> None:
    table = image_dir.parent / 'table.tsv'
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(InputError, match=f'corrections: .*table.tsv.*{said}'):
        converted(image_dir, records_dir, corrections=str(table))


def test_a_line_twice_is_one(image_dir: Path) -> None:
    line = corrected.line(image_dir, 'bluebells/001.jpg', 'leave_out')
    ended = convert(image_dir, written(image_dir, line, line))
    assert ', left out 1,' in ended.out


def test_hostile_names_are_told_apart(tmp_path: Path, records_dir: Path) -> None:
    image_dir = colours.write(tmp_path / 'flowers', per_class=12)
    names = '=cmd|calc.jpg', 'a\tb\n.jpg', '<img src=x>.jpg', '\\t.jpg'
    for name in names:
        shutil.copy(image_dir / 'bluebells/001.jpg', image_dir / 'bluebells' / name)
    lines = [corrected.line(image_dir, f'bluebells/{name}', 'leave_out') for name in names]
    ended = convert(image_dir, written(image_dir, *lines))
    assert ', left out 4,' in ended.out
    assert len(columns_of(records_dir)) == 36


def test_workers_of_beam_write_the_same_bytes(image_dir: Path, records_dir: Path) -> None:
    table = written(
        image_dir,
        corrected.line(image_dir, 'bluebells/001.jpg', 'leave_out'),
        corrected.line(image_dir, 'Red_Roses/003.jpg', 'relabel', 'green grass'),
    )
    convert(image_dir, table)
    wanted = contents(records_dir)
    shutil.rmtree(records_dir)
    ended = convert(
        image_dir, table, '--runner=DirectRunner', '--direct_num_workers=2',
        '--direct_running_mode=multi_threading', tool='convert_images_beam',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert 'Corrections: relabelled 1, left out 1, right as they are 0.' in ended.out
    assert contents(records_dir) == wanted


def test_a_run_is_trained_and_reported_with_them(
    image_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    table = written(
        image_dir,
        corrected.line(image_dir, 'bluebells/001.jpg', 'leave_out'),
        corrected.line(image_dir, 'Red_Roses/003.jpg', 'relabel', 'green grass'),
    )
    places = Places(tmp_path)
    ended = call(
        'retrain', f'--image_dir={image_dir}', f'--corrections={table}', *places.flags(),
        f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}',
        '--how_many_training_steps=5',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert '1 of 72 images were left out: 1 left out by --corrections' in ended.err
    report = json.loads((places.summaries / 'report.json').read_bytes())
    assert report['left_out']['relabelled'] == 1
    assert report['left_out']['skip_reasons'] == {'left out by --corrections': 1}
    page = (places.summaries / 'report.html').read_text()
    assert re.search(r'id="relabelled">1 images', page)
    # From the records alone, too: another table is another contract.
    again = 'retrain', *places.flags(), f'--architecture={graphs.MOBILENET}'
    fixed = f'--model_dir={model_dir}', '--how_many_training_steps=5'
    assert call(*again, *fixed, f'--corrections={table}').status == 0
    written(image_dir, corrected.line(image_dir, 'bluebells/002.jpg', 'leave_out'))
    refused = call(*again, *fixed, f'--corrections={table}')
    assert refused.status == 1
    assert 'convert again' in refused.err


def test_an_export_is_evaluated_with_them(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    places, _ = trained
    unseen = colours.write(tmp_path / 'unseen', per_class=6, seed=77)
    shutil.copy(unseen / 'Red_Roses/001.jpg', unseen / 'bluebells/red.jpg')
    shutil.copy(unseen / 'Red_Roses/002.jpg', unseen / 'bluebells/no_flower.jpg')
    table = tmp_path / 'corrections.tsv'

    def evaluate(*flags: str) -> Ended:
        return call('evaluate', f'--graph={places.graph}', f'--labels={places.labels}', *flags)

    assert evaluate(str(unseen)).out.endswith('Accuracy = 90.0% (N=20)\n')
    corrected.write(
        table,
        corrected.line(unseen, 'bluebells/red.jpg', 'relabel', 'red roses'),
        corrected.line(unseen, 'bluebells/no_flower.jpg', 'leave_out'),
        corrected.line(unseen, 'bluebells/001.jpg', 'right'),
    )
    ended = evaluate(str(unseen), f'--corrections={table}')
    assert ended.out.endswith('Accuracy = 100.0% (N=19)\n')
    assert 'Corrections: relabelled 1, left out 1, right as they are 1.' in ended.out
    corrected.write(table, corrected.line(unseen, 'bluebells/red.jpg', 'relabel', 'red rose'))
    ended = evaluate(str(unseen), f'--corrections={table}')
    assert ended.status == 1
    assert (
        "bluebells/red.jpg is to be 'red rose', which no class is called (did you mean red "
        'roses?)' in ended.err
    )
    ended = evaluate(f'--records_dir={places.records}', f'--corrections={table}')
    assert ended.status == 1
    assert 'goes with --image_dir' in ended.err
