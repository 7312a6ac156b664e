"""What version 0.1 wrote goes on working: data/version_0_1, which it made itself.

By command lines and files alone, so that they hold whatever becomes of the modules. The scores are
compared to 1e-5 only: another machine may round the last bits of a float32 otherwise.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, Places, call

VERSION_0_1 = Path(__file__).parent / 'data/version_0_1'
SPLITS = '--num_shards=2', '--validation_percentage=20', '--testing_percentage=20', '--write_index'
ADAM = (
    '--optimizer=adam', '--learning_rate=0.005', '--standardize_features', '--sampling=natural',
    '--seed=3',
)  # fmt: skip
EXPORTS = {
    'graph': ('--graph=output_graph.pb', '--labels=output_labels.txt'),
    'saved model': ('--graph=saved_model',),
    'tflite': ('--graph=output.tflite',),
}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A copy of all that 0.1 wrote, and the working folder."""
    shutil.copytree(VERSION_0_1, tmp_path / 'old')
    monkeypatch.chdir(tmp_path / 'old')
    return Places(Path())


@pytest.fixture
def new(old: Places, tmp_path: Path) -> Places:
    """Where a run of today writes."""
    return Places(tmp_path / 'new')


def retrain(places: Places, *flags: object, steps: int = 200) -> Ended:
    """Of 0.1's network and features; a flag that is given again wins."""
    ended = call(
        'retrain', *places.flags(), '--tfhub_module=tiny', '--bottleneck_dir=bottlenecks',
        '--projector_pictures=0', '--learning_rate=0.1', f'--how_many_training_steps={steps}',
        *flags,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return ended


def exports_of(places: Places) -> tuple[str, str]:
    return f'--graph={places.graph}', f'--labels={places.labels}'


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def assert_scores(export: tuple[str, ...], wanted: str = 'scores.csv') -> None:
    """label_image gives just the labels that 0.1 gave, and its scores."""
    then = rows(Path(wanted).read_text())
    images = dict.fromkeys(row['path'] for row in then)
    assert len(then) == 3 * len(images) == 96
    ended = call('label_image', *images, '--format=csv', *export)
    assert (ended.status, ended.err) == (0, '')
    now = rows(ended.out)
    assert [(r['path'], r['label']) for r in now] == [(r['path'], r['label']) for r in then]
    scores = [[float(row['score']) for row in each] for each in (now, then)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def records() -> dict[str, tuple[bytes, int]]:
    """Every shard and its index: what it holds, and when it was written."""
    found = [path for path in Path('records').glob('*.tfrecord-*') if path.suffix != '.idx']
    assert len(found) == 12, 'six shards, each with .index.jsonl'
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def convert() -> Ended:
    ended = call('convert_images', '--image_dir=images', '--records_dir=records', *SPLITS)
    assert ended.status == 0, ended.err
    return ended


def shards_of_manifest() -> list[dict[str, Any]]:
    manifest = json.loads(Path('records/manifest.json').read_bytes())
    return [shard for split in manifest['splits'].values() for shard in split['shards']]


@pytest.mark.parametrize('export', EXPORTS)
def test_its_exports_label(old: Places, export: str) -> None:
    assert_scores(EXPORTS[export])


@pytest.mark.parametrize('export', EXPORTS)
def test_its_exports_are_evaluated_on_its_records(old: Places, export: str) -> None:
    ended = call('evaluate', '--records_dir=records', '--report_dir=here', *EXPORTS[export])
    assert (ended.status, ended.err) == (0, '')
    assert ended.out.splitlines()[-1] == 'Accuracy = 100.0% (N=7)'
    then, now = (json.loads(Path(d, 'report.json').read_bytes())['test'] for d in ('logs', 'here'))
    assert now['confusion'] == then['confusion']
    assert now['cross_entropy'] == pytest.approx(then['cross_entropy'], abs=1e-5)


def test_its_records_are_verified(old: Places) -> None:
    ended = call('inspect_records', '--records_dir=records', '--verify')
    assert ended.status == 0, ended.out
    assert 'Data set images, 3 classes:' in ended.out
    assert ended.out.splitlines()[-1] == 'Verified: everything is as it was written.'


@pytest.mark.parametrize('seen', ['of another place', 'of this place', 'lost'])
def test_its_records_stand_beside_the_images(old: Places, seen: str) -> None:
    """.seen.json knows the images by absolute path and time; a copy has others."""
    notes = Path('records/.seen.json')
    noted = json.loads(notes.read_bytes())
    if seen == 'of this place':
        noted['image_dir'] = str(Path('images').absolute())
        notes.write_text(json.dumps(noted))
        for name, (_, mtime_ns, _) in noted['files'].items():
            os.utime(Path('images', name), ns=(mtime_ns, mtime_ns))
    elif seen == 'lost':
        notes.unlink()
    before = records()
    ended = convert()
    assert 'Found 33 files: 1 as PNG, 31 as is, 1 skipped, 0 ignored.' in ended.out
    assert 'Records in records are up to date.' in convert().out, (
        'the first one may mend the manifest'
    )
    assert records() == before


def test_only_what_changed_is_made_anew(old: Places) -> None:
    before = records()
    shutil.copy('images/Red_Roses/002.jpg', 'images/Red_Roses/new.jpg')
    ended = convert()
    after = records()
    changed = {name for name in before if after[name] != before[name]}
    shard = 'images-train.tfrecord-00000-of-00002'
    assert changed == {shard, f'{shard}.index.jsonl'}
    assert 'Records: 5 of 6 shards stand.' in ended.out


def test_its_records_and_features_are_used(old: Places) -> None:
    """The very run of 0.1 again, over its own outputs: no image is decoded, no feature computed."""
    before = records()
    report = json.loads(Path('logs/report.json').read_bytes())
    ended = retrain(old, '--image_dir=images', *SPLITS)
    assert records() == before
    assert ' shards stand' not in ended.out, 'said where others are made'
    assert 'Features: all 32 are in bottlenecks/' in ended.out
    assert len(list(old.bottlenecks.rglob('*.npy'))) == 1
    assert old.labels.read_bytes() == (VERSION_0_1 / 'output_labels.txt').read_bytes()
    assert_scores(exports_of(old))
    again = json.loads(Path('logs/report.json').read_bytes())
    assert again['finished'] > report['finished'], "0.1's report is replaced"
    for name in 'pictures', 'labels':
        assert again[name] == report[name]


def test_its_records_alone(new: Places) -> None:
    """Without the images and the features: they are computed anew, and the classifier is equal."""
    shutil.move('images', 'away')
    ended = retrain(new, '--records_dir=records', f'--bottleneck_dir={new.bottlenecks}')
    assert 'Creating 31 bottlenecks with tiny' in ended.out
    (kept,), (made,) = Path('bottlenecks').iterdir(), new.bottlenecks.iterdir()
    assert made.name == kept.name, 'the name says what the features depend on'
    shutil.move('away', 'images')
    assert_scores(exports_of(new))


@pytest.mark.parametrize(
    ('checkpoints', 'flags', 'scores'),
    [('unfinished', (), 'scores.csv'), ('unfinished_adam', ADAM, 'scores_adam.csv')],
)
def test_its_killed_training_goes_on(
    new: Places, checkpoints: str, flags: tuple[str, ...], scores: str
) -> None:
    """To what 0.1 came to undisturbed."""
    ended = retrain(
        new, '--records_dir=records', f'--checkpoint_path={checkpoints}', '--resume', *flags
    )
    assert f'Resuming at step 16, from {checkpoints}/head.' in ended.out
    assert ': Step 10: ' not in ended.out
    assert_scores(exports_of(new), scores)


def test_its_flagfile_repeats_its_run(new: Places) -> None:
    """On another machine: only the paths are typed."""
    ended = call(
        'retrain', '--flagfile=logs/retrain.flags', *new.flags(), '--image_dir=images',
        '--tfhub_module=tiny', '--bottleneck_dir=bottlenecks',
        f'--saved_model_dir={new.root / "saved_model"}', f'--tflite_output={new.root / "tflite"}',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    names = [path.name for path in VERSION_0_1.glob('records/*.tfrecord-*')]
    assert len(names) == 18
    for name in names:
        assert (new.records / name).read_bytes() == (Path('records') / name).read_bytes()
    for export in new.graph, new.root / 'saved_model', new.root / 'tflite':
        assert_scores((f'--graph={export}', f'--labels={new.labels}'))


def test_its_graph_starts_a_training(new: Places) -> None:
    ended = retrain(new, '--records_dir=records', '--warm_start=output_graph.pb', steps=0)
    assert 'Warm start: 3 of 3 classes from a former run.' in ended.out
    assert_scores(exports_of(new))


def test_its_checkpoint_starts_a_training(old: Places, new: Places) -> None:
    shutil.copytree('unfinished', 'resumed')
    flags = '--records_dir=records', '--checkpoint_path=resumed', '--resume'
    retrain(old, *flags, steps=16)
    ended = retrain(new, '--records_dir=records', '--warm_start=unfinished', steps=0)
    assert 'Warm start: 3 of 3 classes from a former run.' in ended.out
    labelled = [
        call('label_image', 'images/bluebells/001.jpg', *exports_of(places)).out
        for places in (old, new)
    ]
    assert labelled[0] == labelled[1] != ''


def test_digests_of_the_indexes_are_added(old: Places) -> None:
    """By a conversion, which rewrites no shard for them."""
    assert all('index_sha256' not in shard for shard in shards_of_manifest())
    before = records()
    convert()
    assert records() == before
    shards = shards_of_manifest()
    assert len(shards) == 6
    for shard in shards:
        index = Path('records', f'{shard["file"]}.index.jsonl').read_bytes()
        assert shard['index_sha256'] == hashlib.sha256(index).hexdigest()


def test_records_without_digests_are_taken_and_said_once(new: Places) -> None:
    ended = retrain(new, '--records_dir=records', steps=0)
    lines = [line for line in (ended.out + ended.err).splitlines() if 'digests of' in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith('Records of version 0.1, without digests')
