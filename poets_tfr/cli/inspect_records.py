"""What a records_dir holds; with --verify, whether every record is still as it was written; with
--show, a contact sheet of each class.

python tools/inspect_records.py --records_dir ~/flower_records --verify --show 40
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, ClassVar

from poets_tfr import runtime, writable
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.records import checking, contact_sheet
from poets_tfr.records.manifest import load_manifest
from poets_tfr.records.reading import Records
from poets_tfr.settings import Settings, at_least, build, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectConfig(Settings):
    TITLE: ClassVar[str] = 'Records'

    records_dir: str = setting('', 'Where a conversion wrote its TFRecords.', path='path')
    verify: bool = setting(
        False, 'Read and decode every record, and compare it with the index and the manifest.'
    )
    show: int = setting(
        0,
        'Write a contact sheet (PNG) of so many images of each class.',
        at_least(0, '0 (none) or more'),
    )
    show_dir: str = setting(
        '',
        'Where the contact sheets go; by default records_dir with _contact_sheets at its end.',
        path='path',
    )


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [InspectConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> int:
    command.no_stray_arguments(positional)
    config = build(InspectConfig, given)
    if not config.records_dir:
        raise InputError('Must set flag --records_dir.')
    runtime.start()
    manifest = load_manifest(config.records_dir)
    print(checking.describe(manifest), flush=True)
    if config.show:
        show_dir = config.show_dir or f'{config.records_dir.rstrip("/")}_contact_sheets'
        writable.refuse([writable.folder_fault(show_dir, 'show_dir')])
        records = Records(config.records_dir, manifest)
        for path in contact_sheet.write_all(records, config.show, show_dir):
            print(f'Contact sheet: {path}', flush=True)
    if not config.verify:
        return 0
    findings = checking.verify(config.records_dir, manifest)
    print('\n'.join(findings) or 'Verified: everything is as it was written.', flush=True)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
