"""The settings check themselves: each message names the flag, what was given and what is wanted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.export.settings import OutputConfig
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records.settings import (
    ConversionConfig,
    dataset_name_of,
    default_records_dir,
)
from poets_tfr.run.settings import RetrainConfig
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
    (BackboneConfig, {'feature_batch_size': 0}),
    (BackboneConfig, {'features_in_memory': 'no'}),
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
    (OutputConfig, {'bottleneck_dir': ''}),
    (OutputConfig, {'output_graph': ''}),
    (OutputConfig, {'output_labels': ''}),
    (OutputConfig, {'summaries_dir': ''}),
    (OutputConfig, {'intermediate_store_frequency': -1}),
    (OutputConfig, {'intermediate_output_graphs_dir': '', 'intermediate_store_frequency': 5}),
    (OutputConfig, {'final_tensor_name': 'final_result:0'}),
    (OutputConfig, {'final_tensor_name': ''}),
    (OutputConfig, {'final_tensor_name': 'my result'}),
    (OutputConfig, {'final_tensor_name': '_result'}),
]


def _id(case: tuple[type, dict[str, Any]]) -> str:
    return ' '.join(f'{name}={value}' for name, value in case[1].items())


@pytest.mark.parametrize('case', REFUSED, ids=_id)
def test_a_wrong_value_is_named(case: tuple[type, dict[str, Any]]) -> None:
    kind, values = case
    with pytest.raises(InputError) as raised:
        kind(**values)
    name, value = next(iter(values.items()))
    assert str(raised.value).startswith(f'--{name}={value!r} ')


@pytest.mark.parametrize(
    'accepted',
    [
        ConversionConfig(validation_percentage=0, testing_percentage=99),
        ConversionConfig(max_bad_fraction=0.0, num_shards=99_999, dataset_name='a_1'),
        BackboneConfig(tfhub_module='m', image_size=224),
        BackboneConfig(weights='my.h5', xla='on', feature_batch_size=1),
        HeadConfig(how_many_training_steps=0, train_batch_size=-1, seed=2**31 - 1),
        HeadConfig(validation_batch_size=-1, test_batch_size=1, sampling='natural'),
        OutputConfig(intermediate_output_graphs_dir='', intermediate_store_frequency=0),
        OutputConfig(final_tensor_name='scope/my-result.1_'),
    ],
)
def test_the_ends_of_the_ranges_are_accepted(accepted: object) -> None:
    assert dataclasses.is_dataclass(accepted)


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(InputError, match='is 100: at most 99, so that something is left'):
        ConversionConfig(validation_percentage=50, testing_percentage=50)


def test_every_setting_has_a_default() -> None:
    """The flags take theirs from here."""
    for kind in ConversionConfig, BackboneConfig, HeadConfig, OutputConfig:
        for field in dataclasses.fields(kind):
            assert field.default is not dataclasses.MISSING, field.name
        kind()


def test_each_path_has_its_own_records() -> None:
    first = default_records_dir('/pictures/a/flowers')
    assert first.startswith('/tmp/poets_records/flowers-')
    assert len(first.rsplit('-', 1)[1]) == 8
    assert first == default_records_dir('/pictures/a/flowers/')
    assert first == default_records_dir('/pictures/a/../a/flowers')
    assert first != default_records_dir('/pictures/b/flowers')
    assert default_records_dir('/pictures/\udcff').startswith('/tmp/poets_records/pictures-')


def test_a_relative_path_means_the_folder_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir('/')
    assert default_records_dir('usr') == default_records_dir('/usr')


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
    with pytest.raises(InputError, match='nothing is written among the pictures'):
        ConversionConfig(image_dir=str(pets), records_dir=str(tmp_path / records))
    ConversionConfig(image_dir=str(pets), records_dir=f'{pets}_records')


def test_a_distortion_of_any_kind_switches_them_on() -> None:
    assert not DistortionConfig().are_on
    for name in 'flip_left_right', 'random_crop', 'random_scale', 'random_brightness':
        one: dict[str, Any] = {name: 1}
        assert DistortionConfig(**one).are_on


def test_distorting_in_every_step_does_not_go_with_whole_sets() -> None:
    def config(**head: Any) -> RetrainConfig:
        return RetrainConfig(
            conversion=ConversionConfig(),
            backbone=BackboneConfig(),
            head=HeadConfig(**head),
            output=OutputConfig(),
            distortions=DistortionConfig(random_crop=5, augment_copies=0),
        )

    assert config(train_batch_size=100).distortions.are_on
    with pytest.raises(InputError, match='--augment_copies=0 .*--train_batch_size=-1'):
        config(train_batch_size=-1)
    with pytest.raises(InputError, match='--augment_copies=0 .*--optimizer=lbfgs'):
        config(optimizer='lbfgs')
