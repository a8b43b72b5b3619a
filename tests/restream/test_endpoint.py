"""Reading a target's address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restream.endpoint import parse_target
from restream.model import TargetRefused

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "key", "expected"),
    [
        ("rtmp://live.example/app", "k", (False, "live.example", 1935, "app", "k")),
        ("rtmps://Live.Example./app/", "k?a=b", (True, "live.example", 443, "app", "k?a=b")),
        (
            "rtmps://live.example:443/rtmp/",
            "FB-1?s=1",
            (True, "live.example", 443, "rtmp", "FB-1?s=1"),
        ),
        ("rtmp://live.example:1936/a/b", "k", (False, "live.example", 1936, "a/b", "k")),
        ("rtmp://live.example/live2/KEY", None, (False, "live.example", 1935, "live2", "KEY")),
        ("rtmp://[2606:4700::1]:99/app", "k", (False, "2606:4700::1", 99, "app", "k")),
    ],
)
def test_addresses_are_read(url: str, key: str | None, expected: tuple[object, ...]) -> None:
    endpoint, found = parse_target(url, key)
    assert (endpoint.tls, endpoint.host, endpoint.port, endpoint.app, found) == expected


def test_the_shown_url_is_the_server_alone() -> None:
    assert parse_target("rtmp://H.example:1935/live/secret", None)[0].url == "rtmp://h.example/live"
    assert parse_target("rtmps://[::1]:1/a", "k")[0].url == "rtmps://[::1]:1/a"


@pytest.mark.parametrize(
    ("url", "key", "field", "text"),
    [
        ("http://h/app", "k", "url", "must start with rtmp:// or rtmps://"),
        ("file:///etc/passwd", "k", "url", "must start with rtmp:// or rtmps://"),
        ("concat:rtmp://h/a", "k", "url", "must start with rtmp:// or rtmps://"),
        (
            "rtmp://h",
            "k",
            "url",
            "needs the application of the target behind its host, as in /live",
        ),
        ("rtmp://u:p@h/app", "k", "url", None),
        ("rtmp://h/app?token=1", "k", "url", None),
        ("rtmp://h/app#x", "k", "url", None),
        ("rtmp:///app", "k", "url", "names no host"),
        *(
            (doubled, "k", "url", "holds :// twice; give the server's address once")
            for doubled in ("rtmp://rtmp://u:p@h/app", "rtmps://rtmp://h/app", "rtmp://h/rtmp://x")
        ),
        ("rtmp://a..b/app", "k", "url", "names no host"),
        ("rtmp://h:0/app", "k", "url", "names no host"),
        ("rtmp://h:99999/app", "k", "url", "is no URL"),
        ("rtmp://[fe80::1%25eth0]/app", "k", "url", None),
        ("rtmp://h/a\r\nb", "k", "url", "is no URL"),
        ("rtmp://h/app", None, "key", "the stream key of the target is needed"),
        ("rtmp://h/app", "", "key", None),
        ("rtmp://h/app", "a b", "key", None),
        ("rtmp://h/app", "k" * 1025, "key", None),
        ("rtmp://h/" + "a" * 1100, "k", "url", "is longer than 1024 characters"),
    ],
)
def test_what_cannot_be_pushed_to_is_refused(
    url: str, key: str | None, field: str, text: str | None
) -> None:
    with pytest.raises(TargetRefused) as caught:
        parse_target(url, key)
    assert caught.value.field == field
    if text:
        assert str(caught.value) == text


@given(
    st.text(max_size=200) | st.from_regex(r"rtmps?://\S{0,60}"), st.text(max_size=40) | st.none()
)
def test_any_text_is_read_or_refused_and_what_is_read_is_stable(url: str, key: str | None) -> None:
    try:
        endpoint, found = parse_target(url, key)
    except TargetRefused:
        return
    assert parse_target(endpoint.url, found) == (endpoint, found)
    assert endpoint.url.isascii()
    assert endpoint.host
    assert 0 < endpoint.port < 65536
