"""The settings of conversion: which images are taken, their splits, and how they are stored."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from typing import ClassVar, Literal, get_args

from poets_tfr import files, places
from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, at_least, matching, setting, within

LabelStyle = Literal['original', 'folder']
SplitBy = Literal['relative_path', 'given_path']
OnBadImage = Literal['skip', 'fail']
OnDuplicate = Literal['keep', 'drop', 'fail']
Split = Literal['train', 'validation', 'test']
SPLITS = get_args(Split)

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs
_MOST_SIDE = 1_000_000  # pixels; formats end before
_RECORDS_OF_0_1 = '/tmp/poets_records'


def default_records_dir(image_dir: str) -> str:
    """Where records of `image_dir` are kept unless told: a folder of this user's for each path.

    Records that version 0.1 kept below /tmp are still found, where they are this user's own.
    """
    digest = hashlib.sha256(os.fsencode(os.path.abspath(image_dir))).hexdigest()[:8]
    name = f'{dataset_name_of(image_dir)}-{digest}'
    former = files.join(_RECORDS_OF_0_1, name)
    if places.is_own_folder(former):
        return former
    return files.join(places.user_cache_dir(), 'records', name)


def dataset_name_of(image_dir: str) -> str:
    """The base name of `image_dir` in [a-z0-9_], beginning with a letter: TFDS's rule."""
    base = os.path.basename(os.path.abspath(image_dir)).lower()
    name = re.sub(r'[^a-z0-9]+', '_', base).strip('_') or 'pictures'
    return name if name[0].isalpha() else f'd_{name}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig(Settings):
    """Images -> sharded TFRecords."""

    TITLE: ClassVar[str] = 'Images and records'

    # fmt: off
    image_dir: str = setting('', 'Path to folders of labeled images: one folder per class.',
        affects='input', path='path')
    records_dir: str = setting('',
        'Where the TFRecords go. For training, by default a folder in your cache; given without '
        '--image_dir, training takes the records there.', affects='output', path='path')
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
    store_max_side: int = setting(0,
        'Store larger images scaled down to this many pixels on their longer side (JPEG of quality '
        '95): phone photos take a tenth of the space and are read many times faster. 0: as large '
        'as they are.', within(0, _MOST_SIDE, f'0 (as large as it is) to {_MOST_SIDE}'),
        affects='records')
    on_bad_image: OnBadImage = setting('skip',
        'What to do with a file that cannot be decoded: skip (and list) it, or fail.',
        affects='output')
    max_bad_fraction: float = setting(0.1,
        'Fail when more than this fraction of the images is bad.', within(0, 1), affects='output')
    on_duplicate: OnDuplicate = setting('keep',
        'What to do with files of the same content: keep them (and warn of those in two classes or '
        'splits), drop all but the first by name, or fail.', affects='records')
    split_by: SplitBy = setting('relative_path',
        'Which path decides the split: relative_path (<class>/<file>: moving the folder changes '
        'nothing) or given_path (image_dir as typed, as the original did).', affects='records')
    split_prefix: str = setting('',
        "Split by given path, with this in place of image_dir: 'tf_files/flower_photos' gives the "
        "published tutorial's test set.", affects='records')
    follow_links: bool = setting(True, 'Whether links that lead out of image_dir are followed.',
        affects='records')
    max_pixels: int = setting(MAX_PIXELS,
        'Skip images of more pixels; their header tells, before they are decoded.',
        within(1, 2 * MAX_PIXELS), affects='records')
    dataset_name: str = setting('',
        "Begins the shards' names; by default the base name of image_dir.",
        matching(r'[a-z][a-z0-9_]*', 'lower-case letters, digits and _, beginning with a letter'),
        affects='output')
    num_shards: int = setting(0, 'Shards per split; 0: one for every --shard_mib.',
        within(0, 99_999, '0 (from the sizes) to 99999'), affects='speed')
    shard_mib: int = setting(128, 'About how large a shard is, in MiB.',
        within(1, 1 << 20), affects='speed')
    write_index: bool = setting(False,
        "Also write <shard>.idx: each record's offset and size, as DALI reads them.",
        affects='output')
    workers: int = setting(0,
        'Threads that decode and check images; 0: one more than there are cores.',
        within(0, 4096, '0 (as the cores want) to 4096'), affects='speed')
    lock_timeout: int = setting(3600,
        'How many seconds to wait while another run writes into records_dir; 0: do not wait.',
        at_least(0, '0 (do not wait) or more'), affects='speed')
    # fmt: on

    def check(self) -> None:
        if self.image_dir and self.records_dir and is_inside(self.records_dir, self.image_dir):
            raise InputError(
                f'--records_dir={self.records_dir} lies in --image_dir={self.image_dir}: nothing '
                'is written among the images; choose a folder elsewhere.'
            )
        total = self.validation_percentage + self.testing_percentage
        if total > 99:
            raise InputError(
                f'--validation_percentage + --testing_percentage is {total}: at most 99, '
                'so that something is left to train on.'
            )

    @property
    def name(self) -> str:
        """The data set's name, which begins every shard's file name."""
        return self.dataset_name or dataset_name_of(self.image_dir)

    @property
    def splits_by_given_path(self) -> bool:
        return self.split_by == 'given_path' or bool(self.split_prefix)

    @property
    def hash_prefix(self) -> str:
        """What stands before `<class folder>/<file>` in the path that decides the split."""
        return (self.split_prefix or self.image_dir) if self.splits_by_given_path else ''


def is_inside(path: str, directory: str) -> bool:
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(os.path.join(directory, ''))
