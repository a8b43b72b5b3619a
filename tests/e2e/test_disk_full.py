"""The disk under the cue log runs full: cues are refused in plain words, the stream goes on."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.hls import Reader
from tests.support.judge import Judge
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Reply, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]

SETTINGS: dict[str, Any] = {"cues.writes_per_second": 1000, "cues.max_live": 200}
MANY = 150
"""Cues by which a log that cannot grow has to give up: reused space of the journal is small."""
Fill = Callable[[], AbstractContextManager[None]]


def namespaces() -> bool:
    """Whether this user may have file systems of their own."""
    if shutil.which("unshare") is None:
        return False
    script = "mount -t tmpfs -o size=1m none /mnt"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[tuple[Server, Fill]]:
    """A server whose data directory is a file system of 4 MB that only it sees."""
    if not namespaces():
        pytest.skip("needs user namespaces, to mount a small file system")
    data = tmp_path / "data"
    data.mkdir()
    mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(data)]
    server = Server(tmp_path, SETTINGS, prefix=prefix)

    @contextmanager
    def fill() -> Iterator[None]:
        assert server.process is not None
        ballast = Path(f"/proc/{server.process.pid}/root{data}/ballast")
        with pytest.raises(OSError, match="No space left"):
            write_without_end(ballast)
        yield
        ballast.unlink()

    server.start()
    yield server, fill
    server.stop()


@pytest.fixture
def quota(tmp_path: Path) -> Iterator[tuple[Server, Fill]]:
    """A server whose files may suddenly not grow any more, as under a quota."""
    server = Server(tmp_path, SETTINGS)

    @contextmanager
    def fill() -> Iterator[None]:
        assert server.process is not None
        pid = server.process.pid
        files = [server.directory / "server.log", *(server.directory / "data").rglob("*")]
        room = max(file.stat().st_size for file in files if file.is_file())
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, before[1]))
        yield
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    server.start()
    yield server, fill
    server.stop()


def write_without_end(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def fire(server: Server, number: int) -> Reply:
    cue = {"type": "notice", "at": "now", "duration": 1, "data": {"text": f"{number} " * 60}}
    return server.api("POST", f"/streams/{STREAM}/cues", cue)


@pytest.mark.parametrize(
    ("where", "words"), [("tiny_disk", "is full"), ("quota", "cannot be written")]
)
def test_full_disk_refuses_cues_and_spares_the_stream(
    request: pytest.FixtureRequest, where: str, words: str
):
    server, fill = request.getfixturevalue(where)
    judge = Judge(server, [STREAM])
    with Publisher(f"{server.rtmp}/{KEY}", size="480x270"):
        server.wait_live()
        reader = Reader(server)
        kept = [server.cue({"type": "chapter", "at": "now", "data": {"title": "Before"}})]
        with fill():
            replies: list[Reply] = []

            def refused() -> bool:
                replies.append(fire(server, len(replies)))
                assert len(replies) < MANY, "a full disk takes cues without end"
                return replies[-1].status != 201

            wait_for(refused, 20, "a refusal")
            kept += [reply.json() for reply in replies[:-1]]
            problem = replies[-1]
            assert problem.status == 503, problem.text
            assert problem.headers["Content-Type"].startswith("application/problem+json")
            assert words in problem.json()["detail"]
            assert problem.json()["detail"].startswith("The cue was not taken: ")
            assert server.get("/healthz").status == 200
            before = reader.media("source")
            reached = before.media_sequence + len(before.segments)
            wait_for(
                lambda: (
                    (now := reader.media("source")).media_sequence + len(now.segments) > reached + 1
                ),
                10,
                "two more segments on a full disk",
            )
            # What was taken before can still be read.
            listed = server.api("GET", f"/streams/{STREAM}/cues").json()["cues"]
            assert [cue["id"] for cue in listed] == [cue["id"] for cue in kept]
        kept.append(wait_for(lambda: taken(fire(server, MANY)), 10, "a cue on a disk with room"))
        listed = server.api("GET", f"/streams/{STREAM}/cues?after=0").json()["cues"]
        assert [cue["id"] for cue in listed] == [cue["id"] for cue in kept]
        assert [cue["seq"] for cue in listed] == list(range(1, len(kept) + 1))
        judge.stop()
        assert judge.errors(STREAM) == []
        assert "GAP" not in reader.text("source")
    assert os.waitid(os.P_PID, server.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    assert "Traceback" not in server.log


def taken(reply: Reply) -> dict[str, Any] | None:
    return reply.json() if reply.status == 201 else None
