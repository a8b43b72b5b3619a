"""What producers and operators write: cues, times and the configuration."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from config.load import ConfigError, load_settings
from delivery.body import parse_json
from delivery.problems import Problem
from overlay.cue import read_batch, read_cue, read_patch
from overlay.drafts import Draft, Limits
from overlay.errors import CueError, Invalid
from overlay.schedule import Moment
from overlay.timeline import Timeline
from overlay.times import parse_at
from tests.fuzz.harness import Choices, Target, target

_NOW_MS = 1_800_000_000_000
_LIMITS = Limits(max_live=8, max_ahead_ms=86_400_000)
_SECRET = "hunter2-hunter2-hunter2"


def _json(data: bytes) -> object:
    """Parse as the API does, or give up on the input."""
    try:
        return parse_json(data)
    except Problem:
        return None


@target("cue_body", cpu_s=1.0)
def cue_bodies(data: bytes) -> None:
    """Bodies of the producer API: what is accepted fits the log, all else is a 4xx."""
    body = _json(data)
    for read in (read_cue, read_batch, read_patch):
        try:
            read(body)
        except Invalid as error:
            assert error.errors
            assert all(len(each.detail) <= 500 for each in error.errors)
    if isinstance(body, str):
        with contextlib.suppress(ValueError):
            parse_at(body)


@target("cue_drafts", cpu_s=2.0, memory_bytes=8 * 2**20)
def cue_drafts(data: bytes) -> None:
    """A producer's whole show, call by call: the log stays in order whatever is asked."""
    choices = Choices(data)
    timeline = Timeline()
    now_ms = _NOW_MS
    for number in range(24):
        if not choices.left:
            break
        verb, wait, which = choices.number(), choices.number(2), choices.number() % 4
        now_ms += wait
        moment = Moment(stream="show", now_ms=now_ms, live=bool(verb & 16))
        draft = Draft(timeline, moment, limits=_LIMITS, issued_at_ms=now_ms)
        cue_id = f"cue{number if verb % 4 == 0 else which}"
        try:
            match verb % 4:
                case 0:
                    draft.fire(cue_id, read_cue(_json(choices.piece())))
                case 1:
                    draft.revise(cue_id, read_patch(_json(choices.piece())))
                case 2:
                    draft.end(cue_id)
                case _:
                    draft.retract(cue_id)
        except CueError:
            continue
        for _, entry in draft.entries:
            assert entry.end_ms is None or entry.end_ms >= entry.at_ms or entry.rev > 1
            timeline.append(entry)
    seqs = [entry.seq for entry in timeline.entries()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(timeline.active(now_ms)) <= _LIMITS.max_live


_FOLDER = tempfile.TemporaryDirectory(prefix="vitrina-fuzz-")


@target("config_file", cpu_s=2.0)
def config_file(data: bytes) -> None:
    """Any file is settings or a list of problems, and a secret in it is never repeated."""
    path = Path(_FOLDER.name) / "vitrina.toml"
    path.write_bytes(data)
    text = data.decode("utf-8", "replace")
    lines = [line for line in text.split("\n") if "=" in line][:8]
    environ = {"VITRINA_AUTH__ADMIN_TOKEN": _SECRET} | {
        f"VITRINA_{name.strip().replace('.', '__').upper()}": value.strip()
        for name, _, value in (line.partition("=") for line in lines)
        if "\0" not in name + value
    }
    for file, variables, overrides in (
        (path, {}, []),
        (None, environ, []),
        (None, {}, [*lines, f"rtmp.port={_SECRET}"]),
    ):
        try:
            load_settings(file=file, environ=variables, overrides=overrides)
        except ConfigError as error:
            assert error.problems
            assert _SECRET not in str(error) or _SECRET in text


TARGETS: list[Target] = [cue_bodies, cue_drafts, config_file]
