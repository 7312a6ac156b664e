"""WebDataset shards: tars in which `key.jpg` stands beside `key.cls`, `key.txt` or `key.json`.

No TensorFlow.
"""

from __future__ import annotations

import collections
import functools
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from poets_tfr.errors import InputError
from poets_tfr.files import Entry
from poets_tfr.progress import printable
from poets_tfr.sources import names, record_splits, remarks
from poets_tfr.sources.archive_members import Member
from poets_tfr.sources.archives import Archive
from poets_tfr.sources.folders import is_left_alone, is_picture
from poets_tfr.sources.headers import one_line
from poets_tfr.sources.kept import kept
from poets_tfr.sources.record_paths import short_names
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Inventory, Listed, Readable

log = logging.getLogger('poets_tfr')

_LABELS = 'cls', 'txt', 'json'  # the most telling first
_IN_JSON = 'label', 'class', 'cls', 'category', 'target'
_LONGEST_LABEL = 1 << 20  # bytes
_OFFSET_BITS = 44
_LEAST_TO_JUDGE = 20  # images


class _Shard(NamedTuple):
    """samples: (the image's member, its label). alone: images without a label. ignored: the rest.

    spare: further images of a key.
    """

    samples: list[tuple[Member, str]]
    alone: list[str]
    spare: list[str]
    ignored: int


def is_webdataset(archive: Archive) -> bool:
    """Whether a tar holds labels beside its images, and not class folders.

    Images in folders with a .txt or .json each may be both: only a .cls is a label for sure.

    Raises:
      InputError: it cannot be read.
    """
    if archive.is_zip:
        return False
    members = archive.found.members
    if not any(member.path.lower().endswith(_LABELS) for member in members):
        return False
    images = {_key_of(member.path)[0] for member in members if _is_image(member.path)}
    kinds = {kind for key, kind in (_key_of(m.path) for m in members) if key in images}
    folders = {key.rpartition('/')[0] for key in images}
    return 'cls' in kinds or (len(folders) == 1 and not kinds.isdisjoint(_LABELS))


class WebDataset:
    """A source of shards. An image's place is its shard's number, and where it begins in it."""

    files_root = ''

    def __init__(self, config: SourceConfig, shards: Sequence[Archive]):
        self._config, self._shards = config, shards

    def inventory(self) -> Inventory:
        paths = [shard.path for shard in self._shards]
        split_of = record_splits.of_files(self._config, paths)
        key = self._config.label_column
        images: list[Listed] = []
        alone, spare, ignored = [], [], 0
        for number, archive in enumerate(self._shards):
            shard = _look_through(archive, key)
            alone += shard.alone
            spare += shard.spare
            ignored += shard.ignored + len(shard.alone) + len(shard.spare)
            for image, label in shard.samples:
                images.append(
                    Listed(
                        image.path, label, image.size, image.stamp, split_of[number], image.fault,
                        place=number << _OFFSET_BITS | image.offset,
                    )
                )  # fmt: skip
        if not images:
            raise InputError(
                f'--image_dir={self._config.image_dir}: no key.jpg with key.cls, key.txt or '
                'key.json beside it was found.'
            )
        self._tell(alone, spare)
        by = 'the names of the shards' if any(split_of) else ''
        return Inventory(_with_own_paths(self._named(images), paths), ignored, by)

    def read(self, image: Readable) -> bytes:
        number, offset = image.place >> _OFFSET_BITS, image.place & (1 << _OFFSET_BITS) - 1
        return self._shards[number].read(Member(image.path, image.size, offset, 0))

    def close(self) -> None:
        pass

    def clean_up(self) -> None:
        for shard in self._shards:
            shard.clean_up()

    def _tell(self, alone: Sequence[str], spare: Sequence[str]) -> None:
        for shard in self._shards:
            shard.tell()
        for what, paths in (
            ('Images without .cls, .txt or .json beside them', alone),
            ('Images beside another one of their key', spare),
        ):
            if paths:
                log.warning('%s: %d, left out (%s).', what, len(paths), remarks.some(paths))

    def _named(self, images: Sequence[Listed]) -> list[Listed]:
        """Raises InputError: the labels are numbers without names, or no labels at all."""
        found = {image.class_name for image in images}
        place = self._config.image_dir
        if len(images) >= _LEAST_TO_JUDGE and len(found) > len(images) / 2:
            raise InputError(
                f'--image_dir={place}: {len(images)} images have {len(found)} different labels, '
                f'such as {printable(min(found))[:60]!r}: captions, perhaps. A class is wanted.'
            )
        if self._config.label_names:
            of_number = names.read(self._config.label_names)
            name_of = {n: names.named(of_number, n, f'--image_dir={place}') for n in found}
            return [image._replace(class_name=name_of[image.class_name]) for image in images]
        if all(name.isascii() and name.isdigit() for name in found):
            log.info('Labels: numbers without names; --label_names=FILE gives them some.')
        return [*images]


