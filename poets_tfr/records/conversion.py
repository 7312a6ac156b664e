"""A listing -> records_dir: only what is missing is made, and all of it appears at once.

New shards are made whole in a hidden folder inside records_dir. When all of them stand, the old
manifest goes, they take their places, and the new manifest is written last. So a conversion that is
killed or that fails changes nothing that a reader sees, and the next one finds its finished shards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

from poets_tfr import files, locks, native_stderr, progress
from poets_tfr.errors import InputError
from poets_tfr.records import codecs, corrections, damage, duplicates, large
from poets_tfr.records.corrections import Corrections
from poets_tfr.records.duplicates import Duplicate, Member
from poets_tfr.records.manifest import (
    DALI_SUFFIX,
    DATASET_INFO,
    DUPLICATES,
    INDEX_SUFFIX,
    MANIFEST,
    SKIPPED,
    UNWANTED,
    IndexEntry,
    Manifest,
    Shard,
    ShardIndex,
    Split,
    dali_index,
    duplicates_tsv,
    load_manifest,
    skipped_tsv,
    stored_settings,
    summed_up,
    table,
    tfds_metadata,
    told_left_out,
)
from poets_tfr.records.near_duplicates import NearDuplicates
from poets_tfr.records.seen import SeenFiles
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.records.shards import (
    MakeShards,
    ShardJob,
    ShardPlan,
    make_shards,
    plan_shards,
)
from poets_tfr.sources import remarks
from poets_tfr.sources.listing import Listing
from poets_tfr.sources.settings import SPLITS

log = logging.getLogger('poets_tfr')

_SKIPPED_SHOWN = 5


def convert(
    config: ConversionConfig, listing: Listing, make_missing: MakeShards | None = None
) -> Manifest:
    """Makes `config.records_dir` hold exactly the pictures of `listing`; does only what is missing.

    Records that stand are only read, by any number of runs at a time. Whoever has to write waits
    until nobody else does, `lock_timeout` seconds at most.

    Args:
      make_missing: makes the missing shards in place of this process, on other machines say.

    Raises:
      InputError: another process writes there; a bad picture with `on_bad_image='fail'`; a copy of
        another picture with `on_duplicate='fail'`; more bad pictures than `max_bad_fraction`;
        classes of too few whole pictures. In all these cases the records that stood before
        still stand.
    """
    if not config.corrections:
        log.info('%s', table([label for _, label in listing.classes], listing.counts()))
    name = f'Converting {len(listing.pictures)} images to {config.records_dir}'
    with progress.stage(name):
        conversion = _Conversion(config, listing, make_missing or _make_shards_with_bar)
        with native_stderr.lines_on_images_counted():
            manifest = conversion.run()
    if config.corrections:  # the classes are known only now
        log.info('%s', table(manifest.labels, manifest.counts))
    outcomes = ', '.join(f'{count} {what}' for what, count in sorted(manifest.outcomes.items()))
    log.info('Found %d files: %s, %d ignored.', manifest.found, outcomes, manifest.ignored)
    if conversion.has_published:
        large.advise(config)
    return manifest


IndexesOf = Callable[['list[ShardPlan]', 'SeenFiles'], 'dict[str, ShardIndex] | None']


class _Result(NamedTuple):
    """What records_dir holds, or is to hold: the shards' indexes are in the order of the plans."""

    manifest: Manifest
    indexes: dict[str, ShardIndex]
    copies: list[Duplicate]


