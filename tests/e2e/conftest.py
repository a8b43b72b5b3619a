"""Fixtures of the end-to-end tests: a real server, real encoders, a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.push import Publisher
from tests.support.server import KEY, Server


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers; all are stopped at the end, and none may have logged a traceback."""
    servers: list[Server] = []

    def start(**settings: Any) -> Server:
        directory = tmp_path / f"server{len(servers)}"
        directory.mkdir()
        servers.append(Server(directory, settings))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()
        assert "Traceback" not in server.log, server.log


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A server with its default settings."""
    return make_server()


@pytest.fixture
def push(server: Server) -> Iterator[Callable[..., Publisher]]:
    """Start ffmpeg publishers to `server`; all are killed at the end."""
    publishers: list[Publisher] = []

    def start(*, key: str = KEY, **kwargs: Any) -> Publisher:
        publishers.append(Publisher(f"{server.rtmp}/{key}", **kwargs))
        return publishers[-1]

    yield start
    for publisher in publishers:
        publisher.stop()
        print(publisher.log)  # pytest shows it where the test failed
