"""Runs in numbered folders: found again, labelled with, compared, gone on with, repeated."""

from __future__ import annotations

import concurrent.futures
import json
import re
import shutil
import sys
from pathlib import Path

import graphs
import pytest
from command_line import ROOT, Ended, Places, call

from poets_tfr.errors import InputError
from poets_tfr.run import folders
from poets_tfr.run.settings import RunConfig

SUMMARY = re.compile(
    r'^Test: (\d+\.\d)% of (\d+) images are classified correctly \(95 % range (\d+\.\d)% to '
    r'(\d+\.\d)%; always guessing the commonest class: (\d+\.\d)%\)\.$',
    re.MULTILINE,
)


@pytest.fixture
def flags(
    trained: tuple[Places, Ended],
    colours_dir: Path,
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Of a short run; its cache is a copy of `trained`'s, so that nothing is computed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    cache = tmp_path / 'cache/poets_tfr'
    shutil.copytree(trained[0].bottlenecks, cache / 'features')
    shutil.copytree(model_dir, cache / 'models')
    return [
        f'--image_dir={colours_dir}', f'--architecture={graphs.MOBILENET}', '--run_dir=runs/c',
        '--how_many_training_steps=40', '--testing_percentage=25', '--self_test_pictures=0',
    ]  # fmt: skip


def test_each_run_has_a_folder_that_is_found_again(flags: list[str], tmp_path: Path) -> None:
    first = call('retrain', *flags)
    assert first.status == 0, first.err
    assert 'Run: runs/c/1\n' in first.out
    assert 'Features: all 72 are in ' in first.out, 'shared by all runs, in the cache'
    second = call('retrain', *flags, '--learning_rate=0.02', '--seed=5')
    assert second.status == 0, second.err
    run = tmp_path / 'runs/c'
    assert sorted(path.name for path in run.iterdir()) == ['1', '2', 'latest']
    assert (run / 'latest').read_text() == '2\n'
    for name in 'output_graph.pb', 'output_labels.txt', 'report.html', 'retrain.flags':
        assert (run / '1' / name).is_file(), name
        assert (run / '2' / name).is_file(), name
    assert not any(path.is_symlink() for path in run.rglob('*')), 'TensorBoard would show it twice'
    picture = sorted(Path(flags[0].partition('=')[2]).glob('*/*'))
    wanted = call('label_image', f'--graph={run}/2/output_graph.pb', picture[0]).out
    for place in run, run / 'latest', run / '2', tmp_path / 'runs':
        ended = call('label_image', f'--graph={place}', picture[0])
        assert (ended.status, ended.out) == (0, wanted), ended.err
    assert call('label_image', f'--graph={run}/1', picture[0]).out != wanted
    ended = call('runs')
    assert ended.status == 0, ended.err
    header, *rows = (re.split(r'  +', line) for line in ended.out.splitlines())
    differing = ['learning_rate', 'seed']
    assert header == [
        'run', 'images', *differing, 'test accuracy', '95 % range', 'seconds', 'finished'
    ]  # fmt: skip
    assert [row[:4] for row in rows] == [
        ['c/1', '72', '0.01', '0'], ['c/2', '72', '0.02', '5']
    ]  # fmt: skip
    report = json.loads((run / '2/report.json').read_text())
    assert rows[1][4] == f'{report["test"]["accuracy"]:.1%}'


def test_a_run_that_fails_leaves_no_number_and_is_not_the_latest(
    flags: list[str], tmp_path: Path
) -> None:
    assert call('retrain', *flags).status == 0
    ended = call('retrain', *flags, '--warm_start=missing.pb')
    assert (ended.status, ended.err.count('\n')) == (1, 1)
    assert sorted(path.name for path in (tmp_path / 'runs/c').iterdir()) == ['1', 'latest']
    with pytest.raises(InputError, match='no finished run there'):
        folders.latest(str(tmp_path))


def test_resume_goes_on_in_the_newest_unfinished_folder(flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / 'runs/c'
    for steps in 40, 80:
        assert call('retrain', *flags, f'--how_many_training_steps={steps}').status == 0
    undisturbed = (run / '2/output_graph.pb').read_bytes()
    shutil.rmtree(run / '2')
    shutil.copytree(run / '1', run / '2')  # as a run leaves it that is killed at step 40
    (run / '2/report.json').unlink()
    ended = call('retrain', *flags, '--how_many_training_steps=80', '--resume')
    assert ended.status == 0, ended.err
    assert 'Resuming at step 40, from runs/c/2/checkpoint/head.' in ended.out
    assert (run / '2/output_graph.pb').read_bytes() == undisturbed
    assert (run / 'latest').read_text() == '2\n'
    again = call('retrain', *flags, '--resume')
    assert 'Run: runs/c/3\n' in again.out, 'nothing is unfinished'


def test_its_flagfile_repeats_it_in_a_folder_of_its_own(flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / 'runs/c'
    assert call('retrain', *flags, '--seed=7', '--output_labels=mine.txt').status == 0
    text = (run / '1/retrain.flags').read_text()
    assert f'--run_dir={run}\n' in text
    assert f'--output_labels={tmp_path}/mine.txt\n' in text
    for name in 'output_graph', 'summaries_dir', 'checkpoint_path', 'bottleneck_dir', 'model_dir':
        assert f'--{name}=' not in text
    ended = call('retrain', f'--flagfile={run}/1/retrain.flags')
    assert ended.status == 0, ended.err
    graphs_written = [(run / number / 'output_graph.pb').read_bytes() for number in '12']
    assert graphs_written[0] == graphs_written[1]
    assert (run / '2/retrain.flags').read_text().partition('\n')[2] == text.partition('\n')[2]


def test_a_number_is_taken_once(tmp_path: Path) -> None:
    def take(_: int) -> str:
        with folders.taken(str(tmp_path)) as folder:
            (Path(folder) / 'kept').touch()
            return Path(folder).name

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(take, range(24)))
    assert sorted(map(int, numbers)) == list(range(1, 25))


def test_a_saved_models_numbers_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / 'model/1').mkdir(parents=True)
    (tmp_path / 'model/1/saved_model.pb').touch()
    assert folders.find(str(tmp_path / 'model')) == []
    assert folders.find(str(tmp_path)) == []


def test_the_last_lines_say_how_good_it_is_and_what_to_do_next(flags: list[str]) -> None:
    ended = call('retrain', *flags)
    match = SUMMARY.search(ended.out)
    assert match
    accuracy, _, low, high, baseline = map(float, match.groups())
    final = re.search(r'^Final test accuracy = (\S+)% \(N=(\d+)\)$', ended.out, re.MULTILINE)
    assert final
    assert final.groups() == match.groups()[:2]
    assert low < accuracy <= high <= 100
    assert 30 < baseline < 50
    last = ended.out[match.start() :].splitlines()
    assert len(last) <= 12
    assert last[-4] == 'Next:'
    assert 'WARNING: ' in ended.err
    assert 'test images are too few to say how good the classifier is' in ended.err


def test_under_make_the_next_commands_are_makes(
    flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/test_packaging.py holds make to them."""
    monkeypatch.setenv('MAKELEVEL', '1')
    monkeypatch.setattr(sys, 'argv', [str(ROOT / 'tools/retrain.py')])
    ended = call('retrain', *flags)
    assert [line.split('   ')[0] for line in ended.out.splitlines()[-3:-1]] == [
        '  make label PICTURE=my.jpg RUN=runs/c',
        '  make serve RUN=runs/c',
    ]


def test_what_was_left_out_is_said_at_the_end(flags: list[str], tmp_path: Path) -> None:
    pictures = shutil.copytree(flags[0].partition('=')[2], tmp_path / 'pictures')
    (pictures / 'bluebells/broken.jpg').write_bytes(b'no image')
    ended = call('retrain', *flags, f'--image_dir={pictures}')
    assert ended.status == 0, ended.err
    assert '\n1 of 73 images were left out: 1 ' in ended.err
    report = json.loads((tmp_path / 'runs/c/1/report.json').read_text())
    assert report['left_out']['skipped'] == 1
    assert (report['left_out']['found'], report['left_out']['ignored']) == (73, 0)


@pytest.mark.parametrize(('mode', 'lines'), [('all', 3 * 5), ('few', 5), ('auto', 3 * 5)])
def test_steps_are_logged_as_asked(
    flags: list[str], mode: str, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations at 0, 10, 20, 30 and 39. This process's output is no terminal, and it is no
    notebook, even where something has imported what notebooks run on."""
    monkeypatch.setitem(sys.modules, 'ipykernel', sys)
    ended = call('retrain', *flags, f'--log_steps={mode}')
    assert ended.status == 0, ended.err
    found = [line for line in ended.out.splitlines() if ': Step ' in line]
    assert len(found) == lines
    assert all(re.match(r'\d{4}-\d\d-\d\d .*: Step \d+: ', line) for line in found)


def test_few_are_about_ten(flags: list[str]) -> None:
    ended = call('retrain', *flags, '--log_steps=few', '--how_many_training_steps=1000')
    found = [line for line in ended.out.splitlines() if ': Step ' in line]
    assert 10 <= len(found) <= 11
    assert all('Validation accuracy' in line for line in found)


def test_hyperparameters_are_what_was_changed() -> None:
    from poets_tfr.run import orchestrator

    always = {'architecture', 'how_many_training_steps', 'learning_rate'}
    made = RunConfig.of(image_dir='/a/pets', seed=3, resume=True, shard_mib=5, recursive=True)
    assert set(orchestrator._hyperparameters(made)) == {*always, 'seed', 'recursive'}
    assert set(orchestrator._hyperparameters(RunConfig.of(image_dir='/a/pets'))) == always


def test_a_report_of_somebody_else_stays_and_ends_no_run(flags: list[str], tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.summaries.mkdir()
    (places.summaries / 'report.json').write_text('{"mine": true}\n')
    kept = [flag for flag in flags if not flag.startswith('--run_dir')]
    models = f'--model_dir={tmp_path}/cache/poets_tfr/models'
    ended = call('retrain', *kept, models, *places.flags())
    assert ended.status == 0, ended.err
    assert 'report.json was not written by this program' in ended.err
    assert SUMMARY.search(ended.out)
    assert (places.summaries / 'report.json').read_text() == '{"mine": true}\n'


def test_odd_neighbours_do_not_hide_a_run(flags: list[str], tmp_path: Path) -> None:
    assert call('retrain', *flags).status == 0
    run = tmp_path / 'runs/c'
    (run / '07').mkdir()
    (run / '99').write_text('a file')
    for number, content in enumerate(['[]', '{"a": 1}', '{"self_test": {}}', 'no JSON'], 2):
        (run / str(number)).mkdir()
        (run / str(number) / 'report.json').write_text(content)
    assert folders.latest(str(run)) == str(run / '1')
    (run / 'latest').unlink()
    assert folders.latest(str(tmp_path / 'runs')) == str(run / '1'), 'told by what runs leave'
    (run / 'latest').write_bytes(b'\xff\0')
    with pytest.raises(InputError, match='latest names no run'):
        folders.find(str(run / 'latest'))
    (run / 'latest').unlink()
    (run / 'latest').mkdir()
    ended = call('retrain', *flags)
    assert (ended.status, ended.err.count('\n')) == (1, 1)
    assert f'{run.name}/latest is a folder' in ended.err


def test_an_evaluation_replaces_no_report_of_a_run(flags: list[str], tmp_path: Path) -> None:
    assert call('retrain', *flags).status == 0
    run = tmp_path / 'runs/c'
    before = (run / '1/report.json').read_bytes()
    for place in run / '1', run:
        ended = call('evaluate', f'--graph={run}', flags[0], f'--report_dir={place}')
        assert (ended.status, ended.err.count('\n')) == (1, 1)
        assert f'--report_dir={place} holds a run' in ended.err
    assert (run / '1/report.json').read_bytes() == before


def test_runs_are_not_kept_among_the_images(flags: list[str]) -> None:
    image_dir = flags[0].partition('=')[2]
    ended = call('retrain', *flags, f'--run_dir={image_dir}/runs')
    assert ended.status == 1
    assert 'nothing is written among the images' in ended.err
    assert not (Path(image_dir) / 'runs').exists()


def test_a_flagfile_holds_lists_and_refuses_what_it_cannot_hold(
    flags: list[str], colours_dir: Path, tmp_path: Path
) -> None:
    pictures = shutil.copytree(colours_dir, tmp_path / 'pictures')
    (pictures / 'Red_Roses').rename(pictures / 'red, "roses"')
    classes = '--classes="red, ""roses""",bluebells'
    ended = call('retrain', *flags, f'--image_dir={pictures}', classes)
    assert ended.status == 0, ended.err
    flagfile = tmp_path / 'runs/c/1/retrain.flags'
    assert f'{classes}\n' in flagfile.read_text()
    again = call('retrain', f'--flagfile={flagfile}')
    assert again.status == 0, again.err
    labels = [(tmp_path / f'runs/c/{n}/output_labels.txt').read_text() for n in (1, 2)]
    assert labels[0] == labels[1]
    odd = shutil.copytree(colours_dir, tmp_path / 'images ')
    ended = call('retrain', *flags, f'--image_dir={odd}')
    assert ended.status == 0, ended.err
    assert (
        'retrain.flags is not written: a flagfile cannot hold the value of --image_dir' in ended.err
    )
    assert not (tmp_path / 'runs/c/3/retrain.flags').exists()


def test_where_no_model_is_named_the_newest_here_is_taken_and_said(
    flags: list[str], tmp_path: Path
) -> None:
    assert call('retrain', *flags).status == 0
    picture = sorted(Path(flags[0].partition('=')[2]).glob('*/*'))[0]
    wanted = call('label_image', f'--graph={tmp_path}/runs/c/1', picture)
    ended = call('label_image', picture)
    assert (ended.status, ended.out) == (0, wanted.out), ended.err
    assert 'No model was named: ' in ended.err
    assert 'runs/c/1/output_graph.pb is taken' in ended.err