class _Conversion:
    def __init__(self, config: ConversionConfig, listing: Listing, make_missing: MakeShards):
        self._config, self._given = config, listing
        self._near = NearDuplicates.of(config, listing)
        self._said = Corrections()
        if config.corrections:
            self._said = Corrections.of(config.corrections, {p.path for p in listing.pictures})
            self._said.check_labels(listing.classes)
        self._corrections = Corrections()  # those of them whose images are unchanged
        # Copies marked; with no split left empty; and with their final splits and labels.
        self._listed = self._filled = self._listing = listing
        self._make_missing = make_missing
        self._job = ShardJob(config, listing.classes)
        self._staging = self._job.staging
        self._staged: set[str] = set()
        self._loaded: dict[str, ShardIndex | None] = {}
        self._bad: set[str] = set()
        self._published: dict[str, str] = {}
        self.has_published = False

    def run(self) -> Manifest:
        records_dir, timeout = self._config.records_dir, self._config.lock_timeout
        _check_ours(records_dir)
        self._tell_of_other_labels()
        result = self._standing_result()
        if result is None:
            with locks.only_writer(records_dir, timeout):
                files.remove_stale_parts(records_dir, sole_writer=True)
                result = self._converted()
        else:
            log.info('Records in %s are up to date.', records_dir)
        manifest, where = result.manifest, files.join(records_dir, DUPLICATES)
        duplicates.report(result.copies, manifest.labels, where)
        self._job.source.clean_up()
        self._warn_of_bad(result)
        damage.report(self._listed, self._filled)
        self._near.report(self._filled, self._listing)
        self._corrections.report(manifest.relabelled, manifest.skip_reasons.get(UNWANTED, 0))
        self._corrections.warn_of_empty(manifest.labels, manifest.counts)
        return manifest

    def _standing_result(self) -> _Result | None:
        """What stands, where nothing has to be written: it is looked for without the lock."""
        manifest = files.join(self._config.records_dir, MANIFEST)
        if not files.exists(manifest) or files.exists(self._staging):
            return None
        result = self._settled(self._all_standing)
        return result if result and self._stands(result) else None

    def _converted(self) -> _Result:
        result = self._settled(self._made)
        assert result, 'what is missing is made'
        if self._stands(result):  # whoever was waited for has made them
            log.info('Records in %s are up to date.', self._config.records_dir)
        else:
            self._publish(result)
            self.has_published = True
        return result

    def _settled(self, indexes_of: IndexesOf) -> _Result | None:
        """Plans until the bad files are those that the splits were planned for.

        Gives None where `indexes_of` does.
        """
        self._loaded, self._staged, self._bad = {}, set(), set()
        self._published = _index_digests(self._config.records_dir)
        with SeenFiles(self._config, self._job.source) as seen:
            self._corrections = self._unchanged(seen)
            wanted = self._corrections.without_left_out(self._given)
            self._listed = duplicates.settle(self._config, wanted, seen.sha256_of)
            self._listed = self._near.dropped(self._listed)
            bad = self._known_to_be_bad(self._listed, seen)
            while True:
                self._filled, too_small = damage.settle(self._config, self._listed, bad)
                together = self._near.together(self._filled)
                self._listing = self._corrections.relabelled(together)
                plans = plan_shards(self._config, self._listing)
                indexes = indexes_of(plans, seen)
                if indexes is None:
                    return None
                found = {entry.path for entry in _skipped(indexes)}
                if found == bad:
                    break
                bad = found
        damage.check(self._listed, too_small, _skipped(indexes))
        self._corrections.check_classes(self._listing, bad)
        copies = _duplicates(plans, indexes)
        manifest = _manifest(self._config, self._listing, plans, indexes, len(copies))
        relabelled = corrections.relabelled(self._given, self._listing, bad)
        return _Result(dataclasses.replace(manifest, relabelled=relabelled), indexes, copies)

    def _unchanged(self, seen: SeenFiles) -> Corrections:
        pictures = {p.path: p for p in self._given.pictures if p.path in self._said.of_path}
        return self._said.unchanged(
            lambda path: '' if pictures[path].fault else seen.sha256_of(pictures[path])
        )

    def _tell_of_other_labels(self) -> None:
        """Labels are part of every record: who has those of 0.1 may wonder at all the work."""
        former: dict[str, str] = {}
        with contextlib.suppress(InputError, OSError):
            former = dict(load_manifest(self._config.records_dir).classes)
        changed = [
            f'{former[folder]} -> {label}'
            for folder, label in self._listing.classes
            if former.get(folder, label) != label
        ]
        if changed:
            log.warning(
                'Labels of records that stand have changed: %d (%s); all shards are made again.',
                len(changed), remarks.some(changed),
            )  # fmt: skip

    def _found_standing(self, plans: list[ShardPlan], seen: SeenFiles) -> dict[str, ShardIndex]:
        """The indexes of those shards that stand; counts their bad files."""
        standing = {plan.name: index for plan in plans if (index := self._standing(plan, seen))}
        for entry in _skipped(standing):
            self._count(entry)
        return standing

    def _all_standing(
        self, plans: list[ShardPlan], seen: SeenFiles
    ) -> dict[str, ShardIndex] | None:
        standing = self._found_standing(plans, seen)
        return standing if len(standing) == len(plans) else None

    def _made(self, plans: list[ShardPlan], seen: SeenFiles) -> dict[str, ShardIndex]:
        """The indexes of all planned shards, those made that are missing."""
        standing = self._found_standing(plans, seen)
        missing = [plan for plan in plans if plan.name not in standing]
        if standing and missing:
            log.info('Records: %d of %d shards stand.', len(standing), len(plans))
        made = standing | (self._write(missing, seen) if missing else {})
        return {plan.name: made[plan.name] for plan in plans}

    def _known_to_be_bad(self, listing: Listing, seen: SeenFiles) -> set[str]:
        """What earlier runs found out, so that this one need not plan with it first.

        Nothing depends on its being complete: what is missing here is found out again.
        """
        known = {picture.path for picture in listing.pictures if picture.is_left_out}
        said: dict[str, IndexEntry] = {}
        for directory in self._staging, self._config.records_dir:
            for name in files.list_names(directory):
                if name.startswith(f'{self._config.name}-') and name.endswith(INDEX_SUFFIX):
                    index = self._load(files.join(directory, name))
                    if index and index.contract == self._job.contract:
                        said |= {entry.path: entry for entry in _skipped({name: index})}
        for picture in listing.pictures if said else ():
            entry = said.get(picture.path)
            if entry and not picture.is_left_out and seen.is_unchanged(picture, entry):
                known.add(picture.path)
        return known

    def _load(self, path: str) -> ShardIndex | None:
        if path not in self._loaded:
            self._loaded[path] = None
            with contextlib.suppress(OSError, InputError):
                self._loaded[path] = ShardIndex.load(path)
        return self._loaded[path]

    def _warn_of_bad(self, result: _Result) -> None:
        bad = [entry for entry in _skipped(result.indexes) if entry.outcome == 'skipped']
        for entry in bad[:_SKIPPED_SHOWN]:
            log.warning('Skipped %s: %s', progress.printable(entry.path), entry.reason)
        if bad:
            manifest, path = result.manifest, files.join(self._config.records_dir, SKIPPED)
            log.warning('Images skipped: %d; all are listed in %s.', len(bad), path)
            reasons = manifest.skip_reasons
            log.warning('%s', told_left_out(manifest.found, manifest.ignored, reasons))

    def _standing(self, plan: ShardPlan, seen: SeenFiles) -> ShardIndex | None:
        """The index of a finished shard that still holds just the plan's pictures, or None."""
        for directory in self._config.records_dir, self._staging:
            path = files.join(directory, plan.name)
            index = self._load(path + INDEX_SUFFIX)
            published = self._published.get(plan.name, '') if index else ''
            if (
                index
                and (directory == self._staging or published in ('', index.file_sha256))
                and (index.shard, index.contract) == (plan.name, self._job.contract)
                and index.records == sum(entry.is_record for entry in index.entries)
                and files.size(path) == index.bytes
                and [(e.path, e.label) for e in index.entries]
                == [(p.path, p.label) for p in plan.pictures]
                and all(map(seen.is_unchanged, plan.pictures, index.entries))
                and not any(codecs.is_outdated(entry.reason) for entry in index.entries)
                and not seen.is_of_other_decoders(plan, index)
            ):
                if directory == self._staging:
                    self._staged.add(plan.name)
                else:
                    self._staged.discard(plan.name)  # made for splits that are not the final ones
                return index
        return None

    def _write(self, plans: list[ShardPlan], seen: SeenFiles) -> dict[str, ShardIndex]:
        """Makes the missing shards."""
        files.make_dirs(self._staging)
        files.remove_stale_parts(self._staging, sole_writer=True)
        written = {}
        with contextlib.closing(self._make_missing(self._job, plans, self._count)) as finished:
            for plan, index in zip(plans, finished, strict=True):
                for picture, entry in zip(plan.pictures, index.entries, strict=True):
                    if not picture.is_left_out:
                        seen.remember(picture, entry.source_sha256)
                seen.know_to_stand(index)
                written[plan.name] = index
                self._loaded[files.join(self._staging, plan.name + INDEX_SUFFIX)] = index
        self._staged |= written.keys()
        return written

    def _count(self, entry: IndexEntry) -> None:
        if entry.outcome != 'skipped':
            return
        path = progress.printable(entry.path)
        if self._config.on_bad_image == 'fail':
            raise InputError(
                f'--on_bad_image=fail: {path}: {entry.reason}. Mend or remove it, or skip such '
                'images with --on_bad_image=skip.'
            )
        self._bad.add(entry.path)
        total = len(self._listing.pictures)
        if len(self._bad) > self._config.max_bad_fraction * total:
            raise InputError(
                f'--max_bad_fraction={self._config.max_bad_fraction}: {len(self._bad)} or more of '
                f'{total} images cannot be used; one is {path}: {entry.reason}. Nothing was '
                'replaced. Mend or remove them, or raise the fraction.'
            )

    def _stands(self, result: _Result) -> bool:
        return not files.exists(self._staging) and all(
            _holds(files.join(self._config.records_dir, name), content)
            for name, content in self._contents(result).items()
        )

    def _contents(self, result: _Result) -> dict[str, bytes]:
        """The files beside the shards; the manifest is the last."""
        dali = result.indexes.values() if self._config.write_index else ()
        return {
            **{index.shard + DALI_SUFFIX: dali_index(index) for index in dali},
            SKIPPED: skipped_tsv(_skipped(result.indexes)),
            DUPLICATES: duplicates_tsv(result.copies),
            **tfds_metadata(result.manifest),
            MANIFEST: files.json_bytes(result.manifest.to_json()),
        }

    def _publish(self, result: _Result) -> None:
        """Puts everything in its place, the manifest last."""
        records_dir = self._config.records_dir
        files.remove(files.join(records_dir, MANIFEST))
        for name in sorted(self._staged):
            for suffix in INDEX_SUFFIX, DALI_SUFFIX:
                files.remove(files.join(records_dir, name + suffix))
            for moved in name, name + INDEX_SUFFIX:
                files.move(files.join(self._staging, moved), files.join(records_dir, moved))
        self._remove_old_shards(result.indexes)
        for name in files.list_names(self._staging):
            files.remove(files.join(self._staging, name))
        files.remove_empty_dir(self._staging)
        for name, content in self._contents(result).items():
            files.write_bytes(files.join(records_dir, name), content)

    def _remove_old_shards(self, indexes: dict[str, ShardIndex]) -> None:
        """Removes shards that this data set no longer has. Their index says that they are ours."""
        records_dir = self._config.records_dir
        for name in files.list_names(records_dir):
            shard = name.removesuffix(INDEX_SUFFIX)
            if shard != name and shard.startswith(f'{self._config.name}-') and shard not in indexes:
                for suffix in (
                    '',
                    DALI_SUFFIX,
                    INDEX_SUFFIX,
                ):  # the index last: it says whose they are
                    files.remove(files.join(records_dir, shard + suffix))


