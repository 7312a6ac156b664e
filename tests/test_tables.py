"""Tables hold any name, and give it back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poets_tfr import tables
from poets_tfr.errors import InputError

NAMES = [
    'plain.jpg', 'a b/ü é.jpg', '=1+1', '+1', '-1', '@x', 'a\tb', 'a\nb\r', 'back\\slash', '\\t',
    '\\=x', b'\xff\xfe.jpg'.decode('utf-8', 'surrogateescape'), '\x00\x1b[31m', '\u2028',
    '\U000e0001',
]  # fmt: skip


def test_every_name_comes_back(tmp_path: Path) -> None:
    path = tmp_path / 'names.tsv'
    path.write_bytes(tables.tsv(('name', 'n'), [(name, n) for n, name in enumerate(NAMES)]))
    assert tables.read(str(path), ['name']) == [
        {'name': name, 'n': str(n)} for n, name in enumerate(NAMES)
    ]
    lines = path.read_bytes().decode().splitlines()
    assert len(lines) == len(NAMES) + 1
    assert not any(line[0] in '=+-@' for line in lines)


def test_cells_are_escaped_as_documented() -> None:
    rows = [('=x', 'a\tb', 'c\\d', -1.5)]
    assert tables.tsv(('w', 'x', 'y', 'z'), rows) == b'w\tx\ty\tz\n\\=x\ta\\tb\tc\\\\d\t-1.5\n'


@pytest.mark.parametrize('name', NAMES)
def test_cells_as_json_come_back_and_run_nowhere(name: str) -> None:
    cell = tables.json_cell(name)
    assert json.loads(f'"{cell}"') == name
    assert cell.isascii()
    assert cell.isprintable()
    assert cell[0] not in '=+-@'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'other\n1\n', "its first line names no column 'path'"),
        (b'path\tlabel\na\n', 'line 2: 1 cells, but the header has 2'),
        (b'\xff', 'not a table in UTF-8'),
    ],
)
def test_what_is_no_table_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / 't.tsv'
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as raised:
        tables.read(str(path), ['path'])
    assert str(path) in str(raised.value)


def test_lines_of_windows_are_read(tmp_path: Path) -> None:
    (tmp_path / 't.tsv').write_bytes(b'path\tlabel\r\na.jpg\tb\r\n')
    assert tables.read(str(tmp_path / 't.tsv'), ['path']) == [{'path': 'a.jpg', 'label': 'b'}]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='there is no such file'):
        tables.read(str(tmp_path / 'none.tsv'), ['path'])
