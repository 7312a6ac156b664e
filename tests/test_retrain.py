"""The main job through tools/retrain.py: a folder of pictures in, a classifier out."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
from command_line import ROOT, Ended, Places, call, start, without_few_images
from PIL import Image

from poets_tfr import locks
from poets_tfr.label.labeller import Labeller

TIME = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}: '


def retrain(places: Places, model_dir: Path, *flags: object, steps: int = 30) -> Ended:
    return call(
        'retrain',
        f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}',
        f'--how_many_training_steps={steps}',
        *places.flags(),
        *flags,
    )


def final_accuracy(ended: Ended) -> tuple[float, int]:
    """In percent, and the number of test pictures."""
    match = re.search(r'^Final test accuracy = (\d+\.\d)% \(N=(\d+)\)$', ended.out, re.MULTILINE)
    assert match, ended.out + ended.err
    return float(match[1]), int(match[2])


def misclassified(ended: Ended) -> list[str]:
    _, _, rest = ended.out.partition('=== MISCLASSIFIED TEST IMAGES ===\n')
    lines = []
    for line in rest.splitlines():
        if line.startswith('Converted'):
            break
        lines.append(line)
    return lines


def test_each_colour_gets_its_own_label(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    places, ended = trained
    accuracy, pictures = final_accuracy(ended)
    assert pictures >= 12
    assert accuracy > 90
    labeller = Labeller(str(places.graph), str(places.labels))
    assert labeller.labels == colours.LABELS
    unseen = colours.write(tmp_path, per_class=3, seed=99)
    for folder, label in zip(colours.COLOURS, colours.LABELS, strict=True):
        for picture in sorted((unseen / folder).iterdir()):
            best, score = labeller.best_first(labeller.scores(picture.read_bytes()))[0]
            assert best == label
            assert score > 0.5


def test_colours_that_say_nothing_are_not_learned(model_dir: Path, tmp_path: Path) -> None:
    pictures = colours.write(tmp_path / 'pictures', per_class=60, random_classes=True)
    ended = retrain(
        Places(tmp_path), model_dir, f'--image_dir={pictures}', '--testing_percentage=40',
        '--print_misclassified_test_images', steps=200,
    )  # fmt: skip
    accuracy, tested = final_accuracy(ended)
    assert tested > 40
    assert accuracy < 60  # chance is 33
    wrong = misclassified(ended)
    assert len(wrong) == round(tested * (1 - accuracy / 100))
    for line in wrong:
        path, _, label = line.strip().rpartition('  ')
        folder = Path(path).parent.name
        assert (pictures / folder / Path(path).name).is_file()
        assert label in colours.LABELS
        assert label != dict(zip(colours.COLOURS, colours.LABELS, strict=True))[folder]
        assert line.startswith(f'{path:>70}  ')


def test_what_a_run_prints(trained: tuple[Places, Ended]) -> None:
    places, ended = trained
    lines = ended.out.splitlines()
    steps = []
    for at, line in enumerate(lines):
        if match := re.fullmatch(TIME + r'Step (\d+): Train accuracy = \d+\.\d%', line):
            step = match[1]
            entropy, validation = lines[at + 1], lines[at + 2]
            assert re.fullmatch(TIME + rf'Step {step}: Cross entropy = \d+\.\d{{6}}', entropy)
            sentence = rf'Step {step}: Validation accuracy = \d+\.\d% \(N=100\)'
            assert re.fullmatch(TIME + sentence, validation)
            steps.append(int(step))
    assert steps == [*range(0, 200, 10), 199]
    assert "Looking for images in 'Red_Roses'" in lines
    final = next(i for i, line in enumerate(lines) if line.startswith('Final test accuracy'))
    assert lines[final + 1] == 'Converted 2 variables to const ops.'
    assert lines[final + 2] == f'Save final result to : {places.graph}'
    assert '=== MISCLASSIFIED TEST IMAGES ===' not in lines


def test_the_labels_file_has_the_folders_order(trained: tuple[Places, Ended]) -> None:
    assert trained[0].labels.read_bytes() == b'green grass\nred roses\nbluebells\n'


def test_a_second_run_reuses_everything_and_repeats_its_bits(
    trained: tuple[Places, Ended], colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    first, _ = trained
    again = Places(tmp_path)
    shutil.copytree(first.records, again.records)
    shutil.copytree(first.bottlenecks, again.bottlenecks)
    flags = f'--image_dir={colours_dir}', '--testing_percentage=25', '--num_shards=2'
    ended = retrain(again, model_dir, *flags, steps=200)
    assert ended.status == 0, ended.err
    assert f'Records in {again.records} are up to date.' in ended.out
    assert re.search(r'^Features: all \d+ are in ', ended.out, re.MULTILINE)
    assert again.graph.read_bytes() == first.graph.read_bytes()
    assert again.labels.read_bytes() == first.labels.read_bytes()


def test_another_seed_gives_another_head(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    def graph_with(seed: int) -> bytes:
        places = Places(tmp_path / f'seed{seed}')
        shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
        shutil.copytree(trained[0].records, places.records)
        assert retrain(places, model_dir, f'--seed={seed}').status == 0
        return places.graph.read_bytes()

    assert graph_with(3) != graph_with(4)


def test_features_on_disk_give_the_same_head(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
    ended = retrain(places, model_dir, '--features_in_memory=off', steps=200)
    assert ended.status == 0, ended.err
    assert places.graph.read_bytes() == trained[0].graph.read_bytes()


@pytest.mark.parametrize(('copies', 'steps'), [(2, 200), (0, 25)])
def test_distorted_training(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path, copies: int, steps: int
) -> None:
    """Twice the same bits; with copies, the second run computes nothing."""
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
    flags = '--flip_left_right', '--random_crop=10', '--random_brightness=15'
    runs = []
    for _ in range(2):
        ended = retrain(places, model_dir, *flags, f'--augment_copies={copies}', steps=steps)
        assert ended.status == 0, ended.err
        runs.append((places.graph.read_bytes(), ended.out))
    (first, out), (second, again) = runs
    assert first == second
    assert first != trained[0].graph.read_bytes()
    accuracy, pictures = final_accuracy(ended)
    assert accuracy > 90
    assert pictures == final_accuracy(trained[1])[1]
    if copies:
        assert 'Distortions: 2 copies of each training image beside itself' in out
        counts = re.search(r'Features: (\d+) of (\d+) distorted copies to compute', out)
        assert counts
        assert counts[1] == counts[2]
        assert f'Features: all {counts[1]} distorted copies are in ' in again
    else:
        assert 'Distortions: anew for the images of every step' in out
        assert len(list(places.bottlenecks.iterdir())) == 1


def test_records_alone_are_enough(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    records = shutil.copytree(trained[0].records, tmp_path / 'records')
    before = {path.name: path.read_bytes() for path in records.iterdir()}
    places = Places(tmp_path)
    ended = retrain(places, model_dir, '--validation_batch_size=-1')
    assert ended.status == 0, ended.err
    assert final_accuracy(ended)[1] == final_accuracy(trained[1])[1]
    assert {path.name: path.read_bytes() for path in records.iterdir()} == before
    assert 'Looking for images' not in ended.out
    # -1 is the whole validation set: its number of pictures, not 100.
    (drawn,) = set(re.findall(r'Validation accuracy = .* \(N=(\d+)\)', ended.out))
    assert 3 <= int(drawn) < 40


@pytest.mark.parametrize(
    'flag', ['--testing_percentage=30', '--split_prefix=elsewhere', '--classes=bluebells,Red_Roses']
)
def test_split_flags_must_not_contradict_the_records(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path, flag: str
) -> None:
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    ended = retrain(places, model_dir, flag)
    assert ended.status == 1
    assert ended.err.startswith(f'retrain.py: error: {flag.split("=")[0]}=')
    assert str(places.records) in ended.err
    assert not places.graph.exists()
    agreeing = retrain(places, model_dir, '--testing_percentage=25', steps=1)
    assert agreeing.status == 0, agreeing.err


def test_records_must_be_whole(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    ended = retrain(places, model_dir)
    assert (ended.status, ended.out) == (1, '')
    assert str(places.records) in ended.err
    shutil.copytree(trained[0].records, places.records)
    shard = sorted(places.records.glob('*.tfrecord-*-of-00002'))[0]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    ended = retrain(places, model_dir)
    assert ended.status == 1
    assert shard.name in ended.err
    # The same length, but another content: found when it is read.
    middle = len(content) // 2
    shard.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    ended = retrain(places, model_dir)
    assert ended.status == 1
    assert f'{shard} is damaged: delete it' in ended.err


def test_no_test_pictures_no_final_accuracy(
    colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    flags = f'--image_dir={colours_dir}', '--testing_percentage=0', '--validation_percentage=0'
    ended = retrain(places, model_dir, *flags, steps=3)
    assert ended.status == 0, ended.err
    assert 'Final test accuracy' not in ended.out
    assert 'no final test accuracy' in ended.out
    assert 'Validation accuracy' not in ended.out
    assert re.findall(r'Step (\d+): Train', ended.out) == ['0', '2']
    assert places.graph.stat().st_size > 0


def test_intermediate_graphs_and_the_saved_model(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
    folder = tmp_path / 'intermediate'  # no trailing slash: the original wrote beside it then
    ended = retrain(
        places, model_dir, '--intermediate_store_frequency=10',
        f'--intermediate_output_graphs_dir={folder}', steps=31,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    names = [f'intermediate_{step}.pb' for step in (10, 20, 30)]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert f'Save intermediate result to : {folder / name}\n' in ended.out
    graphs_ = [(folder / name).read_bytes() for name in names]
    assert len(set(graphs_)) == 3
    # The last step is the 31st, number 30, and the stored heads do not disturb the training.
    assert graphs_[2] == places.graph.read_bytes()
    without = Places(tmp_path / 'without')
    shutil.copytree(places.records, without.records)
    retrain(without, model_dir, steps=31)
    assert without.graph.read_bytes() == graphs_[2]
    Labeller(str(folder / names[0]), str(places.labels))


def test_no_steps_leave_a_head_that_knows_nothing(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
    ended = retrain(places, model_dir, steps=0)
    assert ended.status == 0, ended.err
    assert 'Step ' not in ended.out
    final_accuracy(ended)
    labeller = Labeller(str(places.graph), str(places.labels))
    scores = labeller.scores(colours.encoded(colours.draw('bluebells', _rng())))
    assert abs(scores - 1 / 3).max() < 0.05


def test_damaged_pictures_are_left_out(model_dir: Path, tmp_path: Path) -> None:
    pictures = colours.write(tmp_path / 'pictures', per_class=20)
    bad = pictures / 'Red_Roses/001.jpg'
    bad.write_bytes(bad.read_bytes()[:200])
    ended = retrain(Places(tmp_path), model_dir, f'--image_dir={pictures}', steps=2)
    assert ended.status == 0, ended.err
    assert 'Red_Roses/001.jpg' in (tmp_path / 'records/skipped.tsv').read_text()
    assert re.search(r'^Features: 59 of 59 images to compute\.$', ended.out, re.MULTILINE)


def test_what_cannot_be_written_is_said_before_any_work(
    colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    ended = retrain(places, model_dir, f'--image_dir={colours_dir}', f'--output_graph={tmp_path}')
    assert (ended.status, ended.err.count('\n')) == (1, 1)
    assert '--output_graph' in ended.err
    (tmp_path / 'model').mkdir()
    (tmp_path / 'model/thesis.txt').touch()
    flag = f'--saved_model_dir={tmp_path / "model"}'
    ended = retrain(places, model_dir, f'--image_dir={colours_dir}', flag)
    assert ended.status == 1
    assert flag in ended.err
    one = f'{tmp_path}/./both.pb'
    for flag, other in ('output_labels', 'output_graph'), ('tflite_output', 'output_graph'):
        typed = f'--image_dir={colours_dir}', f'--{other}={tmp_path}/both.pb', f'--{flag}={one}'
        ended = retrain(places, model_dir, *typed)
        assert (ended.status, ended.err.count('\n')) == (1, 1)
        assert f'--{other} and --{flag} both name {one}' in ended.err
    assert not places.records.exists()
    assert (tmp_path / 'model/thesis.txt').exists()


def test_a_graph_and_its_labels_are_replaced_together(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path)
    for folder in 'records', 'bottlenecks':
        shutil.copytree(trained[0].root / folder, tmp_path / folder)
    for path in places.graph, places.labels:
        path.write_bytes(b'old')
    real = os.fsync

    def fsync(handle: int) -> None:
        if '/.output_labels' in os.readlink(f'/proc/self/fd/{handle}'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        real(handle)

    monkeypatch.setattr(os, 'fsync', fsync)
    ended = retrain(places, model_dir)
    says = f'retrain.py: error: {places.labels}: No space left on device\n'
    assert (ended.status, ended.err) == (1, says)
    assert places.graph.read_bytes() == places.labels.read_bytes() == b'old'
    assert not list(tmp_path.glob('.*'))


def test_a_name_that_the_graph_has_already_is_refused_before_training(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    ended = retrain(places, model_dir, '--final_tensor_name=input')
    assert ended.status == 1
    assert "--final_tensor_name='input'" in ended.err
    assert 'Step ' not in ended.out


def test_a_learning_rate_that_is_too_large_stops_with_a_hint(
    trained: tuple[Places, Ended], model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    shutil.copytree(trained[0].records, places.records)
    shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
    ended = retrain(places, model_dir, '--learning_rate=1e38')
    assert ended.status == 1
    assert re.search(r'error: Step \d+: .*--learning_rate', ended.err)
    assert not places.graph.exists()


def test_real_photos_and_the_real_mobilenet(
    photos_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in models_dir.iterdir()}
    ended = call(
        'retrain',
        f'--image_dir={photos_dir}',
        '--architecture=mobilenet_0.25_128',
        f'--model_dir={models_dir}',
        '--how_many_training_steps=300',
        '--split_prefix=tf_files/flower_photos',
        *places.flags(),
    )
    assert ended.status == 0, ended.err
    accuracy, tested = final_accuracy(ended)
    assert accuracy > 70
    assert tested == expected_test_pictures(photos_dir, 'tf_files/flower_photos')
    assert {path.name: path.stat().st_mtime_ns for path in models_dir.iterdir()} == before
    assert ended.out.count('Looking for images') == 5


def expected_test_pictures(photos_dir: Path, prefix: str) -> int:
    """The original's formula, written anew."""
    count = 0
    for path in photos_dir.glob('*/*.jpg'):
        hashed = f'{prefix}/{path.parent.name}/{path.name}'
        number = int(hashlib.sha1(hashed.encode()).hexdigest(), 16) % 2**27
        count += 10 <= number * 100 / (2**27 - 1) < 20
    return count


