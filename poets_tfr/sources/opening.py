"""What people named -> the source that reads it. A new kind of source is one line here."""

from __future__ import annotations

import functools

from poets_tfr.sources.class_folders import list_class_folders
from poets_tfr.sources.settings import SourceConfig
from poets_tfr.sources.source import Drive, Inventory, Source, Tree, TreeSource


def source_of(config: SourceConfig) -> Source:
    """The source that the settings name. Opens nothing yet.

    Raises:
      InputError: settings that contradict each other.
    """
    return TreeSource(Drive(config.image_dir), functools.partial(_list_tree, config))


def _list_tree(config: SourceConfig, tree: Tree) -> Inventory:
    return list_class_folders(config, tree)
