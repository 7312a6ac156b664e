"""What the documentation tells to type, typed: on small folders and with a small random network,
for there is nothing to download here. test_docs.py checks that what is not typed exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import colours
import pytest
from test_docs import PAGES, ROOT, commands

pytestmark = pytest.mark.slow

NETWORK = ['--architecture=MobileNet', '--weights=random', '--image_size=32']
TRAINING = [*NETWORK, '--how_many_training_steps=20', '--log_steps=few']
ADDED = {
    'train': TRAINING, 'retrain': TRAINING, 'examine': NETWORK, 'label': [], 'label_image': [],
    'evaluate': [], 'convert_images': [], 'runs': [],
}  # fmt: skip
# Nothing is installed for the copy of a checkout.
OWN_PYTHON = [f'VENV={sys.prefix}', f'--assume-old={sys.prefix}/stamp']
# In place of the original's, which are in /tmp.
PLACES = [
    '--output_graph=typed/graph.pb', '--output_labels=typed/labels.txt',
    '--checkpoint_path=typed/checkpoints', '--bottleneck_dir=typed/features',
    '--records_dir=typed/records',
]  # fmt: skip
PROGRAMS = {'poets-label': 'label_image'}
# Of other machines, of networks that would have to be fetched, and of the original's /tf_files.
ELSEWHERE = re.compile(
    r'/data/|/shared/|tf_files/|imagenet-sample|--fine_tune_from|--architectures|--weights=|=saved'
)
COPIES = 'flower_photos', 'more', 'pictures', 'other_pets', 'more_pets', 'inbox', 'photos'


def name_of(words: list[str]) -> str:
    if words[0] == 'make':
        return next(word for word in words[1:] if '=' not in word)
    program = next(word for word in words if re.search(r'poets-|tools/', word))
    name = os.path.basename(program).removeprefix('poets-').removesuffix('.py')
    return PROGRAMS.get(name, name)


def without_network(words: list[str]) -> list[str]:
    found, values = [], iter(words)
    for word in values:
        if word == '--architecture':
            next(values)
        elif not re.match('(ARCHITECTURE|--architecture)=', word):
            found.append(word)
    return found


def typed(words: list[str], home: Path) -> list[str] | None:
    """With what makes it small; None where it is not for here."""
    name, added = name_of(words), list(ADDED.get(name_of(words), []))
    if name not in ADDED or ELSEWHERE.search(' '.join(words)):
        return None
    words = without_network(words)
    if words[0] == 'make':
        flags = [word.removeprefix('FLAGS=') for word in words if word.startswith('FLAGS=')]
        others = [word for word in words if not word.startswith('FLAGS=')]
        return [*others, *OWN_PYTHON, f'FLAGS={" ".join([*flags, *added])}']
    if name == 'retrain' and not any(word.startswith('--run_dir') for word in words):
        added += PLACES
    if name in ('label_image', 'evaluate'):
        added.append('--graph=runs')
    words = [re.sub(r'(^|=)~', rf'\1{home}', word) for word in words]
    if words[0].startswith('poets-'):
        return [os.path.join(sys.prefix, 'bin', words[0]), *words[1:], *added]
    return [sys.executable, *words['python' in words[0] :], *added]


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home folder, and in it a checkout, with what the page speaks of."""
    page: Path = request.getfixturevalue('page')
    home, checkout = tmp_path / 'home', tmp_path / 'home/poets_tfr'
    pets = colours.write(home / 'classes', per_class=24)
    for name in ('Makefile', 'setup.cfg', 'pyproject.toml'):
        checkout.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, checkout)
    for name in ('tools', 'configs', 'poets_tfr'):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in (*COPIES, 'pets'):
        shutil.copytree(pets, home / name)
    shutil.make_archive(str(home / 'pets'), 'zip', pets)
    for name in ('somebodys_pet.jpg', 'tom.jpg', 'mia.jpg'):
        shutil.copy(pets / 'bluebells/001.jpg', checkout / name)
    if page.name == 'split_folders.md':
        shutil.rmtree(home / 'pets')
        for split in ('train', 'val', 'test'):
            shutil.copytree(pets, home / 'pets' / split)
    if page.name == 'labels_in_a_csv.md':
        shutil.rmtree(home / 'photos')
        (home / 'photos').mkdir()
        rows = ['file_name,label']
        for image in sorted(pets.glob('*/*')):
            name = f'{len(rows):04d}{image.suffix}'
            shutil.copy(image, home / 'photos' / name)
            rows.append(f'{name},{image.parent.name}')
        (checkout / 'labels.csv').write_text('\n'.join(rows))
    (checkout / 'data').mkdir()
    write_parquet(checkout / 'data/train.parquet', pets)
    (checkout / 'examination').mkdir()
    heads = 'path', 'digest', 'action', 'label', 'when_first_shown'
    (checkout / 'examination/corrections.tsv').write_text('\t'.join(heads) + '\n')
    return home


def write_parquet(path: Path, images: Path) -> None:
    """As Hugging Face has it."""
    import pyarrow
    import pyarrow.parquet

    found = sorted(images.glob('*/*'))
    labels = [image.parent.name for image in found]
    column = [{'bytes': image.read_bytes(), 'path': image.name} for image in found]
    table = pyarrow.table({'image': column, 'label': labels})
    pyarrow.parquet.write_table(table, path)


@pytest.mark.parametrize(
    'page',
    [page for page in PAGES if any(typed(words, Path()) for words in commands(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_what_is_to_be_typed_works(page: Path, home: Path) -> None:
    def run(words: list[str]) -> None:
        path = f'{sys.prefix}/bin{os.pathsep}{os.environ["PATH"]}'
        ended = subprocess.run(
            words, cwd=home / 'poets_tfr', env={**os.environ, 'HOME': str(home), 'PATH': path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f'{shlex.join(words)}\n{ended.stdout[-3000:]}'

    # What a page takes for granted.
    flags = shlex.join([*TRAINING, f'--records_dir={home}/pets_records'])
    run(['make', 'train', 'IMAGE_DIR=~/classes', *OWN_PYTHON, f'FLAGS={flags}'])
    for words in commands(page):
        if ours := typed(words, home):
            run(ours)
