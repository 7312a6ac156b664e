"""The examples run as they stand, on small images and with a small network."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import colours
import graphs
import pytest
from command_line import ROOT

EXAMPLES = ROOT / 'examples'


@pytest.fixture
def home(tmp_path: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a cache that has the network already."""
    (tmp_path / 'cache/poets_tfr').mkdir(parents=True)
    (tmp_path / 'cache/poets_tfr/models').symlink_to(model_dir)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_scripts_run(
    home: Path,
    colours_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f'{name}.py'), run_name='__main__')
        tried.add(name)
        return capsys.readouterr().out

    tried: set[str] = set()
    said = run('train', colours_dir, graphs.MOBILENET)
    assert '<Run colours with mobilenet_0.50_128, 3 classes' in said
    assert "'output_graph': " in said
    assert (home / 'runs/colours/1/report.html').exists()
    picture = home / 'tom.png'
    picture.write_bytes((colours_dir / 'bluebells/000.png').read_bytes())
    assert re.search(r'^tom.png: bluebells \(\d+\.\d%\)$', run('classify', 'tom.png'), re.M)
    (home / 'broken.jpg').write_bytes(b'')
    said = run('classify', home, 'runs/colours')
    assert f'{home}/broken.jpg: ' in said
    assert f'{home}/tom.png: bluebells (' in said
    said = run('convert_and_look', colours_dir)
    assert '<Records of colours: 3 classes, ' in said
    assert '(32, 128, 128, 3) of float32 mean ' in said
    said = run('features_to_sklearn', colours_dir, graphs.MOBILENET)
    assert 'Features: all 72 are in ' in said, 'train.py has computed them'
    assert re.search(r'^Test accuracy: (100|[89]\d)\.\d% of \d+ images$', said, re.M)
    said = run('evaluate', colours.write(home / 'other', per_class=2, seed=5))
    assert re.search(r'^(100|\d\d)\.\d% of 6 images are classified correctly$', said, re.M)
    made = run_readme(home, colours_dir, monkeypatch)
    assert made['run'].folder == 'runs/pets/1'
    assert set(made['features']) == set(made['records'].splits)
    assert '\nbluebells\n' in capsys.readouterr().out
    assert tried == {path.stem for path in EXAMPLES.glob('*.py')}


def run_readme(home: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The lines below 'From Python'; gives what they have made."""
    section = (ROOT / 'README.md').read_text().split('\n## From Python\n')[1].split('\n## ')[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith('    ')]
    assert len(lines) == 8
    (home / 'pets').symlink_to(images)
    (home / 'other_pets').symlink_to(images)
    (home / 'tom.jpg').symlink_to(home / 'tom.png')
    monkeypatch.setenv('HOME', str(home))
    made: dict[str, Any] = {}
    exec('\n'.join(lines).replace('mobilenet_0.25_128', graphs.MOBILENET), made)
    return made


def notebook() -> Any:
    import nbformat

    return nbformat.read(EXAMPLES / 'pets.ipynb', as_version=4)


def test_the_notebook_is_valid_and_holds_no_outputs() -> None:
    import nbformat

    found = notebook()
    nbformat.validate(found)
    for cell in found.cells:
        assert not cell.get('outputs')
        assert cell.get('execution_count') is None
    assert set(found.metadata) == {'kernelspec', 'language_info'}


@pytest.mark.slow
def test_the_notebook_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient

    monkeypatch.delenv('IMAGES', raising=False)
    monkeypatch.setenv('ARCHITECTURE', graphs.MOBILENET)
    monkeypatch.setenv('TMPDIR', str(home))
    found = notebook()
    client = nbclient.NotebookClient(
        found, timeout=120, resources={'metadata': {'path': str(EXAMPLES)}}
    )
    client.execute()
    shown = [
        output.data['text/plain']
        for cell in found.cells
        for output in cell.get('outputs', [])
        if output.output_type == 'execute_result'
    ]
    assert shown[0].startswith('<Records of flowers: 4 classes, ')
    assert any(text.startswith('<Run flowers with mobilenet_0.50_128, 4 classes') for text in shown)
    assert any(text.startswith("Prediction(label='") for text in shown)
    assert any(text.startswith('<Evaluated accuracy ') for text in shown)
    assert float(shown[-1]) > 0.4, 'four kinds, and an untrained network'
    said = ''.join(
        output.text
        for cell in found.cells
        for output in cell.get('outputs', [])
        if output.output_type == 'stream' and output.name == 'stdout'
    )
    assert 5 < said.count(': Step ') < 20, 'nobody reads a thousand lines in a notebook'
    assert 'Features: all 120 are in ' in said, 'train has computed them'
    assert "poets_tfr.load('" in said
