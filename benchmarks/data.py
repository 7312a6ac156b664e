"""What the rows work on: pictures, their records, and networks; made once, below build/bench."""

from __future__ import annotations

import dataclasses
import functools
import glob
import os
from typing import Any

from poets_tfr import downloads
from poets_tfr.backbones import catalog, frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.pictures import pipeline
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records import conversion
from poets_tfr.records.reading import Records
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources.listing import list_images
from tools import drawing

_CLASSES, _PER_CLASS = 5, 120


@dataclasses.dataclass(frozen=True)
class Data:
    """images: a picture folder, '' for drawn ones. models: holds the real MobileNet, or ''."""

    work_dir: str
    images: str = ''
    models: str = ''

    @functools.cached_property
    def image_dir(self) -> str:
        if self.images:
            return self.images
        directory = os.path.join(self.work_dir, 'pictures')
        drawing.write_photo_like(directory, per_class=_PER_CLASS, num_classes=_CLASSES)
        return directory

    @functools.cached_property
    def paths(self) -> list[str]:
        return sorted(glob.glob(os.path.join(glob.escape(self.image_dir), '*', '*.jpg')))

    def conversion(self, records_dir: str = '') -> ConversionConfig:
        default = os.path.join(self.work_dir, f'records-{os.path.basename(self.image_dir)}')
        return ConversionConfig(image_dir=self.image_dir, records_dir=records_dir or default)

    @functools.cached_property
    def records(self) -> Records:
        config = self.conversion()
        conversion.convert(config, list_images(config))
        return Records.open(config.records_dir)

    @functools.cached_property
    def shards(self) -> tuple[list[str], list[int]]:
        """The shards of all splits, and how many records each holds."""
        splits = [self.records[name] for name in self.records.splits]
        shards = [shard for split in splits for shard in split.shards]
        return shards, [count for split in splits for count in split.records_per_shard]

    def one_pass(self, preprocessing: Preprocessing, batch_size: int = 32, most: int = 0) -> Any:
        """The pipeline over all records, or over the first `most`."""
        import numpy as np

        shards, records = self.shards
        wanted = np.arange(sum(records)) < (most or sum(records))
        return pipeline.one_pass(shards, records, wanted, preprocessing, batch_size)

    def mobilenet_config(self) -> BackboneConfig:
        """The real mobilenet_0.25_128, or an untrained Keras one of the same layers and output."""
        if self.models:
            return BackboneConfig(architecture='mobilenet_0.25_128', model_dir=self.models)
        directory = os.path.join(self.work_dir, 'mobilenet_0.25_128')
        if not os.path.exists(directory):
            import keras

            model = keras.applications.MobileNet(
                input_shape=(128, 128, 3), alpha=0.25, weights=None, classes=1001,
                classifier_activation=None,
            )  # fmt: skip
            model.export(directory, verbose=False)
        return BackboneConfig(tfhub_module=directory)

    def inception_config(self) -> BackboneConfig:
        return BackboneConfig(weights='random', model_dir=os.path.join(self.work_dir, 'models'))

    def mobilenet(self) -> Backbone:
        return frozen.load(self.mobilenet_config())

    def mobilenet_as_published(self) -> Backbone:
        """Node for node as the original ran it, where it is the real one."""
        import tensorflow as tf

        network, config = self.mobilenet(), self.mobilenet_config()
        source = catalog.backbone_spec(config.architecture).source
        if not self.models or not isinstance(source, catalog.FrozenGraphSource):
            return network
        archive = downloads.fetch(source.download, config.model_dir)
        content = downloads.read_member(archive, source.member)
        return dataclasses.replace(network, graph_def=tf.compat.v1.GraphDef.FromString(content))

    def inception(self) -> Backbone:
        return frozen.load(self.inception_config())
