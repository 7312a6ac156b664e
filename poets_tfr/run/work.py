"""What every stage after the conversion works on, and the features that come of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

from poets_tfr.backbones.frozen import Backbone
from poets_tfr.distribution import Cluster
from poets_tfr.extraction import extract, live
from poets_tfr.extraction.extract import Extraction, Observe, SplitFeatures, unobserved
from poets_tfr.pictures.distort import Distortions
from poets_tfr.records.reading import Records
from poets_tfr.run.settings import RunConfig

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class Work:
    """A run whose records are there. cluster: the workers that share it."""

    config: RunConfig
    records: Records
    cluster: Cluster

    @property
    def distortions(self) -> Distortions:
        return Distortions(self.config.distortions, self.config.head.seed)

    def extraction(self, backbone: Backbone, observe: Observe = unobserved) -> Extraction:
        config = self.config
        return Extraction(
            self.records, backbone, config.extraction, config.backbone.xla, self.cluster, observe
        )

    def features(
        self, backbone: Backbone, observe: Observe = unobserved
    ) -> dict[str, SplitFeatures]:
        """Of every split that is not empty."""
        splits = self.extraction(backbone, observe).features()
        return {name: split for name, split in splits.items() if len(split)}

    @contextlib.contextmanager
    def trained_on(
        self, train: SplitFeatures, backbone: Backbone, observe: Observe
    ) -> Iterator[SplitFeatures]:
        """The training images, and what the distortions make of them."""
        config = self.config
        if not config.distortions.are_on:
            yield train
            return
        if copies := config.distortions.augment_copies:
            log.info(
                'Distortions: %d copies of each training image beside itself (--augment_copies).',
                copies,
            )
            distorted = self.extraction(backbone, observe).of_copies(self.distortions)
            yield extract.joined(train, distorted)
            return
        log.info('Distortions: anew for the images of every step (--augment_copies=0).')
        with live.live(
            self.records['train'],
            train,
            backbone,
            self.distortions,
            config.extraction.feature_batch_size,
            config.backbone.xla,
        ) as split:
            yield split
