"""Settings <-> absl flags: a flag's name, type, default and help are the setting's own."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

from poets_tfr.settings import Settings, about, default_of, kinds_of, names_of

_DEFINE: dict[Any, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}
_ALIASES = {'num_top_predictions': 'top_k'}  # the name in TensorFlow's classify_image.py


def define(values: flags.FlagValues, sections: Sequence[type[Settings]]) -> None:
    """In a FlagValues of the command's own, so that importing a command defines nothing."""
    for config in sections:
        for name, kind in kinds_of(config).items():
            default, help_ = default_of(config, name), about(config, name).help
            if typing.get_origin(kind) is typing.Literal:
                choices = typing.get_args(kind)
                flags.DEFINE_enum(name, default, choices, help_, flag_values=values)
            elif typing.get_origin(kind) is tuple:
                flags.DEFINE_list(name, list(default), help_, flag_values=values)
            else:
                _DEFINE[kind](name, default, help_, flag_values=values)
    for alias, name in _ALIASES.items():
        if name in values:
            flags.DEFINE_alias(alias, name, flag_values=values)


def given(values: flags.FlagValues) -> dict[str, Any]:
    """The flags that were typed, or are in a flagfile; aliases by the names they stand for."""
    found = {}
    for name in values:
        if values[name].present:
            found[_ALIASES.get(name, name)] = values[name].value
    return found


def help_of(values: flags.FlagValues, sections: Sequence[type[Settings]]) -> str:
    """Every flag, by subject; what is wanted most comes first."""
    blocks, shown = [], set()
    for config in sections:
        names = [name for name in names_of(config) if name not in shown]
        shown.update(names)
        blocks.append('\n'.join([f'{config.TITLE}:', *(_line(values, name) for name in names)]))
    rest = sorted(name for name in values if name not in shown and name not in _ALIASES)
    blocks.append('\n'.join(['All commands:', *(_line(values, name) for name in rest)]))
    return '\n\n'.join(blocks)


def _line(values: flags.FlagValues, name: str) -> str:
    flag = values[name]
    shown = ','.join(flag.default) if isinstance(flag.default, list) else flag.default
    default = '' if shown in (None, '') else f' (default: {shown})'
    return f'  --{name}: {flag.help}{default}'
