"""The settings of what a run shows: TensorBoard, the report, the terminal."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar, Literal

from poets_tfr.settings import Check, Settings, a_path, setting, within

LogSteps = Literal['auto', 'all', 'few']


def _in_order(steps: str) -> bool:
    match = re.fullmatch(r'(\d{1,9}),(\d{1,9})', steps or '0,0')
    return match is not None and int(match[1]) <= int(match[2])


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportingConfig(Settings):
    """What is shown of a run, and where."""

    TITLE: ClassVar[str] = 'What is shown'

    # fmt: off
    summaries_dir: str = setting('/tmp/retrain_logs', 'Where to save summary logs for TensorBoard.',
        a_path(), affects='output', path='path')
    print_misclassified_test_images: bool = setting(False,
        'Whether to print out the test images that were mistaken.', affects='output')
    log_steps: LogSteps = setting('auto',
        "Which training steps are logged: all (the original's lines, every eval_step_interval), "
        'few (about ten), or auto: few on a terminal, all elsewhere.', affects='output')
    projector_pictures: int = setting(1000,
        "How many images TensorBoard's projector shows; 0: no projector.",
        within(0, 10_000, '0 (none) to 10000'), affects='output')
    profile_steps: str = setting('',
        'Record a profile of these training steps, the first and the last: 100,200. TensorBoard '
        'shows it where tensorboard-plugin-profile is installed.',
        Check('two steps, the first and the last: 100,200', _in_order), affects='output')
    # fmt: on

    @property
    def profiled(self) -> tuple[int, int] | None:
        """The first and the last step of the profile; None without one."""
        first, _, last = self.profile_steps.partition(',')
        return (int(first), int(last)) if last else None
