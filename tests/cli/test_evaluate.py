"""evaluate.py as it is typed: an export against records, and against folders."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import colours
import numpy as np
import pytest
from command_line import Ended, Places, call, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from poets_tfr import evaluation
from poets_tfr.reporting import metrics
from poets_tfr.training.predictions import Predictions


def evaluate(places: Places, *arguments: object) -> Ended:
    graph, labels = f'--graph={places.graph}', f'--labels={places.labels}'
    return call('evaluate', graph, labels, *arguments)


def accuracy_line(out: str) -> tuple[str, str]:
    match = re.search(r'ccuracy = (\d+\.\d)% \(N=(\d+)\)$', out, re.MULTILINE)
    assert match, out
    return match[1], match[2]


def shown_by_tensorboard(summaries: Path) -> float:
    accumulator = EventAccumulator(str(summaries / 'test'))
    accumulator.Reload()
    (event,) = accumulator.Scalars('final/accuracy')
    return event.value


def assert_one_accuracy(places: Places, ended: Ended, report_dir: Path) -> float:
    """TensorBoard, report.json, the log and evaluate.py on the records agree; gives the number."""
    evaluated = evaluate(places, f'--records_dir={places.records}', f'--report_dir={report_dir}')
    assert (evaluated.status, evaluated.err) == (0, '')
    run = json.loads((places.summaries / 'report.json').read_bytes())['test']
    again = json.loads((report_dir / 'report.json').read_bytes())['test']
    assert again['accuracy'] == run['accuracy']
    assert again['confusion'] == run['confusion']
    assert again['classes'] == run['classes']
    assert again['cross_entropy'] == pytest.approx(run['cross_entropy'], rel=1e-4)
    assert shown_by_tensorboard(places.summaries) == np.float32(run['accuracy'])
    final = re.search(r'^Final test accuracy = .*$', ended.out, re.MULTILINE)
    assert final
    percent = f'{run["accuracy"] * 100:.1f}', str(run['pictures'])
    assert accuracy_line(final[0]) == percent
    assert accuracy_line(evaluated.out) == percent
    assert evaluated.out.splitlines()[-1].startswith('Accuracy = ')
    return run['accuracy']


def test_one_test_accuracy_everywhere(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    assert assert_one_accuracy(*trained, tmp_path) > 0.9


@pytest.mark.slow
def test_one_test_accuracy_everywhere_on_real_photos(
    photos_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    ended = call(
        'retrain', f'--image_dir={photos_dir}', '--architecture=mobilenet_0.25_128',
        f'--model_dir={models_dir}', '--how_many_training_steps=1000', *places.flags(),
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert 0.5 < assert_one_accuracy(places, ended, tmp_path / 'report') < 1


def test_a_folder_of_pictures(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    """Two of its three classes, one picture in the wrong folder, one that is none."""
    unseen = colours.write(tmp_path / 'unseen', per_class=6, seed=77)
    shutil.rmtree(unseen / 'bluebells')
    wrong = unseen / 'Green Grass' / 'red.jpg'
    shutil.copy(unseen / 'Red_Roses' / '001.jpg', wrong)
    (unseen / 'Green Grass' / 'no picture.jpg').write_bytes(b'none')
    report_dir = tmp_path / 'report'
    ended = evaluate(trained[0], f'--image_dir={unseen}', f'--report_dir={report_dir}')
    assert ended.status == 1
    assert 'no picture.jpg' in ended.err
    assert '1 files could not be decoded' in ended.err
    assert ended.out.splitlines()[-1] == 'Accuracy = 92.3% (N=13)'
    value = json.loads((report_dir / 'report.json').read_bytes())
    assert value['given']['accuracy'] == pytest.approx(12 / 13)
    (mistake,) = value['mistakes']
    assert mistake['path'] == 'Green Grass/red.jpg'
    assert (mistake['label'], mistake['predicted']) == ('green grass', 'red roses')
    page = (report_dir / 'report.html').read_text()
    assert '92.3 %' in page


def test_a_folder_is_seen_as_training_sees_it(
    trained: tuple[Places, Ended], tmp_path: Path
) -> None:
    """An empty folder is no class, and nested folders are taken with --recursive."""
    unseen = colours.write(tmp_path / 'unseen', per_class=4, seed=77)
    (unseen / 'empty class').mkdir()
    shutil.copy(unseen / 'bluebells' / '001.jpg', unseen)
    (unseen / 'Red_Roses' / 'more').mkdir()
    shutil.copy(unseen / 'bluebells' / '001.jpg', unseen / 'Red_Roses' / 'more' / 'blue.jpg')
    records = f'--records_dir={tmp_path / "records"}'
    converted = call('convert_images', f'--image_dir={unseen}', records)
    seen = [line for line in converted.err.splitlines() if 'less than 20' not in line]
    assert seen == [
        'Red_Roses: 1 folders (more) hold images that are ignored: --recursive includes them.',
        'No files found in empty class: it is not used as a class.',
        f'{unseen}: images outside any class folder: 1, ignored.',
    ]
    ended = evaluate(trained[0], f'--image_dir={unseen}')
    assert (ended.status, ended.err.splitlines()) == (0, seen)
    assert accuracy_line(ended.out) == ('100.0', '12')
    report_dir = tmp_path / 'report'
    ended = evaluate(
        trained[0], f'--image_dir={unseen}', '--recursive', f'--report_dir={report_dir}'
    )
    assert (ended.status, ended.err.splitlines()) == (0, seen[1:])
    assert accuracy_line(ended.out) == ('92.3', '13')
    (mistake,) = json.loads((report_dir / 'report.json').read_bytes())['mistakes']
    assert mistake['path'] == 'Red_Roses/more/blue.jpg'


def test_labels_that_were_put_right_and_folders_of_0_1(
    trained: tuple[Places, Ended], tmp_path: Path
) -> None:
    unseen = colours.write(tmp_path / 'unseen', per_class=2, seed=77)
    (unseen / 'Red_Roses').rename(unseen / 'RedéRoses')  # 'red roses' by the rule of 0.1
    ended = evaluate(trained[0], f'--image_dir={unseen}')
    assert accuracy_line(ended.out) == ('100.0', '6')
    labels = tmp_path / 'labels.txt'
    labels.write_text('Green-Grass\nRedéRoses\nBluebells\n')
    ended = evaluate(trained[0], f'--labels={labels}', f'--image_dir={unseen}')
    assert accuracy_line(ended.out) == ('100.0', '6')
    assert 'RedéRoses' in ended.out
    ended = evaluate(trained[0], f'--labels={labels}', f'--records_dir={trained[0].records}')
    assert ended.status == 0, ended.err
    assert ended.err.count('\n') == 1


def test_system_folders_are_passed_over(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    unseen = colours.write(tmp_path / 'unseen', per_class=2, seed=77)
    shutil.copytree(unseen / 'bluebells', unseen / 'Red_Roses' / '@eaDir' / '000.jpg')
    shutil.copytree(unseen / 'bluebells', unseen / '#recycle')
    ended = evaluate(trained[0], f'--image_dir={unseen}', '--recursive')
    assert accuracy_line(ended.out) == ('100.0', '6')
    assert ended.err == (
        'Folders of the system or of other programs: 2, not looked into (#recycle, '
        'Red_Roses/@eaDir). Rename one that holds images of yours.\n'
    )


def test_links_out_of_the_folder(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    outside = colours.write(tmp_path / 'outside', per_class=3, seed=77)
    inside = tmp_path / 'inside'
    shutil.copytree(outside / 'Red_Roses', inside / 'Red_Roses')
    (inside / 'bluebells').symlink_to(outside / 'bluebells')
    (inside / 'Red_Roses' / 'blue.jpg').symlink_to(outside / 'bluebells' / '001.jpg')
    ended = evaluate(trained[0], f'--image_dir={inside}')
    assert (ended.status, accuracy_line(ended.out)) == (0, ('85.7', '7'))
    ended = evaluate(trained[0], f'--image_dir={inside}', '--nofollow_links')
    assert (ended.status, accuracy_line(ended.out)) == (1, ('100.0', '3'))
    assert ended.err.splitlines() == [
        f'bluebells is a link out of {inside}: not followed.',
        f'{inside}/Red_Roses/blue.jpg: a link out of image_dir; --follow_links takes it',
        '1 files could not be decoded.',
    ]


def test_a_folder_without_pictures(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    (tmp_path / 'bluebells').mkdir()
    ended = evaluate(trained[0], f'--image_dir={tmp_path}')
    assert (ended.status, ended.out) == (1, '')
    assert ended.err.splitlines() == [
        'No files found in bluebells: it is not used as a class.',
        f'evaluate.py: error: --image_dir: {tmp_path}: no image to evaluate.',
    ]


@pytest.mark.parametrize('flag', ['image_dir', 'records_dir'])
def test_a_missing_folder_is_said_before_tensorflow_loads(
    trained: tuple[Places, Ended], flag: str
) -> None:
    program = f"""
