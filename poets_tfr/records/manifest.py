"""The records_dir contract: what later stages may rely on, and the files that state it.

    <name>-<split>.tfrecord-00000-of-00004               a shard
    <name>-<split>.tfrecord-00000-of-00004.index.jsonl   what the shard holds, picture by picture
    manifest.json                                        the rest, written last
    <name>-<split>.tfrecord-00000-of-00004.idx           the same for DALI (--write_index)
    skipped.tsv                                          every picture that is in no shard, and why
    duplicates.tsv                                       every picture that has another's content
    dataset_info.json, features.json, *.labels.txt       the same, as TensorFlow Datasets reads it

None of them holds a time or a path of this machine: the same pictures give the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.records import codecs, corrections, near_duplicates, schema
from poets_tfr.records.duplicates import Duplicate
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.settings import names_of
from poets_tfr.sources.listing import ClassFolder, Listing
from poets_tfr.sources.settings import SPLITS
from poets_tfr.tables import json_cell

MANIFEST = 'manifest.json'
SKIPPED = 'skipped.tsv'
DATASET_INFO = 'dataset_info.json'
DUPLICATES = 'duplicates.tsv'
INDEX_SUFFIX = '.index.jsonl'
DALI_SUFFIX = '.idx'
FORMAT = 'poets_tfr records 1'
UNWANTED = 'left out by --corrections'
MOST_IN_TABLE = 50  # classes
_AT_EACH_END = 10
_REASONS_SHOWN = 3
# Records without them in their manifest have the defaults.
_LATER_SETTINGS = (
    'min_class_size', 'label_style', 'near_duplicates', 'on_near_duplicate', 'corrections',
)  # fmt: skip
CONVERT_AGAIN = (
    'run the conversion again (tools/convert_images.py, or retrain.py with --image_dir), which '
    'makes only what is missing'
)


def shard_name(dataset_name: str, split: str, shard: int, shards: int) -> str:
    """TensorFlow Datasets' name for a shard."""
    return f'{dataset_name}-{split}.tfrecord-{shard:05d}-of-{shards:05d}'


@dataclasses.dataclass(frozen=True)
class IndexEntry:
    """One source file's line in its shard's index.

    path: relative to image_dir, '/'-separated.
    label: 0-based index of its class.
    source_sha256: hex digest of the source file; '' where it was not read.
    encoded_sha256: hex digest of `image/encoded`; '' for a skipped file.
    offset, bytes: where the record's frame begins in the shard, and its length.
    outcome: 'as is', 'as JPEG', 'as PNG', 'scaled down', 'skipped' or 'dropped' (as a copy,
      or by a correction).
    reason: why it was skipped or dropped; '' if it was not.
    source_bytes, first_bytes: of such a file, for skipped.tsv; first_bytes in hex.
    decoders: their version, of a file that TensorFlow does not decode; 0 of others, and of records
      that tensorflow-io decoded.
    """

    path: str
    label: int
    source_sha256: str
    encoded_sha256: str = ''
    offset: int = 0
    bytes: int = 0
    outcome: str = 'skipped'
    reason: str = ''
    source_bytes: int = 0
    first_bytes: str = ''
    decoders: int = 0

    @property
    def is_record(self) -> bool:
        return self.outcome not in ('skipped', 'dropped')

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != 'decoders' or v}


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """A shard's index file: what the shard holds, and the conversion settings it was made with.

    file_sha256: hex digest of the index file itself, once it was saved or loaded.
    """

    shard: str
    contract: str
    records: int
    bytes: int
    sha256: str
    entries: tuple[IndexEntry, ...]
    file_sha256: str = ''

    def save(self, path: str) -> ShardIndex:
        header = {k: v for k, v in vars(self).items() if k not in ('entries', 'file_sha256')}
        values = header, *(entry.to_json() for entry in self.entries)
        lines = [json.dumps(line, separators=(',', ':')) for line in values]
        content = '\n'.join([*lines, '']).encode('ascii')
        files.write_bytes(path, content)
        return dataclasses.replace(self, file_sha256=hashlib.sha256(content).hexdigest())

    @classmethod
    def load(cls, path: str) -> ShardIndex:
        """Raises InputError, naming the file, when it is not an index."""
        content = files.read_bytes(path)
        try:
            header, *entries = map(json.loads, content.splitlines())
            return cls(
                **header,
                entries=tuple(IndexEntry(**entry) for entry in entries),
                file_sha256=hashlib.sha256(content).hexdigest(),
            )
        except (ValueError, TypeError, UnicodeDecodeError) as error:
            raise InputError(
                f'{path} is damaged ({error}): run the conversion again, which makes it anew.'
            ) from None


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard's line in the manifest. index_sha256: of its index file; '' in records of 0.1."""

    file: str
    records: int
    bytes: int
    sha256: str
    index_sha256: str = ''


