"""Networks side by side: how good their features are for these images, how fast, how large."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from poets_tfr.backbones import frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.examination import columns as columns_of
from poets_tfr.examination import crossing
from poets_tfr.extraction.extract import Extraction
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.progress import stage
from poets_tfr.records.reading import Records


@dataclasses.dataclass(frozen=True)
class Network:
    """accuracy: of heads on images that they have not seen, the mean of the folds, a fraction of 1;
    error: its standard error. All networks have the same folds.

    images_per_second: decoded, resized and through the network, on this machine.
    export_bytes: of the frozen graph, the head in it.
    """

    name: str
    accuracy: float
    error: float
    images_per_second: float
    export_bytes: int


def compare(
    records: Records,
    networks: Sequence[BackboneConfig],
    extraction: ExtractionConfig,
    group: np.ndarray,
    seed: int,
) -> list[Network]:
    """The best first. Each has features of its own, computed where the cache lacks them.

    Args:
      group: int32 [n], images of one group are always in one fold.

    Raises:
      InputError: a record is damaged.
    """
    found = []
    for network in networks:
        backbone = frozen.load(network)
        features = Extraction(records, backbone, extraction, network.xla)
        columns = columns_of.of(records, features.features())
        with stage(f'Trying {backbone.name}'):
            accuracies = crossing.accuracy_by_fold(columns, group, seed)
            rate = features.images_per_second()
        found.append(_network(backbone, accuracies, rate, len(columns.names)))
    return sorted(found, key=lambda network: -network.accuracy)


def _network(
    backbone: Backbone, accuracies: np.ndarray, images_per_second: float, classes: int
) -> Network:
    return Network(
        backbone.name,
        float(accuracies.mean()),
        float(accuracies.std(ddof=1) / math.sqrt(len(accuracies))),
        images_per_second,
        backbone.graph_def.ByteSize() + 4 * classes * (backbone.feature_width + 1),
    )
