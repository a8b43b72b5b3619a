"""The front end's own unit tests, its build, and what the wheel holds of it."""

import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.component

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"


def load_hook() -> ModuleType:
    spec = util.spec_from_file_location("vitrina_hatch_build", WEB / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hook = load_hook()


@pytest.fixture(scope="module")
def node() -> Path:
    """Node with the packages installed; skips where npm's registry cannot be reached."""
    try:
        with hook._lock(hook.OUTPUT):
            path: Path = hook.install_packages()
    except hook.FrontEndUnavailable as reason:
        pytest.skip(f"the packages of the front end cannot be had: {reason}")
    return path


def run_node(node: Path, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(node), str(WEB / "node_modules" / script), *args]
    return subprocess.run(
        command, cwd=WEB, capture_output=True, text=True, timeout=100, check=False,
        env=hook._environment(node),
    )  # fmt: skip


def test_unit_tests(node: Path) -> None:
    run = run_node(node, "vitest/vitest.mjs", "run", "--reporter=json")
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    report = json.loads(run.stdout[run.stdout.index("{") :])
    assert report["numPassedTests"] > 50
    assert report["numFailedTests"] == 0


def test_types(node: Path) -> None:
    run = run_node(node, "typescript/bin/tsc", "--noEmit")
    assert run.returncode == 0, run.stdout


def test_bundle_is_what_the_page_loads(node: Path) -> None:
    hook.build()
    static = hook.OUTPUT
    player = (static / "vitrina-player.js").read_text("utf-8")
    chunks = sorted(file.name for file in static.glob("hls-*.js"))
    assert len(chunks) == 1
    assert f"./{chunks[0]}" in player
    assert "vitrina-player" in player
    # A strict CSP allows neither.
    assert "eval(" not in player
    assert "new Function" not in player + (static / chunks[0]).read_text("utf-8")
    # hls.js is the bulk of it and must stay out of the first load.
    assert len(gzip.compress(player.encode())) < 40_000
    publish = (static / "vitrina-publish.js").read_text("utf-8")
    assert "import" not in publish.split(";")[0]
    assert "eval(" not in publish
    assert len(gzip.compress(publish.encode())) < 30_000
    assert "BSD 3-Clause" in (static / "PUBLISH_LICENSES.txt").read_text("utf-8")
    licences = (static / "THIRD_PARTY_LICENSES.txt").read_text("utf-8")
    for name in ("hls.js 1.", "lit 3.", "lit-html 3.", "@lit/reactive-element", "eventemitter3"):
        assert name in licences
    assert "Apache License" in licences
    assert "BSD 3-Clause" in licences


def test_second_build_does_nothing(node: Path) -> None:
    hook.build()
    stamp = hook.OUTPUT / hook.STAMP
    before = stamp.stat().st_mtime_ns
    assert hook.build() is False
    assert stamp.stat().st_mtime_ns == before


def _copy(path: Path) -> tuple[Path, Path]:
    web, output = path / "web", path / "delivery" / "static"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    return web, output


def _touch(path: Path) -> None:
    path.write_text(path.read_text("utf-8") + "\n// changed\n", "utf-8")


@pytest.mark.parametrize(
    ("change", "current"),
    [
        (lambda web, _out: _touch(web / "src" / "index.ts"), False),
        (lambda web, _out: _touch(web / "package-lock.json"), False),
        (lambda _web, out: (out / "vitrina-player.js").unlink(), False),
        (lambda _web, out: (out / hook.STAMP).write_text("{"), False),
        (lambda web, _out: _touch(web / "src" / "cues" / "store.test.ts"), True),
        (lambda web, _out: (web / "src" / "index.ts").touch(), True),
    ],
    ids=["source", "lock file", "file lost", "stamp broken", "test only", "touched only"],
)
def test_staleness(tmp_path: Path, change: Callable[[Path, Path], object], current: bool) -> None:
    web, output = _copy(tmp_path)
    output.mkdir(parents=True)
    for name in hook.REQUIRED[:-1]:
        (output / name).write_text("x", "utf-8")
    hook._write_stamp(output, hook.source_digest(web))
    assert hook.is_current(hook.source_digest(web), output)
    change(web, output)
    assert hook.is_current(hook.source_digest(web), output) is current


def test_without_registry_the_installation_goes_on(tmp_path: Path) -> None:
    """Nothing listens on the discard port of loopback: npm gets a refused connection."""
    web, output = _copy(tmp_path)
    with (web / ".npmrc").open("a", encoding="utf-8") as npmrc:
        cache = tmp_path / "empty-cache"
        npmrc.write(f"registry=http://127.0.0.1:9/\ncache={cache}\n")
    run = subprocess.run(
        [sys.executable, str(web / "hatch_build.py")],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert run.returncode == 1  # ./run sees that it is missing
    assert "npm could not fetch the packages of the player" in run.stderr
    assert "The server runs all the same" in run.stderr
    assert not output.exists()

    code = (
        f"import sys; sys.path.insert(0, {str(web)!r}); import hatch_build; "
        "hook = object.__new__(hatch_build.FrontEndHook); hook.initialize('standard', {})"
    )
    hooked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert hooked.returncode == 0, hooked.stderr
    assert "The server runs all the same" in hooked.stderr


def test_broken_lock_file_is_loud(tmp_path: Path) -> None:
    web, _output = _copy(tmp_path)
    package = json.loads((web / "package.json").read_text("utf-8"))
    package["devDependencies"]["lit"] = "2.0.0"
    (web / "package.json").write_text(json.dumps(package), "utf-8")
    with pytest.raises(RuntimeError, match="npm ci refused the lock file"):
        hook.build(web=web, output=tmp_path / "static")


def test_wheel_holds_the_player(node: Path, tmp_path: Path) -> None:
    hook.build()
    command = [
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path),
    ]  # fmt: skip
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        player = archive.read("delivery/static/vitrina-player.js")
    assert player == (hook.OUTPUT / "vitrina-player.js").read_bytes()
    assert "delivery/static/THIRD_PARTY_LICENSES.txt" in names
    assert sum(name.startswith("delivery/static/hls-") for name in names) == 1
    assert not any(name.startswith("web/") or "node_modules" in name for name in names)
