"""What every stage after the conversion works on, and the features that come of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

from poets_tfr import features, live_features
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.config import RetrainConfig
from poets_tfr.distribution import Cluster
from poets_tfr.features import Observe, SplitFeatures, unobserved
from poets_tfr.pictures.distort import Distortions
from poets_tfr.records.manifest import Manifest

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class Work:
    """A run whose records stand. cluster: the workers that share it."""

    config: RetrainConfig
    manifest: Manifest
    cluster: Cluster

    @property
    def records_dir(self) -> str:
        return self.config.conversion.records_dir

    @property
    def distortions(self) -> Distortions:
        return Distortions(self.config.distortions, self.config.head.seed)

    def features(
        self, backbone: Backbone, observe: Observe = unobserved
    ) -> dict[str, SplitFeatures]:
        """Of every split that is not empty."""
        splits = features.extract(
            self.records_dir,
            self.manifest,
            backbone,
            self.config.output.bottleneck_dir,
            self.config.backbone,
            self.cluster,
            observe,
        )
        return {name: split for name, split in splits.items() if len(split)}

    def distorted_copies(self, backbone: Backbone, observe: Observe = unobserved) -> SplitFeatures:
        """Of the training pictures; `--augment_copies` of each."""
        return features.extract_distorted(
            self.records_dir,
            self.manifest,
            backbone,
            self.config.output.bottleneck_dir,
            self.config.backbone,
            self.distortions,
            self.cluster,
            observe,
        )

    @contextlib.contextmanager
    def trained_on(
        self, train: SplitFeatures, backbone: Backbone, observe: Observe
    ) -> Iterator[SplitFeatures]:
        """The training pictures, and what the distortions make of them."""
        if not self.config.distortions.are_on:
            yield train
            return
        if copies := self.config.distortions.augment_copies:
            log.info(
                'Distortions: %d copies of each training picture beside itself (--augment_copies).',
                copies,
            )
            yield features.joined(train, self.distorted_copies(backbone, observe))
            return
        log.info('Distortions: anew for the pictures of every step (--augment_copies=0).')
        with live_features.live(
            self.records_dir, self.manifest, train, backbone, self.config.backbone, self.distortions
        ) as split:
            yield split
