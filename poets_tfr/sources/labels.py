"""The folder of a class -> the label that the labels file shows. No TensorFlow."""

from __future__ import annotations

import re
import unicodedata

from poets_tfr.sources.settings import LabelStyle

# They join the letters of a word, in Persian and Hindi say.
_JOINERS = '\u200c\u200d'


def label_of(folder: str, style: LabelStyle = 'original') -> str:
    """The label of a class.

    original: lower case, and one space for each run of other than letters and digits. For names in
      ASCII that is the original's rule to the letter, which knew a-z and 0-9 only; letters, their
      marks and digits of all scripts stay. A name of which nothing would be left stays as it is.
    folder: the name as it is. Accents are composed in either case, so that folders of a Mac and of
      other systems have the same labels.
    """
    name = composed(folder)
    if style == 'folder':
        return re.sub(r'[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]', ' ', name)
    kept = (c if _is_of_a_word(c) else ' ' for c in composed(name.lower()))
    label = re.sub(' +', ' ', ''.join(kept))
    return label if label.strip() else _on_one_line(name)


def possible_labels(folder: str) -> list[str]:
    """Every label that this folder may have in an export: by each style, and by the rule of 0.1."""
    ascii_only = re.sub(r'[^a-z0-9]+', ' ', folder.lower())
    of_0_1 = ascii_only if ascii_only.strip() else _on_one_line(folder)
    return [label_of(folder, 'folder'), label_of(folder), of_0_1]


def composed(name: str) -> str:
    """Unicode's NFC: macOS writes an accented letter as two characters, others as one."""
    return unicodedata.normalize('NFC', name)


def _is_of_a_word(character: str) -> bool:
    if character.isascii():
        return character.isalnum()
    return unicodedata.category(character)[0] in 'LMN' or character in _JOINERS


def _on_one_line(name: str) -> str:
    return re.sub(r'\s', ' ', name)  # the labels file is line by line
