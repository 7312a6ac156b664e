"""Archives of the files of a folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

Files = Mapping[str, bytes]


def write_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tar_writer(mode: str) -> Callable[[Path, Files], Path]:
    def write(path: Path, files: Files) -> Path:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return write


WRITERS = {
    'zip': write_zip, 'tar': tar_writer('w'), 'tgz': tar_writer('w:gz'),
    'tar.gz': tar_writer('w:gz'), 'tar.xz': tar_writer('w:xz'), 'tar.bz2': tar_writer('w:bz2'),
}  # fmt: skip


def files_in(directory: Path, below: str = '') -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob('*') if path.is_file())
    return {f'{below}{path.relative_to(directory)}': path.read_bytes() for path in paths}
