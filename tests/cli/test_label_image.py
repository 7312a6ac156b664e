"""label_image.py as it is typed."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import colours
import numpy as np
import pytest
from command_line import ROOT, Ended, Places, call, start


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(2)
    paths = []
    for folder in colours.COLOURS:
        paths.append(tmp_path / f'a {folder}.jpg')
        paths[-1].write_bytes(colours.encoded(colours.draw(folder, rng)))
    return paths


def label(trained: tuple[Places, Ended], *arguments: object) -> Ended:
    places, _ = trained
    return call('label_image', f'--graph={places.graph}', f'--labels={places.labels}', *arguments)


def scores(lines: list[str]) -> dict[str, float]:
    matches = [re.fullmatch(r'([a-z ]+) \(score = ([01]\.\d{5})\)', line) for line in lines]
    assert all(matches), lines
    return {match[1]: float(match[2]) for match in matches if match}


def test_one_picture(trained: tuple[Places, Ended], pictures: list[Path]) -> None:
    for picture, wanted in zip(pictures, colours.LABELS, strict=True):
        ended = label(trained, picture)
        assert (ended.status, ended.err) == (0, '')
        found = scores(ended.out.splitlines())
        assert sorted(found) == sorted(colours.LABELS)
        assert list(found)[0] == wanted
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert sum(found.values()) == pytest.approx(1, abs=2e-5)


def test_several_pictures_of_which_one_is_bad(
    trained: tuple[Places, Ended], pictures: list[Path]
) -> None:
    pictures[1].write_bytes(pictures[1].read_bytes()[:200])
    ended = label(trained, *pictures)
    assert ended.status == 1
    assert ended.err.startswith(f'label_image.py: error: {pictures[1]}: ')
    assert ended.err.splitlines()[1:] == ['1 of 3 images could not be labelled.']
    lines = ended.out.splitlines()
    assert [lines[0], lines[4]] == [f'{pictures[0]}:', f'{pictures[2]}:']
    assert list(scores(lines[1:4]))[0] == 'green grass'
    assert list(scores(lines[5:8]))[0] == 'bluebells'
    assert len(lines) == 8


def test_a_pipe_in_a_folder_is_not_waited_for(
    trained: tuple[Places, Ended], pictures: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / 'inbox'
    folder.mkdir()
    os.mkfifo(folder / 'a.jpg')
    os.link(pictures[0], folder / 'b.jpg')
    ended = label(trained, folder)
    assert ended.status == 1
    assert ended.err.startswith(f'label_image.py: error: {folder}/a.jpg: a named pipe, not a file')
    assert ended.out.startswith(f'{folder}/b.jpg:\ngreen grass')


def test_flags_may_come_last(trained: tuple[Places, Ended], pictures: list[Path]) -> None:
    places, _ = trained
    ended = call(
        'label_image', pictures[0], '--graph', places.graph, '--labels', places.labels
    )  # fmt: skip
    assert ended.status == 0, ended.err


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        ([], 'Name at least one image'),
        (['nowhere.jpg'], 'nowhere.jpg: No such file'),
        (['configs'], "'configs' has no images in it"),
        (['no*where.jpg'], "'no*where.jpg' matches no file"),
        (['--top_k=-1', 'a.jpg'], '--top_k=-1 must be 0 (all labels) or more.'),
        (['--min_score=nan', 'a.jpg'], '--min_score=nan must be 0 to 1.'),
        (['--grap=x', 'a.jpg'], "Unknown command line flag 'grap'. Did you mean: graph ?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    trained: tuple[Places, Ended], arguments: list[str], says: str
) -> None:
    ended = label(trained, *arguments)
    assert (ended.status, ended.out) == (1, '')
    assert ended.err.startswith('label_image.py: error: ')
    assert says in ended.err
    assert ended.err.count('\n') == 1


def test_wrong_graph_and_labels(
    trained: tuple[Places, Ended], pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / 'labels.txt').write_text('daisy\n')
    ended = label(trained, pictures[0], f'--labels={tmp_path / "labels.txt"}')
    assert ended.status == 1
    assert 'are of different runs' in ended.err
    ended = label(trained, pictures[0], f'--graph={pictures[0]}')
    assert ended.status == 1
    assert 'is not a TensorFlow graph' in ended.err
    ended = label(trained, pictures[0], f'--graph={tmp_path / "none.pb"}')
    assert ended.status == 1
    assert 'none.pb not found' in ended.err


def test_as_a_process_of_its_own(trained: tuple[Places, Ended], pictures: list[Path]) -> None:
    """From another folder, with a path that is not UTF-8 on its command line."""
    places, _ = trained
    odd = pictures[0].parent / 'r\udcff.jpg'
    pictures[0].rename(odd)
    ended = start(
        ROOT / 'tools/label_image.py', odd, pictures[2],
        f'--graph={places.graph}', f'--labels={places.labels}', cwd=odd.parent,
    )  # fmt: skip
    assert (ended.status, ended.err) == (0, '')
    assert 'r\\udcff.jpg:\n' in ended.out
    assert list(scores(ended.out.splitlines()[-3:]))[0] == 'bluebells'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One picture of each class, one below in a folder of its own, and what is no picture."""
    rng = np.random.default_rng(3)
    (tmp_path / 'in/deep').mkdir(parents=True)
    for place, name in zip(('b.jpg', 'deep/a.PNG', 'c.jpg'), colours.COLOURS, strict=True):
        (tmp_path / 'in' / place).write_bytes(colours.encoded(colours.draw(name, rng)))
    (tmp_path / 'in/notes.txt').write_text('roses')
    (tmp_path / 'in/.hidden.jpg').write_bytes(b'')
    return tmp_path / 'in'


