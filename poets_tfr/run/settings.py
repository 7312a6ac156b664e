"""All settings of a run, and what they say together."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from poets_tfr import files
from poets_tfr.backbones.settings import INCEPTION_V3, BackboneConfig
from poets_tfr.distribution import DistributionConfig
from poets_tfr.errors import InputError
from poets_tfr.export.settings import ConfidenceConfig, ExportConfig
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.places import user_cache_dir
from poets_tfr.records import manifest
from poets_tfr.records.settings import ConversionConfig, default_records_dir
from poets_tfr.reporting.settings import ReportingConfig
from poets_tfr.settings import Affects, Settings, about, build, check_names, names_of, setting
from poets_tfr.sources.settings import PLACES, is_inside
from poets_tfr.training.settings import CheckpointConfig, FineTuneConfig, HeadConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFolderConfig(Settings):
    """One place for everything of a run."""

    TITLE: ClassVar[str] = 'The run'

    # fmt: off
    run_dir: str = setting('',
        'Keep everything of a run (graph, labels, logs, report, checkpoints) in a new numbered '
        'folder below this one; downloads, records and features are shared, in your cache.',
        affects='output', path='path')
    # fmt: on

    def check(self) -> None:
        if files.is_remote(self.run_dir):
            raise InputError(
                f'--run_dir={self.run_dir} must be a local folder, for runs are numbered there. '
                'Give the places one by one instead: --output_graph, --summaries_dir ...'
            )


# Where things go in a run's folder, and those of all runs in the user's cache.
IN_RUN = {
    'output_graph': 'output_graph.pb',
    'output_labels': 'output_labels.txt',
    'summaries_dir': '',
    'checkpoint_path': 'checkpoint',
    'intermediate_output_graphs_dir': 'intermediate',
}
IN_CACHE = {'bottleneck_dir': 'features', 'model_dir': 'models'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run. `conversion.place` may be empty: the records are then taken as they are.

    The order is that of `--help`: what is wanted most comes first.

    given: the names of the settings that were asked for; all others have their defaults.
    """

    conversion: ConversionConfig = ConversionConfig()
    backbone: BackboneConfig = BackboneConfig()
    folder: RunFolderConfig = RunFolderConfig()
    head: HeadConfig = HeadConfig()
    distortions: DistortionConfig = DistortionConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    confidence: ConfidenceConfig = ConfidenceConfig()
    export: ExportConfig = ExportConfig()
    reporting: ReportingConfig = ReportingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    distribution: DistributionConfig = DistributionConfig()
    given: frozenset[str] = frozenset()

    @classmethod
    def of(cls, **given: Any) -> RunConfig:
        """The run of these settings, by their flags' names.

        Raises:
          InputError: there is no such setting, or its value is wrong.
        """
        sections = sections_of(cls)
        check_names(given, [name for kind in sections.values() for name in names_of(kind)])
        _check_inputs(given)
        built = {section: build(kind, given) for section, kind in sections.items()}
        config = cls(**built, given=frozenset(given))  # type: ignore[arg-type]
        return config._with_cache()

    def __post_init__(self) -> None:
        if self.fine_tune.is_on and not self.backbone.is_keras:
            raise InputError(
                f'--fine_tune_from={self.fine_tune.fine_tune_from} goes with a network that Keras '
                f'builds: {INCEPTION_V3}, or a model of keras.applications (MobileNet, say).'
            )
        if self._takes_lbfgs and self.extraction.features_in_memory == 'off':
            raise InputError(
                '--features_in_memory=off reads the few features of each step, and lbfgs, which '
                '--head_search tries too, takes all of them in every step: choose another.'
            )
        if self.export.keras_output and not self.backbone.is_keras:
            raise InputError(
                f'--keras_output={self.export.keras_output}: Keras did not build this network. It '
                f'goes with --architecture={INCEPTION_V3} and the models of keras.applications.'
            )
        self._check_live_distortions()
        self._check_profile()

    @property
    def values(self) -> dict[str, Any]:
        """Every setting by its name."""
        return {
            name: getattr(getattr(self, section), name)
            for section, kind in sections_of(type(self)).items()
            for name in names_of(kind)
        }

    def chosen(self, *affects: Affects) -> dict[str, Any]:
        """Those settings that affect one of these, by name."""
        sections = sections_of(type(self)).values()
        names = [name for kind in sections for name in names_of(kind, *affects)]
        values = self.values
        return {name: values[name] for name in names}

    @property
    def demanded(self) -> dict[str, Any]:
        """Of the settings that shape records those that were asked for; records must have them."""
        settings = manifest.settings_of(self.conversion)
        asked = self.given - ({'split_by'} if self.conversion.split_by == 'auto' else set())
        return {name: value for name, value in settings.items() if name in asked}

    @property
    def written(self) -> dict[str, str]:
        """Setting -> path, of what a run writes and people use."""
        export = self.export
        names = [name for name in names_of(ExportConfig) if about(ExportConfig, name).path != 'no']
        if not export.intermediate_store_frequency:
            names.remove('intermediate_output_graphs_dir')
        paths = {name: getattr(export, name) for name in names}
        paths['summaries_dir'] = self.reporting.summaries_dir
        return {name: path for name, path in paths.items() if path}

    def in_folder(self, folder: str) -> RunConfig:
        """The run with all that it writes in `folder`, but what was given a place of its own."""
        return self._replaced(
            {name: files.join(folder, tail) if tail else folder for name, tail in IN_RUN.items()}
        )

    def _with_cache(self) -> RunConfig:
        """Records that were given no place get one, and so, with `run_dir`, do features."""
        moved = {}
        source = self.conversion
        if source.place and not source.records_dir:
            moved['records_dir'] = default_records_dir(source.place, source.labels_file)
        if self.folder.run_dir:
            moved |= in_cache()
        return self._replaced(moved)

    def _replaced(self, places: Mapping[str, str]) -> RunConfig:
        """With these values, but where another one was given."""
        values = self.values
        free = {n: place for n, place in places.items() if not (n in self.given and values[n])}
        sections = {
            section: dataclasses.replace(
                getattr(self, section), **{n: v for n, v in free.items() if n in names_of(kind)}
            )
            for section, kind in sections_of(type(self)).items()
        }
        return dataclasses.replace(self, **sections)

    @property
    def _takes_lbfgs(self) -> bool:
        return self.head.optimizer == 'lbfgs' or self.head.head_search == 'auto'

    def _check_live_distortions(self) -> None:
        whole = self._takes_lbfgs or self.head.train_batch_size == -1
        if self.distortions.are_on and self.distortions.augment_copies == 0 and whole:
            flag = '--train_batch_size=-1'
            if self._takes_lbfgs:
                lbfgs = self.head.optimizer == 'lbfgs'
                flag = '--optimizer=lbfgs' if lbfgs else '--head_search=auto'
            raise InputError(
                f'--augment_copies=0 distorts the images of every step anew, and {flag} makes '
                'every step take all of them: keep copies (--augment_copies=8), or take batches.'
            )

    def _check_profile(self) -> None:
        profiled, steps = self.reporting.profiled, self.head.how_many_training_steps
        if profiled and profiled[0] >= steps:
            raise InputError(
                f'--profile_steps={self.reporting.profile_steps}: nothing to profile, for training '
                f'ends before step {profiled[0]} (--how_many_training_steps={steps}, from 0 on).'
            )


