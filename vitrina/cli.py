"""The `vitrina` command. Exit codes: 0 fine, 1 failed, 2 bad arguments or configuration."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import asynccontextmanager
from functools import partial
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import structlog
import typer

from config.load import ConfigError, load_settings
from vitrina import __version__, logs, runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from config.settings import Settings
    from storage.database import Database
    from vitrina.app import Bound

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Live-shopping media server: encoder push in, LL-HLS out, cues on the very frame.",
)
streams = typer.Typer(no_args_is_help=True, help="Manage streams and their keys.")
tokens = typer.Typer(no_args_is_help=True, help="Manage API tokens.")
app.add_typer(streams, name="streams")
app.add_typer(tokens, name="tokens")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file.", show_default=False)
]
Override = Annotated[
    list[str] | None,
    typer.Option("--set", help="section.key=value, stronger than file and environment."),
]
Name = Annotated[str, typer.Argument(help="Playback name: a-z, 0-9, '-' and '_'.")]


def main() -> None:
    """Entry point of the `vitrina` script."""
    app()


@app.callback(invoke_without_command=True)
def _version(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        typer.echo(f"vitrina {__version__}")
        raise typer.Exit


@app.command()
def serve(config: Config = None, override: Override = None) -> None:
    """Run the server until SIGTERM or SIGINT."""
    settings = _settings(config, override)
    from vitrina.app import serve as run_server

    def ready(bound: Bound) -> None:
        structlog.get_logger(__name__).info(
            "serving", http_port=bound.http_port, rtmp_port=bound.rtmp_port
        )

    raise typer.Exit(runner.run(lambda: run_server(settings, ready=ready)))


@app.command()
def demo(
    config: Config = None,
    override: Override = None,
    *,
    publisher: Annotated[
        bool, typer.Option("--publisher/--no-publisher", help="Push the built-in picture.")
    ] = True,
) -> None:
    """Serve on loopback with a stream, a catalogue and a built-in publisher."""
    from vitrina import demo as demonstration

    settings = _settings(config, override, defaults=demonstration.DEFAULTS)
    from vitrina.app import serve as run_server
    from vitrina.telemetry import Telemetry

    telemetry = Telemetry()

    async def run_demo() -> None:
        await demonstration.demo(
            partial(run_server, settings, telemetry=telemetry),
            meter=telemetry,
            say=typer.echo,
            host=settings.http.host,
            publisher=publisher,
        )

    raise typer.Exit(runner.run(run_demo))


@app.command()
def doctor(config: Config = None, override: Override = None) -> None:
    """Say what this machine lacks, with the command that mends it."""
    from vitrina import doctor as checks

    settings = _settings(config, override)
    findings = checks.examine(settings)
    for finding in findings:
        typer.echo(str(finding))
    raise typer.Exit(runner.EXIT_FAILED if any(f.serious for f in findings) else 0)


@app.command()
def lint(
    url: Annotated[str, typer.Argument(help="Address of a live playlist.")],
    seconds: Annotated[
        float, typer.Option("--for", min=1, max=3600, help="Seconds to watch.")
    ] = 20.0,
) -> None:
    """Play a live HLS or LL-HLS URL and report every rule of the draft that it breaks."""
    import asyncio

    from media.hls.lint import Severity
    from vitrina import lint as checker

    if not url.startswith(("http://", "https://")):
        _refuse(f"{url!r} is no http:// or https:// address")
    gc.enable()
    try:
        linter = asyncio.run(checker.lint(url, seconds))
    except checker.Unplayable as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(runner.EXIT_FAILED) from None
    errors = 0
    for finding in linter.findings:
        errors += finding.severity is Severity.ERROR
        times = linter.times(finding)
        again = f" ({times} times)" if times > 1 else ""
        typer.echo(f"{finding.severity.value}  [{finding.clause}] {finding.sentence}{again}")
        typer.echo(f"       {finding.url}")
    typer.echo(f"{errors} errors, {len(linter.findings) - errors} warnings in {seconds:g} s")
    raise typer.Exit(runner.EXIT_FAILED if errors else runner.EXIT_FINE)


@streams.command("add")
def streams_add(
    name: Name,
    config: Config = None,
    override: Override = None,
    *,
    backup: Annotated[
        bool, typer.Option("--backup", help="Make a backup key too; it is the second line.")
    ] = False,
) -> None:
    """Make a stream; its key is printed once."""
    from storage.streams import StreamStore

    async def work(database: Database) -> None:
        store = StreamStore(database)
        typer.echo(await store.add(name))
        if backup:
            typer.echo(await store.rotate(name, backup=True))

    _with_database(_settings(config, override), work)


@streams.command("list")
def streams_list(config: Config = None, override: Override = None) -> None:
    """List the streams, those of the configuration included."""
    from storage.streams import StreamStore

    settings = _settings(config, override)

    async def work(database: Database) -> None:
        stored = {record.name for record in await StreamStore(database).list()}
        configured = {stream.name for stream in settings.streams.list}
        for name in sorted(stored | configured):
            typer.echo(f"{name}\tconfiguration" if name in configured else name)

    _with_database(settings, work)


@streams.command("rotate-key")
def streams_rotate_key(
    name: Name,
    config: Config = None,
    override: Override = None,
    *,
    backup: Annotated[
        bool, typer.Option("--backup", help="The key of the encoder that stands by.")
    ] = False,
) -> None:
    """Replace a stream's key; the new one is printed once, the old one is void."""
    from storage.streams import StreamStore

    async def work(database: Database) -> None:
        typer.echo(await StreamStore(database).rotate(name, backup=backup))

    _with_database(_settings(config, override), work)


