"""tools/mutants.py on a module of three lines, half of which is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from poets_tfr.errors import InputError
from tools import mutants

MODULE = """\
def is_small(value: int) -> bool:
    return value < 10


def area(a: int, b: int) -> int:
    return a * b
"""
TESTS = """\
import toy

def test_small():
    assert toy.is_small(9) and not toy.is_small(10)

def test_area():
    toy.area(2, 3)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / 'project'
    (root / 'tests').mkdir(parents=True)
    (root / 'toy.py').write_text(MODULE)
    (root / 'tests/test_toy.py').write_text(TESTS)
    return root


def drawn(project: Path) -> list[mutants.Mutant]:
    return list(mutants.mutants_of(project, {'toy.py': ['tests/test_toy.py']}))


def test_each_mutant_is_one_change(project: Path) -> None:
    assert [(each.line, each.diff(project)) for each in drawn(project)] == [
        (2, '    -    return value < 10\n    +    return None'),
        (2, '    -    return value < 10\n    +    return (value <= 10)'),
        (2, '    -    return value < 10\n    +    return value < 11'),
        (6, '    -    return a * b\n    +    return None'),
        (6, '    -    return a * b\n    +    return (a // b)'),
    ]


def test_a_survivor_is_told_from_a_killed_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, killed, _, _, survivor = drawn(project)
    assert mutants.try_all(project, [killed, survivor], jobs=2, time_limit=60) == [survivor]
    assert capsys.readouterr().out.splitlines() == [
        '1/2 toy.py:2 killed',
        '2/2 toy.py:6 SURVIVED',
        '    -    return a * b',
        '    +    return (a // b)',
    ]
    assert (project / 'toy.py').read_text() == MODULE


def test_tests_that_fail_anyway_show_nothing(project: Path) -> None:
    (project / 'tests/test_toy.py').write_text('def test_it():\n    assert False\n')
    with pytest.raises(InputError, match='fail as the code is'):
        mutants.try_all(project, drawn(project), jobs=1, time_limit=60)


def test_a_mutant_that_never_ends_is_killed(project: Path) -> None:
    (project / 'toy.py').write_text('def count(n):\n    while n > 0:\n        n -= 1\n')
    (project / 'tests/test_toy.py').write_text('import toy\n\ndef test():\n    toy.count(3)\n')
    [endless] = [each for each in drawn(project) if '+        pass' in each.diff(project)]
    assert mutants.try_all(project, [endless], jobs=1, time_limit=3) == []
