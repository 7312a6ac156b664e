"""What a records_dir holds; with --verify, whether every record is still as it was written; with
--show, a contact sheet of each class.

python tools/inspect_records.py --records_dir ~/flower_records --verify --show 40
"""

from __future__ import annotations

import sys

from absl import flags as absl_flags

from poets_tfr import files
from poets_tfr.config import InputError
from poets_tfr.records import checking, contact_sheet
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
    absl_flags.DEFINE_integer(
        'show', 0, 'Write a contact sheet (PNG) of so many pictures of each class.', lower_bound=0,
        flag_values=values,
    )  # fmt: skip
    absl_flags.DEFINE_string(
        'show_dir', 'contact_sheets', 'Where the contact sheets go.', flag_values=values
    )


def _main(values: absl_flags.FlagValues, positional: list[str]) -> int:
    flags.no_stray_arguments(positional)
    if not values.records_dir:
        raise InputError('Must set flag --records_dir.')
    manifest = load_manifest(values.records_dir)
    print(checking.describe(manifest), flush=True)
    if values.show:
        files.check_writable_dir(values.show_dir, 'show_dir')
        for path in contact_sheet.write_all(
            values.records_dir, manifest, values.show, values.show_dir
        ):
            print(f'Contact sheet: {path}', flush=True)
    if not values.verify:
        return 0
    findings = checking.verify(values.records_dir, manifest)
    print('\n'.join(findings) or 'Verified: everything is as it was written.', flush=True)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
