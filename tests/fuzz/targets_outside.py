"""Files and answers from outside: slates, restream targets, the authorisation hook's words."""

from __future__ import annotations

import tempfile
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from ingest.addresses import AddressRule, plain_address
from media.slate.loop import SlateOrder
from media.transcode.making import film_slate
from media.transcode.messages import MakeSlate, SlateFailed
from media.transcode.slates import loop_of
from restream.addresses import AddressRefused, AllowList, check
from restream.endpoint import parse_target
from restream.model import TargetRefused
from restream.words import redact
from tests.fuzz.harness import Target, target
from vitrina.hook import _parse, _Undecided

_FOLDER = tempfile.TemporaryDirectory(prefix="vitrina-fuzz-")


@target("slate_file", max_bytes=8192, cpu_s=5.0, memory_bytes=64 * 2**20, mutations=15)
def slate_file(data: bytes) -> None:
    """Any file is a slate of the ordered form, or a sentence."""
    path = Path(_FOLDER.name) / "slate.bin"
    path.write_bytes(data)
    order = SlateOrder(
        width=64, height=48, sar=(1, 1), audio=(48_000, 2), text="", image=path, serial=1
    )
    answer = film_slate(MakeSlate(order=order, font=None, video=None, max_pixels=256 * 256))
    if isinstance(answer, SlateFailed):
        assert answer.text.startswith("The slate slate.bin cannot be shown: ")
        assert answer.text.isprintable()
        assert len(answer.text) < 400
        return
    loop = loop_of(answer, order)
    assert sum(len(unit.payload) for unit in loop.pictures) < 2**20


@target("restream_target", max_bytes=2048)
def restream_target(data: bytes) -> None:
    """A target's URL leads where it says, or nowhere; a refusal repeats none of it."""
    url, _, key = data.decode("utf-8", "replace").partition("\n")
    try:
        endpoint, found = parse_target(url, key or None)
    except TargetRefused as error:
        assert len(str(error)) < 200
        return
    assert endpoint.url.startswith(("rtmp://", "rtmps://"))
    assert 0 < endpoint.port < 65536
    assert not set("@/?# \r\n") & set(endpoint.host)
    assert not set("?# \r\n") & set(endpoint.app)
    again, _ = parse_target(endpoint.url, found)
    assert (again.tls, again.host, again.port) == (endpoint.tls, endpoint.host, endpoint.port)
    assert again.app == endpoint.app.strip("/")
    assert found not in redact(f"sent to {found}", found)


@target("address", max_bytes=512)
def address(data: bytes) -> None:
    """Addresses of targets and of encoders: what is not plainly public is refused."""
    text = data.decode("utf-8", "replace")
    host, *answers = text.split("\n")
    try:
        check(host, answers, AllowList())
    except AddressRefused:
        pass
    else:
        assert answers
        for each in map(ip_address, answers):
            if isinstance(each, IPv6Address) and each.sixtofour is None:
                each = each.ipv4_mapped or each
            inside = each.is_loopback or each.is_link_local or each.is_multicast
            assert not inside
            assert not each.is_private or (isinstance(each, IPv6Address) and each.sixtofour)
    rule = AddressRule(("10.0.0.0/8", "2001:db8::/32"))
    for each in answers:
        assert not rule.allows(plain_address(each)) or "10." in each or ":" in each


@target("hook_answer")
def hook_answer(data: bytes) -> None:
    """An authorisation hook that answers anything: a clear yes, or it is undecided."""
    try:
        answer = _parse(data)
    except _Undecided as error:
        assert str(error) == "malformed"
        return
    assert answer.allow is True or answer.allow is False


TARGETS: list[Target] = [slate_file, restream_target, address, hook_answer]
