"""What listings keep in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from poets_tfr.sources.kept import kept


def test_what_was_found_is_kept_until_a_file_changes_or_nobody_asks(
    tmp_path: Path, cache: Path
) -> None:
    made: list[str] = []

    def ask(what: str) -> object:
        def make() -> list[object]:
            made.append(what)
            return [what, len(made)]

        return kept(what, [str(path)], make)

    path = tmp_path / 'a.tar'
    path.write_bytes(b'1')
    assert [ask('a'), ask('a')] == [['a', 1]] * 2
    path.write_bytes(b'12')
    assert ask('a') == ['a', 2]

    (of_a,) = (cache / 'sources').iterdir()
    ask('b')
    os.utime(of_a, (0, 0))
    assert ask('a') == ['a', 2], 'it is asked for again'
    assert of_a.stat().st_mtime > 0
    (of_b,) = {*(cache / 'sources').iterdir()} - {of_a}
    os.utime(of_b, (0, 0))
    ask('c')
    assert of_a.exists()
    assert not of_b.exists()
