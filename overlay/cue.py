"""The bodies that a producer sends: cues, batches and changes.

The models are the contract and the source of the OpenAPI document; `read_*` turn a decoded JSON
body into one of them, or raise `Invalid` with every fault by its dotted name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from overlay.errors import FieldError, Invalid
from overlay.times import parse_at

MAX_BATCH = 20
MAX_PATH = 32
MAX_DURATION_S = 7 * 86400.0
MIN_DURATION_S = 0.1
"""Players poll their cue lists a few times a second: anything shorter would be missed."""
MAX_DEPTH = 16
LATER_TYPES = ("drop", "coupon", "poll")


def _known_at(text: str) -> str:
    parse_at(text)
    return text


Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)]
Language = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
]
_TAGS = ("~one", "~many")
_ByLanguage = Annotated[dict[Language, Line], Field(min_length=1, max_length=20)]
Text = Annotated[
    Annotated[Line, Tag("~one")] | Annotated[_ByLanguage, Tag("~many")],
    Discriminator(lambda value: "~many" if isinstance(value, dict) else "~one"),
]
"""One text for everybody, or one per language tag (BCP 47)."""
AtText = Annotated[str, StringConstraints(strict=True, max_length=64), AfterValidator(_known_at)]
Sku = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
Link = Annotated[
    str, StringConstraints(strict=True, max_length=500, pattern=r"^(https?://[^\s]+|/[^\s]*)$")
]
"""An address that a page may open: http, https or a path; never a script."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Unit = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1)]
Seconds = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=MIN_DURATION_S, le=MAX_DURATION_S)
]
PathTime = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=MAX_DURATION_S)]
PathPoint = tuple[PathTime, Unit, Unit, Unit, Unit]
"""t in seconds after `at`; x, y, w, h in 0..1 of the picture."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PinData(_Strict):
    """A product card beside the picture; one per slot."""

    sku: Sku
    slot: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9_-]{1,32}$")] = "main"
    label: Text | None = None


class HotspotData(_Strict):
    """A product's place in the picture, moving along a path; linear between points."""

    sku: Sku
    path: Annotated[list[PathPoint], Field(min_length=1, max_length=MAX_PATH)]
    label: Text | None = None
    shape: Literal["rect", "ellipse"] = "rect"

    @model_validator(mode="after")
    def _times_ascend(self) -> HotspotData:
        for index, (before, after) in enumerate(zip(self.path, self.path[1:], strict=False), 1):
            if after[0] <= before[0]:
                raise ValueError(
                    f"path: t must grow from point to point; point {index} has {after[0]:g} "
                    f"after {before[0]:g}"
                )
        return self


class ChapterData(_Strict):
    """The show's sections; a chapter lasts until the next."""

    title: Text
    image: Link | None = None


class NoticeData(_Strict):
    """A sentence that viewers must see."""

    text: Text
    level: Literal["info", "legal", "warning"] = "info"
    url: Link | None = None


class CustomData(BaseModel):
    """Anything a shop's own player understands, under a name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100)]


class _Cue(_Strict):
    at: AtText = "now"
    duration: Seconds | None = None
    """Seconds from `at`; null: until it is ended."""


class PinCue(_Cue):
    """Pins a product."""

    type: Literal["pin"]
    data: PinData


class HotspotCue(_Cue):
    """Marks a product in the picture."""

    type: Literal["hotspot"]
    data: HotspotData


class ChapterCue(_Cue):
    """Begins a chapter."""

    type: Literal["chapter"]
    data: ChapterData


class NoticeCue(_Cue):
    """Shows a notice."""

    type: Literal["notice"]
    data: NoticeData


class CustomCue(_Cue):
    """Carries a shop's own cue."""

    type: Literal["custom"]
    data: CustomData


CueRequest = Annotated[
    PinCue | HotspotCue | ChapterCue | NoticeCue | CustomCue, Field(discriminator="type")
]
AnyCue = PinCue | HotspotCue | ChapterCue | NoticeCue | CustomCue


class CueBatch(_Strict):
    """Several cues, all or none; every `now` among them is the same moment."""

    cues: Annotated[list[CueRequest], Field(min_length=1, max_length=MAX_BATCH)]