def _look_through(archive: Archive, key: str) -> _Shard:
    """Raises InputError: it is damaged, or a label is not understood."""
    archive.found  # noqa: B018  it names what is missing or damaged
    value = kept(f'webdataset 1 {key}', [archive.path], functools.partial(_labelled, archive, key))
    samples = [(Member(*image), label) for image, label in value['samples']]
    return _Shard(samples, value['alone'], value['spare'], value['ignored'])


def _labelled(archive: Archive, key: str) -> dict[str, Any]:
    """A `_Shard` as JSON holds it."""
    images: dict[str, list[Member]] = collections.defaultdict(list)
    labels: dict[str, dict[str, Member]] = collections.defaultdict(dict)
    members = archive.found.members
    for member in members:
        stem, extension = _key_of(member.path)
        if _is_image(member.path):
            images[stem].append(member)
        elif extension in _LABELS:
            labels[stem][extension] = member
    samples, alone, spare = [], [], []
    for stem, (first, *others) in images.items():
        label = next((labels[stem][kind] for kind in _LABELS if kind in labels[stem]), None)
        text = _label(archive, label, key) if label else ''
        if text:
            samples.append((first, text))
        else:
            alone.append(first.path)
        spare += [image.path for image in others]
    ignored = len(members) - 2 * len(samples) - len(alone) - len(spare)
    return _Shard(samples, alone, spare, ignored)._asdict()


def _key_of(path: str) -> tuple[str, str]:
    """('a/1', 'cls') of 'a/1.cls': the name up to its first dot, as WebDataset has it."""
    folder, slash, name = path.rpartition('/')
    stem, _, extension = name.partition('.')
    return f'{folder}{slash}{stem}', extension.lower()


def _is_image(path: str) -> bool:
    folder, _, name = path.rpartition('/')
    is_system = folder and any(map(is_left_alone, folder.split('/')))
    return not is_system and is_picture(Entry(name, False, True, 0, 0))


def _label(archive: Archive, member: Member, key: str) -> str:
    """'' where a .json says that there is none. Raises InputError: it is not understood."""
    where = f'{archive.path}: {printable(member.path)}'
    if member.fault or member.size > _LONGEST_LABEL:
        raise InputError(f'{where} holds no label ({member.fault or "too large"}).')
    try:
        text = archive.read(member).decode('utf-8-sig').strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{where} cannot be read ({one_line(error)}).') from None
    if member.path.lower().endswith('.json'):
        return _label_in_json(where, text, key)
    if not text:
        raise InputError(f'{where} is empty: a label is wanted.')
    return text.splitlines()[0].strip()


def _label_in_json(where: str, text: str, key: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        raise InputError(f'{where} is not JSON.') from None
    if isinstance(value, dict):
        value = _of_key(where, value, key)
    if value is None:
        return ''
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise InputError(f'{where}: the label {str(value)[:60]!r} is neither a name nor a number.')
    return str(value).strip()


def _of_key(where: str, value: dict[str, Any], key: str) -> Any:
    found = [name for name in ([key] if key else _IN_JSON) if name in value]
    if len({str(value[name]) for name in found}) == 1:
        return value[found[0]]
    shown = ', '.join(printable(name) for name in [*value][:20]) or 'none'
    what = f'{" and ".join(found)} differ' if found else f'no {key or ", ".join(_IN_JSON)}'
    raise InputError(
        f'{where}: {what}: which of its keys is the label? Name it with --label_column. They are '
        f'{shown}.'
    )


def _with_own_paths(images: Sequence[Listed], paths: Sequence[str]) -> list[Listed]:
    """Where several shards use one name, the shard's own name comes before it."""
    uses = collections.Counter(image.path for image in images)
    if max(uses.values()) == 1:
        return [*images]
    stems = [re.sub(r'(\.tar)?\.\w+$', '', name) for name in short_names(paths)]
    own = [
        image
        if uses[image.path] == 1
        else image._replace(path=f'{stems[image.place >> _OFFSET_BITS]}/{image.path}')
        for image in images
    ]
    if len({image.path for image in own}) == len(own):
        return own
    return [i._replace(path=f'{stems[i.place >> _OFFSET_BITS]}/{i.path}') for i in images]
