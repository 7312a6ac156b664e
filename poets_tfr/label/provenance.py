"""Which run an export is of, and how good it was there: from the report.json beside it."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.reporting import report
from poets_tfr.reporting.metrics import wilson_interval

log = logging.getLogger('poets_tfr')


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """share: right of so many test images, a fraction of 1; interval: with 95 % confidence."""

    share: float
    images: int
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Provenance:
    """made: when the run was finished, ISO 8601, UTC; '': unknown. tested: None: unknown."""

    made: str = ''
    tested: Accuracy | None = None


def of_export(export: str) -> Provenance:
    """What is known of an export; a report.json of another run, or a damaged one, says nothing."""
    folder, name = os.path.split(export.rstrip('/'))
    path = files.join(folder, report.JSON)
    if not files.exists(path):
        return Provenance()
    try:
        value = files.read_json(path)
        if not _is_of(value, export, name):
            log.warning('%s is of another model than %s: not used.', path, name)
            return Provenance()
        return Provenance(str(value['finished']), _tested(value.get('test')))
    except (InputError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        log.warning('%s is damaged, or no report of a run (%r): not used.', path, error)
        return Provenance()


def _is_of(value: Mapping[str, Any], export: str, name: str) -> bool:
    """By its digest, which frozen graphs have; else by its place in the run's folder."""
    if digest := value['digests'].get(name):
        return bool(files.sha256_of(export) == digest)
    outputs = value['outputs']
    return files.join(outputs.get('summaries_dir', ''), name) in outputs.values()


def _tested(figures: Mapping[str, Any] | None) -> Accuracy | None:
    if not figures or not figures['pictures']:
        return None
    accuracy, images = float(figures['accuracy']), int(figures['pictures'])
    return Accuracy(accuracy, images, wilson_interval(round(accuracy * images), images))