class CuePatch(_Strict):
    """A change of a cue: at least one of the keys."""

    data: dict[str, Any] | None = None
    """Keys to replace in the cue's `data`; null removes an optional one."""
    duration: Seconds | None = None
    """Seconds from the cue's `at`; null: until it is ended."""
    end: AtText | None = None
    """The moment it ends, in any form of `at`; null: until it is ended."""

    @model_validator(mode="after")
    def _says_something(self) -> CuePatch:
        if not self.model_fields_set:
            raise ValueError("a change needs one of data, duration, end")
        if {"duration", "end"} <= self.model_fields_set:
            raise ValueError("give duration or end, not both")
        if "data" in self.model_fields_set and self.data is None:
            raise ValueError("data: an object is needed")
        return self


DATA_MODELS: dict[str, type[BaseModel]] = {
    "pin": PinData,
    "hotspot": HotspotData,
    "chapter": ChapterData,
    "notice": NoticeData,
    "custom": CustomData,
}
_CUE: TypeAdapter[AnyCue] = TypeAdapter(CueRequest)
_M = TypeVar("_M")


def read_cue(body: object) -> AnyCue:
    """Read the body of `POST cues`."""
    return _read(_CUE, body)


def read_batch(body: object) -> list[AnyCue]:
    """Read the body of `POST cues/batch`: `{"cues": [...]}` or the bare list."""
    if isinstance(body, list):
        body = {"cues": body}
    return list(_read(TypeAdapter(CueBatch), body).cues)


def read_patch(body: object) -> CuePatch:
    """Read the body of `PATCH cues/ID`."""
    return _read(TypeAdapter(CuePatch), body)


def read_data(type_: str, data: object) -> dict[str, Any]:
    """Check the `data` of a cue of this type and return it as it is stored."""
    return data_of(_read(TypeAdapter(DATA_MODELS[type_]), data, prefix="data"))


def data_of(model: BaseModel) -> dict[str, Any]:
    """Return a cue's data as JSON: what the producer left out and has no default stays out."""
    dumped = model.model_dump(mode="json")
    optional = {name for name, info in type(model).model_fields.items() if info.default is None}
    return {key: value for key, value in dumped.items() if key not in optional or value is not None}


def _read(adapter: TypeAdapter[_M], body: object, *, prefix: str = "") -> _M:
    _refuse_unsound(body)
    try:
        return adapter.validate_python(body)
    except ValidationError as err:
        raise Invalid([_fault(fault, prefix) for fault in err.errors(include_url=False)]) from err


def _fault(fault: Any, prefix: str) -> FieldError:
    """Turn pydantic's words into the contract's."""
    path = [str(step) for step in fault["loc"]]
    # The union's own tag stands in the location; the producer never wrote it.
    path = [
        step
        for index, step in enumerate(path)
        if not (
            step in DATA_MODELS
            and (index == 0 or (index == 2 and path[0] == "cues"))
            and index + 1 < len(path)
        )
    ]
    path = [step for step in path if step not in _TAGS and step != "[key]"]
    field = ".".join(([prefix] if prefix else []) + path)
    kind, detail = fault["type"], str(fault["msg"])
    if kind == "extra_forbidden":
        detail = "unknown key"
    elif kind == "missing":
        detail = "is missing"
    elif kind in {"union_tag_invalid", "union_tag_not_found"}:
        tag = fault.get("ctx", {}).get("tag")
        field = ".".join([*path, "type"])
        detail = f"must be one of {', '.join(DATA_MODELS)}"
        if tag in LATER_TYPES:
            detail = f"{tag} cues are not in this version; {detail}"
    elif kind == "value_error":
        detail = str(fault["ctx"]["error"])
        head, colon, rest = detail.partition(": ")
        if colon and head in {"path", "data"}:
            field, detail = ".".join(filter(None, (field, head))), rest
    return FieldError(field=field[:200], detail=detail[:500])


def _refuse_unsound(body: object) -> None:
    """Refuse what JSON lets through and a carrier cannot hold: depth, NaN, half a character."""
    stack = [(body, 0)]
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise Invalid.of("", f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            stack.extend((key, depth + 1) for key in value)
            stack.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            stack.extend((item, depth + 1) for item in value)
        elif isinstance(value, float) and not abs(value) < float("inf"):
            raise Invalid.of("", "NaN and infinite numbers are not JSON")
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as err:
                raise Invalid.of("", "a text holds half a surrogate pair, not a character") from err
