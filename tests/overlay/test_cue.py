"""Bodies: what is taken, and how each fault is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.cue import DATA_MODELS, data_of, read_batch, read_cue, read_data, read_patch
from overlay.errors import Invalid

pytestmark = pytest.mark.unit


def faults(read, body):
    with pytest.raises(Invalid) as refused:
        read(body)
    return [(error.field, error.detail) for error in refused.value.errors]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ({"type": "pin", "data": {"sku": "A"}}, {"sku": "A", "slot": "main"}),
        (
            {"type": "pin", "data": {"sku": "A", "slot": "b", "label": {"en": "x", "de-AT": "y"}}},
            {"sku": "A", "slot": "b", "label": {"en": "x", "de-AT": "y"}},
        ),
        (
            {"type": "hotspot", "data": {"sku": "A", "path": [[0, 0, 0.5, 1, 0.25]]}},
            {"sku": "A", "shape": "rect", "path": [[0, 0, 0.5, 1, 0.25]]},
        ),
        ({"type": "chapter", "data": {"title": "T"}}, {"title": "T"}),
        ({"type": "notice", "data": {"text": "T"}}, {"text": "T", "level": "info"}),
        (
            {"type": "custom", "data": {"name": "n", "a": None, "b": [{"c": 1}], "sku": 3}},
            {"name": "n", "a": None, "b": [{"c": 1}], "sku": 3},
        ),
    ],
)
def test_every_type(body, data):
    cue = read_cue(body)
    assert (cue.at, cue.duration) == ("now", None)
    assert data_of(cue.data) == data
    assert read_data(cue.type, data) == data


@pytest.mark.parametrize("later", ["drop", "coupon", "poll"])
def test_types_that_come_later_are_refused_by_name(later):
    names = "pin, hotspot, chapter, notice, custom"
    sentence = f"{later} cues are not in this version; must be one of {names}"
    assert faults(read_cue, {"type": later, "data": {}}) == [("type", sentence)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "x", "data": {}}, [("type", "must be one of")]),
        ({"data": {}}, [("type", "must be one of")]),
        ({"type": "pin"}, [("data", "is missing")]),
        ({"type": "pin", "data": {"sku": "A", "zoom": 2}, "by": 1}, [
            ("data.zoom", "unknown key"), ("by", "unknown key")]),
        ({"type": "pin", "data": {"sku": 5}}, [("data.sku", "valid string")]),
        ({"type": "notice", "duration": "3", "data": {"text": ""}}, [
            ("duration", "valid number"), ("data.text", "at least 1 character")]),
        ({"type": "notice", "data": {"text": 5}}, [("data.text", "valid string")]),
        ({"type": "notice", "data": {"text": {"en": 5, "a b": "x"}}}, [
            ("data.text.en", "valid string"), ("data.text.a b", "pattern")]),
        ({"type": "notice", "duration": 0, "data": {"text": "x"}}, [("duration", "0.1")]),
        ({"type": "notice", "duration": True, "data": {"text": "x"}}, [
            ("duration", "valid number")]),
        ({"type": "notice", "at": "soon", "data": {"text": "x"}}, [("at", '"now", "+SECONDS"')]),
        ({"type": "notice", "data": {"text": "x", "url": "javascript:alert(1)"}}, [
            ("data.url", "pattern")]),
        ({"type": "notice", "data": {"text": "x", "level": "loud"}}, [("data.level", "'legal'")]),
        ({"type": "hotspot", "data": {"sku": "A", "path": []}}, [("data.path", "at least 1")]),
        ({"type": "hotspot", "data": {"sku": "A", "path": [[i, 0, 0, 1, 1] for i in range(33)]}}, [
            ("data.path", "at most 32")]),
        ({"type": "hotspot", "data": {"sku": "A", "path": [[0, 0, 0, 1, 1.01]]}}, [
            ("data.path.0.4", "less than or equal to 1")]),
        ({"type": "hotspot", "data": {"sku": "A", "path": [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]}}, [
            ("data.path", "t must grow from point to point; point 1 has 0 after 0")]),
        ({"type": "custom", "data": {"x": 1}}, [("data.name", "is missing")]),
        ([], [("", "")]),
        ("pin", [("", "")]),
        (None, [("", "")]),
    ],
)  # fmt: skip
def test_each_fault_is_named(body, expected):
    found = faults(read_cue, body)
    assert [field for field, _ in found] == [field for field, _ in expected]
    for (_, detail), (_, words) in zip(found, expected, strict=True):
        assert words in detail
    if isinstance(body, dict):
        batch = faults(read_batch, {"cues": [{"type": "chapter", "data": {"title": "x"}}, body]})
        assert [field for field, _ in batch] == [f"cues.1.{field}" for field, _ in expected]


def test_batches_are_bounded():
    cue = {"type": "chapter", "data": {"title": "x"}}
    assert len(read_batch([cue] * 20)) == 20
    assert faults(read_batch, {"cues": [cue] * 21})[0][0] == "cues"
    assert faults(read_batch, [])[0][0] == "cues"


def test_half_characters_nan_and_depth_are_refused():
    def custom(x):
        return {"type": "custom", "data": {"name": "n", "x": x}}

    assert "surrogate" in faults(read_cue, custom("\ud83d"))[0][1]
    assert "surrogate" in faults(read_cue, custom({"\ud83d": 1}))[0][1]
    assert "NaN" in faults(read_cue, custom(float("nan")))[0][1]
    assert "NaN" in faults(read_cue, custom(json.loads("1e999")))[0][1]
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested deeper" in faults(read_cue, custom(deep))[0][1]


def test_patches():
    assert read_patch({"duration": None}).model_fields_set == {"duration"}
    assert faults(read_patch, {}) == [("", "a change needs one of data, duration, end")]
    assert faults(read_patch, {"duration": 1, "end": "now"})[0][1] == (
        "give duration or end, not both"
    )
    assert faults(read_patch, {"data": None}) == [("data", "an object is needed")]
    assert faults(read_patch, {"type": "pin"})[0] == ("type", "unknown key")
    assert faults(read_patch, {"at": "now"})[0] == ("at", "unknown key")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*DATA_MODELS, "now", "+1"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["type", "at", "duration", "data", "sku", "path", "text", "title", "name", "cues"]
            )
            | st.text(),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused_with_a_sentence(body):
    for read in (read_cue, read_batch, read_patch):
        try:
            read(body)
        except Invalid as err:
            assert err.errors  # noqa: PT017
            assert all(error.detail for error in err.errors)  # noqa: PT017


@given(st.sampled_from([*DATA_MODELS]), st.dictionaries(st.text(), JSON, max_size=4))
def test_data_that_is_taken_is_stored_as_utf8_json(type_, extra):
    base = {
        "pin": {"sku": "A"},
        "hotspot": {"sku": "A", "path": [[0, 0, 0, 1, 1]]},
        "chapter": {"title": "x"},
        "notice": {"text": "x"},
        "custom": {"name": "x"},
    }[type_]
    try:
        cue = read_cue({"type": type_, "data": {**extra, **base}})
    except Invalid:
        return
    stored = json.dumps(data_of(cue.data), ensure_ascii=False, allow_nan=False).encode()
    assert read_data(type_, json.loads(stored)) == data_of(cue.data)
