"""Files below a folder and nowhere else."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poets_tfr.confined import Folder
from poets_tfr.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    opened = Folder.open(str(tmp_path / 'into'))
    yield opened
    opened.close()


def contents(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in root.iterdir() if p.is_file() and not p.is_symlink()}


def test_nothing_is_replaced_and_the_same_is_not_written_twice(
    folder: Folder, tmp_path: Path
) -> None:
    written = [folder.put('a.jpg', content) for content in (b'1', b'2', b'1', b'2', b'3')]
    assert written == [True, True, False, False, True]
    wanted = {'a.jpg': b'1', 'a_2.jpg': b'2', 'a_3.jpg': b'3'}
    assert contents(tmp_path / 'into') == wanted, 'and no part is left'


def test_links_are_neither_followed_nor_replaced(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / 'mine').write_bytes(b'mine')
    (tmp_path / 'into/a').symlink_to(tmp_path / 'mine')
    (tmp_path / 'into/b').symlink_to(tmp_path / 'nowhere')
    os.mkfifo(tmp_path / 'into/c')
    assert [folder.put(name, b'mine') for name in 'abc'] == [True] * 3
    assert contents(tmp_path / 'into') == dict.fromkeys(('a_2', 'b_2', 'c_2'), b'mine')
    assert not (tmp_path / 'nowhere').exists()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'into/linked').symlink_to(tmp_path / 'elsewhere')
    for name in 'linked', 'a_2':
        with pytest.raises(InputError, match=f'into/{name} is a link or a file'):
            folder.folder(name)


def test_links_are_put_once(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / 'into/x').write_bytes(b'')
    assert [folder.put_link('x', target) for target in ('/a/x', '/b/x', '/a/x')] == [
        True, True, False,
    ]  # fmt: skip
    assert [os.readlink(tmp_path / 'into' / name) for name in ('x_2', 'x_3')] == ['/a/x', '/b/x']


@pytest.mark.parametrize('name', ['', '.', '..', '../x', 'a/b', 'a\0b'])
def test_a_name_that_leads_elsewhere_is_no_name(folder: Folder, name: str) -> None:
    for put in folder.folder, lambda n: folder.put(n, b''), lambda n: folder.put_link(n, '/x'):
        with pytest.raises(ValueError, match='is no name of a file'):
            put(name)


@pytest.mark.parametrize(
    'name', ['n' * 251 + '.jpg', 'é' * 125 + '.jpeg', '.' + 'n' * 254, '\udcff.jpg']
)
def test_names_of_any_length_get_a_number(folder: Folder, tmp_path: Path, name: str) -> None:
    assert [folder.put(name, bytes([number])) for number in range(11)] == [True] * 11
    assert len(contents(tmp_path / 'into')) == 11


def test_where_there_are_no_hard_links(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, 'not on this drive')

    monkeypatch.setattr(os, 'link', refuse)
    assert [folder.put('a', content) for content in (b'1', b'2', b'1')] == [True, True, False]
    assert contents(tmp_path / 'into') == {'a': b'1', 'a_2': b'2'}
