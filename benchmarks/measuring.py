"""Rates that can be compared: both sides in one process, in turn, after a warm-up; medians."""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Mapping

Work = Callable[[], int]  # does its work once, returns how many units that was


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    rate, peer_rate: in `unit`. ratio: rate / peer_rate. goal: the least ratio aimed at, or None.
    peak_mb: the most memory that the row's process ever held, in MB.
    """

    row: str
    rate: float
    unit: str
    peer: str
    peer_rate: float
    ratio: float
    goal: float | None = None
    peak_mb: float = 0.0


def _nothing() -> None:
    pass


def compare(
    row: str,
    unit: str,
    ours: Work,
    peers: Mapping[str, Work],
    goals: Mapping[str, float] | None = None,
    repeats: int = 5,
    clear: Callable[[], None] = _nothing,
) -> list[Row]:
    """A row for each peer, see `median_rates`."""
    rates = median_rates({'': ours, **peers}, repeats, clear)
    return [against(row, unit, rates[''], peer, rates[peer], goals) for peer in peers]


def against(
    row: str,
    unit: str,
    rate: float,
    peer: str,
    peer_rate: float,
    goals: Mapping[str, float] | None = None,
) -> Row:
    return Row(row, rate, unit, peer, peer_rate, rate / peer_rate, (goals or {}).get(peer))


def median_rates(
    sides: Mapping[str, Work], repeats: int = 5, clear: Callable[[], None] = _nothing
) -> dict[str, float]:
    """Units a second of each side. One warm-up each, then `repeats` rounds of all in turn.

    clear: removes what a side has left; no side is charged for it.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(repeats + 1):
        for name, work in sides.items():
            start = time.perf_counter()
            units = work()
            seconds = time.perf_counter() - start
            clear()
            if round_:  # the first is the warm-up
                rates[name].append(units / seconds)
    return {name: statistics.median(values) for name, values in rates.items()}


def peak_mb() -> float:
    """The most resident memory that this process or a child of it ever held, in MB."""
    everyone = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return max(resource.getrusage(who).ru_maxrss for who in everyone) / 1024


def table(rows: list[Row]) -> str:
    lines = [
        f'{"row":38} {"rate":>12} {"unit":13} {"peer":34} {"its rate":>12} {"ratio":>8} '
        f'{"goal":>6} {"peak MB":>8}'
    ]
    for row in rows:
        goal = '' if row.goal is None else f'{row.goal:g}'
        met = ' ' if row.goal is None or row.ratio >= row.goal else '!'
        lines.append(
            f'{row.row:38} {row.rate:12,.1f} {row.unit:13} {row.peer:34} {row.peer_rate:12,.1f} '
            f'{row.ratio:7.2f}{met} {goal:>6} {row.peak_mb:8,.0f}'
        )
    return '\n'.join(lines)
