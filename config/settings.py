"""Every setting of the server, with its default, unit and bounds.

This module is the reference: `vitrina serve` accepts exactly these keys, from a TOML file,
`VITRINA_SECTION__KEY` and `--set section.key=value`. Reading them is `config.load`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

EVERYWHERE = ("0.0.0.0/0", "::/0")


class Section(BaseModel):
    """A configuration section: unknown keys are errors, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class HttpSettings(Section):
    """Where viewers, producers and monitoring connect."""

    host: str = "0.0.0.0"  # noqa: S104  # a server's default; `demo` binds to loopback
    """Address to listen on: `::` is IPv6 alone, `*` IPv4 and IPv6; `demo` uses loopback."""
    port: int = Field(8080, ge=0, le=65535)
    """0 picks a free port and logs it."""
    public_url: str | None = None
    """Base URL as viewers see it, when a proxy stands in front."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins that may read media, cues and state; the producer API is never cross-origin."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks (CIDR) of proxies whose `X-Forwarded-For` says who publishes by WHIP
    and watches by WHEP: for allow-lists, the authorisation hook and limits per address."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _checked_networks(value)


class RtmpSettings(Section):
    """The RTMP listener."""

    enabled: bool = True
    """False: no RTMP listener."""
    host: str = "0.0.0.0"  # noqa: S104
    """Address to listen on: `::` is IPv6 alone, `*` IPv4 and IPv6; `demo` uses loopback."""
    port: int = Field(1935, ge=0, le=65535)
    """0 picks a free port and logs it."""
    tls_port: int = Field(1936, ge=0, le=65535)
    """RTMPS, where a certificate is given; 0 picks a free port and logs it."""
    tls_certificate: Path | None = None
    """Certificate chain (PEM); read again when the file changes."""
    tls_key: Path | None = None
    """Its private key (PEM, without a pass phrase)."""
    handshake_timeout_s: float = Field(5.0, gt=0, le=60)
    """From the first byte to the end of the handshake."""
    idle_timeout_s: float = Field(20.0, gt=0, le=600)
    """A connection that sends nothing for this long is closed."""
    ping_interval_s: float = Field(10.0, gt=0, le=300)
    """Between pings to an encoder."""
    max_message_bytes: int = Field(16 * 2**20, ge=65536, le=64 * 2**20)
    """Longest RTMP message, so the largest key frame."""
    max_partial_bytes: int = Field(24 * 2**20, ge=65536)
    """Sum of unfinished messages of one connection."""
    max_chunk_streams: int = Field(64, ge=8, le=65536)
    """Chunk streams that one connection may use."""
    max_connections: int = Field(256, ge=1)
    """Encoders at once. When full, an address with several idle ones loses its oldest."""
    max_connections_per_address: int = Field(64, ge=1)
    """Encoders at once from one address."""
    allow: tuple[str, ...] = EVERYWHERE
    """Addresses and networks (CIDR) that may connect; others are cut before a byte is read."""
    login_apps: tuple[str, ...] = ("login",)
    """First parts of the path, as in `rtmp://USER:PASSWORD@HOST/login/STREAM`, where encoders log
    in by user and password (authmod=adobe) once a stream has them; elsewhere a key is enough."""

    @field_validator("allow")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _checked_networks(value)

    @model_validator(mode="after")
    def _certificate_with_key(self) -> RtmpSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are given together or not at all")
        return self


class IceServerSettings(Section):
    """A STUN or TURN server that peers are told of."""

    url: str = Field(
        pattern=r"^(stuns?|turns?):[A-Za-z0-9.\-\[\]:]+(\?transport=(udp|tcp))?$", max_length=300
    )
    """`stun:HOST:PORT` or `turn:HOST:PORT?transport=udp`; OBS reads no `turns:`."""
    username: str | None = Field(None, pattern=r"^[ !#-\[\]-~]{1,256}$")
    """Of a TURN server. Every publisher and viewer gets to see it."""
    credential: SecretStr | None = None
    """Password to it; every publisher and viewer gets to see it, too."""

    @field_validator("credential")
    @classmethod
    def _quotable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[ !#-\[\]-~]{1,512}", value.get_secret_value()):
            raise ValueError("must be ASCII without quotes and backslashes: it goes into a header")
        return value

    @model_validator(mode="after")
    def _turn_with_login(self) -> IceServerSettings:
        given = (self.username is not None, self.credential is not None)
        if given != (self.url.startswith("turn"),) * 2:
            raise ValueError("turn: has a username and a credential, stun: has neither")
        return self


class WhipSettings(Section):
    """WebRTC: publishers (WHIP) and viewers (WHEP); what is only of viewers begins with `whep_`."""

    enabled: bool = True
    """False: nobody publishes by WHIP."""
    whep_enabled: bool = True
    """False: nobody watches by WHEP."""
    ports: str = Field("20000-20999", pattern=r"^\d{1,5}(-\d{1,5})?$")
    """UDP ports, `first-last`, one for each session; let them through the firewall. The default is
    below those that Linux gives to clients. `0`: any free one. Viewers leave a quarter of them to
    publishers, at most `max_sessions`."""
    addresses: tuple[str, ...] = ()
    """IP addresses that peers are told, the best one first: the public one behind NAT and in
    containers. Empty: those of this machine."""
    ice_servers: tuple[IceServerSettings, ...] = ()
    """Told to publishers and viewers for their side; the server itself uses none."""
    max_sessions: int = Field(64, ge=1, le=10000)
    """WHIP sessions at once."""
    max_sessions_per_address: int = Field(16, ge=1)
    """WHIP sessions at once from one address."""
    max_sessions_per_key: int = Field(4, ge=2)
    """WHIP sessions at once with one key: the newest is on air, those before it are leaving."""
    wrong_keys_per_minute: int = Field(1200, ge=1, le=1_000_000)
    """WHIP offers whose key is refused, from one address, a sixth of them at once; then 429 to all
    whose key has not been let in before."""
    max_layers: int = Field(4, ge=1, le=8)
    """Simulcast layers of a publisher."""
    media_timeout_s: float = Field(10.0, gt=0, le=120)
    """A publisher that has sent no media for so long is let go."""
    whep_max_viewers: int = Field(200, ge=1, le=10000)
    """WHEP sessions at once, over all streams."""
    whep_max_viewers_per_address: int = Field(50, ge=1)
    """WHEP sessions at once from one address."""
    whep_offers_per_minute: int = Field(600, ge=1, le=1_000_000)
    """WHEP offers from one address, a sixth of them at once; then 429. Behind a proxy that is not
    in `http.trusted_proxies` all viewers share one."""

    @property
    def port_range(self) -> tuple[int, int]:
        """First and last UDP port; (0, 0) for any."""
        first, _, last = self.ports.partition("-")
        return int(first), int(last or first)

    @field_validator("ports")
    @classmethod
    def _range(cls, value: str) -> str:
        first, _, last = value.partition("-")
        low, high = int(first), int(last or first)
        if not (low == high == 0 or 1 <= low <= high <= 65535):
            raise ValueError("must be first-last, between 1 and 65535, or 0 for any free port")
        return value

    @field_validator("addresses")
    @classmethod
    def _tellable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                address = ip_address(text)
            except ValueError:
                raise ValueError(f"{text!r} is no IP address: peers are told numbers") from None
            if address.is_unspecified or address.is_multicast:
                raise ValueError(f"{text} is no address that a peer could send to")
        return value


class HlsSettings(Section):
    """Segmenting and playlists (draft-pantos-hls-rfc8216bis)."""

    segment_ms: int = Field(2000, ge=1000, le=10000)
    """Segment length and IDR grid; TARGETDURATION is this, rounded to seconds."""
    part_target_ms: int = Field(340, ge=100, le=2000)
    """PART-TARGET: 10 frames at 30 fps and 15 AAC frames fit, with 1 ms of RTMP jitter."""
    part_hold_back: float = Field(3.0, ge=2.0, le=10.0)
    """PART-HOLD-BACK as a multiple of PART-TARGET; the draft recommends 3."""
    window_segments: int = Field(12, ge=6, le=10800)
    """Segments listed in a live playlist."""
    block_timeout_s: float = Field(6.0, gt=0, le=9)
    """Longest hold of a blocking request; then 503."""


class RungSettings(Section):
    """One re-encoded rung of the ladder."""

    height: int = Field(ge=144, le=2160)
    """Lines of a landscape picture; the short side of a portrait one."""
    bitrate_kbps: int = Field(ge=100, le=50000)
    """Average and peak of the video, thousands of bits a second."""


class LadderSettings(Section):
    """What is offered of a stream, and how it is encoded."""

    enabled: bool = True
    """False: only the source rung, no worker unless the audio needs one."""
    passthrough: bool = True
    """Offer the encoder's own video as `source`."""
    multitrack: bool = True
    """Offer further video tracks of an encoder as rungs, in place of re-encoded ones."""
    rungs: tuple[RungSettings, ...] = (
        RungSettings(height=720, bitrate_kbps=2800),
        RungSettings(height=480, bitrate_kbps=1200),
        RungSettings(height=360, bitrate_kbps=700),
    )
    """Re-encoded rungs, largest first; none is ever above the source."""
    audio_kbps: int = Field(128, ge=32, le=512)
    """Of audio that is encoded again; AAC is passed through."""
    encoder: str = "libx264"
    """FFmpeg encoder name, e.g. `h264_nvenc`."""
    preset: str = "veryfast"
    """x264 preset up to 720 lines."""
    preset_source: str = "superfast"
    """Preset of a re-encoded picture above 720 lines."""
    max_frame_rate: int = Field(60, ge=10, le=120)
    """Frame rate of a rung; a faster source is thinned out."""
    nice: int = Field(5, ge=0, le=19)
    """Priority of the workers below the server, as in nice(1)."""