import sys
from poets_tfr.cli import evaluate
status = evaluate.main(['evaluate.py', '--{flag}=/nowhere', '--graph={trained[0].graph}'])
print(status, 'tensorflow' in sys.modules)
"""
    ended = start('-c', program)
    assert ended.out == '1 False\n'
    assert '/nowhere' in ended.err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'Must set flag --image_dir'),
        (['--image_dir=/nowhere', '--records_dir=/nowhere'], 'and not both'),
        (['--image_dir=/nowhere'], 'there is no folder /nowhere'),
        (['--image_dir=a.zip'], 'archives have to be converted first: poets-convert'),
        (['--records_dir=/nowhere'], 'no manifest.json'),
        (['--records_dir=/nowhere', '--split=exam'], 'split'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    trained: tuple[Places, Ended], flags: list[str], message: str
) -> None:
    ended = evaluate(trained[0], *flags)
    assert ended.status == 1
    assert message in ended.err
    assert ended.err.count('\n') == 1


def test_a_class_that_the_model_does_not_know(
    trained: tuple[Places, Ended], tmp_path: Path
) -> None:
    unseen = colours.write(tmp_path, per_class=1)
    (unseen / 'bluebells').rename(unseen / 'ponies')
    ended = evaluate(trained[0], f'--image_dir={unseen}')
    assert ended.status == 1
    assert "'ponies'" in ended.err
    assert 'green grass, red roses, bluebells' in ended.err


@pytest.mark.slow
def test_as_a_process_of_its_own(trained: tuple[Places, Ended]) -> None:
    places, _ = trained
    graph, records = f'--graph={places.graph}', f'--records_dir={places.records}'
    ended = start('tools/evaluate.py', graph, records, '--split=validation')
    assert (ended.status, ended.err) == (0, '')
    assert accuracy_line(ended.out)


def test_a_table_of_many_classes_has_the_weakest() -> None:
    truth = np.arange(3000, dtype=np.int32)
    scores = np.eye(3000, dtype=np.float32)
    scores[7] = scores[8]
    figures = metrics.measure(Predictions(('p.jpg',) * 3000, truth, scores))
    lines = evaluation.table(figures, [f'class {i}' for i in range(3000)]).splitlines()
    assert len(lines) < 30
    assert lines[1].split() == ['class', '7', '1', '-', '0.0%', '0.0%']
    assert lines[21] == 'Of 3,000 classes the 20 weakest; --report_dir has all of them.'
