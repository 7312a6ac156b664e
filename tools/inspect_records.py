"""What a records_dir holds; with --verify, whether every record is still as it was written.

python tools/inspect_records.py --records_dir ~/flower_records --verify
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr.config import InputError
from poets_tfr.records import checking
from poets_tfr.records.manifest import load_manifest
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string(
        'records_dir', '', 'Where a conversion wrote its TFRecords.', flag_values=values
    )
    absl_flags.DEFINE_boolean(
        'verify',
        False,
        'Read and decode every record, and compare it with the index and the manifest.',
        flag_values=values,
    )


def _main(values: absl_flags.FlagValues, positional: list[str]) -> int:
    flags.no_stray_arguments(positional)
    if not values.records_dir:
        raise InputError('Must set flag --records_dir.')
    manifest = load_manifest(values.records_dir)
    print(checking.describe(manifest), flush=True)
    if not values.verify:
        return 0
    findings = checking.verify(values.records_dir, manifest)
    print('\n'.join(findings) or 'Verified: everything is as it was written.', flush=True)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
