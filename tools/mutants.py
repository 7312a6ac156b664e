"""Breaks the code that holds data in many small ways, and shows which of them no test notices.

python tools/mutants.py --sample=200

Each mutant is one change: a comparison, an operator, a constant, a `not`, a returned value, or a
statement that is gone. It is made in a copy of the checkout, in which the fast tests of its wing
run until one fails. (mutmut and cosmic-ray have no seeded sample; mutmut forks after TensorFlow has
started its threads, cosmic-ray edits the checkout itself and runs one command for all modules.)
"""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import copy
import dataclasses
import difflib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, at_least, build, setting

ROOT = Path(__file__).resolve().parents[1]

# What holds data -> the tests that are to notice, besides those named as the module is.
WINGS: Mapping[str, Sequence[str]] = {
    'poets_tfr/sources': (
        'tests/records/test_odd_files.py',
        'tests/records/test_formats.py',
        'tests/sources',
        'tests/records/test_conversion.py',
    ),
    'poets_tfr/records': ('tests/records', 'tests/sources/test_class_folders.py'),
    'poets_tfr/training/sampling.py': ('tests/training/test_sampling.py',),
    'poets_tfr/extraction': ('tests/extraction',),
}

_OTHER: Mapping[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_COMPOUND = ast.Compare, ast.BinOp, ast.BoolOp
_DROPPED = ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete


@dataclasses.dataclass(frozen=True, kw_only=True)
class MutantsConfig(Settings):
    TITLE: ClassVar[str] = 'The mutants'

    sample: int = setting(200, 'How many mutants, drawn from all that are possible.', at_least(1))
    seed: int = setting(0, 'The same seed draws the same mutants of the same code.', at_least(0))
    jobs: int = setting(2, 'How many are tried at a time.', at_least(1))
    time_limit: int = setting(
        150, 'Seconds for one mutant; one that takes longer is killed.', at_least(1)
    )


@dataclasses.dataclass(frozen=True)
class Mutant:
    path: str  # of the module, from the root
    line: int
    text: str  # of the whole module
    tests: tuple[str, ...]

    def diff(self, root: Path) -> str:
        lines = (root / self.path).read_text().splitlines(), self.text.splitlines()
        found = list(difflib.unified_diff(*lines, lineterm='', n=0))[3:]
        return '\n'.join(f'    {line}' for line in found)


def mutants_of(root: Path, wings: Mapping[str, Sequence[str]]) -> Iterator[Mutant]:
    """All that are possible, in the order of the modules and of their lines."""
    for wing, tests in wings.items():
        for module in sorted((root / wing).glob('*.py')) or [root / wing]:
            path = module.relative_to(root).as_posix()
            own = Path('tests', *Path(path).parts[1:-1], f'test_{module.name}')
            first = [own.as_posix()] if (root / own).is_file() else []
            for line, text in _changed(module.read_text()):
                yield Mutant(path, line, text, tuple(dict.fromkeys([*first, *tests])))


def _changed(text: str) -> Iterator[tuple[int, str]]:
    """The line of each change that is possible, and the module with it."""
    lines = text.encode().splitlines(keepends=True)  # columns are those of bytes
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    whole = b''.join(lines)
    for node, other in _replacements(ast.parse(text)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        yield node.lineno, (whole[:begin] + other.encode() + whole[end:]).decode()


def _replacements(node: ast.AST) -> Iterator[tuple[Any, str]]:
    """Nodes, and the text that is to stand in their place."""
    for other in _others(node):
        text = ast.unparse(ast.fix_missing_locations(other))
        yield node, f'({text})' if isinstance(other, _COMPOUND) else text
    for name, value in ast.iter_fields(node):
        if name in ('annotation', 'returns', 'decorator_list'):
            continue
        for child in value if isinstance(value, list) else [value]:
            # What stands in an f-string has no true place before Python 3.12, and is for people.
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _replacements(child)


def _others(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            comparison = copy.deepcopy(node)
            comparison.ops[index] = _OTHER[type(op)]()
            yield comparison
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _OTHER:
        changed = copy.deepcopy(node)
        changed.op = _OTHER[type(node.op)]()
        yield changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        is_bool = isinstance(node.value, bool)
        yield ast.Constant(not node.value if is_bool else node.value + 1)
    elif isinstance(node, ast.Return) and node.value and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, _DROPPED) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield ast.Pass()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def survives(mutant: Mutant, place: Path, time_limit: float) -> bool:
    """Tries it in the copy at `place`. One that runs past the limit does not."""
    module = place / mutant.path
    as_it_was = module.read_bytes()
    module.write_text(mutant.text)
    try:
        return _tests_pass(place, mutant.tests, time_limit)
    finally:
        module.write_bytes(as_it_was)


def _tests_pass(place: Path, tests: Sequence[str], time_limit: float | None) -> bool:
    """Without a limit, what pytest says is shown."""
    scratch = place / 'scratch'
    scratch.mkdir(exist_ok=True)
    options = ['-x', '-q', '-m', 'not slow', '-p', 'no:cacheprovider', f'--basetemp={scratch}/of']
    # Two versions of a module made within a second may have the same size: no bytecode is kept.
    env = os.environ | {'PYTHONPATH': str(place), 'TMPDIR': str(scratch)}
    env['PYTHONDONTWRITEBYTECODE'] = '1'
    quiet = subprocess.DEVNULL if time_limit else None
    with subprocess.Popen(
        [sys.executable, '-m', 'pytest', *options, *tests],
        cwd=place, env=env, stdout=quiet, stderr=quiet,
        start_new_session=True,
    ) as running:  # fmt: skip
        try:
            return running.wait(time_limit) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
            shutil.rmtree(scratch, ignore_errors=True)


def try_all(root: Path, chosen: Sequence[Mutant], jobs: int, time_limit: float) -> list[Mutant]:
    """Those that survive, each shown as soon as it is known; `root` is not touched.

    Raises:
      InputError: the tests fail without any mutant.
    """
    with tempfile.TemporaryDirectory(prefix='mutants-') as scratch:
        os.chmod(scratch, 0o755)  # some tests become another user
        places: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for job in range(jobs):
            places.put(_copied(root, Path(scratch, str(job))))
        place = places.get()
        tests = dict.fromkeys(path for mutant in chosen for path in mutant.tests)
        if not _tests_pass(place, list(tests), None):
            raise InputError('The tests fail as the code is; see above.')
        places.put(place)

        def tried(mutant: Mutant) -> bool:
            place = places.get()
            try:
                return survives(mutant, place, time_limit)
            finally:
                places.put(place)

        survivors = []
        with contextlib.ExitStack() as closing:
            pool = closing.enter_context(concurrent.futures.ThreadPoolExecutor(jobs))
            closing.callback(pool.shutdown, wait=False, cancel_futures=True)  # at ^C
            outcomes = zip(chosen, pool.map(tried, chosen), strict=True)
            for number, (mutant, lives) in enumerate(outcomes, 1):
                what = 'SURVIVED' if lives else 'killed'
                print(f'{number}/{len(chosen)} {mutant.path}:{mutant.line} {what}', flush=True)
                if lives:
                    print(mutant.diff(root), flush=True)
                    survivors.append(mutant)
        return survivors


def _copied(root: Path, place: Path) -> Path:
    left_out = shutil.ignore_patterns('.*', '__pycache__', 'build', 'dist', '*.egg-info', 'runs')
    return Path(shutil.copytree(root, place, ignore=left_out))


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [MutantsConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    command.no_stray_arguments(positional)
    values = build(MutantsConfig, given)
    possible = list(mutants_of(ROOT, WINGS))
    chosen = random.Random(values.seed).sample(possible, min(values.sample, len(possible)))
    survivors = try_all(ROOT, chosen, values.jobs, values.time_limit)
    print(f'\nThe {len(survivors)} that no test notices:')
    for mutant in sorted(survivors, key=lambda mutant: (mutant.path, mutant.line)):
        print(f'{mutant.path}:{mutant.line}\n{mutant.diff(ROOT)}')
    of_wing = Counter(mutant.path.rsplit('/', 1)[0] for mutant in chosen)
    lived = Counter(mutant.path.rsplit('/', 1)[0] for mutant in survivors)
    for wing, count in sorted(of_wing.items()):
        print(f'{wing}: {count - lived[wing]} of {count} killed')
    killed = len(chosen) - len(survivors)
    print(
        f'{killed} of {len(chosen)} mutants killed ({killed / len(chosen):.0%}), drawn with '
        f'--seed={values.seed} from {len(possible)}.'
    )


if __name__ == '__main__':
    sys.exit(main())
