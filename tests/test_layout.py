"""The house: the wings stand in the order of the flow, and each looks only upstream."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'poets_tfr'
WINGS = (
    'distribution', 'sources', 'records', 'pictures', 'backbones', 'extraction', 'training',
    'reporting', 'examination', 'review', 'export', 'label', 'evaluation', 'export_check', 'run',
    'api', 'cli',
)  # fmt: skip
EVERYWHERE = (
    'confined', 'errors', 'settings', 'files', 'locks', 'native_stderr', 'parallel', 'places',
    'progress', 'downloads', 'runtime', 'serving', 'sockets', 'tables', 'writable',
)  # fmt: skip
# There is no public way to freeze a TensorFlow 2 function.
PRIVATE_BUT_NEEDED = 'tensorflow.python.framework.convert_to_constants'
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob('*.py'))


def wing_of(path: Path) -> str:
    return path.parts[0].removesuffix('.py').replace('__init__', 'poets_tfr')


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported whenever the file is), `from a import b` as a.b."""
    tree = ast.parse((PACKAGE / path).read_bytes())
    lazy = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.If)]
    inside = {id(inner) for node in lazy for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: imports are written in full'
            for alias in node.names:
                yield f'{node.module}.{alias.name}', id(node) not in inside


def test_every_module_has_its_place() -> None:
    assert {wing_of(path) for path in MODULES} == {*WINGS, *EVERYWHERE, 'poets_tfr'}


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_a_wing_imports_only_the_wings_above_it(path: Path) -> None:
    wing = wing_of(path)
    if wing == 'poets_tfr':  # the interface, which imports nothing before it is asked for
        return
    above = WINGS[: WINGS.index(wing) + 1] if wing in WINGS else ()
    for name, _ in imports(path):
        if name == 'poets_tfr':
            assert wing in ('cli', 'reporting'), 'for the interface, and for the version'
        elif name.startswith('poets_tfr.'):
            imported = name.split('.')[1]
            if wing in EVERYWHERE:
                assert imported in EVERYWHERE, name
            else:
                assert imported in (*EVERYWHERE, *above), name


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_tensorflow_is_imported_when_needed_and_by_its_public_names(path: Path) -> None:
    for name, at_once in imports(path):
        top = name.split('.')[0]
        if top in ('tensorflow', 'tensorflow_io', 'keras'):
            assert not at_once, f'{name} is imported when {path} is'
        if name.startswith('tensorflow.python'):
            assert name.startswith(f'{PRIVATE_BUT_NEEDED}.')
        assert not name.startswith(('keras.src', 'tensorflow.compiler')), name
