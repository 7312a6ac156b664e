"""Settings check themselves: each message names the setting, what was given and what is wanted."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.export.settings import ExportConfig
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records import settings as records_settings
from poets_tfr.records.settings import ConversionConfig, default_records_dir
from poets_tfr.reporting.settings import ReportingConfig
from poets_tfr.run.settings import RunConfig, sections_of
from poets_tfr.settings import Settings, about, names_of
from poets_tfr.sources.settings import dataset_name_of
from poets_tfr.training.settings import HeadConfig

REFUSED: list[tuple[type, dict[str, Any]]] = [
    (ConversionConfig, {'validation_percentage': -1}),
    (ConversionConfig, {'validation_percentage': 100}),
    (ConversionConfig, {'testing_percentage': -1}),
    (ConversionConfig, {'testing_percentage': 100}),
    (ConversionConfig, {'split_by': 'name'}),
    (ConversionConfig, {'on_bad_image': 'cry'}),
    (ConversionConfig, {'num_shards': -1}),
    (ConversionConfig, {'num_shards': 100_000}),
    (ConversionConfig, {'shard_mib': 0}),
    (ConversionConfig, {'workers': -1}),
    (ConversionConfig, {'max_bad_fraction': -0.1}),
    (ConversionConfig, {'max_bad_fraction': 1.1}),
    (ConversionConfig, {'max_bad_fraction': float('nan')}),
    (ConversionConfig, {'dataset_name': 'Flowers'}),
    (ConversionConfig, {'dataset_name': '1flower'}),
    (ConversionConfig, {'dataset_name': '../flowers'}),
    (BackboneConfig, {'architecture': 'mobilenet_1_224'}),
    (BackboneConfig, {'xla': 'true'}),
    (BackboneConfig, {'precision': 'fp16'}),
    (ExtractionConfig, {'feature_batch_size': 0}),
    (ExtractionConfig, {'features_in_memory': 'no'}),
    (BackboneConfig, {'image_size': -1, 'tfhub_module': 'm'}),
    (BackboneConfig, {'image_size': 224, 'architecture': 'mobilenet_1.0_224'}),
    (BackboneConfig, {'weights': 'random', 'architecture': 'mobilenet_1.0_224'}),
    (BackboneConfig, {'weights': 'random', 'tfhub_module': 'm'}),
    (DistortionConfig, {'random_crop': -1}),
    (DistortionConfig, {'random_crop': 101}),
    (DistortionConfig, {'random_scale': 101}),
    (DistortionConfig, {'random_brightness': 101}),
    (DistortionConfig, {'augment_copies': -1}),
    (DistortionConfig, {'augment_copies': 5}),
    (HeadConfig, {'how_many_training_steps': -1}),
    (HeadConfig, {'learning_rate': 0.0}),
    (HeadConfig, {'learning_rate': -0.5}),
    (HeadConfig, {'learning_rate': float('inf')}),
    (HeadConfig, {'eval_step_interval': 0}),
    (HeadConfig, {'train_batch_size': 0}),
    (HeadConfig, {'validation_batch_size': -2}),
    (HeadConfig, {'test_batch_size': 0}),
    (HeadConfig, {'sampling': 'random'}),
    (HeadConfig, {'seed': -1}),
    (HeadConfig, {'optimizer': 'rmsprop'}),
    (HeadConfig, {'learning_rate_schedule': 'linear'}),
    (HeadConfig, {'weight_decay': -0.1}),
    (HeadConfig, {'weight_decay': float('nan')}),
    (HeadConfig, {'label_smoothing': 1.0}),
    (HeadConfig, {'class_weights': 'balanced'}),
    (HeadConfig, {'early_stopping_patience': -1}),
    (HeadConfig, {'seed': 2**31}),
    (ExtractionConfig, {'bottleneck_dir': ''}),
    (ExportConfig, {'output_graph': ''}),
    (ExportConfig, {'output_labels': ''}),
    (ReportingConfig, {'summaries_dir': ''}),
    (ReportingConfig, {'summaries_dir': '/tmp/a\0b'}),
    (ConversionConfig, {'classes': ('cats', 'd\0gs')}),
    (ExportConfig, {'intermediate_store_frequency': -1}),
    (ExportConfig, {'intermediate_output_graphs_dir': '', 'intermediate_store_frequency': 5}),
    (ExportConfig, {'final_tensor_name': 'final_result:0'}),
    (ExportConfig, {'final_tensor_name': ''}),
    (ExportConfig, {'final_tensor_name': 'my result'}),
    (ExportConfig, {'final_tensor_name': '_result'}),
]


def _id(case: tuple[type, dict[str, Any]]) -> str:
    return ' '.join(f'{name}={value!r}' for name, value in case[1].items())


@pytest.mark.parametrize('case', REFUSED, ids=_id)
def test_a_wrong_value_is_named(case: tuple[type, dict[str, Any]]) -> None:
    kind, values = case
    with pytest.raises(InputError) as raised:
        kind(**values)
    name, value = next(iter(values.items()))
    assert str(raised.value).startswith(f'{name}={value!r} ')
    assert raised.value.with_dashes.startswith(f'--{name}=')
    assert isinstance(raised.value, ValueError)


ACCEPTED: list[tuple[type, dict[str, Any]]] = [
    (ConversionConfig, {'validation_percentage': 0, 'testing_percentage': 99}),
    (ConversionConfig, {'max_bad_fraction': 0.0, 'num_shards': 99_999, 'dataset_name': 'a_1'}),
    (BackboneConfig, {'tfhub_module': 'm', 'image_size': 224}),
    (BackboneConfig, {'weights': 'my.h5', 'xla': 'on'}),
    (ExtractionConfig, {'feature_batch_size': 1}),
    (HeadConfig, {'how_many_training_steps': 0, 'train_batch_size': -1, 'seed': 2**31 - 1}),
    (HeadConfig, {'validation_batch_size': -1, 'test_batch_size': 1, 'sampling': 'natural'}),
    (ExportConfig, {'intermediate_output_graphs_dir': ''}),
    (ExportConfig, {'final_tensor_name': 'scope/my-result.1_'}),
]


@pytest.mark.parametrize('case', ACCEPTED, ids=_id)
def test_the_ends_of_the_ranges_are_accepted(case: tuple[type, dict[str, Any]]) -> None:
    kind, values = case
    made = kind(**values)
    assert {name: getattr(made, name) for name in values} == values


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(InputError, match='is 100: at most 99, so that something is left'):
        ConversionConfig(validation_percentage=50, testing_percentage=50)


def test_every_setting_says_all_about_itself() -> None:
    """Flags, flagfiles, TensorBoard, the contract of records and docs follow from it."""
    kinds = sections_of(RunConfig).values()
    names = [name for kind in kinds for name in names_of(kind)]
    assert len(names) == len(set(names)) > 70
    for kind in kinds:
        assert kind.TITLE
        assert isinstance(kind(), Settings)
        for name in names_of(kind):
            said = about(kind, name)
            assert said.help.endswith('.'), name
            assert said.path in ('no', 'path', 'maybe')
            assert said.affects in ('input', 'records', 'result', 'speed', 'output')
    assert RunConfig().values.keys() == set(names)


def test_what_shapes_records_is_their_contract() -> None:
    """A new setting of this kind has records made anew: think of those that stand."""
    assert set(RunConfig().chosen('records')) == {
        'classes', 'validation_percentage', 'testing_percentage', 'recursive', 'store_max_side',
        'on_duplicate', 'split_by', 'split_prefix', 'follow_links', 'max_pixels', 'min_class_size',
        'label_style', 'near_duplicates', 'on_near_duplicate', 'corrections',
    }  # fmt: skip


def test_settings_are_taken_as_pythons_users_give_them(tmp_path: Path) -> None:
    made = RunConfig.of(
        image_dir=tmp_path, classes=['a', 'b'], learning_rate=1, how_many_training_steps=5.0
    )
    assert made.conversion.image_dir == str(tmp_path)
    assert made.conversion.classes == ('a', 'b')
    assert (made.head.learning_rate, made.head.how_many_training_steps) == (1.0, 5)
    assert isinstance(made.head.learning_rate, float)
    assert isinstance(made.head.how_many_training_steps, int)
    given: dict[str, Any] = {
        'seed': np.int64(7),
        'learning_rate': np.float32(0.5),
        'sampling': None,
    }
    of_numpy = RunConfig.of(image_dir=tmp_path, recursive=np.bool_(True), **given)
    assert (of_numpy.head.seed, of_numpy.head.learning_rate) == (7, 0.5)
    assert of_numpy.conversion.recursive is True
    assert of_numpy.head.sampling == 'class_uniform', 'None is the default'


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        ({'seed': '5'}, "seed='5' must be a whole number."),
        ({'seed': 1.5}, 'seed=1.5 must be a whole number.'),
        ({'seed': True}, 'seed=True must be a whole number.'),
        ({'seed': float('inf')}, 'seed=inf must be a whole number.'),
        ({'recursive': 1}, 'recursive=1 must be True or False.'),
        ({'classes': 'cats'}, "classes='cats' must be a list of strings."),
        ({'learning_rate': 'fast'}, "learning_rate='fast' must be a number."),
        ({'architecture': 5}, 'architecture=5 must be a string.'),
        ({'epochs': 3}, 'there is no setting epochs (did you mean how_many_training_steps?).'),
        ({'lr': 3}, 'there is no setting lr (did you mean learning_rate?).'),
        ({'learning_rat': 3}, 'there is no setting learning_rat (did you mean learning_rate'),
        ({'xyzzy': 3}, 'there is no setting xyzzy.'),
        ({'architecture': 'resnet5'}, "architecture='resnet5' is not known (did you mean ResNet50"),
        ({'tfhub_module': 'm', 'architecture': 'ResNet50'}, 'exclude each other'),
        ({'run_dir': 'runs', 'summaries_dir': 'logs'}, 'summaries_dir=logs goes without run_dir'),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_told(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as raised:
        RunConfig.of(image_dir=tmp_path, **given)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        ({}, 'Must set flag image_dir'),
        ({'image_dir': ''}, 'Must set flag image_dir'),
        ({'image_dir': '', 'records_dir': 'R'}, 'image_dir is empty: is a variable unset?'),
        (
            {'records_dir': 'R', 'num_shards': 7, 'on_bad_image': 'fail', 'write_index': True},
            'num_shards=7, on_bad_image=fail, write_index=True would do nothing',
        ),
        ({'records_dir': 'R', 'dataset_name': 'x'}, 'dataset_name=x would do nothing'),
    ],
    ids=str,
)
def test_records_alone_are_taken_as_they_are(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as raised:
        RunConfig.of(**given)
    assert says in str(raised.value)
    assert RunConfig.of(records_dir='R', num_shards=0).conversion.records_dir == 'R'


def test_a_network_may_be_spelt_in_any_case() -> None:
    assert BackboneConfig(architecture='resnet50').architecture == 'ResNet50'
    assert BackboneConfig(architecture='MOBILENETV2_0.35').architecture == 'MobileNetV2_0.35'
    assert BackboneConfig(architecture='Inception_V3').architecture == 'inception_v3'


def test_what_was_asked_of_records_is_demanded(tmp_path: Path) -> None:
    made = RunConfig.of(records_dir='R', testing_percentage=20, classes=['b', 'a', 'b'], seed=3)
    assert made.demanded == {'testing_percentage': 20, 'classes': ['a', 'b']}


def test_a_run_folder_holds_all_but_what_was_given_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    made = RunConfig.of(image_dir='/a/pets', run_dir='runs', output_labels='/mine/labels.txt')
    values = made.in_folder('runs/3').values
    assert values['output_graph'] == 'runs/3/output_graph.pb'
    assert values['output_labels'] == '/mine/labels.txt'
    assert values['summaries_dir'] == 'runs/3'
    assert values['checkpoint_path'] == 'runs/3/checkpoint'
    assert values['bottleneck_dir'] == str(tmp_path / 'poets_tfr/features')
    assert values['model_dir'] == str(tmp_path / 'poets_tfr/models')
    assert values['records_dir'].startswith(str(tmp_path / 'poets_tfr/records/pets-'))
    with pytest.raises(InputError, match='run_dir=s3://b/runs must be a local folder'):
        RunConfig.of(image_dir='/a/pets', run_dir='s3://b/runs')


def test_each_path_has_its_own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.chdir('/')
    first = default_records_dir('/pictures/a/flowers')
    assert re.fullmatch(rf'{tmp_path}/poets_tfr/records/flowers-[0-9a-f]{{8}}', first)
    assert first == default_records_dir('/pictures/a/flowers/')
    assert first == default_records_dir('/pictures/a/../a/flowers')
    assert first != default_records_dir('/pictures/b/flowers')
    assert '/pictures-' in default_records_dir('/pictures/\udcff')
    assert default_records_dir('usr') == default_records_dir('/usr')


def test_ones_own_records_of_version_0_1_are_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_settings, '_RECORDS_OF_0_1', str(tmp_path / 'tmp'))
    name = Path(default_records_dir('/pictures/pets')).name
    (tmp_path / 'tmp' / name).mkdir(parents=True)
    assert default_records_dir('/pictures/pets') == str(tmp_path / 'tmp' / name)
    monkeypatch.setattr(os, 'getuid', lambda: os.stat(tmp_path).st_uid + 1)  # another user
    assert default_records_dir('/pictures/pets') != str(tmp_path / 'tmp' / name)


@pytest.mark.parametrize(
    ('image_dir', 'name'),
    [
        ('/data/flower_photos', 'flower_photos'),
        ('/data/flower_photos/', 'flower_photos'),
        ('/data/My Pets (2019)', 'my_pets_2019'),
        ('/data/2019-05', 'd_2019_05'),  # a name must begin with a letter
        ('/data/花', 'pictures'),
        ('/', 'pictures'),
    ],
)
def test_dataset_names(image_dir: str, name: str) -> None:
    assert dataset_name_of(image_dir) == name
    ConversionConfig(dataset_name=name)
    assert ConversionConfig(image_dir=image_dir).name == name
    assert ConversionConfig(image_dir=image_dir, dataset_name='other').name == 'other'


def test_split_prefix_implies_the_given_path() -> None:
    settings = ConversionConfig(image_dir='/data/f', split_prefix='tf_files/f')
    assert settings.splits_by_given_path
    assert settings.hash_prefix == 'tf_files/f'
    assert ConversionConfig(image_dir='a/f', split_by='given_path').hash_prefix == 'a/f'
    assert ConversionConfig(image_dir='a/f').hash_prefix == ''


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HeadConfig().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize('records', ['pets', 'pets/records', 'link/records'])
def test_records_do_not_go_among_the_pictures(tmp_path: Path, records: str) -> None:
    pets = tmp_path / 'pets'
    pets.mkdir()
    (tmp_path / 'link').symlink_to(pets)
    with pytest.raises(InputError, match='nothing is written among the images'):
        ConversionConfig(image_dir=str(pets), records_dir=str(tmp_path / records))
    ConversionConfig(image_dir=str(pets), records_dir=f'{pets}_records')


def test_a_distortion_of_any_kind_switches_them_on() -> None:
    assert not DistortionConfig().are_on
    for name in 'flip_left_right', 'random_crop', 'random_scale', 'random_brightness':
        one: dict[str, Any] = {name: 1}
        assert DistortionConfig(**one).are_on


def test_distorting_in_every_step_does_not_go_with_whole_sets() -> None:
    def config(**head: Any) -> RunConfig:
        return RunConfig(
            head=HeadConfig(**head),
            distortions=DistortionConfig(random_crop=5, augment_copies=0),
        )

    assert config(train_batch_size=100).distortions.are_on
    with pytest.raises(InputError, match='augment_copies=0 .*train_batch_size=-1'):
        config(train_batch_size=-1)
    with pytest.raises(InputError, match='augment_copies=0 .*optimizer=lbfgs'):
        config(optimizer='lbfgs')