@streams.command("remove")
def streams_remove(name: Name, config: Config = None, override: Override = None) -> None:
    """Remove a stream; its cue log stays."""
    from storage.streams import StreamStore

    async def work(database: Database) -> None:
        await StreamStore(database).remove(name)

    _with_database(_settings(config, override), work)


@tokens.command("add")
def tokens_add(
    role: Annotated[str, typer.Option(help="producer or admin.")],
    stream: Annotated[
        str | None, typer.Option(help="The one stream a producer may touch.", show_default=False)
    ] = None,
    config: Config = None,
    override: Override = None,
) -> None:
    """Make an API token; it is printed once."""
    from storage.tokens import Role, TokenStore

    if role not in {known.value for known in Role}:
        _refuse(f"--role: {role!r} is neither producer nor admin")
    if stream is not None and role == Role.ADMIN.value:
        _refuse("--stream: an admin's token is for every stream")

    async def work(database: Database) -> None:
        typer.echo(await TokenStore(database).add(Role(role), stream=stream))

    _with_database(_settings(config, override), work)


@tokens.command("remove")
def tokens_remove(config: Config = None, override: Override = None) -> None:
    """Withdraw an API token, which is asked for, or read from standard input."""
    from storage.tokens import TokenStore

    settings = _settings(config, override)
    # Not an argument: those of a process are visible to every user of the machine.
    token = (getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()

    async def work(database: Database) -> None:
        await TokenStore(database).remove(token)

    _with_database(settings, work)


def _settings(
    config: Path | None,
    override: list[str] | None,
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Read the configuration and set logging up; exit 2 with every problem."""
    try:
        settings = load_settings(
            defaults=defaults, file=config, environ=os.environ, overrides=override or ()
        )
    except ConfigError as err:
        _refuse(*(str(problem) for problem in err.problems))
    logs.configure(settings.log)
    return settings


def _refuse(*lines: str) -> NoReturn:
    for line in lines:
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(runner.EXIT_USAGE)


def _with_database(
    settings: Settings, work: Callable[[Database], Coroutine[object, object, None]]
) -> None:
    """Run `work` on the migrated database; exit 1 with a sentence where it refuses."""
    from storage.database import DatabaseMisconfigured, DatabaseUnavailable
    from storage.streams import StreamRefused
    from storage.tokens import NoSuchToken

    refusals: list[str] = []

    async def guarded() -> None:
        try:
            async with _database(settings) as database:
                await work(database)
        except (
            DatabaseMisconfigured,
            DatabaseUnavailable,
            NoSuchToken,
            StreamRefused,
            OSError,
        ) as err:
            refusals.append(str(err))

    code = runner.run(guarded)
    for line in refusals:
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(runner.EXIT_FAILED if refusals else code)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    from storage.database import Database
    from storage.migrate import upgrade
    from vitrina.datafile import database_url

    database = Database(database_url(settings))
    try:
        await upgrade(database)
        yield database
    finally:
        await database.dispose()
