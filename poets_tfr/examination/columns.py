"""All splits of the records side by side: what the examination looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from poets_tfr.examination import heads
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.records.reading import Records

_ROWS_AT_ONCE = 8192


@dataclasses.dataclass(frozen=True)
class Columns:
    """One row for each picture, split after split.

    names: of the classes. paths: relative to image_dir. labels: int32 [n]. splits: their names;
    split: int32 [n], the place among them. digests: S32 [n], of the stored pictures. features:
    float32 [n, width], of mean 0 and deviation 1.
    """

    names: Sequence[str]
    paths: Sequence[str]
    labels: np.ndarray
    splits: Sequence[str]
    split: np.ndarray
    digests: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def is_of(self, split: str) -> np.ndarray:
        """bool [n]: which are of this split; none where there is no such split."""
        place = list(self.splits).index(split) if split in self.splits else -1
        return self.split == place

    def label_of(self, row: int) -> str:
        return self.names[self.labels[row]]

    def split_of(self, row: int) -> str:
        return self.splits[self.split[row]]


def of(records: Records, features: Mapping[str, SplitFeatures]) -> Columns:
    """The features are copied once, and those given may go."""
    splits = list(features)
    counts = [len(features[split]) for split in splits]
    width = features[splits[0]].features.shape[1]
    values = heads.room_for(sum(counts), width)
    for split, end in zip(splits, np.cumsum(counts), strict=True):
        found, start = features[split].features, int(end) - len(features[split])
        for first in range(0, len(found), _ROWS_AT_ONCE):  # they may be on disk
            rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(found)))
            values[start + rows] = found[rows]
    return Columns(
        names=records.labels,
        paths=[path for split in splits for path in features[split].paths],
        labels=np.concatenate([features[split].labels for split in splits]),
        splits=splits,
        split=np.repeat(np.arange(len(splits), dtype=np.int32), counts),
        digests=np.concatenate([records[split].digests for split in splits]),
        features=heads.standardise(values),
    )
