"""Fetches the tutorial's pictures: flower_photos, 3,670 photos of five kinds of flowers (229 MB).

python tools/fetch_flowers.py --out_dir=build/flowers
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any, ClassVar

from poets_tfr import downloads, writable
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.settings import Settings, build, setting

_URL = 'https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz'
# As TensorFlow Datasets has it for tf_flowers.
_DIGEST = 'sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c'


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchConfig(Settings):
    TITLE: ClassVar[str] = 'The download'

    out_dir: str = setting('', 'Where the archive and the folder flower_photos go.', path='path')
    url: str = setting(_URL, 'Where it is fetched from.')
    digest: str = setting(_DIGEST, 'What its content must be: algorithm:hex.')


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [FetchConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    command.no_stray_arguments(positional)
    config = build(FetchConfig, given)
    if not config.out_dir:
        raise InputError('Must set flag --out_dir.')
    writable.refuse([writable.folder_fault(config.out_dir, 'out_dir')])
    folder = os.path.join(config.out_dir, 'flower_photos')
    if not os.path.isdir(folder):
        download = downloads.Download(config.url, config.digest)
        downloads.fetch_unpacked(download, folder, root='flower_photos')
    print(f'The photos are in {folder}')


if __name__ == '__main__':
    sys.exit(main())
