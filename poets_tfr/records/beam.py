"""The conversion as an Apache Beam pipeline: many machines, the same bytes.

The driver lists, plans, checks and publishes as it does on one machine (conversion.py); workers
make the missing shards, each of them whole. So no picture travels through a shuffle, and what moves
between the machines is a few bytes for each shard: where its plan lies.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Generator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.records import codecs, conversion
from poets_tfr.records.manifest import (
    INDEX_SUFFIX,
    IndexEntry,
    Manifest,
    ShardIndex,
)
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.records.shards import ShardJob, ShardPlan, make_shards
from poets_tfr.sources import opening
from poets_tfr.sources.listing import Listing, Picture
from poets_tfr.sources.settings import PLACES

_PLANS = 'plans.jsonl'


def check(config: ConversionConfig) -> None:
    """Raises InputError where every worker would have to unpack the images."""
    if opening.is_unpacked(config):
        raise InputError(
            f'--image_dir={config.image_dir}: every worker would unpack it anew: unpack it to a '
            '.tar, which is read in place.'
        )


def convert(config: ConversionConfig, listing: Listing, beam_flags: Sequence[str]) -> Manifest:
    """`conversion.convert`, with the missing shards made by a pipeline's workers.

    Every worker has to see image_dir and records_dir under these paths, and to have the same
    versions of the libraries. Bad pictures are counted when the pipeline has ended, so
    `on_bad_image='fail'` and `max_bad_fraction` fail late, and still before anything is replaced.

    Args:
      beam_flags: Beam's own, such as `--runner=FlinkRunner`.

    Raises:
      InputError: as `conversion.convert`; a worker runs another version of this program.
    """
    return conversion.convert(config, listing, functools.partial(_make_shards, beam_flags))


def _make_shards(
    beam_flags: Sequence[str],
    job: ShardJob,
    plans: Sequence[ShardPlan],
    count: Callable[[IndexEntry], None],
) -> Generator[ShardIndex, None, None]:
    check(job.config)
    job = _with_absolute_paths(job)
    for plan in plans:
        files.remove(_index_path(job, plan.name))  # what stands from here on is of this pipeline
    places = save_plans(job, plans)
    with codecs.pillow_silenced(), beam.Pipeline(options=PipelineOptions(beam_flags)) as pipeline:
        (
            pipeline
            | 'Where each plan lies' >> beam.Create(places)
            | 'Spread over the workers' >> beam.Reshuffle()
            | 'Make the shard' >> beam.Map(functools.partial(make_shard, job))
        )
    for plan in plans:
        index = _load_index(job, plan)
        for entry in index.entries:
            count(entry)
        yield index


def make_shard(job: ShardJob, place: tuple[int, int]) -> None:
    """Runs on a worker, perhaps again, perhaps twice at a time: files are replaced whole."""
    plan = _load_plan(job, place)
    if not files.exists(_index_path(job, plan.name)):
        list(make_shards(job, [plan], count=lambda entry: None))


def save_plans(job: ShardJob, plans: Sequence[ShardPlan]) -> list[tuple[int, int]]:
    """Writes one line for each shard; gives (offset, bytes) of each."""
    lines, places, offset = [], [], 0
    for plan in plans:
        pictures = [dataclasses.astuple(picture) for picture in plan.pictures]
        line = json.dumps([plan.name, plan.split, pictures]).encode('ascii') + b'\n'
        lines.append(line)
        places.append((offset, len(line)))
        offset += len(line)
    files.write_bytes(files.join(job.staging, _PLANS), b''.join(lines))
    return places


def _load_plan(job: ShardJob, place: tuple[int, int]) -> ShardPlan:
    path = files.join(job.staging, _PLANS)
    with files.open_read(path) as file, files.os_errors(path):
        file.seek(place[0])
        name, split, pictures = json.loads(file.read(place[1]))
    return ShardPlan(name, split, tuple(Picture(*picture) for picture in pictures))


def _load_index(job: ShardJob, plan: ShardPlan) -> ShardIndex:
    path = _index_path(job, plan.name)
    try:
        index = ShardIndex.load(path)
    except FileNotFoundError:
        raise InputError(
            f'--records_dir: the workers left no {path}: {job.config.records_dir} has to be one '
            'folder, the same for all machines. Finished shards are kept for the next run.'
        ) from None
    if index.contract != job.contract:
        raise InputError(
            f'{path} was made by another version of this program: install the same one here and on '
            'the workers.'
        )
    return index


def _index_path(job: ShardJob, shard: str) -> str:
    return files.join(job.staging, shard + INDEX_SUFFIX)


def _with_absolute_paths(job: ShardJob) -> ShardJob:
    """A worker's current folder is another one."""
    names = *PLACES, 'labels_file', 'label_names', 'records_dir'
    paths: dict[str, Any] = {name: getattr(job.config, name) for name in names}
    absolute: dict[str, Any] = {name: files.absolute(path) for name, path in paths.items() if path}
    config = dataclasses.replace(job.config, **absolute)
    return dataclasses.replace(job, config=config)
