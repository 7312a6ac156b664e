"""The documentation: its links lead somewhere, and whatever it says to type exists."""

from __future__ import annotations

import ast
import configparser
import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/**/*.md'))]
ODD_WORDS = (
    'rightly', 'by heart', 'be believed', ' taken for what', 'Held against', 'to itself only',
    'deaf and dumb', 'which is not taken', 'no whole images', 'can be afforded',
    'name other places',
)  # fmt: skip
# Of absl; and what a program hands on, to a run and to Apache Beam.
ALWAYS = {'flagfile', 'help', 'helpfull', 'verbosity'}
OF_BEAM = frozenset({'runner', 'direct_num_workers', 'direct_running_mode', 'project', 'region',
                     'temp_location', 'setup_file', 'sdk_container_image', 'flink_master',
                     'environment_type', 'environment_config', 'experiments'})  # fmt: skip


def blocks(page: Path) -> Iterator[list[str]]:
    """The indented and the fenced blocks of code, without the indentation."""
    found: list[str] = []
    is_fenced = False
    for line in [*page.read_text().splitlines(), '']:
        if line.startswith('```'):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith('    '):
            found.append(line if is_fenced else line[4:])
            continue
        elif not line and found:
            found.append('')
            continue
        if found:
            yield found
        found = []


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command line."""
    for block in blocks(page):
        for line in '\n'.join(block).replace('\\\n', ' ').splitlines():
            if re.match(r'(make|poets-\w+|(\S*python )?\S*tools/\w+\.py)( |$)', line):
                yield shlex.split(line, comments=True)


@functools.cache
def flags_of(module: str) -> frozenset[str]:
    """Those that the program lists itself."""
    ended = call(module, '--help')
    assert ended.status == 0, ended.err
    own = frozenset(re.findall(r'^ +--(?:\[no\])?(\w+)', ended.out, re.MULTILINE)) | ALWAYS
    if module == 'compare_settings':
        return own | flags_of('retrain')
    return own | OF_BEAM if module == 'convert_images_beam' else own


@functools.cache
def programs() -> dict[str, str]:
    """poets-retrain -> retrain."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    lines = setup['options.entry_points']['console_scripts'].strip().splitlines()
    return {
        name.strip(): place.strip().partition(':')[0].rpartition('.')[2]
        for name, _, place in (line.partition('=') for line in lines)
    }


def check_flags(module: str, words: list[str]) -> None:
    for word in words:
        if name := re.match(r'--(\w+)', word):
            flag = name[1] if name[1] in flags_of(module) else name[1].removeprefix('no')
            assert flag in flags_of(module), f'{module} has no {word}'


OF_TARGET = {
    'train': 'retrain', 'flowers': 'retrain', 'demo': 'retrain', 'label': 'label_image',
    'convert': 'convert_images', 'examine': 'examine', 'evaluate': 'evaluate', 'serve': 'serve',
    'runs': 'runs', 'accuracy': 'compare_settings',
}  # fmt: skip


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_to_be_typed_exists(page: Path) -> None:
    makefile = (ROOT / 'Makefile').read_text()
    targets = set(re.findall(r'^([a-z-]+):', makefile, re.MULTILINE))
    variables = {*re.findall(r'\b([A-Z_]{3,})\b', makefile)}
    for words in commands(page):
        if words[0] == 'make':
            given = dict(word.split('=', 1) for word in words[1:] if re.match('[A-Z_]+=', word))
            assert set(given) <= variables, words
            named = [word for word in words[1:] if '=' not in word]
            assert set(named) <= targets, words
            if 'FLAGS' in given and named[0] in OF_TARGET:
                check_flags(OF_TARGET[named[0]], shlex.split(given['FLAGS']))
            continue
        while not re.match(r'poets-|\S*tools/', words[0]):
            words = words[1:]
        name = os.path.basename(words[0])
        module = programs().get(name) or name.removesuffix('.py')
        assert module in programs().values() or (ROOT / words[0]).exists(), words
        if (ROOT / f'poets_tfr/cli/{module}.py').exists():
            check_flags(module, words[1:])
        for word in words:
            if found := re.match('--flagfile=(configs/.*)', word):
                assert (ROOT / found[1]).exists(), word


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_it_is_python(page: Path) -> None:
    for block in blocks(page):
        text = '\n'.join(block)
        if re.match(r'(import|from) ', text):
            ast.parse(text)


def test_words() -> None:
    """Odd phrases of former versions, in what people read: none comes back."""
    code = [p for p in (ROOT / 'poets_tfr').rglob('*') if p.suffix in ('.py', '.html', '.js')]
    found = {
        str(path.relative_to(ROOT)): words
        for path in [*PAGES, *code, *ROOT.glob('configs/*.flags')]
        for words in ODD_WORDS
        if words in path.read_text()
    }
    assert found == {}


@pytest.mark.parametrize('page', PAGES[:2], ids=lambda path: path.name)
def test_links_of_pages_outside_the_site(page: Path) -> None:
    for link in re.findall(r'\]\(([^)#]+)', page.read_text()):
        assert link.startswith('https://') or (ROOT / link).exists(), link


def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip('material', reason='mkdocs-material is not installed')
    ended = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--quiet', f'--site-dir={tmp_path}/site'],
        cwd=ROOT, env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / 'site/howto/wrong_labels.html').exists()
    assert (tmp_path / 'site/search/search_index.json').exists()


def test_readme_is_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) < 150
