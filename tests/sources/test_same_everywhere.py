"""The five flowers in every form: the same images, labels, splits, features and head."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from archive_files import WRITERS
from command_line import Places, call
from conversion import listed, splits_of
from record_files import Values, write_records

from poets_tfr.label.labeller import Labeller
from poets_tfr.records.reading import Records

pytestmark = pytest.mark.slow


class Flowers(NamedTuple):
    """Path in the class folders -> content, and split. names: of the classes, sorted."""

    directory: Path
    content: dict[str, bytes]
    split: dict[str, str]
    names: list[str]

    def label(self, path: str) -> int:
        return self.names.index(path.split('/')[0])


@pytest.fixture(scope='module')
def flowers(photos_dir: Path) -> Flowers:
    split = splits_of(listed(photos_dir))
    content = {path: (photos_dir / path).read_bytes() for path in sorted(split)}
    return Flowers(photos_dir, content, split, sorted({path.split('/')[0] for path in split}))


def split_folders(flowers: Flowers, directory: Path) -> dict[str, str]:
    for path, content in flowers.content.items():
        place = directory / flowers.split[path] / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return {'image_dir': str(directory)}


def label_list(flowers: Flowers, directory: Path) -> dict[str, str]:
    directory.mkdir()
    with open(directory / 'labels.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['file_name', 'label', 'split'])
        writer.writerows([p, p.split('/')[0], flowers.split[p]] for p in flowers.content)
    return {'image_dir': str(flowers.directory), 'labels_file': str(directory / 'labels.csv')}


def archive(extension: str) -> Any:
    def write(flowers: Flowers, directory: Path) -> dict[str, str]:
        directory.mkdir()
        files = {f'{flowers.split[p]}/{p}': content for p, content in flowers.content.items()}
        return {'image_dir': str(WRITERS[extension](directory / f'flowers.{extension}', files))}

    return write


def webdataset(flowers: Flowers, directory: Path) -> dict[str, str]:
    directory.mkdir()
    for split in 'train', 'validation', 'test':
        files: dict[str, bytes] = {}
        for path in [p for p in flowers.content if flowers.split[p] == split]:
            files[path] = flowers.content[path]
            files[f'{os.path.splitext(path)[0]}.cls'] = path.split('/')[0].encode()
        WRITERS['tar'](directory / f'flowers-{split}-000.tar', files)
    return {'image_dir': f'{directory}/flowers-*.tar'}


def slim(flowers: Flowers, directory: Path) -> dict[str, str]:
    for split in 'train', 'validation', 'test':
        records: list[Values] = [
            {'image/encoded': flowers.content[p], 'image/class/label': flowers.label(p) + 1,
             'image/filename': p.encode()}
            for p in flowers.content if flowers.split[p] == split
        ]  # fmt: skip
        write_records(directory / f'flowers_{split}_00000-of-00001.tfrecord', records)
    (directory / 'labels.txt').write_text('\n'.join(flowers.names))
    return {'image_tfrecords': f'{directory}/*.tfrecord',
            'label_names': str(directory / 'labels.txt')}  # fmt: skip


def tfds(flowers: Flowers, directory: Path) -> dict[str, str]:
    ended = call('convert_images', f'--image_dir={flowers.directory}', f'--records_dir={directory}')
    assert ended.status == 0, ended.err
    return {'image_tfrecords': str(directory)}


def parquet(flowers: Flowers, directory: Path) -> dict[str, str]:
    directory.mkdir()
    features = {'label': {'names': flowers.names, '_type': 'ClassLabel'}}
    about = {b'huggingface': json.dumps({'info': {'features': features}}).encode()}
    for split in 'train', 'validation', 'test':
        paths = [p for p in flowers.content if flowers.split[p] == split]
        images = [{'bytes': flowers.content[p], 'path': p} for p in paths]
        table = pyarrow.table({'image': images, 'label': [flowers.label(p) for p in paths]})
        name = directory / f'{split}-00000-of-00001.parquet'
        pyarrow.parquet.write_table(table.replace_schema_metadata(about), name)
    return {'image_parquet': str(directory)}


FORMS = {
    'split folders': split_folders, 'csv': label_list, 'zip': archive('zip'),
    'tar': archive('tar'), 'tgz': archive('tgz'), 'webdataset': webdataset,
    'tfds': tfds, 'slim': slim, 'parquet': parquet,
}  # fmt: skip


def test_every_form_gives_the_same_head(
    flowers: Flowers, models_dir: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / 'models').symlink_to(models_dir)

    def train(name: str, settings: dict[str, str]) -> tuple[Records, np.ndarray]:
        places = Places(tmp_path / name)
        ended = call(
            'retrain', *(f'--{flag}={value}' for flag, value in settings.items()),
            '--architecture=mobilenet_0.25_128', f'--model_dir={tmp_path / "models"}',
            '--how_many_training_steps=50', *places.flags(),
            f'--bottleneck_dir={tmp_path / "bottlenecks"}', '--self_test_pictures=0',
        )  # fmt: skip
        assert ended.status == 0, ended.err
        labeller = Labeller(str(places.graph), str(places.labels))
        photos = list(flowers.content.values())[::100]
        return Records.open(str(places.records)), np.stack([labeller.scores(p) for p in photos])

    wanted, scores = train('class folders', {'image_dir': str(flowers.directory)})
    assert {n: len(wanted[n]) for n in wanted.splits} == {
        name: list(flowers.split.values()).count(name) for name in wanted.splits
    }
    for name, write in FORMS.items():
        found, found_scores = train(name, write(flowers, tmp_path / f'in {name}'))
        assert found.labels == wanted.labels, name
        for split in wanted.splits:
            np.testing.assert_array_equal(found[split].digests, wanted[split].digests, name)
            np.testing.assert_array_equal(found[split].labels, wanted[split].labels, name)
        np.testing.assert_array_equal(found_scores, scores, name)
