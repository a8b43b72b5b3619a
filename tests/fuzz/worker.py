"""One process that fuzzes one target: `python -m tests.fuzz.worker TARGET SECONDS FOLDER`.

With atheris the coverage of the code under test guides it (libFuzzer); without, it mutates
blindly. Its last line is `figures {JSON}`, an input that broke a promise lies in FOLDER/crashes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import resource
import sys
import time
import tomllib
from pathlib import Path

from tests.fuzz.mutate import mutations

ADDRESS_SPACE = 2 * 2**30
SLACK = 8.0
"""Coverage counting costs time, and so do neighbours."""
MEASURE_EVERY = 199
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
PACKAGES = tomllib.loads(PROJECT.read_text())["tool"]["importlinter"]["root_packages"]
"""Whose coverage guides the mutations."""
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


def guided(name: str, seconds: float, folder: Path) -> None:
    """Let libFuzzer drive; it ends the process itself."""
    import atheris  # not there on every platform

    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.catalogue import TARGETS
    from tests.fuzz.harness import execute, execute_measured

    each = TARGETS[name]
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % MEASURE_EVERY:
            execute(each, data, slack=SLACK)
        else:
            execute_measured(each, data)

    found = folder / "found" / name
    crashes = folder / "crashes"
    for each_folder in (found, crashes):
        each_folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={each.max_bytes}",
        f"-artifact_prefix={crashes}/{name}-",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=1",
        str(found),
        *([str(each.corpus)] if each.corpus.is_dir() else []),
    ]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def blind(name: str, seconds: float, folder: Path) -> int:
    """Mutate the committed inputs for a while; return 1 after an input that broke a promise."""
    from tests.fuzz.catalogue import TARGETS
    from tests.fuzz.harness import execute, execute_measured

    each = TARGETS[name]
    inputs = [path.read_bytes() for path in each.inputs()]
    ends = time.monotonic() + seconds
    count = 0
    for data in mutations(inputs, random.Random(time.time_ns()), each.max_bytes):
        count += 1
        try:
            if count % MEASURE_EVERY:
                execute(each, data)
            else:
                execute_measured(each, data)
        except Exception:
            crashes = folder / "crashes"
            crashes.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            (crashes / f"{name}-crash-{digest}").write_bytes(data)
            print(f"figures {json.dumps({'executions': count})}", flush=True)
            raise
        if time.monotonic() > ends:
            break
    print(f"figures {json.dumps({'executions': count})}", flush=True)
    return 0


def main() -> int:
    name, seconds, folder = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    # A parser that allocates without bound meets this as MemoryError, not the machine's end.
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    if HAS_ATHERIS and "--blind" not in sys.argv:
        guided(name, seconds, folder)
        return 0
    return blind(name, seconds, folder)


if __name__ == "__main__":
    sys.exit(main())