IN_FOLDER = {'b.jpg': 'green grass', 'c.jpg': 'bluebells', 'deep/a.PNG': 'red roses'}


def best(ended: Ended) -> dict[str, str]:
    """Path -> best label, from --format=json."""
    return {line['path']: line['label'] for line in map(json.loads, ended.out.splitlines())}


def test_a_folder_stands_for_its_pictures(trained: tuple[Places, Ended], folder: Path) -> None:
    ended = label(trained, folder, '--format=json')
    assert ended.status == 0
    assert ended.err.startswith(f'{folder}: 1 files with .txt are ignored')
    assert ended.err.count('\n') == 1
    assert best(ended) == {str(folder / path): name for path, name in IN_FOLDER.items()}


def test_a_thumbnail_of_a_system_folder_is_no_picture_of_yours(
    trained: tuple[Places, Ended], folder: Path
) -> None:
    thumbs = folder / 'deep/@eaDir/a.PNG'
    thumbs.mkdir(parents=True)
    (folder / 'b.jpg').rename(thumbs / 'SYNOPHOTO_THUMB_M.jpg')
    (folder / 'notes.txt').unlink()
    ended = label(trained, folder, '--format=json')
    assert list(best(ended)) == [str(folder / 'c.jpg'), str(folder / 'deep/a.PNG')]
    assert ended.err == (
        'Folders of the system or of other programs: 1, not looked into (deep/@eaDir). Rename one '
        'that holds images of yours.\n'
    )
    ended = label(trained, f'{folder}/**/*.*', '--format=json')
    assert list(best(ended)) == [str(folder / 'c.jpg'), str(folder / 'deep/a.PNG')]


def test_a_pattern_that_the_shell_left_alone(trained: tuple[Places, Ended], folder: Path) -> None:
    ended = label(trained, f'{folder}/*.jpg', f'{folder}/**/*.PNG', '--format=json')
    assert list(best(ended)) == [str(folder / name) for name in IN_FOLDER]


def test_a_file_with_a_patterns_name_is_a_file(trained: tuple[Places, Ended], folder: Path) -> None:
    odd = folder / 'b[1].jpg'
    (folder / 'b.jpg').rename(odd)
    assert list(best(label(trained, odd, '--format=json'))) == [str(odd)]


