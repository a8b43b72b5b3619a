"""Rules of the whole tree that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "commerce",
    "config",
    "delivery",
    "ingest",
    "media",
    "overlay",
    "restream",
    "storage",
    "vitrina",
    "webrtc",
)
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
IO = {"asyncio", "socket", "threading", "time", "av", "aiohttp"}

SANS_IO = [
    "delivery/whep/*.py",
    "ingest/rtmp/*.py",
    "ingest/whip/*.py",
    "media/bitstream/*.py",
    "media/blockcode.py",
    "media/standby/catchup.py",
    "media/clock.py",
    "media/diagnosis/diagnosis.py",
    "media/drift.py",
    "media/diagnosis/findings.py",
    "media/grid.py",
    "media/standby/hold.py",
    "media/diagnosis/judgements.py",
    "media/model.py",
    "media/diagnosis/observer.py",
    "media/diagnosis/sentences.py",
    "media/settling.py",
    "media/slate/loop.py",
    "media/standby/source.py",
    "media/standby/rule.py",
    "media/standby/vitals.py",
    "media/timeline.py",
    "media/hls/boxes.py",
    "media/hls/fmp4.py",
    "media/hls/multivariant.py",
    "media/hls/playlist.py",
    "media/hls/rules.py",
    "media/hls/segmenter.py",
    "media/hls/window.py",
    "media/transcode/plan.py",
    "media/transcode/pressure.py",
    "media/transcode/returns.py",
    "media/transcode/wire.py",
    "media/transcode/wire_slate.py",
    "overlay/carriers/*.py",
    "overlay/cue.py",
    "overlay/timeline.py",
    "restream/addresses.py",
    "restream/backoff.py",
    "restream/endpoint.py",
    "restream/model.py",
    "restream/muxer.py",
    "restream/queue.py",
    "webrtc/**/*.py",
]
WITH_IO = {
    "ingest/rtmp/connection.py",
    "ingest/rtmp/door.py",
    "ingest/rtmp/intake.py",
    "ingest/rtmp/server.py",
    "ingest/whip/publisher.py",
    "ingest/whip/service.py",
    "delivery/whep/cues.py",
    "delivery/whep/service.py",
    "delivery/whep/stage.py",
    "webrtc/channels.py",
    "webrtc/ice.py",
    "webrtc/peer.py",
    "webrtc/sctp.py",
    "webrtc/session.py",
    "webrtc/sessions.py",
}

ALLOWED = {
    "av": ("media/transcode/", "media/record/"),
    "aioice": ("webrtc/ice.py", "webrtc/peer.py"),
    "aiortc": ("webrtc/channels.py", "webrtc/peer.py", "webrtc/sctp.py"),
    "pylibsrtp": ("webrtc/peer.py",),
    "cv2": ("overlay/",),
    "PIL": ("media/transcode/lettering.py",),
    "sqlalchemy": ("storage/", "overlay/log.py", "commerce/catalog.py"),
    "aiohttp": ("delivery/", "vitrina/"),
    "prometheus_client": ("vitrina/telemetry/",),
}


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@cache
def imports(file: Path) -> frozenset[str]:
    """Return the top-level names that a module imports at run time."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(file.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(file)}: relative import"
            found.add((node.module or "").partition(".")[0])
        todo += ast.iter_child_nodes(node)
    return frozenset(found)


def test_sans_io_modules_import_no_io() -> None:
    files = [file for pattern in SANS_IO for file in ROOT.glob(pattern)]
    assert len(files) > 30
    wrong = {
        name(file): sorted(imports(file) & IO)
        for file in files
        if name(file) not in WITH_IO and imports(file) & IO
    }
    assert wrong == {}


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_behind_their_boundary(library: str) -> None:
    wrong = [
        name(file)
        for file in FILES
        if library in imports(file) and not name(file).startswith(ALLOWED[library])
    ]
    assert wrong == []


def test_modules_stay_small() -> None:
    sizes = {name(file): len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert {file: size for file, size in sizes.items() if size > 600} == {}
    assert sorted(sizes.values())[len(sizes) // 2] < 200


def test_every_package_is_shipped_and_under_the_import_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert tuple(project["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert tuple(project["importlinter"]["root_packages"]) == PACKAGES
    assert tuple(project["mypy"]["packages"]) == PACKAGES


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / file for file in done.stdout.split("\0") if file and (ROOT / file).is_file()]


def test_no_committed_file_names_a_download_address() -> None:
    hosts = re.compile(
        "|".join(("files[.]pythonhosted", "pypi[.]" + "org", "registry[.]npmjs", "registry[.]yarn"))
    )
    wrong = []
    for file in tracked():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if file != Path(__file__) and hosts.search(text):
            wrong.append(name(file))
    assert wrong == []


def test_locks_pin_everything_by_hash() -> None:
    for lock, at_least in (("", 30), ("-dev", 30), ("-fuzz", 1)):
        text = (ROOT / f"requirements{lock}.lock").read_text("utf-8")
        entries = re.split(r"\n(?=[a-z])", text)[1:]
        assert len(entries) >= at_least
        assert [
            entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry
        ] == []


def test_commands_of_the_readme_exist() -> None:
    script = (ROOT / "run").read_text("utf-8")
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    text = "\n".join(file.read_text("utf-8") for file in documents)
    commands = set(re.findall(r"\./run ([a-z]+)", text))
    assert {"demo", "test", "serve", "check"} <= commands
    for command in commands:
        assert re.search(rf"^    [a-z| ]*\b{command}\b[a-z| ]*\)", script, re.M), command


def test_links_of_the_documents_lead_somewhere() -> None:
    documents = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docker").glob("*.md"),
    ]
    links = [
        (file, link)
        for file in documents
        for link in re.findall(r"\]\(([^)#\s]+)", file.read_text("utf-8"))
        if "://" not in link
    ]
    broken = [f"{name(file)}: {link}" for file, link in links if not (file.parent / link).exists()]
    assert broken == []


def test_scripts_are_posix_shell() -> None:
    for script in ("run", ".ci/run"):
        path = ROOT / script
        assert path.stat().st_mode & 0o111
        assert path.read_text("utf-8").startswith("#!/bin/sh\n")
        done = subprocess.run(["sh", "-n", path], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_every_test_module_says_what_kind_it_is() -> None:
    kind = re.compile(r"pytest\.mark\.(unit|component|e2e)\b")
    modules = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [name(file) for file in modules if not kind.search(file.read_text("utf-8"))] == []


def test_fuzzing_is_not_held_to_the_examples_of_every_day() -> None:
    fixed = re.compile(r"max_examples=\d+\s*[,)]")
    modules = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [name(file) for file in modules if fixed.search(file.read_text("utf-8"))] == []


def test_test_modules_are_imported_by_nobody() -> None:
    """But by what seeds the fuzz targets with the tests' own inputs."""
    taken = re.compile(r"^(?:from|import) tests[.\w]*[.]test_\w+", re.M)
    modules = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "benchmarks").glob("*.py")]
    assert [name(file) for file in modules if taken.search(file.read_text("utf-8"))] == []


def test_e2e_tests_are_where_run_looks_for_them() -> None:
    marked = {
        file.relative_to(ROOT / "tests").parts[0]
        for file in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"pytest\.mark\.e2e\b", file.read_text("utf-8"))
    }
    assert marked == {"e2e", "web"}
    assert "e2e='tests/e2e tests/web'" in (ROOT / "run").read_text("utf-8")