class SlateSettings(Section):
    """What viewers see while no encoder is there."""

    enabled: bool = True
    """False: playlists go on with gaps instead."""
    image: Path | None = None
    """Image, or video of up to 60 s, in place of the last picture; a local file."""
    text: str | dict[str, str] = {
        "en": "We will be right back",
        "de": "Gleich geht es weiter",
        "fr": "Nous revenons tout de suite",
        "es": "Volvemos enseguida",
        "it": "Torniamo subito",
        "pt": "Voltamos já",
        "nl": "We zijn zo terug",
        "pl": "Zaraz wracamy",
        "tr": "Birazdan geri döneceğiz",
    }
    """Drawn over the last picture: one text, or one for each language; empty draws none."""
    font: Path | None = None
    """Font file (TTF, OTF) for scripts that neither the built-in font nor the system's have."""

    def words(self, language: str) -> str:
        """Return the text for a BCP 47 tag: `de` serves `de-AT`; else English, else the first."""
        if isinstance(self.text, str):
            return self.text
        for tag in (language, language.partition("-")[0], "en"):
            if tag in self.text:
                return self.text[tag]
        return next(iter(self.text.values()), "")


class StreamLimits(Section):
    """What one stream's encoder may cost; what is unset is as in `limits`."""

    max_width: int | None = Field(None, ge=16)
    """Widest picture."""
    max_height: int | None = Field(None, ge=16)
    """Tallest picture."""
    max_pixels: int | None = Field(None, ge=256)
    """Largest picture, width times height."""
    max_frame_rate: int | None = Field(None, ge=1)
    """Pictures a second."""
    max_bitrate_kbps: int | None = Field(None, ge=16)
    """Thousands of bits a second, all tracks together."""
    max_tracks: int | None = Field(None, ge=1)
    """Tracks of pictures and sound."""