def in_cache() -> dict[str, str]:
    """Setting -> its place in the user's cache, of what all runs share."""
    return {name: files.join(user_cache_dir(), tail) for name, tail in IN_CACHE.items()}


def sections_of(config: type) -> dict[str, type[Settings]]:
    """Field -> its class, of the fields that hold settings."""
    hints = typing.get_type_hints(config)
    return {
        name: kind
        for name, kind in hints.items()
        if isinstance(kind, type) and issubclass(kind, Settings)
    }


def is_path(config: type, name: str, value: str) -> bool:
    """Whether a setting's value names a file or folder."""
    for kind in sections_of(config).values():
        if name in names_of(kind):
            path = about(kind, name).path
            return bool(value) and (path == 'path' or (path == 'maybe' and os.path.exists(value)))
    return False


def _check_inputs(given: Mapping[str, Any]) -> None:
    if given.get('tfhub_module') and 'architecture' in given:
        raise InputError('--tfhub_module and --architecture exclude each other: give one.')
    if given.get('run_dir') and given.get('summaries_dir'):
        raise InputError(
            f'--summaries_dir={given["summaries_dir"]} goes without --run_dir only, which keeps '
            "curves and report in the run's folder: leave one of them out."
        )
    for name in PLACES:
        if given.get(name):
            if given.get('run_dir') and is_inside(given['run_dir'], given[name]):
                raise InputError(
                    f'--run_dir={given["run_dir"]} lies in --{name}={given[name]}: nothing '
                    'is written among the images; choose a folder elsewhere.'
                )
            return
    for name in PLACES:
        if name in given and given.get('records_dir'):
            raise InputError(
                f'--{name} is empty: is a variable unset? Name the images, or leave '
                f'--{name} out to train from the records in {given["records_dir"]}.'
            )
    if not given.get('records_dir'):
        raise InputError('Must set flag --image_dir (a folder with one folder per class).')
    conversion = {*names_of(ConversionConfig, 'input', 'output', 'speed')} - {'records_dir'}
    idle = sorted(conversion & given.keys())
    idle = [n for n in idle if given[n] != getattr(ConversionConfig(), n)]
    if idle:
        raise InputError(
            f'{", ".join(f"--{n}={given[n]}" for n in idle)} would do nothing: without --image_dir '
            'nothing is converted, and the records are taken as they are.'
        )
