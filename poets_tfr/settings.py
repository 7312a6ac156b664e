"""What a setting is: its default, help and check, and what it affects, in one place.

A wing's settings are the fields of a dataclass in the wing, each made by `setting`:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class HeadConfig(Settings):
        TITLE = 'Training'
        learning_rate: float = setting(0.01, 'How large a step is.', positive())

Flags, their help, the settings of `poets_tfr.train`, flagfiles, TensorBoard's hyperparameters, the
records' contract and docs/flags.md all follow from these fields. No TensorFlow here: a wrong value
is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from poets_tfr.errors import InputError

# input: what goes in. records, result: what may change the records, or the trained model alone.
# speed: time and memory only. output: what is written or said, and where.
Affects = Literal['input', 'records', 'result', 'speed', 'output']
PathKind = Literal['no', 'path', 'maybe']  # maybe: a path, or a word or URL

# What people type who know other programs, and what they mean.
GUESSES = {
    'epochs': 'how_many_training_steps',
    'steps': 'how_many_training_steps',
    'max_steps': 'how_many_training_steps',
    'batch_size': 'train_batch_size',
    'batch': 'train_batch_size',
    'lr': 'learning_rate',
    'model': 'architecture',
    'arch': 'architecture',
    'network': 'architecture',
    'backbone': 'architecture',
    'data': 'image_dir',
    'data_dir': 'image_dir',
    'images': 'image_dir',
    'classes_from': 'label_names',
    'csv': 'labels_file',
    'output_dir': 'run_dir',
    'logdir': 'summaries_dir',
    'log_dir': 'summaries_dir',
    'val_percentage': 'validation_percentage',
    'test_percentage': 'testing_percentage',
    'imgsz': 'image_size',
    'patience': 'early_stopping_patience',
    'random_seed': 'seed',
}


class Check(NamedTuple):
    """wanted: what the value must be, in words that follow 'must be'."""

    wanted: str
    holds: Callable[[Any], bool]


class About(NamedTuple):
    """What is known of a setting besides its name, type and default."""

    help: str
    check: Check | None
    affects: Affects
    path: PathKind


def setting(
    default: Any,
    help: str,
    check: Check | None = None,
    affects: Affects = 'result',
    path: PathKind = 'no',
) -> Any:
    """A field of a `Settings` dataclass."""
    about = About(help, check, affects, path)
    return dataclasses.field(default=default, metadata={'about': about})


def within(low: float, high: float, wanted: str = '') -> Check:
    return Check(wanted or f'{low} to {high}', lambda value: low <= value <= high)


def at_least(low: float, wanted: str = '') -> Check:
    return Check(wanted or f'at least {low}', lambda value: low <= value < math.inf)


def positive() -> Check:
    return Check('a finite number above 0', lambda value: 0 < value < math.inf)


def a_path() -> Check:
    return Check('a path', bool)


def matching(pattern: str, wanted: str) -> Check:
    """The whole value matches the regular expression, or is ''."""
    return Check(wanted, lambda value: not value or re.fullmatch(pattern, value) is not None)


class Settings:
    """Base of the dataclasses of settings: checks each field, then what fields say together."""

    TITLE: ClassVar[str] = ''

    def __post_init__(self) -> None:
        for name, kind in kinds_of(type(self)).items():
            value, check = getattr(self, name), about(type(self), name).check
            if value is None:
                continue
            require(self, name, 'without null characters', not _holds_null(value))
            if typing.get_origin(kind) is Literal:
                require_one_of(self, name, typing.get_args(kind))
            elif check and not check.holds(value):
                require(self, name, check.wanted, False)
        self.check()

    def check(self) -> None:
        """Raises InputError where fields contradict each other."""


Config = TypeVar('Config', bound=Settings)


def names_of(config: type[Settings], *affects: Affects) -> list[str]:
    """The settings in their order; with `affects`, those that affect one of these."""
    return [
        field.name
        for field in dataclasses.fields(config)  # type: ignore[arg-type]
        if not affects or about(config, field.name).affects in affects
    ]


def about(config: type[Settings], name: str) -> About:
    found: About = config.__dataclass_fields__[name].metadata['about']  # type: ignore[attr-defined]
    return found


def default_of(config: type[Settings], name: str) -> Any:
    return config.__dataclass_fields__[name].default  # type: ignore[attr-defined]


def kinds_of(config: type[Settings]) -> dict[str, Any]:
    """Name -> type: str, int, float, bool, a Literal, or tuple[str, ...]; without `| None`."""
    hints = typing.get_type_hints(config)
    return {name: _without_none(hints[name]) for name in names_of(config)}


def build(config: type[Config], given: Mapping[str, Any]) -> Config:
    """The dataclass from those of the given settings that are its own.

    Raises:
      InputError: a value has the wrong type, or is out of its range.
    """
    kinds = kinds_of(config)
    own = {n: v for n, v in given.items() if n in kinds and v is not None}  # None: the default
    return config(**{name: _typed(name, kinds[name], value) for name, value in own.items()})


def check_names(given: Iterable[str], known: Sequence[str]) -> None:
    """Raises InputError for a setting that does not exist, with the one that was meant."""
    for name in given:
        if name not in known:
            raise InputError(f'there is no setting --{name}{meant(name, known)}.')


def meant(name: str, known: Iterable[str]) -> str:
    """' (did you mean --a or --b?)', with the dashes of settings; '' where nothing is near."""
    known = list(known)
    guess = GUESSES.get(name)
    if guess in known:
        return f' (did you mean --{guess}?)'
    return did_you_mean(name, known).replace('mean ', 'mean --').replace(' or ', ' or --')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean a or b?)': of what is known, what is spelt much like `name`; or ''."""
    spelt = {each.lower(): each for each in known}
    near = [spelt[each] for each in difflib.get_close_matches(name.lower(), spelt, 3)]
    return f' (did you mean {" or ".join(near)}?)' if near else ''


def require(config: Settings, name: str, wanted: str, holds: bool) -> None:
    if not holds:
        raise InputError(f'--{name}={getattr(config, name)!r} must be {wanted}.')


def _holds_null(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return any(isinstance(each, str) and '\0' in each for each in values)


def require_one_of(config: Settings, name: str, choices: Sequence[str]) -> None:
    require(config, name, ' or '.join(choices), getattr(config, name) in choices)


def require_defaults(config: Settings, names: Iterable[str], needed: str) -> None:
    """Refuses what would do nothing without the setting `needed`."""
    values = {name: getattr(config, name) for name in names}
    idle = [f'--{n}={v}' for n, v in values.items() if v != default_of(type(config), n)]
    if idle:
        raise InputError(
            f'{", ".join(idle)} would do nothing without --{needed}: give --{needed} too, or leave '
            'out what needs it.'
        )


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) is types.UnionType:
        (kind,) = (each for each in typing.get_args(kind) if each is not type(None))
    return kind


def _typed(name: str, kind: Any, value: Any) -> Any:
    """The value as the field has it; what Python's users naturally give is taken."""
    value = value.item() if hasattr(value, 'item') and hasattr(value, 'dtype') else value  # numpy
    if typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
            return tuple(value)
        raise InputError(f'--{name}={value!r} must be a list of strings.')
    if kind is str or typing.get_origin(kind) is Literal:
        if isinstance(value, str | os.PathLike):
            return os.fspath(value)
        raise InputError(f'--{name}={value!r} must be a string.')
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and number and math.isfinite(value) and value == int(value):
        return int(value)
    names = {int: 'a whole number', float: 'a number', bool: 'True or False'}
    raise InputError(f'--{name}={value!r} must be {names[kind]}.')