@dataclasses.dataclass(frozen=True)
class Split:
    pictures: int
    pictures_per_class: tuple[int, ...]
    shards: tuple[Shard, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Split:
        return cls(
            pictures=value['pictures'],
            pictures_per_class=tuple(value['pictures_per_class']),
            shards=tuple(Shard(**shard) for shard in value['shards']),
        )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """manifest.json. `found` = the records of all splits + `skipped` + `ignored`.

    skipped: the files in skipped.tsv, dropped ones included.
    skip_reasons: reason -> files; what is said of one file alone stands in skipped.tsv.
    duplicates: how many records have the content of another one.
    relabelled: how many have another label than their source gives, by corrections.
    splits: in the order of `SPLITS`, loaded or just made.
    """

    dataset_name: str
    classes: tuple[ClassFolder, ...]
    splits: dict[str, Split]
    settings: dict[str, Any]
    found: int
    ignored: int
    skipped: int
    skip_reasons: dict[str, int]
    outcomes: dict[str, int]
    duplicates: int = 0
    relabelled: int = 0

    @property
    def labels(self) -> list[str]:
        return [label for _, label in self.classes]

    @property
    def counts(self) -> dict[str, tuple[int, ...]]:
        """Split -> how many records of each class it has."""
        return {name: split.pictures_per_class for name, split in self.splits.items()}

    def digest(self, *splits: str) -> str:
        """Hex: of all records of these splits, in their order."""
        digests = [shard.sha256 for name in splits for shard in self.splits[name].shards]
        return hashlib.sha256(' '.join(digests).encode()).hexdigest()

    @property
    def splits_are_drawn(self) -> bool:
        """Whether percentages decide on the splits; else the images came with theirs."""
        return self.settings.get('split_by') not in ('folders', 'source')

    @property
    def store_max_side(self) -> int:
        """What larger pictures were scaled down to; 0 if none was."""
        return self.settings.get('store_max_side', 0)

    @property
    def has_digests(self) -> bool:
        """Whether it holds the digest of every index, as version 0.1 did not."""
        shards = [shard for split in self.splits.values() for shard in split.shards]
        return all(shard.index_sha256 for shard in shards)

    def to_json(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        if not self.relabelled:
            del value['relabelled']
        value['format'] = FORMAT
        value['classes'] = [folder._asdict() for folder in self.classes]
        return {**value, 'sha256': digest_of(value)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        splits = {name: Split.from_json(value['splits'][name]) for name in SPLITS}
        classes = tuple(ClassFolder(**folder) for folder in value['classes'])
        apart = 'format', 'splits', 'classes', 'sha256'
        rest = {k: v for k, v in value.items() if k not in apart}
        return cls(splits=splits, classes=classes, **rest)


def digest_of(value: dict[str, Any]) -> str:
    """Hex: of manifest.json's value, its own `sha256` left out."""
    rest = {name: each for name, each in value.items() if name != 'sha256'}
    return hashlib.sha256(files.json_bytes(rest)).hexdigest()


def settings_of(config: ConversionConfig) -> dict[str, Any]:
    """What the records depend on besides the images."""
    return {
        **{name: getattr(config, name) for name in names_of(ConversionConfig, 'records')},
        'classes': sorted(set(config.classes)),
        'split_by': _drawn_by(config),
        'split_prefix': config.hash_prefix,
        'near_duplicates': near_duplicates.digest_of(config),
        'corrections': corrections.digest_of(config.corrections),
        'codecs_version': codecs.VERSION,
        'schema_version': schema.VERSION,
    }


def _drawn_by(config: ConversionConfig) -> str:
    if config.splits_by_given_path:
        return 'given_path'
    return 'relative_path' if config.split_by == 'auto' else config.split_by


def stored_settings(config: ConversionConfig, listing: Listing) -> dict[str, Any]:
    """Those of `settings_of` that a manifest holds: with the defaults, just what 0.1 wrote."""
    settings = settings_of(config)
    if listing.given:
        settings['split_by'] = 'folders' if listing.splits_by == 'folders' else 'source'
    later = {name: getattr(ConversionConfig, name) for name in _LATER_SETTINGS}
    return {k: v for k, v in settings.items() if k not in later or v != later[k]}


def summed_up(reason: str) -> str:
    """Why a picture was skipped, without what is said of this one alone."""
    alike = re.match(r'(damaged [^(]+|too large)( \(|: )', reason)
    return alike[1] if alike else reason


def told_left_out(found: int, ignored: int, skip_reasons: Mapping[str, int]) -> str:
    """How many images were left out and why, the commonest reason first; '' if none was."""
    if not skip_reasons:
        return ''
    reasons = sorted(skip_reasons.items(), key=lambda item: (-item[1], item[0]))
    shown = [f'{count} {printable(reason)}' for reason, count in reasons[:_REASONS_SHOWN]]
    if len(reasons) > _REASONS_SHOWN:
        shown.append(f'{sum(count for _, count in reasons[_REASONS_SHOWN:])} for other reasons')
    skipped = sum(skip_reasons.values())
    return f'{skipped} of {found - ignored} images were left out: {"; ".join(shown)}'


def load_manifest(records_dir: str) -> Manifest:
    """Raises InputError where there is no whole conversion of this format."""
    path = files.join(records_dir, MANIFEST)
    if not files.exists(path):
        raise InputError(
            f'--records_dir: {records_dir} has no {MANIFEST}: no conversion finished there. '
            'Convert first (tools/convert_images.py), or give --image_dir too.'
        )
    value = files.read_json(path)
    found = value.get('format') if isinstance(value, dict) else None
    if found != FORMAT:
        raise InputError(f'{path}: its format is {found!r}, wanted {FORMAT!r}: convert again.')
    if value.get('sha256', digest_of(value)) != digest_of(value):
        raise InputError(
            f'{path} is damaged or was changed (its sha256 is another one): {CONVERT_AGAIN}.'
        )
    try:
        return Manifest.from_json(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f'{path} is damaged ({error!r}): convert again.') from None


def check_settings(records_dir: str, manifest: Manifest, insisted: Mapping[str, Any]) -> None:
    """Raises InputError when the records were made with another setting than one insisted on."""
    made_with = {n: getattr(ConversionConfig, n) for n in _LATER_SETTINGS} | manifest.settings
    for name, wanted in insisted.items():
        found = made_with.get(name)
        agree = found == (sorted(set(wanted)) if name == 'classes' else wanted)
        if name in made_with and not agree:
            raise InputError(
                f'--{name}={wanted}: the records in {records_dir} were made with {found}. Leave '
                'the flag out, or convert again with it (give --image_dir too).'
            )


def check_shards(records_dir: str, manifest: Manifest) -> None:
    """Raises InputError, naming the shard, when one is missing or not as long as stated."""
    for split in manifest.splits.values():
        for shard in split.shards:
            path = files.join(records_dir, shard.file)
            if (found := files.size(path)) != shard.bytes:
                what = 'is missing' if found is None else f'has {found} bytes, not {shard.bytes}'
                raise InputError(f'--records_dir: the shard {path} {what}: {CONVERT_AGAIN}.')


def load_indexes(records_dir: str, manifest: Manifest, split: str) -> Iterator[ShardIndex]:
    """The indexes of a split's shards, in order; checked against the manifest."""
    for shard in manifest.splits[split].shards:
        path = files.join(records_dir, shard.file + INDEX_SUFFIX)
        try:
            index = ShardIndex.load(path)
        except OSError:
            raise InputError(f'--records_dir: {path} is missing: {CONVERT_AGAIN}.') from None
        if shard.index_sha256 not in ('', index.file_sha256):
            raise InputError(
                f'--records_dir: {path} is damaged or was changed (its sha256 is not the one in '
                f'{MANIFEST}): {CONVERT_AGAIN}.'
            )
        if index.sha256 != shard.sha256:
            raise InputError(f'--records_dir: {path} is of another shard: {CONVERT_AGAIN}.')
        if not _is_sound(index, len(manifest.classes)):
            raise InputError(f'--records_dir: {path} is damaged: {CONVERT_AGAIN}.')
        yield index


def _is_sound(index: ShardIndex, classes: int) -> bool:
    """Whether its entries can be what a conversion wrote; of records without digests, too."""
    records = [entry for entry in index.entries if entry.is_record]
    return len(records) == index.records and all(
        isinstance(entry.path, str)
        and isinstance(entry.label, int)
        and 0 <= entry.label < classes
        and isinstance(entry.offset, int)
        and entry.offset >= 0
        and re.fullmatch('[0-9a-f]{64}', entry.encoded_sha256)
        and re.fullmatch('[0-9a-f]{64}', entry.source_sha256)
        for entry in records
    )


def check_digests(digests: Iterable[tuple[str, str]]) -> None:
    """Reads every shard of (path, sha256): raises InputError, naming the first that differs."""
    for path, digest in digests:
        if files.sha256_of(path) != digest:
            raise InputError(
                f'--records_dir: the shard {path} is damaged: delete it and {CONVERT_AGAIN}. '
                f'`tools/inspect_records.py --records_dir={os.path.dirname(path)} --verify` '
                'lists all that is damaged.'
            )


def tfds_metadata(manifest: Manifest) -> dict[str, bytes]:
    """File name -> content: what `tfds.builder_from_directory(records_dir)` reads."""

    def of_class(name: str, **what: Any) -> dict[str, Any]:
        return {'pythonClassName': f'tensorflow_datasets.core.features.{name}', **what}

    def group(features: dict[str, Any]) -> dict[str, Any]:
        return of_class('features_dict.FeaturesDict', featuresDict={'features': features})

    text = of_class('text_feature.Text', text={})
    integer = of_class('scalar.Scalar', tensor={'dtype': 'int64', 'shape': {}, 'encoding': 'none'})
    picture = {'dtype': 'uint8', 'shape': {'dimensions': ['-1', '-1', '3']}}
    label = {'numClasses': str(len(manifest.classes))}
    image = {
        'encoded': of_class('image_feature.Image', image=picture),
        'format': text,
        'height': integer,
        'width': integer,
        'colorspace': text,
        'channels': integer,
        'filename': text,
        'sha256': text,
        'class': group(
            {
                'label': of_class('class_label_feature.ClassLabel', classLabel=label),
                'text': text,
            }
        ),
    }
    labels = ''.join(f'{label}\n' for label in manifest.labels)
    info = {
        'name': manifest.dataset_name,
        'version': '1.0.0',
        'fileFormat': 'tfrecord',
        'description': f'{manifest.dataset_name}: pictures in folders, converted by poets_tfr.',
        'splits': [
            {
                'name': name,
                'shardLengths': [str(shard.records) for shard in split.shards],
                'numBytes': str(sum(shard.bytes for shard in split.shards)),
                'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
            }
            for name, split in manifest.splits.items()
            if split.shards
        ],
    }
    return {
        DATASET_INFO: files.json_bytes(info),
        'features.json': files.json_bytes(group({'image': group(image)})),
        'image-class-label.labels.txt': labels.encode('utf-8', 'surrogateescape'),
    }


def skipped_tsv(entries: Iterable[IndexEntry]) -> bytes:
    """skipped.tsv: path, reason, size, first bytes in hex; sorted; escaped as JSON strings are."""
    lines = ['path\treason\tbytes\tfirst_bytes']
    for entry in sorted(entries, key=lambda entry: entry.path):
        path, reason = map(json_cell, (entry.path, entry.reason))
        lines.append(f'{path}\t{reason}\t{entry.source_bytes}\t{entry.first_bytes}')
    return '\n'.join([*lines, '']).encode('ascii')


def duplicates_tsv(duplicates: Iterable[Duplicate]) -> bytes:
    """duplicates.tsv: path and split, and the path and split of the first of that content."""
    lines = ['path\tsplit\tsame_as\tits_split']
    for copy, first in duplicates:
        cells = copy.path, copy.split, first.path, first.split
        lines.append('\t'.join(map(json_cell, cells)))
    return '\n'.join([*lines, '']).encode('ascii')


def dali_index(index: ShardIndex) -> bytes:
    """What DALI's tfrecord2idx writes: a line of offset and size, in bytes, for each record."""
    return ''.join(f'{e.offset} {e.bytes}\n' for e in index.entries if e.is_record).encode()


def in_table(totals: Sequence[int]) -> list[int | None]:
    """The classes that a table of pictures per class has; None stands for those left out.

    Of more than MOST_IN_TABLE only the largest and the smallest ones, by size.
    """
    if len(totals) <= MOST_IN_TABLE:
        return list(range(len(totals)))
    order = sorted(range(len(totals)), key=lambda i: (-totals[i], i))
    return [*order[:_AT_EACH_END], None, *order[-_AT_EACH_END:]]


def table(labels: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """A text table of pictures per class and split, with totals."""
    splits = [split for split in SPLITS if split in counts]
    chosen = in_table([sum(of) for of in zip(*(counts[s] for s in splits), strict=True)])
    names = ['...' if i is None else printable(labels[i]) for i in chosen]
    width = max(len('total'), *map(len, names))
    rows = [
        (name, [] if i is None else [counts[split][i] for split in splits])
        for name, i in zip(names, chosen, strict=True)
    ]
    rows.append(('total', [sum(counts[split]) for split in splits]))
    lines = [f'{"class":{width}} ' + ''.join(f'{split:>12}' for split in splits)]
    lines += [f'{name:{width}} ' + ''.join(f'{n:>12,}' for n in row) for name, row in rows]
    if None in chosen:
        lines.append(abridged(len(labels)))
    return '\n'.join(lines)


def abridged(classes: int) -> str:
    return f'Of {classes:,} classes the {_AT_EACH_END} largest and the {_AT_EACH_END} smallest.'
