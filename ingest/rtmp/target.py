"""Where an encoder wants to publish: the stream key and the parameters around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from ingest.rtmp.adobe import PARAMETERS

_MAX_PARAMETERS = 32
_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """A stream key and merged parameters; both are secrets."""

    key: str = field(repr=False)
    query: dict[str, str] = field(repr=False)


def publish_target(app: str, tc_url: str, name: str) -> PublishTarget:
    """Find the key in what `connect` and `publish` said.

    The key is the parameter `key` where there is one, whatever the stream is called then; else
    the stream name up to its first `?`. Where that is empty (all of the URL went into the server
    field, or OBS multitrack's `?clientConfigId=...` is the whole name) it is the last part of the
    app. Parameters of tcUrl, app and name are merged, the later ones win; those of a login are
    left out. Everything is percent-decoded once.
    """
    app_path, _, app_query = _clean(app).partition("?")
    key, _, name_query = _clean(name).partition("?")
    if not key:
        key = app_path.strip("/").rpartition("/")[2]
    query: dict[str, str] = {}
    for text in (_url_query(_clean(tc_url)), app_query, name_query):
        query.update(_parameters(text))
    for parameter in PARAMETERS:
        query.pop(parameter, None)
    return PublishTarget(query.pop("key", "") or unquote(key), query)


def _clean(text: str) -> str:
    """Drop the quotes that some encoders put around values."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1]
    return text[:_MAX_TEXT]


def _url_query(url: str) -> str:
    try:
        return urlsplit(url).query
    except ValueError:
        return ""


def _parameters(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
    except ValueError:
        return {}