def _make_shards_with_bar(
    job: ShardJob, plans: Sequence[ShardPlan], count: Callable[[IndexEntry], None]
) -> Generator[ShardIndex, None, None]:
    with progress.bar(sum(len(plan.pictures) for plan in plans), 'images', 'Converting') as bar:

        def update(entry: IndexEntry) -> None:
            bar.update()
            count(entry)

        yield from make_shards(job, plans, update)


def _index_digests(records_dir: str) -> dict[str, str]:
    """Shard -> the digest of its index, of the records that are there now."""
    with contextlib.suppress(InputError, OSError):
        splits = load_manifest(records_dir).splits.values()
        return {shard.file: shard.index_sha256 for split in splits for shard in split.shards}
    return {}


def _check_ours(records_dir: str) -> None:
    """Raises InputError where files lie that ours would replace, and that others wrote."""
    for name, is_ours in (
        (MANIFEST, lambda value: 'format' in value),
        (DATASET_INFO, lambda value: 'converted by poets_tfr' in value.get('description', '')),
    ):
        value, path = None, files.join(records_dir, name)
        with contextlib.suppress(InputError, OSError):  # missing, or damaged: it is made anew
            value = files.read_json(path)
        if value and isinstance(value, dict) and not is_ours(value):
            raise InputError(
                f'--records_dir: {path} was not written by this program: choose another folder.'
            )


