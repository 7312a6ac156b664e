"""The command lines: one module a command, each of which calls the Python interface.

Until a command runs, ^C ends it without a word: it has done nothing yet, and libraries that are
interrupted while they are imported raise errors of their own.
"""

import os
import signal


def leave_at_once(signum: int, frame: object) -> None:
    os._exit(128 + signum)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave_at_once)
