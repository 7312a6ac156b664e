"""docs/api.md, docs/flags.md and the table of docs/commands.md say what the code says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from command_line import ROOT

import poets_tfr
from poets_tfr.examination.settings import ExamineConfig
from poets_tfr.label.settings import EvaluationConfig, LabelConfig, ModelConfig, ServeConfig
from poets_tfr.run.settings import RunConfig, sections_of
from poets_tfr.settings import default_of, names_of
from tools import make_reference

SECTIONS = (
    *sections_of(RunConfig).values(), ModelConfig, LabelConfig, EvaluationConfig, ExamineConfig,
    ServeConfig,
)  # fmt: skip
DEFAULTS = {
    name: default_of(section, name) for section in reversed(SECTIONS) for name in names_of(section)
}


@pytest.mark.parametrize('name', ['api.md', 'flags.md'])
def test_the_reference_is_up_to_date(name: str) -> None:
    pages = {'api.md': make_reference.api_page, 'flags.md': make_reference.flags_page}
    assert (ROOT / 'docs' / name).read_text() == pages[name](), 'run: make docs'


def test_the_reference_has_all() -> None:
    api = (ROOT / 'docs/api.md').read_text()
    headings = re.findall(r'^## poets_tfr\.(\w+)$', api, re.MULTILINE)
    assert sorted(headings) == sorted(poets_tfr.__all__)
    assert 'self' not in re.findall(r'\w+', api)
    assert '# doctest' not in api
    flags = (ROOT / 'docs/flags.md').read_text()
    assert set(re.findall(r'^\| `--(\w+)` \|', flags, re.MULTILINE)) == set(DEFAULTS)


def rows_of_the_table() -> list[tuple[str, str]]:
    """The first two cells of each row that names a flag."""
    lines = (ROOT / 'docs/commands.md').read_text().splitlines()
    rows = [re.split(r' *(?<!\\)\| *', line)[1:-1] for line in lines if line.startswith('| `--')]
    return [(row[0], row[1]) for row in rows]


def said_of(default: Any) -> set[str]:
    """The words for a default."""
    if default in ('', ()):
        return {'', 'none', 'all'}
    if isinstance(default, bool):
        return {'on' if default else 'off'}
    return {'0', 'off', '0 (off)'} if default == 0 else {str(default)}


def test_the_flags_that_the_table_names_exist_and_have_these_defaults() -> None:
    rows = rows_of_the_table()
    assert len(rows) > 10
    for named, shown in rows:
        flags = re.findall(r'`--(\w+)`', named)
        assert set(flags) <= set(DEFAULTS), named
        if shown == "the original's":
            continue
        words = [word.strip('`') for word in shown.split(', ')]
        words = words * len(flags) if len(words) == 1 else words
        for flag, word in zip(flags, words, strict=True):
            assert word in said_of(DEFAULTS[flag]), flag