def _holds(path: str, content: bytes) -> bool:
    try:
        return files.read_bytes(path) == content
    except OSError:
        return False


def _skipped(indexes: Mapping[str, ShardIndex]) -> list[IndexEntry]:
    return [entry for index in indexes.values() for entry in index.entries if not entry.is_record]


def _duplicates(plans: list[ShardPlan], indexes: dict[str, ShardIndex]) -> list[Duplicate]:
    return duplicates.find(
        Member(entry.path, entry.label, plan.split, entry.source_sha256)
        for plan in plans
        for entry in indexes[plan.name].entries
        if entry.is_record
    )


def _manifest(
    config: ConversionConfig,
    listing: Listing,
    plans: list[ShardPlan],
    indexes: dict[str, ShardIndex],
    copies: int,
) -> Manifest:
    splits = {}
    for split in SPLITS:
        of_split = [indexes[plan.name] for plan in plans if plan.split == split]
        entries = [entry for index in of_split for entry in index.entries if entry.is_record]
        per_class = Counter(entry.label for entry in entries)
        splits[split] = Split(
            pictures=len(entries),
            pictures_per_class=tuple(per_class[i] for i in range(len(listing.classes))),
            shards=tuple(
                Shard(i.shard, i.records, i.bytes, i.sha256, i.file_sha256) for i in of_split
            ),
        )
    everything = [entry for index in indexes.values() for entry in index.entries]
    skipped = _skipped(indexes)
    return Manifest(
        dataset_name=config.name,
        classes=listing.classes,
        splits=splits,
        settings=stored_settings(config, listing),
        found=len(everything) + listing.ignored,
        ignored=listing.ignored,
        skipped=len(skipped),
        skip_reasons=dict(Counter(_without_path(entry) for entry in skipped)),
        outcomes=dict(Counter(entry.outcome for entry in everything)),
        duplicates=copies,
    )


def _without_path(entry: IndexEntry) -> str:
    if entry.outcome != 'dropped' or entry.reason == UNWANTED:
        return summed_up(entry.reason)
    is_near = entry.reason.startswith('is a near duplicate')
    return f'{"is a near duplicate" if is_near else "has the content"} of another image'