TARGET_CODECS = Literal["hevc", "av1", "vp9", "opus", "mp3", "flac", "ac3", "eac3"]


class TargetSettings(Section):
    """A place that a stream is pushed on to; more come by API."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    """Names it in the API and in metrics."""
    url: str = Field(pattern=r"^rtmps?://[^\s/@?#]+/[^\s?#]+$", max_length=1024)
    """Server of the target, `rtmp://HOST/APP` or `rtmps://HOST/APP`."""
    key: SecretStr | None = None
    """Stream key there; without one the last part of `url` is the key."""
    enabled: bool = True
    """False: it is kept, and nothing is pushed."""
    codecs: tuple[TARGET_CODECS, ...] = ()
    """What the target takes beside H.264 and AAC, where it does not say so itself."""
    source: Literal["source"] = "source"
    """What is pushed: the encoder's own media."""

    @model_validator(mode="after")
    def _key_somewhere(self) -> TargetSettings:
        path = self.url.partition("://")[2].partition("/")[2].strip("/")
        if self.key is None and "/" not in path:
            raise ValueError("key is needed, here or as the last part of url")
        return self


Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=35)]


class StreamSettings(Section):
    """A stream that exists by configuration; more come by API or `vitrina streams add`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Playback name; never the key."""
    key: SecretStr | None = None
    """Stream key, ASCII without blanks, `?` and `%`; without one a key is in the database or does
    not exist."""
    backup_key: SecretStr | None = None
    """Key of a second encoder that stands by for the first."""
    language: Language = "en"
    """Language of the show (BCP 47), for the text of its slate."""
    audio_languages: tuple[Language, ...] = ()
    """Languages (BCP 47) of the encoder's audio tracks, in order, where it does not tell them."""
    slate_image: Path | None = None
    """As `slate.image`, for this stream only."""
    grace_s: float | None = Field(None, ge=0, le=600)
    """As `streams.grace_s`, for this stream only."""
    user: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Name for a login instead of a key (`rtmp.login_apps`)."""
    password: SecretStr | None = None
    """Password of that login."""
    allow: tuple[str, ...] = EVERYWHERE
    """Addresses and networks (CIDR) that may publish this stream."""
    limits: StreamLimits | None = None
    """Bounds below those of `limits`."""
    targets: tuple[TargetSettings, ...] = ()
    """Where it is pushed on to."""

    @field_validator("allow")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _checked_networks(value)

    @field_validator("targets")
    @classmethod
    def _targets_differ(cls, value: tuple[TargetSettings, ...]) -> tuple[TargetSettings, ...]:
        if len({target.name for target in value}) != len(value):
            raise ValueError("two targets have the same name")
        return value

    @field_validator("key", "backup_key")
    @classmethod
    def _publishable(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value() if value is not None else "k"
        if re.fullmatch(r"[!-$&->@-~]{1,512}", key) is None:
            raise ValueError(
                "a stream key has 1 to 512 printable ASCII characters other than ? and %: encoders "
                "put it into an address, where these mean something else"
            )
        return value

    @model_validator(mode="after")
    def _user_with_password(self) -> StreamSettings:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password are given together or not at all")
        return self


class StreamsSettings(Section):
    """Streams and their life cycle."""

    grace_s: float = Field(30.0, ge=0, le=600)
    """How long a stream waits for its encoder before it ends."""
    open_ahead_s: float = Field(14_400.0, ge=10, le=86_400)
    """A stream opened ahead of its show ends when no encoder has come by then."""
    standby_return_s: Annotated[float, Field(ge=0, le=3600)] | Literal["manual"] = 10.0
    """The show returns to a primary encoder that was healthy for so long; `manual`: by API only."""
    list: tuple[StreamSettings, ...] = ()
    """Streams that always exist."""

    def of(self, name: str) -> StreamSettings | None:
        """Return what is configured for one stream."""
        return next((stream for stream in self.list if stream.name == name), None)

    @model_validator(mode="after")
    def _keys_differ(self) -> StreamsSettings:
        owners: dict[str, str] = {}
        for stream in self.list:
            for key, secret in (("key", stream.key), ("backup_key", stream.backup_key)):
                if secret is None:
                    continue
                here = f"{key} of stream {stream.name}"
                other = owners.setdefault(secret.get_secret_value(), here)
                if other != here:
                    raise ValueError(f"{here} is the same as {other}: each needs a key of its own")
        return self

    @model_validator(mode="after")
    def _users_differ(self) -> StreamsSettings:
        users = [stream.user for stream in self.list if stream.user is not None]
        if len(users) != len(set(users)):
            raise ValueError("two streams have the same user: give each its own")
        return self


class RestreamSettings(Section):
    """Pushing streams on to other RTMP servers."""

    allow_hosts: tuple[str, ...] = ()
    """Host names, addresses and networks that may be pushed to though they are not public."""
    max_targets: int = Field(8, ge=0, le=32)
    """Targets of one stream."""
    connect_timeout_s: float = Field(5.0, gt=0, le=60)
    """For the name, and for each address, TLS included."""
    handshake_timeout_s: float = Field(10.0, gt=0, le=60)
    """From the connection until the target takes the stream."""
    stall_timeout_s: float = Field(10.0, gt=0, le=300)
    """A target that reads nothing for this long is connected to again."""
    queue_s: float = Field(5.0, ge=0.5, le=60)
    """Longest that media waits for a target; then it is dropped up to a key frame."""
    queue_bytes: int = Field(8 * 2**20, ge=2**20, le=256 * 2**20)
    """Most that waits for one target."""
    retry_first_s: float = Field(1.0, gt=0, le=60)
    """Upper bound of the first wait after a failure; doubles with each."""
    retry_max_s: float = Field(60.0, gt=0, le=3600)
    """Upper bound of every wait after a failure."""
    refused_retry_s: float = Field(300.0, gt=0, le=86400)
    """Upper bound of the wait after a target refused the key."""
    tls_certificates: Path | None = None
    """Authorities (PEM) to trust for rtmps beside the system's."""


