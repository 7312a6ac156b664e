"""How every command starts and ends: its flags, its log, its exit status."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import re
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from absl import flags as absl_flags

from poets_tfr import cli, runtime
from poets_tfr.cli import flags
from poets_tfr.errors import InputError
from poets_tfr.settings import GUESSES, Settings
from poets_tfr.sources.archives import is_archive
from poets_tfr.sources.settings import PLACES

# What a command does with the settings that were given and its positional arguments; its status.
Main = Callable[[dict[str, Any], list[str]], int | None]

_INTERRUPTED, _TERMINATED = 130, 143  # 128 + the signal, as shells have it
_VERBOSITY = 'logging_verbosity'
_SECONDS_UNTIL_TOLD_AGAIN = 0.5
_WANTED = {  # Python's words for a value of another kind -> ours
    'invalid literal for int()': 'a whole number is wanted.',
    'could not convert string to float': 'a number is wanted.',
    "('Non-boolean argument": 'true or false is wanted.',
}


class _Terminated(SystemExit):
    """What SIGTERM raises. Unlike SystemExit, it can be watched by a weak reference."""


class _Command:
    def __init__(
        self,
        main: Main,
        usage: str,
        sections: Sequence[type[Settings]],
        keep_unknown: bool,
        goes_on: str,
    ):
        self._main, self._usage, self._sections = main, usage, sections
        self._keep_unknown, self._goes_on = keep_unknown, goes_on
        self._is_told_to_end = False
        self._lost: weakref.ref[BaseException] | None = None

    def run(self, argv: list[str]) -> int:
        """Whatever the user can mend ends with one line on stderr and a status."""
        program = os.path.basename(argv[0])
        for stream in sys.stdout, sys.stderr:
            if isinstance(stream, io.TextIOWrapper):  # escaped, what the terminal cannot show
                stream.reconfigure(errors='backslashreplace')
        former = signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            if signal.getsignal(signal.SIGINT) is cli.leave_at_once:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            with _signals_through_tensorflow():
                status = self._parse_and_run(argv)
            return _TERMINATED if self._is_told_to_end else status
        except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except KeyboardInterrupt:
            print(f'{program}: interrupted. {self._goes_on}'.rstrip(), file=sys.stderr)
            return _INTERRUPTED
        except Exception as error:
            message = _for_the_user(error)
            if message is None:
                raise
            print(f'{program}: error: {message}', file=sys.stderr)
            return 1
        finally:
            self._lost = None
            signal.signal(signal.SIGTERM, former)

    def _on_sigterm(self, signum: int, frame: Any) -> None:
        """Raises what the signal means, and does so again where that is lost.

        Callbacks of TensorFlow's, and all that Python calls while it frees an object, swallow what
        is raised in them. What is swallowed is freed, which a weak reference notices.
        """
        self._is_told_to_end = True
        raised = _Terminated(_TERMINATED)
        again = threading.Timer(_SECONDS_UNTIL_TOLD_AGAIN, self._tell_again, [signum])
        again.daemon = True
        self._lost = weakref.ref(raised, lambda _: again.start())
        try:
            raise raised
        finally:
            del raised  # its traceback holds this frame: nothing else would free it

    def _tell_again(self, signum: int) -> None:
        if self._lost is not None:
            os.kill(os.getpid(), signum)

    def _parse_and_run(self, argv: list[str]) -> int:
        values = flag_values(self._sections)
        if any(argument in ('--help', '-help', '-h', '--helpfull') for argument in argv[1:]):
            usage = _as_called(self._usage, argv[0])
            print(f'{usage}\n{flags.help_of(values, self._sections)}', flush=True)
            return 0
        positional = values(_flagfiles_first(argv), known_only=self._keep_unknown)[1:]
        _check_split(values, argv)
        _refuse_expanded(argv)
        given = flags.given(values)
        runtime.log_to_terminal(given.pop(_VERBOSITY, 'INFO'))
        given.pop('flagfile', None)
        return self._main(given, positional) or 0


def flag_values(sections: Sequence[type[Settings]]) -> absl_flags.FlagValues:
    """The flags of a command, not yet parsed."""
    values = absl_flags.FlagValues()
    flags.define(values, sections)
    absl_flags.DEFINE_enum(
        _VERBOSITY,
        'INFO',
        ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'],
        'How much logging output should be produced.',
        flag_values=values,
    )
    values.set_gnu_getopt(True)
    return values


def run(
    main: Main,
    usage: str | None,
    sections: Sequence[type[Settings]],
    argv: list[str] | None = None,
    keep_unknown: bool = False,
    goes_on: str = '',
) -> int:
    """Parses the command line, runs `main`, gives the exit status; ^C gives 130, SIGTERM 143.

    Args:
      keep_unknown: flags that are not ours are left among the positional arguments.
      goes_on: what is said after ^C: where the same command goes on.
    """
    command = _Command(main, usage or '', sections, keep_unknown, goes_on)
    if argv is not None:
        return command.run(list(argv))
    status = 1  # of an error that nobody foresaw

    @atexit.register  # before anything else is, and so called last
    def leave_with_status() -> None:
        # tensorflow-io's file systems may abort the process while it takes itself down.
        if 'tensorflow_io' in sys.modules:
            _leave(status)

    try:
        status = command.run(sys.argv)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
        if status != _TERMINATED:
            raise
    if status in (_INTERRUPTED, _TERMINATED):
        _leave(status)  # all is settled, and TensorFlow takes seconds to take itself down
    return status


def no_stray_arguments(positional: Sequence[str]) -> None:
    """Accepts the tutorial's spelling `--flip_left_right True`; refuses all other leftovers."""
    for argument in positional:
        if argument.lower() == 'false':
            logging.getLogger('poets_tfr').warning(
                "WARNING: '%s' after a space is not read: to switch a flag off, write --noFLAG.",
                argument,
            )
        elif argument.lower() != 'true':
            raise InputError(f'{argument!r} is not a flag: flags begin with --, see --help.')


