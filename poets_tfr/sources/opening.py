"""What people named -> the source that reads it. A new kind of source is one line here."""

from __future__ import annotations

import dataclasses
import functools

from poets_tfr.sources.archive_tree import ArchiveTree
from poets_tfr.sources.archives import Archive, is_archive, is_compressed_tar
from poets_tfr.sources.class_folders import list_class_folders
from poets_tfr.sources.label_lists import METADATA, list_labels, metadata_in
from poets_tfr.sources.parquet import Parquet
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.shard_patterns import is_pattern, shards_of
from poets_tfr.sources.source import Drive, Inventory, Source, Tree, TreeSource
from poets_tfr.sources.split_folders import has_split_folders, list_split_folders
from poets_tfr.sources.tfrecords import TFRecords
from poets_tfr.sources.webdataset import WebDataset, is_webdataset


def source_of(config: SourceConfig) -> Source:
    """The source that the settings name. Of a .tar it looks what it is; it opens nothing else yet.

    Raises:
      InputError: the .tar is damaged; no shards are where they are said to be.
    """
    if config.image_tfrecords:
        return TFRecords(config)
    if config.image_parquet:
        return Parquet(config)
    place = config.image_dir
    if is_pattern(place):
        return WebDataset(config, [Archive(path) for path in shards_of(place)])
    if is_archive(place):
        archive = Archive(place)
        if not config.labels_file and is_webdataset(archive):
            return WebDataset(config, [archive])
        tree = ArchiveTree(archive, [*METADATA, config.labels_file])
        return TreeSource(tree, lambda _: _list_archive(config, tree))
    return TreeSource(Drive(place), functools.partial(_list_tree, config))


def is_unpacked(config: SourceConfig) -> bool:
    """Whether its source has to be unpacked before it can be read. Raises InputError."""
    return any(map(is_compressed_tar, shards_of(config.image_dir)))


def _list_archive(config: SourceConfig, tree: ArchiveTree) -> Inventory:
    tree.tell()
    inventory = _list_tree(config, tree)
    return dataclasses.replace(inventory, ignored=inventory.ignored + tree.left_out)


def _list_tree(config: SourceConfig, tree: Tree) -> Inventory:
    if config.labels_file:
        return list_labels(config, tree)
    if config.split_by in ('auto', 'folders') and has_split_folders(tree, config.recursive):
        return list_split_folders(config, tree)
    if metadata := metadata_in(tree):
        return list_labels(config, tree, metadata)
    return list_class_folders(config, tree)