class AuthSettings(Section):
    """API tokens beside those in the database."""

    admin_token: SecretStr | None = None
    """A token that may do everything."""
    producer_token: SecretStr | None = None
    """A token that may fire cues on every stream."""
    publish_hook_url: str | None = Field(None, pattern=r"^https?://[^/?#\s]+\S*$")
    """Asked by a signed POST before anybody publishes; anything but a yes in time is a no."""
    publish_hook_secret: SecretStr | None = Field(None, min_length=16)
    """Key of the signature (HMAC-SHA256), at least 16 characters."""
    publish_hook_timeout_s: float = Field(3.0, gt=0, le=30)
    """Deadline of the answer, connecting included."""

    @model_validator(mode="after")
    def _hook_with_secret(self) -> AuthSettings:
        if (self.publish_hook_url is None) != (self.publish_hook_secret is None):
            raise ValueError(
                "publish_hook_url and publish_hook_secret are given together or not at all"
            )
        return self


class StorageSettings(Section):
    """Files of the server."""

    data_dir: Path | None = None
    """Default: `$VITRINA_DATA_DIR`, else `./data`."""


class DatabaseSettings(Section):
    """Cue log, streams, tokens and catalogue."""

    url: SecretStr | None = None
    """SQLAlchemy URL; default: SQLite at `DATA_DIR/vitrina.sqlite3`."""