def with_folder(
    given: dict[str, Any], positional: Sequence[str], flag: str = 'image_dir'
) -> dict[str, Any]:
    """The settings; a folder that was named without a flag is that of this one."""
    named = [each for each in positional if each.lower() not in ('true', 'false')]
    if len(named) == 1 and flag not in given:
        no_stray_arguments([each for each in positional if each not in named])
        return {**given, flag: named[0]}
    no_stray_arguments(positional)
    return given


def at_home(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings; a leading ~ is the home folder, which no shell sees in --sort_into=~/sorted."""
    return {
        name: os.path.expanduser(value) if isinstance(value, str) and value[:1] == '~' else value
        for name, value in given.items()
    }


def require_images_and_records(given: Mapping[str, Any]) -> None:
    """Raises InputError where a conversion is not told what to read, or where to write."""
    if not any(given.get(name) for name in PLACES):
        raise InputError('Must set flag --image_dir.')
    if not given.get('records_dir'):
        raise InputError('Must set flag --records_dir.')


@contextlib.contextmanager
def _signals_through_tensorflow() -> Iterator[None]:
    """A signal that comes while TensorFlow's bindings make an error ends as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if 'REPLACED BY KeyboardInterrupt' in str(error):
            raise KeyboardInterrupt from None
        if 'REPLACED BY SystemExit' in str(error):
            raise SystemExit(_TERMINATED) from None
        raise


def _leave(status: int) -> NoReturn:
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _for_the_user(error: Exception) -> str | None:
    """One line for what a person can mend; None for what looks like a mistake in this program."""
    if isinstance(error, InputError):
        return error.with_dashes
    if isinstance(error, absl_flags.UnrecognizedFlagError):
        guess = GUESSES.get(error.flagname)
        return (
            f"Unknown command line flag '{error.flagname}': did you mean --{guess}?"
            if (guess)
            else str(error)
        )
    if isinstance(error, absl_flags.Error):
        return _plainly(str(error))
    if isinstance(error, OSError):
        return f'{error.filename}: {error.strerror}' if error.filename else str(error)
    if tensorflow := sys.modules.get('tensorflow'):
        errors = tensorflow.errors  # what TensorFlow's file systems raise, a full disk say
        of_files = errors.ResourceExhaustedError, errors.PermissionDeniedError, errors.NotFoundError
        if isinstance(error, of_files):
            return error.message.splitlines()[0]
    return None


def _plainly(message: str) -> str:
    """Where absl hands on what Python says of a value: what is wanted instead."""
    for words, wanted in _WANTED.items():
        before, found, _ = message.partition(words)
        message = before + wanted if found else message
    return message.removeprefix('flag ')


def _flagfiles_first(argv: list[str]) -> list[str]:
    """absl lets a flagfile that stands last win; here typed flags always win over flagfiles."""
    first, rest, arguments = [], [], iter(argv[1:])
    for argument in arguments:
        name = argument.lstrip('-')
        if argument.startswith('-') and name == 'flagfile':
            first += [f'--flagfile={next(arguments, "")}']
        elif argument.startswith('-') and name.startswith('flagfile='):
            first.append(argument)
        else:
            rest.append(argument)
    return [argv[0], *first, *rest]


def _check_split(values: absl_flags.FlagValues, argv: list[str]) -> None:
    """Of a flagfile --split_prefix wins, for a run's lists both; a typed --split_by is refused."""
    names = {argument.lstrip('-').partition('=')[0] for argument in argv if argument[:1] == '-'}
    if 'split_by' not in names or 'split_by' not in values:
        return
    by, prefix = values['split_by'].value, values['split_prefix'].value
    if prefix and by != 'given_path':
        raise InputError(
            f'--split_by={by} and --split_prefix={prefix} exclude each other, for --split_prefix '
            'splits by given path: give one (--split_prefix= takes back that of a flagfile).'
        )


def _refuse_expanded(argv: Sequence[str]) -> None:
    """Without quotes a shell makes `--image_dir=a-{0..9}.tar` ten flags; the last alone counts."""
    flags_given = (a.lstrip('-').partition('=') for a in argv[1:] if a.startswith('-'))
    places = {value for name, _, value in flags_given if name == 'image_dir'}
    if len(places) > 1 and all(map(is_archive, places)):
        raise InputError(
            f'--image_dir is given {len(places)} times, as a shell does that expands a pattern: '
            f"put it in quotes (--image_dir='shards-{{000..009}}.tar')."
        )


def _as_called(usage: str, program: str) -> str:
    """The usage of a command that is installed names the command, not its file."""
    if program.endswith('.py'):
        return usage
    return re.sub(r'python tools/\w+\.py', os.path.basename(program), usage)
