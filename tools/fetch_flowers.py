"""Fetches the tutorial's pictures: flower_photos, 3,670 photos of five kinds of flowers (229 MB).

python tools/fetch_flowers.py --out_dir=build/flowers
"""

from __future__ import annotations

import os
import sys

from absl import flags as absl_flags

from poets_tfr import downloads, files
from poets_tfr.config import InputError
from poets_tfr.tools import flags

_URL = 'https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz'
# As TensorFlow Datasets has it for tf_flowers.
_DIGEST = 'sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c'


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    where = 'Where the archive and the folder flower_photos go.'
    absl_flags.DEFINE_string('out_dir', '', where, flag_values=values)
    absl_flags.DEFINE_string('url', _URL, 'Where it is fetched from.', flag_values=values)
    absl_flags.DEFINE_string(
        'digest', _DIGEST, 'What its content must be: algorithm:hex.', flag_values=values
    )


def _main(values: absl_flags.FlagValues, positional: list[str]) -> None:
    flags.no_stray_arguments(positional)
    out_dir = values.out_dir
    if not out_dir:
        raise InputError('Must set flag --out_dir.')
    files.check_writable_dir(out_dir, 'out_dir')
    folder = os.path.join(out_dir, 'flower_photos')
    if not os.path.isdir(folder):
        archive = downloads.fetch(downloads.Download(values.url, values.digest), out_dir)
        downloads.unpack(archive, folder, root='flower_photos')
    print(f'The photos are in {folder}')


if __name__ == '__main__':
    sys.exit(main())
