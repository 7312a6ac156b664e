"""label_image.py --sort_into: images into folders by label."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import colours
import numpy as np
import pytest
from command_line import Ended, Places, call

from poets_tfr.label.sorting import folder_names


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Two images of each class, in two folders that use the same names; and one that is none."""
    rng = np.random.default_rng(2)
    for folder in 'a', 'b':
        (tmp_path / 'inbox' / folder).mkdir(parents=True)
        for number, name in enumerate(colours.COLOURS):
            content = colours.encoded(colours.draw(name, rng))
            (tmp_path / f'inbox/{folder}/{number}.jpg').write_bytes(content)
    return tmp_path / 'inbox'


def sort(trained: tuple[Places, Ended], into: Path, *arguments: object) -> Ended:
    graph = f'--graph={trained[0].graph}'
    return call('label_image', graph, f'--sort_into={into}', *arguments)


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def sorted_ones(inbox: Path) -> dict[str, bytes]:
    """Where all images of the inbox go."""
    return {
        f'{label}/{number}{ending}.jpg': (inbox / f'{folder}/{number}.jpg').read_bytes()
        for number, label in enumerate(colours.LABELS)
        for folder, ending in (('a', ''), ('b', '_2'))
    }


def test_copies_by_label_again_and_again(
    trained: tuple[Places, Ended], inbox: Path, tmp_path: Path
) -> None:
    before, into = tree(inbox), tmp_path / 'sorted'
    ended = sort(trained, into, inbox)
    assert ended.status == 0
    assert ended.err == f'Copied 6 images into {into}: 2 green grass, 2 red roses, 2 bluebells.\n'
    assert ended.out.count('(score = ') == 18
    assert tree(into) == sorted_ones(inbox)
    assert tree(inbox) == before
    stood = {path: path.stat().st_mtime_ns for path in into.rglob('*')}
    again = sort(trained, into, inbox)
    assert f'Copied 6 images into {into} (6 were there already)' in again.err
    assert {path: path.stat().st_mtime_ns for path in into.rglob('*')} == stood


