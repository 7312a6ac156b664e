"""The settings of a source: what holds the images, which are taken, and their labels and splits."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import ClassVar, Literal, get_args

from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, at_least, setting, within

LabelStyle = Literal['original', 'folder']
SplitBy = Literal['auto', 'folders', 'relative_path', 'given_path']
Split = Literal['train', 'validation', 'test']
SPLITS = get_args(Split)


def dataset_name_of(image_dir: str) -> str:
    """The base name of `image_dir` in [a-z0-9_], beginning with a letter: TFDS's rule."""
    base = os.path.basename(os.path.abspath(image_dir)).lower()
    name = re.sub(r'[^a-z0-9]+', '_', base).strip('_') or 'pictures'
    return name if name[0].isalpha() else f'd_{name}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceConfig(Settings):
    """What people have: images, their labels and their splits."""

    TITLE: ClassVar[str] = 'Images'

    # fmt: off
    image_dir: str = setting('', 'Path to folders of labeled images: one folder per class.',
        affects='input', path='path')
    classes: tuple[str, ...] = setting((),
        'Folders to take as classes, comma-separated; by default all.', affects='records')
    min_class_size: int = setting(0,
        'Leave out classes of fewer images; 0: too small a class is an error.',
        at_least(0, '0 (all are taken) or more'), affects='records')
    label_style: LabelStyle = setting('original',
        'How a folder becomes a label: original (lower case, one space for each run of other than '
        'letters and digits) or folder (as it is named).', affects='records')
    validation_percentage: int = setting(10,
        'What percentage of images to use as a validation set.', within(0, 99), affects='records')
    testing_percentage: int = setting(10, 'What percentage of images to use as a test set.',
        within(0, 99), affects='records')
    recursive: bool = setting(False,
        'Take the images of nested folders too; the class is the first level.', affects='records')
    split_by: SplitBy = setting('auto',
        'What decides the split: folders (train, validation and test, with the class folders in '
        'them), a hash of relative_path (<class>/<file>: moving the folder changes nothing) or of '
        'given_path (image_dir as typed, as the original did); auto: the splits that the images '
        'come with, else relative_path.', affects='records')
    split_prefix: str = setting('',
        "Split by given path, with this in place of image_dir: 'tf_files/flower_photos' gives the "
        "published tutorial's test set.", affects='records')
    follow_links: bool = setting(True, 'Whether links that lead out of image_dir are followed.',
        affects='records')
    # fmt: on

    def check(self) -> None:
        total = self.validation_percentage + self.testing_percentage
        if total > 99:
            raise InputError(
                f'--validation_percentage + --testing_percentage is {total}: at most 99, '
                'so that something is left to train on.'
            )

    @property
    def place(self) -> str:
        """The folder, archive or pattern that holds the images; '' where none was given."""
        return self.image_dir

    @property
    def place_flag_name(self) -> str:
        """Begins messages about the source."""
        return '--image_dir'

    @property
    def place_flag(self) -> str:
        return f'{self.place_flag_name}={self.place}'

    @property
    def splits_by_given_path(self) -> bool:
        return self.split_by == 'given_path' or bool(self.split_prefix)

    @property
    def hash_prefix(self) -> str:
        """What stands before `<class folder>/<file>` in the path that decides the split."""
        return (self.split_prefix or self.place) if self.splits_by_given_path else ''


def is_inside(path: str, directory: str) -> bool:
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(os.path.join(directory, ''))
