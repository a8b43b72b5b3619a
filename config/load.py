"""Reads the configuration: TOML file, then `VITRINA_SECTION__KEY`, then `--set section.key=value`.

Later sources win key by key. Every problem is collected before anything is refused, so that one
start shows all of them. Messages name keys and where they came from, never a value: a value may
be a stream key or a token.
"""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from config.settings import Settings, StorageSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

PREFIX = "VITRINA_"
DATA_DIR_VARIABLE = "VITRINA_DATA_DIR"
DEFAULT_DATA_DIR = Path("data")

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, with the key it concerns."""

    key: str
    """Dotted, e.g. `http.port` or `ladder.rungs.0.height`; empty where no key is concerned."""
    detail: str
    origin: str
    """Where the value came from: a file name, a variable or `--set`."""

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.key}: {self.detail}{where}" if self.key else f"{self.detail}{where}"


class ConfigError(Exception):
    """The configuration was refused; `problems` has all reasons, at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Misconfigured(ValueError):
    """A setting names something that cannot be used; the text says which, and why."""


class _Reader:
    """Collects values and problems from the sources, in rising precedence."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.origins: dict[tuple[str, ...], str] = {}
        self.problems: list[Problem] = []

    def add_defaults(self, defaults: Mapping[str, Mapping[str, Any]]) -> None:
        for section, values in defaults.items():
            for name, value in values.items():
                self._put((section, name), value, "built in")

    def add_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                tree = tomllib.load(file)
        except OSError as err:
            self._problem("", f"cannot read the configuration file: {err.strerror}", str(path))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            self._problem("", f"is not valid TOML: {err}", str(path))
        else:
            for section, values in tree.items():
                if not isinstance(values, dict):
                    self._problem(section, "must stand in a section, as in [http]", str(path))
                    continue
                for name, value in values.items():
                    self._put((section, name), value, str(path))

    def add_environment(self, environ: Mapping[str, str]) -> None:
        if environ.get(DATA_DIR_VARIABLE):
            self._put(("storage", "data_dir"), environ[DATA_DIR_VARIABLE], DATA_DIR_VARIABLE)
        for name in sorted(environ):
            # Single underscores belong to others: Kubernetes injects VITRINA_PORT and its kin.
            if name.startswith(PREFIX) and "__" in name:
                keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
                self._put_text(keys, environ[name], name)

    def add_overrides(self, overrides: Sequence[str]) -> None:
        for override in overrides:
            name, equals, text = override.partition("=")
            if not equals:
                self._problem(name, "needs a value: --set section.key=value", "--set")
                continue
            self._put_text(tuple(name.strip().split(".")), text, "--set")

    def _put_text(self, keys: tuple[str, ...], text: str, origin: str) -> None:
        if len(keys) != 2 or not all(keys):  # section and key
            self._problem(".".join(keys), "must have the form section.key", origin)
            return
        try:
            value = _from_text(text, _annotation(keys))
        except ValueError as err:
            self._problem(".".join(keys), str(err), origin)
        else:
            self._put(keys, value, origin)

    def _put(self, keys: tuple[str, ...], value: object, origin: str) -> None:
        section, name = keys
        self.tree.setdefault(section, {})[name] = value
        self.origins[keys] = origin

    def _problem(self, key: str, detail: str, origin: str) -> None:
        self.problems.append(Problem(key=key, detail=detail, origin=origin))

    def settings(self) -> Settings:
        """Validate what was collected; raise `ConfigError` with every problem of every source."""
        settings: Settings | None = None
        try:
            settings = Settings.model_validate(self.tree)
        except ValidationError as err:
            for detail in err.errors(include_url=False, include_context=False, include_input=False):
                loc = tuple(str(part) for part in detail["loc"])
                self._problem(".".join(loc), _sentence(detail), self._origin(loc))
        if settings is None or self.problems:
            raise ConfigError(self.problems)
        return settings

    def _origin(self, loc: tuple[str, ...]) -> str:
        if loc[:2] in self.origins:
            return self.origins[loc[:2]]
        for keys, origin in self.origins.items():
            if keys[0] == loc[0]:
                return origin
        return ""


def load_settings(
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """Read and validate the configuration; `storage.data_dir` is always set in the answer.

    `defaults`: section to key to value, weaker than every other source (what `demo` presets).
    `file`: TOML, read as UTF-8. `environ`: usually `os.environ`; None reads no variables.
    `overrides`: `section.key=value` texts; lists are written as TOML (`["a", "b"]`) or, for
    lists of texts, separated by commas.
    Raises `ConfigError` with all problems.
    """
    reader = _Reader()
    reader.add_defaults(defaults or {})
    if file is not None:
        reader.add_file(file)
    reader.add_environment(environ or {})
    reader.add_overrides(overrides)
    settings = reader.settings()
    return with_data_dir(settings, data_dir(settings))


def data_dir(settings: Settings) -> Path:
    """Return the folder of database, recordings and secrets; it need not exist yet."""
    return settings.storage.data_dir or DEFAULT_DATA_DIR


def with_data_dir(settings: Settings, path: Path) -> Settings:
    """Return the same settings with another data folder."""
    return settings.model_copy(update={"storage": StorageSettings(data_dir=path)})


def _annotation(keys: tuple[str, ...]) -> object:
    """Type of a key of `Settings`; None where there is no such key."""
    model: type[BaseModel] = Settings
    annotation: object = None
    for key in keys:
        field = model.model_fields.get(key)
        if field is None:
            return None
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return annotation


def _from_text(text: str, annotation: object) -> object:
    """Turn the text of a variable or of `--set` into what the model validates."""
    arguments = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) and type(None) in arguments and text == "":
        return None
    if typing.get_origin(annotation) is tuple:
        return _list_from_text(text, texts=arguments[0] is str)
    return text  # pydantic reads numbers and truth values from their usual spellings


def _list_from_text(text: str, *, texts: bool) -> object:
    if texts and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError("is a list: write it as TOML, e.g. [{height = 720, …}]") from None


def _sentence(detail: ErrorDetails) -> str:
    """Say what is wrong in words that a person can act on."""
    loc = tuple(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return detail["msg"][:1].lower() + detail["msg"][1:]
    known = _known_keys(loc[:-1])
    near = difflib.get_close_matches(loc[-1], known, n=1)
    what = "is not a section" if len(loc) == 1 else "is not a setting"
    return f"{what}; did you mean {near[0]}?" if near else f"{what}; known: {', '.join(known)}"


def _known_keys(loc: tuple[str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for key in loc:
        field = model.model_fields.get(key)
        annotation = field.annotation if field is not None else None
        if typing.get_origin(annotation) is tuple:
            annotation = typing.get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(model.model_fields)