def test_a_leading_tilde_is_the_home_folder(
    trained: tuple[Places, Ended], inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert sort(trained, Path('~/sorted'), 'a/2.jpg').status == 0
    assert list(tree(tmp_path / 'home')) == ['sorted/bluebells/2.jpg']
    assert not (inbox / '~').exists()


def test_what_is_there_stays(trained: tuple[Places, Ended], inbox: Path, tmp_path: Path) -> None:
    into = tmp_path / 'sorted'
    (into / 'red roses').mkdir(parents=True)
    (into / 'red roses/1.jpg').write_bytes(b'mine')
    assert sort(trained, into, inbox / 'a').status == 0
    assert tree(into / 'red roses') == {
        '1.jpg': b'mine', '1_2.jpg': (inbox / 'a/1.jpg').read_bytes(),
    }  # fmt: skip


def test_links_lead_to_the_images(
    trained: tuple[Places, Ended], inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox.parent)
    into = tmp_path / 'sorted'
    ended = sort(trained, Path('sorted'), 'inbox', '--sort_by=link')
    assert ended.status == 0
    assert ended.err.startswith('Linked 6 images into sorted: 2 green grass')
    assert tree(into) == sorted_ones(inbox)
    assert os.readlink(into / 'bluebells/2_2.jpg') == str(inbox / 'b/2.jpg')
    assert '(6 were there already)' in sort(trained, into, inbox, '--sort_by=link').err


def test_unsure_and_bad_ones(trained: tuple[Places, Ended], inbox: Path, tmp_path: Path) -> None:
    (inbox / 'a/0.jpg').write_bytes(b'no image')
    into = tmp_path / 'sorted'
    ended = sort(trained, into, inbox, '--min_score=1', '--format=csv')
    assert ended.status == 1
    assert '1 of 6 images could not be labelled.\n' in ended.err
    assert ended.err.endswith(f'Copied 5 images into {into}: 5 unsure.\n')
    assert [p.name for p in into.iterdir()] == ['unsure']
    assert ended.out.startswith('path,rank,label,score\n')


def test_what_lies_there_already_is_not_sorted_again(
    trained: tuple[Places, Ended], inbox: Path
) -> None:
    into = inbox / 'sorted'
    assert sort(trained, into, inbox).status == 0
    ended = sort(trained, into, inbox)
    assert ended.err.startswith(f'6 images lie in {into} already, and are passed over.\n')
    assert len(tree(into)) == 6
    ended = sort(trained, into, into)
    assert ended.status == 1
    assert 'all images lie in it already' in ended.err


def test_labels_lead_nowhere_else(
    trained: tuple[Places, Ended], inbox: Path, tmp_path: Path
) -> None:
    """The labels of a graph are its maker's; here those of a file, which must be as many."""
    from poets_tfr.label.labeller import Labeller
    from poets_tfr.label.sorting import Sorter

    labels = ['../../out', '/etc', 'unsure']
    into = tmp_path / 'x/sorted'
    with Sorter(str(into), labels, 'copy') as sorter:
        labeller = Labeller(str(trained[0].graph))
        for labelled in labeller.label_files(str(inbox / f'a/{n}.jpg') for n in range(3)):
            assert labelled.scores is not None
            sorter.put(labelled.path, labels[int(labelled.scores.argmax())])
        sorter.put(str(inbox / 'b/0.jpg'), None)
    assert sorted(tree(tmp_path / 'x')) == [
        'sorted/_._.._out/0.jpg', 'sorted/_etc/1.jpg', 'sorted/unsure/0.jpg',
        'sorted/unsure_2/2.jpg',
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ['inbox', 'x']


@pytest.mark.parametrize(
    ('label', 'name'),
    [
        ('green grass', 'green grass'),
        ('.hidden', '_hidden'),
        ('..', '_'),
        ('', '_'),
        ('a\n\x1b[2J', 'a__[2J'),
        ('c:\\con', 'c__con'),
        ('roses. ', 'roses'),
        ('\udcff', '_'),
        ('é' * 300, 'é' * 100),
        ('UNSURE', 'UNSURE_2'),
    ],
)
def test_folder_names(label: str, name: str) -> None:
    assert folder_names([label, 'unsure']) == [name, 'unsure']


def test_labels_that_look_alike_have_folders_of_their_own() -> None:
    assert folder_names(['a/b', 'a:b', 'A_B', 'a_b_2', 'unsure']) == [
        'a_b', 'a_b_2', 'A_B_3', 'a_b_2_2', 'unsure',
    ]  # fmt: skip


def test_a_link_in_it_is_not_followed(
    trained: tuple[Places, Ended], inbox: Path, tmp_path: Path
) -> None:
    into, elsewhere = tmp_path / 'sorted', tmp_path / 'elsewhere'
    into.mkdir()
    elsewhere.mkdir()
    (into / 'bluebells').symlink_to(elsewhere)
    ended = sort(trained, into, inbox / 'a/2.jpg')
    assert ended.status == 1
    assert f'{into}/bluebells is a link or a file' in ended.err
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--sort_into=gs://x/y'], 'only a folder of this computer'),
        (['--sort_by=link'], '--sort_by=link would do nothing without --sort_into'),
        (['--sort_into=a/0.jpg'], 'a file is in the way'),
        (['--sort_into=s', '--sort_by=move'], '--sort_by=move: value should be one of <copy|link>'),
        (
            ['--sort_into=s', '--sort_by=link', 'gs://x/y.jpg'],
            'gs://x/y.jpg is not on this computer',
        ),
    ],
)
def test_what_cannot_be_done_is_said_first(
    inbox: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)
    ended = call('label_image', '--graph=nowhere.pb', 'a/1.jpg', *arguments)
    assert (ended.status, ended.out, ended.err.count('\n')) == (1, '', 1)
    assert said in ended.err, ended.err
    assert not (inbox / 's').exists()


def test_hostile_file_names(trained: tuple[Places, Ended], inbox: Path, tmp_path: Path) -> None:
    for name in '=cmd.jpg', '-rf.jpg', 'a\nb.jpg', '<img src=x>.jpg', 'no\udcffutf8.jpg':
        shutil.copy(inbox / 'a/2.jpg', inbox / 'b' / name)
    into = tmp_path / 'sorted'
    ended = sort(trained, into, inbox / 'b')
    assert ended.status == 0, ended.err
    assert {p.name for p in (into / 'bluebells').iterdir()} == {
        '=cmd.jpg', '-rf.jpg', 'a\nb.jpg', '<img src=x>.jpg', 'no\udcffutf8.jpg', '2.jpg'
    }  # fmt: skip
