"""How TensorFlow and the log are started: by a command, in a script, in a notebook."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shlex
import shutil
import sys
from typing import TextIO


def log_to_terminal(verbosity: str = 'INFO') -> None:
    """What a run says goes to stdout, warnings to stderr, both as plain lines."""
    log = logging.getLogger('poets_tfr')
    log.handlers.clear()
    log.propagate = False
    log.setLevel(verbosity)
    out, err = logging.StreamHandler(sys.stdout), _ToStderr()
    out.addFilter(lambda record: record.levelno < logging.WARNING)
    err.setLevel(logging.WARNING)
    log.addHandler(out)
    log.addHandler(err)


class _ToStderr(logging.StreamHandler[TextIO]):
    """To sys.stderr as it is when a line is written: `native_stderr` puts another one there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def start() -> None:
    """Before any work: our log is shown, unless the caller has set one up; TensorFlow is tuned."""
    log = logging.getLogger('poets_tfr')
    if not log.handlers and log.getEffectiveLevel() > logging.INFO:
        log_to_terminal()
    if 'tensorflow' in sys.modules and os.environ.get('TF_ENABLE_ONEDNN_OPTS') is None:
        log.warning(
            'TensorFlow was imported before poets_tfr could tune it: it may be slower on a CPU. '
            'Import poets_tfr first, or set TF_ENABLE_ONEDNN_OPTS=1.'
        )
    prepare_tensorflow()


def command(name: str) -> str:
    """How a program of ours is typed here: by its name where that is found, else by its path."""
    own = os.path.join(sys.prefix, 'bin', name)
    found = shutil.which(name)
    if not os.path.isfile(own) or (found and os.path.samefile(found, own)):
        return name
    return shlex.quote(own)


def prepare_tensorflow() -> None:
    """Before TensorFlow is imported: oneDNN on (CPUs of some kinds need the word), chatter off.

    And with its own allocator of host memory: the C library's gives every batch of more than 32 MB
    back to the system, and gets it again page by page, a third of the time of a picture of 299 px.
    """
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
    os.environ.setdefault('TF_CPU_ALLOCATOR_USE_BFC', 'true')
    os.environ.setdefault('TF_CPU_BFC_MEM_LIMIT_IN_MB', str(_memory_mb()))
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ.setdefault('KERAS_BACKEND', 'tensorflow')
    logging.getLogger('tensorflow').setLevel(logging.ERROR)
    if 'tensorflow' not in sys.modules:
        _collect_rarely()


def _memory_mb() -> int:
    """The machine's; without a word TensorFlow's allocator would stop at 64 GB."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 20


def _collect_rarely() -> None:
    """TensorFlow's modules make half a million objects that all stay.

    As it is set by default, Python's garbage collector looks through them again and again while
    they are made, and once more at the end of the process: a third of the processor time of a
    process that only imports TensorFlow.
    """
    gc.set_threshold(100_000, 50, 1000)
    atexit.register(gc.freeze)