class CuesSettings(Section):
    """Limits of the cue log."""

    max_live: int = Field(20, ge=1, le=200)
    """Live and scheduled cues of a stream at once."""
    writes_per_second: float = Field(5.0, gt=0)
    """Sustained cue writes per stream; a burst of four times this is allowed."""
    max_ahead_s: float = Field(86400.0, gt=0)
    """How far ahead a cue may be scheduled."""


class LogSettings(Section):
    """Logging to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: lines for people on a terminal, else JSON."""


class TelemetrySettings(Section):
    """The metrics endpoint."""

    enabled: bool = True
    """False: no `/metrics`."""


class LimitsSettings(Section):
    """Bounds on what an encoder or a viewer may cost."""

    max_width: int = Field(4096, ge=320, le=16384)
    """Widest picture an encoder may send."""
    max_height: int = Field(4096, ge=240, le=16384)
    """Tallest picture an encoder may send."""
    max_pixels: int = Field(4096 * 2304, ge=76800)
    """Largest picture an encoder may send, width times height."""
    max_frame_rate: int = Field(120, ge=10)
    """Pictures a second an encoder may send."""
    max_bitrate_kbps: int = Field(50000, ge=100)
    """Thousands of bits a second an encoder may send, all its tracks together."""
    max_tracks: int = Field(12, ge=1, le=64)
    """Tracks of pictures and sound an encoder may send."""
    excess_s: float = Field(5.0, ge=1, le=60)
    """Seconds' worth of bit rate and frame rate that may come in advance: a link that recovers."""
    on_excess: Literal["close", "finding"] = "close"
    """Beyond that: close the connection, or only report a finding."""
    worker_memory_mb: int = Field(1536, ge=256, le=65536)
    """Writable memory of one transcode worker, MiB (RLIMIT_DATA); one that needs more ends."""
    max_streams: int = Field(64, ge=1)
    """Streams that may exist."""
    max_http_connections: int = Field(10000, ge=10)
    """HTTP connections at once."""
    max_http_connections_per_address: int = Field(2000, ge=4)
    """HTTP connections at once from one address; behind a proxy all viewers share one."""
    max_body_bytes: int = Field(256 * 1024, ge=1024)
    """Longest body of an API request."""
    max_waiters: int = Field(20000, ge=10)
    """Blocking requests held at once, over all streams."""
    max_event_streams: int = Field(5000, ge=1)
    """Server-sent event connections at once."""


class Settings(Section):
    """The whole configuration."""

    http: HttpSettings = HttpSettings()
    rtmp: RtmpSettings = RtmpSettings()
    whip: WhipSettings = WhipSettings()
    hls: HlsSettings = HlsSettings()
    ladder: LadderSettings = LadderSettings()
    slate: SlateSettings = SlateSettings()
    streams: StreamsSettings = StreamsSettings()
    restream: RestreamSettings = RestreamSettings()
    auth: AuthSettings = AuthSettings()
    storage: StorageSettings = StorageSettings()
    database: DatabaseSettings = DatabaseSettings()
    cues: CuesSettings = CuesSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    limits: LimitsSettings = LimitsSettings()

    @model_validator(mode="after")
    def _streams_within_limits(self) -> Settings:
        for stream in self.streams.list:
            own = stream.limits.model_dump(exclude_none=True) if stream.limits else {}
            for name, value in own.items():
                if value > getattr(self.limits, name):
                    raise ValueError(
                        f"streams.list: {stream.name} has {name} above limits.{name}, which holds "
                        "for all streams"
                    )
        return self


def _checked_networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(
                f"{value!r} is neither an address nor a network such as 192.0.2.0/24"
            ) from None
    return values
