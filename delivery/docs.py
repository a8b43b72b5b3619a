"""The reference page: the OpenAPI document as plain HTML, without a script or a foreign host."""

from __future__ import annotations

import json
from html import escape
from typing import Any

DOCS_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
details{border-top:1px solid #8884;padding:.5rem 0}
summary{cursor:pointer}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow:auto;background:#8881;padding:.75rem;border-radius:.5rem}
b{display:inline-block;min-width:4rem}
"""


def render(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI document (as JSON data)."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    sections = "".join(
        f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in sorted(groups.items())
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{_json(schema)}</pre></details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(info["title"])} API</title>'
        f"<style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])}</p>"
        '<p><a href="/openapi.json">openapi.json</a></p>'
        f"{sections}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    if operation.get("security"):
        parts.append("<p><code>Authorization: Bearer TOKEN</code></p>")
    parameters = operation.get("parameters", [])
    if parameters:
        items = "".join(
            f"<li><code>{escape(p['name'])}</code> ({escape(p['in'])}) "
            f"{escape(p.get('description', ''))}</li>"
            for p in parameters
        )
        parts.append(f"<ul>{items}</ul>")
    body = operation.get("requestBody")
    if body:
        parts += [f"<p>Body: {_schema(media)}</p>" for media in body["content"].values()]
    for status, answer in operation["responses"].items():
        shapes = ", ".join(_schema(media) for media in answer.get("content", {}).values())
        parts.append(f"<div><b>{escape(status)}</b>{escape(answer['description'])} {shapes}</div>")
    return (
        f"<details><summary><b>{escape(method.upper())}</b><code>{escape(path)}</code> "
        f"{escape(operation['summary'])}</summary>{''.join(parts)}</details>"
    )


def _schema(media: dict[str, Any]) -> str:
    reference = media.get("schema", {}).get("$ref")
    if reference is None:
        return ""
    name = escape(reference.rsplit("/", 1)[1])
    return f'<a href="#{name}"><code>{name}</code></a>'


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=1, ensure_ascii=False))
