"""The whole job with the real Inception v3 at 299 pixels, its weights untrained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import ROOT, Places, start, without_few_images

from tools import drawing

pytestmark = pytest.mark.slow


def test_from_drawn_flowers_to_labels(tmp_path: Path) -> None:
    kinds = ('daisy', 'tulip')
    drawing.write_flowers(str(tmp_path / 'pictures'), per_class=30, kinds=kinds)
    drawing.write_held_back(str(tmp_path / 'held_back'), count=4)
    places = Places(tmp_path)
    command = [
        ROOT / 'tools/retrain.py',
        f'--image_dir={tmp_path / "pictures"}',
        '--weights=random',
        f'--model_dir={tmp_path / "models"}',
        '--how_many_training_steps=500',
        '--testing_percentage=20',
        *places.flags(),
    ]
    first = start(*command, timeout=280)
    assert (first.status, without_few_images(first.err)) == (0, '')
    assert 'This network is untrained' in first.out
    accuracy = re.search(r'^Final test accuracy = ([\d.]+)% \(N=\d+\)$', first.out, re.MULTILINE)
    assert accuracy
    assert float(accuracy[1]) > 70
    graph = places.graph.read_bytes()
    second = start(*command)
    assert second.status == 0
    assert re.search(r'^Features: all 60 are in ', second.out, re.MULTILINE)
    assert places.graph.read_bytes() == graph
    pictures = [tmp_path / f'held_back/{kind}.jpg' for kind in kinds]
    labelled = start(
        ROOT / 'tools/label_image.py', *pictures,
        f'--graph={places.graph}', f'--labels={places.labels}',
    )  # fmt: skip
    assert (labelled.status, labelled.err) == (0, '')
    best = [line.split(' (')[0] for line in labelled.out.splitlines()[1::3]]
    assert best == list(kinds)
