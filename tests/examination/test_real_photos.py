"""Faults hidden among real photos, found with a real network."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from PIL import Image, ImageEnhance

from poets_tfr import tables

ARCHITECTURE = 'mobilenet_0.25_128'
OF_EACH = 20  # copies

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def model_dir(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('models')
    shutil.copy(models_dir / 'mobilenet_v1_0.25_128_frozen.tgz', directory)
    return directory


def examine(image_dir: Path, model_dir: Path, root: Path, name: str) -> list[dict[str, str]]:
    ended = call(
        'examine', image_dir, f'--architecture={ARCHITECTURE}', f'--model_dir={model_dir}',
        f'--records_dir={root / "records"}', f'--bottleneck_dir={root / "features"}',
        f'--examine_dir={root / "out"}',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return tables.read(str(root / 'out' / name), ['path'])


def copied(photos_dir: Path, image_dir: Path) -> list[str]:
    """At most 300 photos of each class."""
    paths = []
    for folder in sorted(path for path in photos_dir.iterdir() if path.is_dir()):
        (image_dir / folder.name).mkdir(parents=True)
        for photo in sorted(folder.glob('*.jpg'))[:300]:
            shutil.copy(photo, image_dir / folder.name / photo.name)
            paths.append(f'{folder.name}/{photo.name}')
    return paths


def test_changed_labels_come_first(photos_dir: Path, model_dir: Path, tmp_path: Path) -> None:
    paths = copied(photos_dir, tmp_path / 'photos')
    folders = sorted({path.partition('/')[0] for path in paths})
    rng = np.random.default_rng(0)
    changed = set()
    for path in rng.choice(paths, len(paths) // 20, replace=False):
        folder, _, name = str(path).partition('/')
        other = rng.choice([each for each in folders if each != folder])
        changed.add(f'{other}/moved_{name}')
        (tmp_path / 'photos' / path).rename(tmp_path / f'photos/{other}/moved_{name}')
    rows = examine(tmp_path / 'photos', model_dir, tmp_path, 'suspects.tsv')
    worst = [row['path'] for row in rows]
    # By chance it would be 1 and 2 or 3.
    assert len(changed) == 25
    assert len(changed & set(worst[:25])) >= 12
    assert len(changed & set(worst[:50])) >= 18


def changed_photo(photo: Image.Image, kind: str, rng: np.random.Generator) -> bytes:
    width, height = photo.size
    if kind == 'scaled':
        photo = photo.resize((round(width * 0.7), round(height * 0.7)))
    elif kind == 'cut':
        left, top = rng.integers(0, width // 20 + 1), rng.integers(0, height // 20 + 1)
        photo = photo.crop((left, top, left + round(width * 0.95), top + round(height * 0.95)))
    elif kind == 'brightened':
        photo = ImageEnhance.Brightness(photo).enhance(1.1)
    content = io.BytesIO()
    photo.save(content, 'JPEG', quality=60 if kind == 'encoded' else 90)
    return content.getvalue()


def test_changed_copies_are_found_and_join_no_others(
    photos_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    image_dir = tmp_path / 'photos'
    paths = copied(photos_dir, image_dir)

    def groups() -> dict[str, str]:
        rows = examine(image_dir, model_dir, tmp_path, 'near_duplicates.tsv')
        return {row['path']: row['group'] for row in rows}

    before = groups()
    alone = [path for path in paths if path not in before]
    rng = np.random.default_rng(0)
    kinds = 'encoded', 'scaled', 'cut', 'brightened'
    original_of = {}
    for number, path in enumerate(rng.choice(alone, len(kinds) * OF_EACH, replace=False)):
        kind, (folder, _, name) = kinds[number % len(kinds)], str(path).partition('/')
        copy = f'{folder}/{kind}_{name}'
        with Image.open(image_dir / path) as photo:
            (image_dir / copy).write_bytes(changed_photo(photo.convert('RGB'), kind, rng))
        original_of[copy] = str(path)
    found = groups()
    pairs = original_of.items()
    together = [copy for copy, other in pairs if copy in found and found[copy] == found.get(other)]
    assert len(together) >= 0.95 * len(original_of)
    members: dict[str, set[str]] = {}
    for path, group in found.items():
        members.setdefault(group, set()).add(path)
    right = [members[found[copy]] == {copy, original_of[copy]} for copy in together]
    assert sum(right) >= 0.98 * len(right)
