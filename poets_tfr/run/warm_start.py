"""--warm_start: a head that was trained before starts one for more classes or pictures."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence

import numpy as np

from poets_tfr import files
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.errors import InputError
from poets_tfr.export import frozen_graph
from poets_tfr.training import checkpoints, head_checkpoints
from poets_tfr.training import head as heads
from poets_tfr.training.head import Head

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class FormerHead:
    """labels: in the order of the columns of weights [feature_width, classes] and biases."""

    labels: Sequence[str]
    weights: np.ndarray
    biases: np.ndarray

    def start(self, labels: Sequence[str], seed: int) -> Head:
        """A head for `labels`: those known by name start from their weights, the others fresh."""
        import tensorflow as tf

        fresh = heads.init(len(self.weights), len(labels), seed)
        weights, biases = fresh.weights.numpy().copy(), fresh.biases.numpy().copy()
        known = [label for label in labels if label in self.labels]
        for label in known:
            here, there = labels.index(label), self.labels.index(label)
            weights[:, here], biases[here] = self.weights[:, there], self.biases[there]
        log.info('Warm start: %d of %d classes from a former run.', len(known), len(labels))
        return Head(tf.constant(weights), tf.constant(biases))


def load(path: str, backbone: Backbone, labels: Sequence[str]) -> FormerHead:
    """Reads a graph that retrain.py wrote, or the checkpoint in a --checkpoint_path.

    Raises:
      InputError: it is neither, is of another backbone, or knows none of `labels`.
    """
    former = (
        _from_checkpoint(path, backbone) if os.path.isdir(path) else _from_graph(path, backbone)
    )
    if not set(former.labels) & set(labels):
        raise InputError(
            f'--warm_start: {path} knows {", ".join(former.labels)}, and none of these: '
            f'{", ".join(labels)}. Leave the flag out.'
        )
    return former


def _from_graph(path: str, backbone: Backbone) -> FormerHead:
    try:
        graph_def, description = frozen_graph.load(path)
    except InputError as error:
        raise InputError(f'--warm_start: {error.with_dashes.removeprefix("--graph: ")}') from None
    if description is None:
        raise InputError(f'--warm_start: {path} was not written by this program.')
    found = description.weights_digest, description.preprocessing
    if found != (backbone.digest, backbone.preprocessing):
        raise _other_backbone(path, description.architecture, backbone)
    # As it was trained: what --calibrate folded into it would be folded in once more.
    head = (part * np.float32(description.temperature) for part in frozen_graph.head_of(graph_def))
    return FormerHead(description.labels, *head)


def _from_checkpoint(path: str, backbone: Backbone) -> FormerHead:
    directory = head_checkpoints.directory_of(path)
    if not files.exists(directory):
        directory = path
    settings, newest = checkpoints.saved_settings(directory), checkpoints.newest(directory)
    if settings is None or newest is None:
        raise InputError(
            f'--warm_start: no checkpoint in {path}: name a graph, or a --checkpoint_path.'
        )
    if settings.get('features') != backbone.cache_key:
        raise _other_backbone(path, str(settings.get('features')), backbone)
    weights, biases = (checkpoints.read(newest, name) for name in Head._fields)
    return FormerHead(settings['labels'], weights, biases)


def _other_backbone(path: str, theirs: str, backbone: Backbone) -> InputError:
    return InputError(
        f'--warm_start: {path} stands on other features ({theirs}) than this run '
        f'({backbone.name}): its weights mean nothing here. Give the same network and weights.'
    )
