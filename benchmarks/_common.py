"""What every benchmark prints: a table for people, one JSON line for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]
    for number, row in enumerate(cells):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print()


def emit(name: str, figures: Mapping[str, object]) -> None:
    """Print the one JSON line."""
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    print(json.dumps({"benchmark": name, **figures, "machine": machine}, default=str))
    sys.stdout.flush()


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of `values` lie; 0 for none."""
    if not values:
        return 0.0
    if len(values) == 1:
        return values[0]
    cuts = statistics.quantiles(values, n=1000, method="inclusive")
    return cuts[min(998, max(0, round(percent * 10) - 1))]
