"""label_image.py as it is typed."""

from __future__ import annotations

import re
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
    assert ended.err.count('\n') == 1
    lines = ended.out.splitlines()
    assert [lines[0], lines[4], lines[5]] == [f'{picture}:' for picture in pictures]
    assert list(scores(lines[1:4]))[0] == 'green grass'
    assert list(scores(lines[6:9]))[0] == 'bluebells'
    assert len(lines) == 9


def test_flags_may_come_last(trained: tuple[Places, Ended], pictures: list[Path]) -> None:
    places, _ = trained
    ended = call(
        'label_image', pictures[0], '--graph', places.graph, '--labels', places.labels
    )  # fmt: skip
    assert ended.status == 0, ended.err


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        ([], 'Name at least one picture'),
        (['nowhere.jpg'], 'nowhere.jpg: No such file'),
        (['.'], '.: Is a directory'),
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
