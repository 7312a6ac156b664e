"""A wrong value of any flag of any command: one line that names the flag, before TensorFlow."""

from __future__ import annotations

import json
import sys
import typing
from pathlib import Path

import colours
from command_line import ROOT, call, start

from poets_tfr.cli import inspect_records, retrain
from poets_tfr.label.settings import EvaluationConfig, LabelConfig, ModelConfig, ServeConfig
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.review.settings import ReviewConfig
from poets_tfr.settings import Settings, kinds_of

SECTIONS: dict[str, list[type[Settings]]] = {
    'retrain': list(retrain.SECTIONS),
    'convert_images': [ConversionConfig],
    'evaluate': [EvaluationConfig, ModelConfig],
    'label_image': [LabelConfig, ModelConfig],
    'serve': [ServeConfig, ModelConfig],
    'review': [ReviewConfig],
    'inspect_records': [inspect_records.InspectConfig],
}
WRONG: dict[object, list[str]] = {
    int: ['x', '', '-100000000000000000000'],
    float: ['x', '', 'nan', 'inf'],
    bool: ['x'],
}
WANTED = {
    ('train_batch_size', 'x'): '--train_batch_size=x: a whole number is wanted.',
    ('learning_rate', 'x'): '--learning_rate=x: a number is wanted.',
    ('flip_left_right', 'x'): '--flip_left_right=x: true or false is wanted.',
}
# More than TensorFlow can hold, or nothing where something must stand.
MORE = [
    ('retrain', 'how_many_training_steps', '99999999999999999999'),
    ('retrain', 'train_batch_size', '999999999999'),
    ('retrain', 'store_max_side', '99999999999999999999'),
    ('retrain', 'intermediate_store_frequency', '99999999999999999999'),
    ('retrain', 'warm_start', '/no/such/file'),
    ('label_image', 'input_height', '99999999999999999999'),
    ('label_image', 'input_width', '0'),
    ('label_image', 'input_std', '0'),
    ('label_image', 'input_layer', ''),
    ('label_image', 'image', ''),
    ('evaluate', 'output_layer', ''),
]


def wrong_values() -> list[tuple[str, str, str]]:
    found = []
    for tool, sections in SECTIONS.items():
        for section in sections:
            for name, kind in kinds_of(section).items():
                values = ['x'] if typing.get_origin(kind) is typing.Literal else WRONG.get(kind, [])
                found += [(tool, name, value) for value in values]
    return [*found, *MORE]


def answer_all(arguments: list[str]) -> None:
    """In a process of its own: whether TensorFlow was imported, and each status and last line."""
    images, graph, places = arguments
    flags = {
        'retrain': [f'--image_dir={images}', f'--run_dir={places}/runs', f'--model_dir={places}'],
        'convert_images': [f'--image_dir={images}', f'--records_dir={places}/records'],
        'evaluate': [f'--image_dir={images}', f'--graph={graph}'],
        'label_image': [graph, f'--graph={graph}'],
        'serve': ['--port=0', f'--graph={graph}'],
        'review': [f'--examine_dir={places}'],
        'inspect_records': [f'--records_dir={places}/records'],
    }
    for tool, name, value in wrong_values():
        ended = call(tool, *flags[tool], f'--{name}={value}')
        line = (ended.err.splitlines() or [''])[-1]
        print(json.dumps([tool, name, value, ended.status, line, 'tensorflow' in sys.modules]))


def test_wrong_values_are_told_before_tensorflow(tmp_path: Path) -> None:
    images = colours.write(tmp_path / 'images', per_class=20)
    (tmp_path / 'graph.pb').write_bytes(b'')
    code = 'import sys; sys.path[:0] = sys.argv[1:3]; import test_wrong_values as t; '
    ended = start(
        '-c', code + 't.answer_all(sys.argv[3:])', Path(__file__).parent, ROOT / 'tests', images,
        tmp_path / 'graph.pb', tmp_path / 'places',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert len(answers) == len(wrong_values()) > 150
    for tool, name, value, status, line, is_tensorflow_there in answers:
        said = f'{tool} --{name}={value}: {line}'
        assert not is_tensorflow_there, said
        assert status == 1, said
        assert f'{tool}.py: error: ' in line, said
        assert name in line, said
        for words in ('invalid literal', 'could not convert', 'Non-boolean', 'error: flag'):
            assert words not in line, said
        if wanted := WANTED.get((name, value)):
            assert line.endswith(wanted), said
