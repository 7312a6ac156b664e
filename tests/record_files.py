"""TFRecords as others make them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Values = dict[str, bytes | int | Sequence[int]]


def write_records(path: Path, records: Iterable[Values]) -> Path:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for values in records:
            example = tf.train.Example()
            for key, value in values.items():
                feature = example.features.feature[key]
                if isinstance(value, bytes):
                    feature.bytes_list.value.append(value)
                else:
                    feature.int64_list.value.extend([value] if isinstance(value, int) else value)
            writer.write(example.SerializeToString())
    return path


def of_files(image_dir: Path) -> Iterator[Values]:
    """A record for each file of class folders, with TF-slim's keys and no number."""
    for path in sorted(image_dir.glob('*/*')):
        yield {
            'image/encoded': path.read_bytes(),
            'image/class/text': path.parent.name.encode(),
            'image/filename': str(path.relative_to(image_dir)).encode(),
        }
