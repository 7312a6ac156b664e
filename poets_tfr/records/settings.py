"""The settings of conversion: which images are taken, their splits, and how they are stored."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import ClassVar, Literal

from poets_tfr import files, places
from poets_tfr.errors import InputError
from poets_tfr.settings import at_least, matching, require_defaults, setting, within
from poets_tfr.sources.settings import SourceConfig, dataset_name_of, is_inside

OnBadImage = Literal['skip', 'fail']
OnDuplicate = Literal['keep', 'drop', 'fail']
OnNearDuplicate = Literal['group', 'drop']

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs
_MOST_SIDE = 1_000_000  # pixels; formats end before
_RECORDS_OF_0_1 = '/tmp/poets_records'


def default_records_dir(place: str, labels_file: str = '') -> str:
    """Where records are kept unless told: a folder of this user's for each place of images.

    Records that version 0.1 kept below /tmp are still found, where they are this user's own.
    """
    known_by = os.path.abspath(place)
    if labels_file:
        known_by += f'\n{os.path.abspath(labels_file)}'
    digest = hashlib.sha256(os.fsencode(known_by)).hexdigest()[:8]
    name = f'{dataset_name_of(place)}-{digest}'
    former = files.join(_RECORDS_OF_0_1, name)
    if places.is_own_folder(former):
        return former
    return files.join(places.user_cache_dir(), 'records', name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig(SourceConfig):
    """Images -> sharded TFRecords."""

    TITLE: ClassVar[str] = 'Images and records'

    # fmt: off
    records_dir: str = setting('',
        'Where the TFRecords go. For training, by default a folder in your cache; given without '
        '--image_dir, training takes the records there.', affects='output', path='path')
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
    near_duplicates: str = setting('',
        'A near_duplicates.tsv that poets-examine wrote of these images.',
        affects='records', path='path')
    on_near_duplicate: OnNearDuplicate = setting('group',
        'What to do with near_duplicates: keep each group in one split, that of its smallest hash; '
        'or drop all but the first by name.', affects='records')
    corrections: str = setting('',
        'A corrections.tsv: images that are of another class, or are to be left out. Each keeps '
        'its split; what is said of an image that has changed since is not applied.',
        affects='records', path='path')
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
        super().check()
        if not self.near_duplicates:
            require_defaults(self, ['on_near_duplicate'], 'near_duplicates')
        if self.place and self.records_dir and is_inside(self.records_dir, self.place):
            raise InputError(
                f'--records_dir={self.records_dir} lies in {self.place_flag}: nothing '
                'is written among the images; choose a folder elsewhere.'
            )

    @property
    def name(self) -> str:
        """The data set's name, which begins every shard's file name."""
        return self.dataset_name or dataset_name_of(self.place)
