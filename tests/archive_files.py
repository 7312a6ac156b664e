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


def zip_of(directory: Path, path: Path) -> Path:
    """As `zip -0` makes it, one file after another."""
    with zipfile.ZipFile(path, 'w') as archive:
        for file in sorted(directory.rglob('*')):
            archive.write(file, file.relative_to(directory))
    return path


def tar_of(directory: Path, path: Path) -> Path:
    """As `tar --hard-dereference` makes it; compressed where the name says so."""
    with tarfile.open(path, 'w:gz' if path.suffix == '.tgz' else 'w', dereference=True) as archive:
        for file in sorted(directory.rglob('*')):
            archive.inodes = {}  # type: ignore[attr-defined]
            archive.add(file, str(file.relative_to(directory)), recursive=False)
    return path


ARCHIVERS = ('zip', zip_of), ('tar', tar_of), ('tgz', tar_of)
