"""How much of the machine there is to decode pictures with."""

from __future__ import annotations

import os


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def decoding_threads() -> int:
    """One more than cores: while one waits for a disk, or for Python's lock, the others decode.

    Not tf.data's AUTOTUNE: it begins with one thread and is still learning when a small set ends.
    """
    return cores() + 1
