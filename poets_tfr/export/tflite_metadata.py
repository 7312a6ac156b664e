"""TFLite metadata: what a model wants and gives, as readers of TFLite files expect to find it.

Inside the model a flatbuffer of TensorFlow Lite's metadata_schema.fbs, version 1.0 (the buffer
TFLITE_METADATA); behind it, as a zip archive appended to the file, the files that it names.
Field numbers below are those of that schema and of TensorFlow Lite's schema.fbs.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poets_tfr.export import description as descriptions
from poets_tfr.export.description import Description

LABELS_FILE = 'labels.txt'
_METADATA = 'TFLITE_METADATA'
_MIN_PARSER_VERSION = '1.0.0'
_MODEL_IDENTIFIER, _METADATA_IDENTIFIER = b'TFL3', b'M001'
_ALIGNMENT = 16  # bytes: what weights in the file are aligned to
_TENSOR_AXIS_LABELS, _RGB, _IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 2, 1, 2, 1

_Offset = int


def add(model: bytes, description: Description) -> bytes:
    """The model with its metadata, labels.txt and poets_tfr.json."""
    described = _with_buffer(model, _METADATA, _metadata(description))
    content = {
        LABELS_FILE: description.labels_txt(),
        descriptions.FILE: description.to_json().encode(),
    }
    return _with_files(described, content)


def read(content: bytes) -> dict[str, bytes]:
    """The associated files of a model; none where it has no metadata."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}


def _with_files(model: bytes, content: Mapping[str, bytes]) -> bytes:
    """Stored, not compressed: readers map them into memory as they are."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, 'a', zipfile.ZIP_STORED) as archive:
        for name, value in content.items():
            archive.writestr(zipfile.ZipInfo(name), value)  # of 1980: the same bytes every time
    return buffer.getvalue()


def _metadata(description: Description) -> bytes:
    import flatbuffers

    wants = description.preprocessing
    builder = flatbuffers.Builder(1024)
    labels = _file(builder, LABELS_FILE, 'Labels, in the order of the scores.', _TENSOR_AXIS_LABELS)
    own = _file(builder, descriptions.FILE, 'Labels and preprocessing, as JSON.', 0)
    size = _table(builder, {0: _uint(wants.size), 1: _uint(wants.size)})
    image = _table(builder, {0: _byte(_RGB), 1: _to(size)})
    content = _table(builder, {0: _byte(_IMAGE_PROPERTIES), 1: _to(image)})
    mean, std = _floats(builder, wants.mean), _floats(builder, wants.std)
    normalisation = _table(builder, {0: _to(mean), 1: _to(std)})
    unit = _table(builder, {0: _byte(_NORMALIZATION_OPTIONS), 1: _to(normalisation)})
    picture = _tensor(
        builder, 'image', 'RGB images of the stated size.',
        {3: _to(content), 4: _to(_vector(builder, [unit]))},
    )  # fmt: skip
    features = _table(builder, {})
    plain = _table(builder, {0: _byte(1), 1: _to(features)})
    scores = _tensor(
        builder, 'probability', 'The score of each label; they sum to 1.',
        {3: _to(plain), 6: _to(_vector(builder, [labels]))},
    )  # fmt: skip
    subgraph = _table(
        builder, {2: _to(_vector(builder, [picture])), 3: _to(_vector(builder, [scores]))}
    )
    text = f'Tells {len(description.labels)} classes apart; features by {description.architecture}.'
    named = {
        0: builder.CreateString('poets_tfr image classifier'),
        1: builder.CreateString(text),
        3: _vector(builder, [subgraph]),
        6: _vector(builder, [own]),
        7: builder.CreateString(_MIN_PARSER_VERSION),
    }
    root = _table(builder, {field: _to(offset) for field, offset in named.items()})
    builder.Finish(root, _METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _file(builder: Any, name: str, text: str, kind: int) -> _Offset:
    name_at, text_at = builder.CreateString(name), builder.CreateString(text)
    return _table(builder, {0: _to(name_at), 1: _to(text_at), 2: _byte(kind)})


def _tensor(builder: Any, name: str, text: str, fields: Mapping[int, Any]) -> _Offset:
    name_at, text_at = builder.CreateString(name), builder.CreateString(text)
    return _table(builder, {0: _to(name_at), 1: _to(text_at), **fields})


def _with_buffer(model: bytes, name: str, content: bytes) -> bytes:
    """A TFLite model with one more metadata buffer.

    In a flatbuffer references point forward only. So the old model stays behind as it is, and
    in front of it come a new root and new lists, which refer to the old parts.
    """
    import flatbuffers
    from flatbuffers import number_types
    from flatbuffers.table import Table

    model += bytes(-len(model) % _ALIGNMENT)
    old = Table(model, int.from_bytes(model[:4], 'little'))
    builder = flatbuffers.Builder(len(model) + len(content) + 4096)
    builder.Prep(_ALIGNMENT, 0)
    builder.CreateByteVector(model)  # first, and so at the very end

    def part(slot: int) -> _Offset | None:
        """Of a field of the old root that is a reference: how far from the end its target is."""
        at = old.Offset(4 + 2 * slot)
        return len(model) - old.Indirect(old.Pos + at) if at else None

    def elements(slot: int) -> list[_Offset]:
        at = old.Offset(4 + 2 * slot)
        if not at:
            return []
        first, count = old.Vector(at), old.VectorLen(at)
        return [len(model) - old.Indirect(first + 4 * i) for i in range(count)]

    buffers, metadata = elements(4), elements(6)
    data = _aligned_bytes(builder, content)
    entry_name = builder.CreateString(name)
    entry = _table(builder, {0: _to(entry_name), 1: _uint(len(buffers))})
    new_buffers = _vector(builder, [*buffers, _table(builder, {0: _to(data)})])
    new_metadata = _vector(builder, [*metadata, entry])
    fields: dict[int, Any] = {
        slot: _to(offset) for slot in (1, 2, 3, 5, 7) if (offset := part(slot)) is not None
    }
    at = old.Offset(4)
    version = old.Get(number_types.Uint32Flags, old.Pos + at) if at else 0
    fields |= {0: _uint(version), 4: _to(new_buffers), 6: _to(new_metadata)}
    builder.Finish(_table(builder, fields), _MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _aligned_bytes(builder: Any, content: bytes) -> _Offset:
    content += bytes(-len(content) % _ALIGNMENT)
    builder.StartVector(1, len(content), _ALIGNMENT)
    for byte in reversed(content):
        builder.PrependByte(byte)
    return builder.EndVector()


_Field = Callable[[Any, int], None]


def _table(builder: Any, fields: Mapping[int, _Field]) -> _Offset:
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, put in fields.items():
        put(builder, slot)
    return builder.EndObject()


def _to(offset: _Offset) -> _Field:
    return lambda builder, slot: builder.PrependUOffsetTRelativeSlot(slot, offset, 0)


def _uint(value: int) -> _Field:
    return lambda builder, slot: builder.PrependUint32Slot(slot, value, 0)


def _byte(value: int) -> _Field:
    return lambda builder, slot: builder.PrependInt8Slot(slot, value, 0)


def _vector(builder: Any, offsets: Sequence[_Offset]) -> _Offset:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: Any, value: float | tuple[float, ...]) -> _Offset:
    values = value if isinstance(value, tuple) else (value,)
    builder.StartVector(4, len(values), 4)
    for each in reversed(values):
        builder.PrependFloat32(each)
    return builder.EndVector()