@pytest.mark.parametrize('separator', ['\n', '\0'])
def test_a_list_on_standard_input(
    trained: tuple[Places, Ended], folder: Path, separator: str
) -> None:
    names = [folder / 'c.jpg', folder / 'deep']
    if separator == '\0':
        names[0] = names[0].rename(folder / 'line\nbreak.jpg')
    ended = subprocess.run(
        [sys.executable, ROOT / 'tools/label_image.py', f'--graph={trained[0].graph}',
         '--format=json', '-'],
        input=separator.join(map(str, names)), capture_output=True, text=True, timeout=120,
        env={key: value for key, value in os.environ.items() if key != 'TF_CPP_MIN_LOG_LEVEL'},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = best(Ended(0, ended.stdout, ''))
    assert found == {str(names[0]): 'bluebells', str(folder / 'deep/a.PNG'): 'red roses'}


def test_many_pictures_keep_their_order(
    trained: tuple[Places, Ended], colours_dir: Path, tmp_path: Path
) -> None:
    """More than one batch, and a damaged file in the middle of one."""
    damaged = tmp_path / 'm.jpg'
    whole = next(colours_dir.rglob('*.jpg')).read_bytes()
    damaged.write_bytes(whole[:-100])
    paths = sorted(colours_dir.rglob('*.*g'))
    ended = label(trained, *paths[:40], damaged, *paths[40:], '--format=json', '--top_k=1')
    assert ended.status == 1
    assert ended.err.startswith(f'label_image.py: error: {damaged}: damaged or truncated JPEG')
    found = best(ended)
    assert list(found) == [str(path) for path in paths]
    names = dict(zip(colours.COLOURS, colours.LABELS, strict=True))
    right = [found[str(path)] == names[path.parent.name] for path in paths]
    assert np.mean(right) > 0.9


def test_scores_do_not_depend_on_the_company(
    trained: tuple[Places, Ended], pictures: list[Path]
) -> None:
    alone = [label(trained, picture).out for picture in pictures]
    together = label(trained, *pictures).out
    for picture, out in zip(pictures, alone, strict=True):
        assert f'{picture}:\n' in together
        for found, wanted in zip(
            scores(together.split(f'{picture}:\n')[1].splitlines()[:3]).items(),
            scores(out.splitlines()).items(),
            strict=True,
        ):
            assert found[0] == wanted[0]
            assert found[1] == pytest.approx(wanted[1], abs=2e-5)


@pytest.mark.parametrize('spelling', ['--top_k=2', '--num_top_predictions=2'])
def test_top_k(trained: tuple[Places, Ended], pictures: list[Path], spelling: str) -> None:
    assert len(label(trained, pictures[0], spelling).out.splitlines()) == 2


def test_unsure(trained: tuple[Places, Ended], pictures: list[Path]) -> None:
    (score,) = scores(label(trained, pictures[0], '--top_k=1').out.splitlines()).values()
    below, above = f'--min_score={score - 0.01}', f'--min_score={score + 0.001}'
    assert label(trained, pictures[0], below).out == f'green grass (score = {score:.5f})\n'
    assert label(trained, pictures[0], above).out == f'unsure (score = {score:.5f})\n'
    line = json.loads(label(trained, pictures[0], above, '--format=json').out)
    assert (line['label'], line['unsure'], line['labels']) == (None, True, [])
    assert line['score'] == pytest.approx(score, abs=1e-5)


HOSTILE = 'a "b", <script>\tc\nd=1.jpg'


@pytest.mark.parametrize('output_format', ['csv', 'tsv', 'json', 'text'])
def test_a_hostile_name_stays_one_cell(
    trained: tuple[Places, Ended], pictures: list[Path], output_format: str
) -> None:
    hostile = pictures[0].rename(pictures[0].parent / HOSTILE)
    ended = label(trained, hostile, pictures[1], f'--format={output_format}', '--top_k=1')
    assert ended.status == 0
    if output_format == 'csv':
        rows = list(csv.DictReader(ended.out.splitlines(keepends=True)))
        assert [row['path'] for row in rows] == [str(hostile), str(pictures[1])]
        assert [row['label'] for row in rows] == ['green grass', 'red roses']
        assert [row['rank'] for row in rows] == ['1', '1']
    elif output_format == 'tsv':
        rows_ = [line.split('\t') for line in ended.out.splitlines()]
        assert rows_[0] == ['path', 'rank', 'label', 'score']
        assert [json.loads(f'"{row[0]}"') for row in rows_[1:]] == [str(hostile), str(pictures[1])]
        assert {len(row) for row in rows_} == {4}
    elif output_format == 'json':
        assert list(best(ended)) == [str(hostile), str(pictures[1])]
    else:
        assert len(ended.out.splitlines()) == 4


def test_the_tutorials_flags_do_no_harm_to_a_graph_that_knows_better(
    trained: tuple[Places, Ended], pictures: list[Path]
) -> None:
    """Passing the defaults of the original label_image.py is the classic way to wrong labels."""
    wanted = label(trained, pictures[0]).out
    ended = label(
        trained, f'--image={pictures[0]}', '--input_height=299', '--input_width=128',
        '--input_mean=0', '--input_std=127.5', '--input_layer=input',
        '--output_layer=final_result:0',
    )  # fmt: skip
    assert (ended.status, ended.out) == (0, wanted)
    warned = ended.err.splitlines()
    assert [line.split(' is not used')[0] for line in warned] == [
        'WARNING: --input_height=299',
        'WARNING: --input_mean=0.0',
    ]


def test_a_layer_that_is_not_there(trained: tuple[Places, Ended], pictures: list[Path]) -> None:
    ended = label(trained, pictures[0], '--output_layer=InceptionV3/Predictions/Reshape_1')
    assert ended.status == 1
    assert '--output_layer=InceptionV3/Predictions/Reshape_1: no such node' in ended.err
    assert 'Inputs: DecodeJpeg/contents, input' in ended.err
    assert ended.err.rstrip().endswith(' final_result.')


def test_what_a_terminal_cannot_show_is_escaped(
    trained: tuple[Places, Ended], pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('LC_ALL', 'C')
    monkeypatch.setenv('PYTHONIOENCODING', 'ascii')
    picture = pictures[0].rename(pictures[0].with_name('größe.jpg'))
    ended = start('tools/label_image.py', f'--graph={trained[0].graph}', picture, 'fehlt_ü.jpg')
    assert ended.status == 1
    assert ended.out.startswith(f'{picture.parent}/gr\\xf6\\xdfe.jpg:\ngreen grass (score = ')
    assert ended.err.startswith(r'label_image.py: error: fehlt_\xfc.jpg: ')
    assert 'Traceback' not in ended.err


def test_a_table_runs_nothing_in_a_spreadsheet(
    trained: tuple[Places, Ended], pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures[0].parent)
    names = ['=1+1.jpg', '@x.jpg', '+1.jpg']
    for name in names:
        os.link(pictures[0], name)
    ended = label(trained, *names, '--format=tsv', '--top_k=1')
    cells = [line.split('\t')[0] for line in ended.out.splitlines()[1:]]
    assert cells == ['\\u003d1+1.jpg', '\\u0040x.jpg', '\\u002b1.jpg']
    assert [json.loads(f'"{cell}"') for cell in cells] == names
