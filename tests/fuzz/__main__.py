"""Fuzzes every target, or those named: `python -m tests.fuzz --seconds 600 [TARGET...]`.

The time is shared out over the targets, two at once. What was found in between is kept in
`.fuzz/found` and guides the next run. An input that broke a promise is put among the committed
ones, `tests/fuzz/corpus/TARGET/crash-...`, where the unit tests fail on it until it is mended.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.harness import Target
from tests.fuzz.worker import HAS_ATHERIS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".fuzz"
AT_ONCE = 2
GRACE_S = 60.0
TRIES = 3


@dataclass
class Outcome:
    """What fuzzing one target came to."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    edges: int = 0
    features: int = 0
    crashes: list[Path] = field(default_factory=list)
    trouble: str = ""


def fuzz(each: Target, seconds: float) -> Outcome:
    """Run one target, anew after each crash while there is time and the crashes are few."""
    outcome = Outcome(each.name)
    ends = time.monotonic() + seconds
    for _ in range(TRIES):
        left = ends - time.monotonic()
        if left < 0.5:
            break
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.worker", each.name, str(left), str(FOLDER)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, timeout=left + GRACE_S, check=False
            )
            output = (done.stdout + done.stderr).decode(errors="replace")
        except subprocess.TimeoutExpired:
            outcome.trouble = "hung: ended by force"
            break
        finally:
            outcome.seconds += time.monotonic() - began
        _read(output, outcome)
        if done.returncode:
            outcome.trouble = _why(output)
    # Only now, or the next try would begin with the crash that is known.
    outcome.crashes = _keep_crashes(each)
    return outcome


def _read(output: str, outcome: Outcome) -> None:
    for text in re.findall(r"^figures (\{.*\})$", output, re.MULTILINE):
        outcome.executions += int(json.loads(text)["executions"])
    for text in re.findall(r"number_of_executed_units:\s+(\d+)", output):
        outcome.executions += int(text)
    for edges, features in re.findall(r"cov: (\d+) ft: (\d+)", output):
        outcome.edges = max(outcome.edges, int(edges))
        outcome.features = max(outcome.features, int(features))


def _keep_crashes(each: Target) -> list[Path]:
    """Move what broke a promise to the committed inputs."""
    kept = []
    for path in sorted((FOLDER / "crashes").glob(f"{each.name}-*")):
        kind, _, digest = path.name.removeprefix(f"{each.name}-").partition("-")
        goal = each.corpus / f"{kind}-{digest[:12]}"
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(path.read_bytes())
        path.unlink()
        kept.append(goal)
    return kept


def _why(output: str) -> str:
    """Return the line of a traceback that says what happened, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|TooSlow|TooBig)\b", line)]
    return (named or lines or ["no output"])[-1][:200]


def _table(outcomes: list[Outcome]) -> None:
    head = ("target", "executions", "per second", "edges", "features", "crashes")
    rows = [head]
    for each in outcomes:
        rate = each.executions / each.seconds if each.seconds else 0
        crashes = str(len(each.crashes)) + (f"  {each.trouble}" if each.trouble else "")
        figures = (each.executions, round(rate), each.edges or "-", each.features or "-")
        rows.append((each.name, *(f"{value}" for value in figures), crashes))
    widths = [max(len(row[n]) for row in rows) for n in range(len(head) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=120, help="of wall clock, over all targets"
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in arguments.targets or TARGETS]
    if not HAS_ATHERIS:
        print("atheris is not installed: inputs are mutated blindly, without coverage.")
    rounds = -(-len(chosen) // AT_ONCE)
    share = arguments.seconds / rounds
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda each: fuzz(each, share), chosen))
    _table(outcomes)
    total = sum(each.executions for each in outcomes)
    crashes = [path for each in outcomes for path in each.crashes]
    print(f"\n{total} executions of {len(outcomes)} targets; {len(crashes)} new crashes")
    for path in crashes:
        print(f"  {path.relative_to(ROOT)}: python -m tests.fuzz.replay {path.relative_to(ROOT)}")
    return 1 if any(each.trouble for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