def test_pictures_of_any_size_and_shape(model_dir: Path, tmp_path: Path) -> None:
    """A grey, a wide and a tiny one among the others: each gets its row."""
    pictures = colours.write(tmp_path / 'pictures', per_class=20)
    Image.new('L', (50, 50), 128).save(pictures / 'Red_Roses/grey.jpg')
    Image.new('RGB', (400, 3)).save(pictures / 'Red_Roses/wide.png')
    Image.new('RGB', (1, 1)).save(pictures / 'Red_Roses/tiny.png')
    ended = retrain(Places(tmp_path), model_dir, f'--image_dir={pictures}', steps=1)
    assert ended.status == 0, ended.err
    assert 'Features: 63 of 63 images to compute.' in ended.out


def test_folders_of_any_name(model_dir: Path, tmp_path: Path) -> None:
    """Chinese, and bytes that are no UTF-8 at all: labels of their own, printed and read again."""
    pictures = colours.write(tmp_path / 'pictures', per_class=20)
    (pictures / 'Red_Roses').rename(pictures / '玫瑰')
    (pictures / 'bluebells').rename(pictures / '\udcff\udcfe')
    places = Places(tmp_path)
    process = start(
        ROOT / 'tools/retrain.py', f'--image_dir={pictures}', f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', '--how_many_training_steps=100',
        '--print_misclassified_test_images', *places.flags(),
    )  # fmt: skip
    assert (process.status, without_few_images(process.err)) == (0, '')
    assert places.labels.read_bytes() == 'green grass\n玫瑰\n'.encode() + b'\xff\xfe\n'
    labelled = start(
        ROOT / 'tools/label_image.py', pictures / '玫瑰/000.png', pictures / '\udcff\udcfe/001.jpg',
        f'--graph={places.graph}', f'--labels={places.labels}',
    )  # fmt: skip
    assert (labelled.status, labelled.err) == (0, '')
    lines = labelled.out.splitlines()
    assert lines[1].startswith('玫瑰 (score = ')
    assert lines[5].startswith('\\udcff\\udcfe (score = ')


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize('shared', ['output_graph', 'summaries_dir', 'checkpoint_path'])
def test_outputs_that_another_run_is_writing(
    colours_dir: Path, model_dir: Path, tmp_path: Path, shared: str
) -> None:
    """Refused at the start, whichever it is; the other run's files stay as they are."""
    other, own = Places(tmp_path / 'other'), Places(tmp_path / 'own')
    place = {
        'output_graph': other.graph,
        'summaries_dir': other.summaries,
        'checkpoint_path': other.checkpoints,
    }[shared]
    flags = [
        f'--image_dir={colours_dir}', f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', *own.flags(), f'--{shared}={place}',
    ]  # fmt: skip
    with locks.only_run({'summaries_dir': str(place)}):
        ended = call('retrain', *flags)
    assert ended.status == 1
    message = ended.err.splitlines()[-1]
    assert f'error: --{shared}: {place} is being written by process {os.getpid()} on ' in message
    assert '--run_dir' in message
    assert not own.records.exists(), 'before the conversion'
    assert not own.summaries.exists()
    assert list(tmp_path.rglob('.*')) == []
