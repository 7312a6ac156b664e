"""What people named -> the source that reads it. A new kind of source is one line here."""

from __future__ import annotations

import functools

from poets_tfr.sources.archives import ArchiveTree, is_archive
from poets_tfr.sources.class_folders import list_class_folders
from poets_tfr.sources.label_lists import list_labels, metadata_in
from poets_tfr.sources.parquet import Parquet
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Drive, Inventory, Source, Tree, TreeSource
from poets_tfr.sources.split_folders import has_split_folders, list_split_folders
from poets_tfr.sources.tfrecords import TFRecords
from poets_tfr.sources.webdataset import WebDataset, is_pattern, is_webdataset


def source_of(config: SourceConfig) -> Source:
    """The source that the settings name. Opens nothing yet."""
    if config.image_tfrecords:
        return TFRecords(config)
    if config.image_parquet:
        return Parquet(config)
    place = config.image_dir
    if is_pattern(place) or (place.endswith('.tar') and is_archive(place) and is_webdataset(place)):
        return WebDataset(config)
    tree: Tree = ArchiveTree(place) if is_archive(place) else Drive(place)
    return TreeSource(tree, functools.partial(_list_tree, config))


def _list_tree(config: SourceConfig, tree: Tree) -> Inventory:
    if config.labels_file:
        return list_labels(config, tree)
    if config.split_by in ('auto', 'folders') and has_split_folders(tree, config.recursive):
        return list_split_folders(config, tree)
    if metadata := metadata_in(tree):
        return list_labels(config, tree, metadata)
    return list_class_folders(config, tree)
