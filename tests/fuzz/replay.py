"""Runs single inputs, with a full traceback: `python -m tests.fuzz.replay FILE...`.

The target is the folder that the file lies in, as in `tests/fuzz/corpus/TARGET/FILE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.harness import execute_measured


def main() -> int:
    for name in sys.argv[1:]:
        path = Path(name)
        execute_measured(TARGETS[path.parent.name], path.read_bytes())
        print(f"{name}: promises kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
