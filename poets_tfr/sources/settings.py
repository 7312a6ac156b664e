"""The settings of a source: what holds the images, which are taken, and their labels and splits."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Literal, get_args

from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, at_least, default_of, setting, within

LabelStyle = Literal['original', 'folder']
FirstLabel = Literal['auto', '0', '1']
SplitBy = Literal['auto', 'folders', 'relative_path', 'given_path', 'stratified']
Split = Literal['train', 'validation', 'test']
SPLITS = get_args(Split)
PLACES = 'image_dir', 'image_tfrecords', 'image_parquet'  # of which one is given

_GOES_WITH = {
    'labels_file': ['image_dir'],
    'path_column': ['image_dir'],
    'split_column': ['image_dir'],
    'label_column': ['image_dir', 'image_parquet'],
    'image_key': ['image_tfrecords', 'image_parquet'],
    'label_key': ['image_tfrecords'],
    'first_label': ['image_tfrecords'],
}


def dataset_name_of(place: str) -> str:
    """The base name of a place in [a-z0-9_], beginning with a letter: TFDS's rule.

    An archive's without its extension; of a pattern, what stands before it.
    """
    base = os.path.basename(os.path.abspath(place)).lower()
    base = re.sub(r'\.(zip|tar|tar\.(gz|xz|bz2)|tgz|txz|tbz2?|parquet|tfrecords?)$', '', base)
    base = re.split(r'[*?\[{]', base)[0] or os.path.basename(os.path.dirname(place))
    name = re.sub(r'[^a-z0-9]+', '_', base).strip('_') or 'pictures'
    return name if name[0].isalpha() else f'd_{name}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceConfig(Settings):
    """What people have: images, their labels and their splits."""

    # fmt: off
    image_dir: str = setting('',
        'Path to folders of labeled images: one folder per class, or train, validation and test '
        'with the class folders in them; also a .zip or .tar of them, or WebDataset shards '
        "('shards-{000..009}.tar').", affects='input', path='path')
    labels_file: str = setting('',
        'A list of the images in image_dir and their labels: .csv, .tsv, .jsonl or .parquet.',
        affects='input', path='path')
    path_column: str = setting('', 'The column of labels_file that names the image; by default '
        'found by its name (file_name, path, id, ...).', affects='input')
    label_column: str = setting('', 'Its column with the label; by default found by its name '
        '(label, class, category, ...). In image_parquet, too; of WebDataset shards, the key in '
        'their .json.', affects='input')
    split_column: str = setting('', 'Its column with train, validation or test; by default found '
        "by its name (split, set, subset). 'none': do not look for one.", affects='input')
    image_tfrecords: str = setting('',
        'TFRecords that others made, in place of image_dir: a folder of TensorFlow Datasets, or a '
        "pattern ('flowers/*.tfrecord').", affects='input', path='path')
    image_key: str = setting('', 'The feature of image_tfrecords, or the column of image_parquet, '
        'that holds the image; by default found.', affects='input')
    label_key: str = setting('', 'The feature of image_tfrecords that holds the label; by default '
        'found.', affects='input')
    first_label: FirstLabel = setting('auto', 'Whether the labels of image_tfrecords begin at 0 or '
        'at 1; auto: found from all of them.', affects='input')
    image_parquet: str = setting('',
        "Parquet files as Hugging Face has them, in place of image_dir ('data/*.parquet').",
        affects='input', path='path')
    label_names: str = setting('', 'Where labels are numbers: a text file with their names, one a '
        'line.', affects='input', path='path')
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
        'given_path (image_dir as typed, as the original did), or stratified: of each class, the '
        'smallest of these hashes, so that it has just its share in each split; auto: the splits '
        'that the images come with, else relative_path.', affects='records')
    split_prefix: str = setting('',
        "Split by given path, with this in place of image_dir: 'tf_files/flower_photos' gives the "
        "published tutorial's test set.", affects='records')
    follow_links: bool = setting(True, 'Whether links that lead out of image_dir are followed.',
        affects='records')
    # fmt: on

    def check(self) -> None:
        given = [name for name in PLACES if getattr(self, name)]
        if len(given) > 1:
            raise InputError(
                f'--{given[0]} and --{given[1]} exclude each other: images come from one of them.'
            )
        for name, wanted in _GOES_WITH.items():
            if (
                self.place
                and getattr(self, name) != default_of(SourceConfig, name)
                and given[0] not in wanted
            ):
                raise InputError(
                    f'--{name} goes with {" or ".join(f"--{each}" for each in wanted)}, not with '
                    f'--{given[0]}: leave it out.'
                )
        if self.split_prefix and self.split_by == 'stratified':
            raise InputError(
                '--split_by=stratified and --split_prefix exclude each other: that splits by the '
                'given path.'
            )
        total = self.validation_percentage + self.testing_percentage
        if total > 99:
            raise InputError(
                f'--validation_percentage + --testing_percentage is {total}: at most 99, '
                'so that something is left to train on.'
            )

    @property
    def place(self) -> str:
        """The folder, archive or pattern that holds the images; '' where none was given."""
        return getattr(self, self._place_name)

    @property
    def place_flag_name(self) -> str:
        """Begins messages about the source."""
        return f'--{self._place_name}'

    @property
    def place_flag(self) -> str:
        return f'{self.place_flag_name}={self.place}'

    @property
    def draws_all_splits(self) -> bool:
        """Whether the splits that the images come with are passed over."""
        return self.split_by in ('relative_path', 'given_path', 'stratified')

    @property
    def splits_by_given_path(self) -> bool:
        return self.split_by == 'given_path' or bool(self.split_prefix)

    @property
    def hash_prefix(self) -> str:
        """What stands before `<class folder>/<file>` in the path that decides the split."""
        return (self.split_prefix or self.place) if self.splits_by_given_path else ''

    @property
    def _place_name(self) -> str:
        return next((name for name in PLACES if getattr(self, name)), PLACES[0])


def is_inside(path: str, directory: str) -> bool:
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(os.path.join(directory, ''))
