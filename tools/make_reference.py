"""Writes docs/api.md from the docstrings of the interface, and docs/flags.md from the settings.

python tools/make_reference.py
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import poets_tfr
from poets_tfr import api
from poets_tfr.evaluation import Evaluated
from poets_tfr.examination.settings import ExamineConfig
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.label.settings import EvaluationConfig, LabelConfig, ModelConfig, ServeConfig
from poets_tfr.records.reading import SplitRecords
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.review.settings import ReviewConfig
from poets_tfr.run.settings import RunConfig, sections_of
from poets_tfr.settings import Settings, about, default_of, kinds_of, names_of

DOCS = Path(__file__).resolve().parents[1] / 'docs'
_MADE = '<!-- Made by `make docs` from the docstrings and settings: change these instead. -->'
_FUNCTIONS = api.train, api.convert, api.features, api.load, api.evaluate, api.examine, api.runs
_GIVEN = SplitRecords, SplitFeatures, Evaluated, Metrics  # reached through what is public
_COMMANDS: dict[str, Sequence[type[Settings]]] = {
    '`poets-retrain`, `poets_tfr.train`': tuple(sections_of(RunConfig).values()),
    '`poets-label`, `poets_tfr.load`': (ModelConfig, LabelConfig),
    '`poets-evaluate`, `poets_tfr.evaluate`': (EvaluationConfig,),
    '`poets-examine`, `poets_tfr.examine`': (ExamineConfig,),
    '`poets-review`': (ReviewConfig,),
    '`poets-serve`': (ServeConfig,),
}


def main() -> None:
    for name, text in ('api.md', api_page()), ('flags.md', flags_page()):
        (DOCS / name).write_text(text, encoding='utf-8')


def api_page() -> str:
    classes = [value for value in map(_public, poets_tfr.__all__) if inspect.isclass(value)]
    parts = [
        f'# The Python interface\n\n{_MADE}\n\n'
        'What `import poets_tfr` offers. TensorFlow is imported when it is first needed.\n'
        '`Source` is a path: a `str` or a `pathlib.Path`; a leading `~` is the home folder.\n'
        '`**settings` are named as the [flags](flags.md) are, without the dashes.\n'
        'Scripts and a notebook to begin with lie in `examples/`.',
        *(_function(f'poets_tfr.{each.__name__}', each, '##') for each in _FUNCTIONS),
        *(part for each in classes for part in _class(f'poets_tfr.{each.__name__}', each)),
        *(part for each in _GIVEN for part in _class(each.__name__, each)),
    ]
    return '\n\n'.join(parts) + '\n'


def flags_page() -> str:
    parts = [
        f'# Settings\n\n{_MADE}\n\n'
        'A setting is a flag on the command line (`--seed=3`), a line in a flagfile, and an\n'
        'argument in Python (`seed=3`). *Affects* says what another value changes: what goes in\n'
        '(input), the records, the trained model alone (result), time and memory only (speed), or\n'
        'what is written or said, and where (output).'
    ]
    for commands, sections in _COMMANDS.items():
        parts.append(f'## {commands}')
        parts += [f'### {section.TITLE}\n\n{_table(section)}' for section in sections]
    return '\n\n'.join(parts) + '\n'


def _table(section: type[Settings]) -> str:
    rows = ['| flag | default | | affects |', '|---|---|---|---|']
    kinds = kinds_of(section)
    for name in names_of(section):
        said, default = about(section, name), default_of(section, name)
        shown = '' if default in (None, '', ()) else f'`{default}`'
        if kinds[name] is bool:
            shown = 'on' if default else 'off'
        rows.append(f'| `--{name}` | {shown} | {_cell(said.help)} | {said.affects} |')
    return '\n'.join(rows)


def _cell(text: str) -> str:
    return re.sub(r'([|<>*])', r'\\\1', text)


def _public(name: str) -> Any:
    return getattr(poets_tfr, name)


def _class(name: str, kind: type) -> Iterator[str]:
    yield f'## {name}\n\n{_prose(kind.__doc__)}'
    for member in dict.fromkeys(n for each in reversed(kind.__mro__) for n in vars(each)):
        value = inspect.getattr_static(kind, member)
        if member.startswith('_') and member != '__getitem__' or not _is_ours(value):
            continue
        if isinstance(value, property | functools.cached_property):
            yield f'### {kind.__name__}.{member}\n\n{_prose(value.__doc__)}'
        elif inspect.isroutine(value):
            yield _function(f'{kind.__name__}.{member}', getattr(kind, member), '###')


def _is_ours(value: Any) -> bool:
    for inside in 'fget', 'func', '__func__':  # of a property, a cached one, a class method
        value = getattr(value, inside, value)
    module = getattr(value, '__module__', None) or ''
    return module.startswith('poets_tfr') and bool(value.__doc__)


def _function(name: str, function: Any, heading: str) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    arguments = re.sub(r'^(self|cls)[^,]*(, )?', '', ast.unparse(tree.args))
    returns = f' -> {ast.unparse(tree.returns).lstrip("_")}' if tree.returns else ''
    short = name.rpartition('.')[2]
    return (
        f'{heading} {name}\n\n```python\n{short}({arguments}){returns}\n```\n\n'
        f'{_prose(function.__doc__)}'
    )


def _prose(docstring: str | None) -> str:
    """A docstring as Markdown: its sections, its lists of names and its examples."""
    blocks = re.split(r'\n\s*\n', inspect.cleandoc(docstring or ''))
    return '\n\n'.join(map(_block, blocks))


def _block(block: str) -> str:
    if block.startswith('>>>'):
        lines = [re.sub(r'\s*# doctest: \+SKIP', '', line) for line in block.splitlines()]
        code = '\n'.join(line for line in lines if line.strip() != '...')
        return f'```python\n{code}\n```'
    if match := re.match(r'(Args|Returns|Raises):\n', block):
        body = textwrap.dedent(block[match.end() :])
        return f'**{match[1]}**\n\n{_no_tags(body) if match[1] == "Returns" else _list(body)}'
    return _list(block) if re.match(r'\w+(, \w+)*: [a-z0-9]', block) else _no_tags(block)


def _list(block: str) -> str:
    """`name: what it is` line by line; what is indented goes on."""
    items = re.split(r'\n(?=\S)', _no_tags(block))
    return '\n'.join(re.sub(r'^([\w*, ]+): ', r'* `\1`: ', item) for item in items)


def _no_tags(text: str) -> str:
    """With each < that Markdown would take for a tag's; what stands in backticks is code."""
    return re.sub(r'`[^`]*`|<', lambda found: '\\<' if found[0] == '<' else found[0], text)


if __name__ == '__main__':
    main()
