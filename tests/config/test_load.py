from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.load import ConfigError, data_dir, load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def test_sources_override_each_other_in_order(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text("[http]\nport = 1\nhost = 'a'\npublic_url = 'http://a'\n")
    settings = load_settings(
        file=file,
        environ={"VITRINA_HTTP__HOST": "b", "VITRINA_HTTP__PUBLIC_URL": "http://b"},
        overrides=["http.public_url=http://c?x=1"],
    )
    assert settings.http.port == 1
    assert settings.http.host == "b"
    assert settings.http.public_url == "http://c?x=1"


def test_given_defaults_are_weakest(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text("[http]\nport = 1\n")
    settings = load_settings(defaults={"http": {"host": "127.0.0.1", "port": 2}}, file=file)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 1)


def test_every_problem_is_listed_with_key_and_origin(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text("[http]\nprot = 1\n[ladder]\nrungs = [{height = 3, bitrate_kbps = 900}]\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(
            file=file,
            environ={"VITRINA_RTMP__PORT": "99999", "VITRINA_NOSUCH__KEY": "1"},
            overrides=["hls", "hls.segment_ms=soon", "a.b.c=1", "ladder.rungs=oops"],
        )
    lines = {problem.key: str(problem) for problem in caught.value.problems}
    assert lines["http.prot"] == (f"http.prot: is not a setting; did you mean port? ({file})")
    assert lines["rtmp.port"] == (
        "rtmp.port: input should be less than or equal to 65535 (VITRINA_RTMP__PORT)"
    )
    assert "ladder.rungs.0.height" in lines
    assert lines["ladder.rungs"].endswith("(--set)")
    assert "nosuch" in lines
    assert lines["hls"] == "hls: needs a value: --set section.key=value (--set)"
    assert "hls.segment_ms" in lines
    assert lines["a.b.c"] == "a.b.c: must have the form section.key (--set)"


def test_problems_never_show_a_value() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(
            environ={"VITRINA_AUTH__ADMIN_TOKNE": "s3cret"},
            overrides=['streams.list=[{name = "UPPER", key = "s3cret"}]', "http.port=s3cret"],
        )
    assert len(caught.value.problems) == 3
    assert "s3cret" not in str(caught.value)


def test_lists_from_text() -> None:
    settings = load_settings(
        environ={
            "VITRINA_HTTP__CORS_ORIGINS": "https://a.example, https://b.example",
            "VITRINA_LADDER__RUNGS": "[{height = 360, bitrate_kbps = 700}]",
        }
    )
    assert settings.http.cors_origins == ("https://a.example", "https://b.example")
    assert [rung.height for rung in settings.ladder.rungs] == [360]
    assert load_settings(overrides=["ladder.rungs=[]"]).ladder.rungs == ()


def test_empty_text_unsets_an_optional_value(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text("[http]\npublic_url = 'http://a'\n")
    settings = load_settings(file=file, environ={"VITRINA_HTTP__PUBLIC_URL": ""})
    assert settings.http.public_url is None


def test_data_dir_precedence() -> None:
    assert str(data_dir(load_settings())) == "data"
    plain = {"VITRINA_DATA_DIR": "/x"}
    assert str(load_settings(environ=plain).storage.data_dir) == "/x"
    both = plain | {"VITRINA_STORAGE__DATA_DIR": "/y"}
    assert str(load_settings(environ=both).storage.data_dir) == "/y"
    set_too = load_settings(environ=both, overrides=["storage.data_dir=/z"])
    assert str(set_too.storage.data_dir) == "/z"


def test_foreign_variables_are_left_alone() -> None:
    load_settings(environ={"VITRINA_PORT": "tcp://10.0.0.1:80", "VITRINA_SERVICE_HOST": "10.0.0.1"})


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[http\n", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
        (b"port = 1\n", "port: must stand in a section, as in [http]"),
    ],
)
def test_broken_file(tmp_path: Path, content: bytes, part: str) -> None:
    file = tmp_path / "v.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"v\.toml") as caught:
        load_settings(file=file)
    assert part in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration file: No such file"):
        load_settings(file=tmp_path / "none.toml")


@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_override_is_taken_or_refused_by_type(overrides: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        load_settings(overrides=overrides)


def test_each_encoder_needs_a_key_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text(
        '[[streams.list]]\nname = "a"\nkey = "k1"\n'
        '[[streams.list]]\nname = "b"\nkey = "k2"\nbackup_key = "k1"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file)
    assert "backup_key of stream b is the same as key of stream a" in str(caught.value)
    assert "k1" not in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "where", "text"),
    [
        ('{name="a", url="rtmp://h/app"}', "targets.0", "key is needed, here or as the last part"),
        ('{name="a", url="http://h/s3cret"}', "targets.0.url", "pattern"),
        ('{name="A", url="rtmp://h/app/s3cret"}', "targets.0.name", "pattern"),
        (
            '{name="a", url="rtmp://h/app/s3cret"}, {name="a", url="rtmp://h/app/s3cret"}',
            "targets",
            "two targets have the same name",
        ),
    ],
)
def test_targets_are_checked_without_showing_their_keys(
    tmp_path: Path, targets: str, where: str, text: str
) -> None:
    file = tmp_path / "v.toml"
    file.write_text(f'[[streams.list]]\nname = "a"\ntargets = [{targets}]')
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file, environ={}, overrides=[])
    said = str(caught.value)
    assert where in said
    assert text in said
    assert "s3cret" not in said


def test_the_key_of_a_target_may_stand_in_its_url(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text(
        '[[streams.list]]\nname = "a"\ntargets = [{name = "t", url = "rtmps://h/app/key"}]'
    )
    settings = load_settings(file=file, environ={}, overrides=[])
    assert settings.streams.list[0].targets[0].key is None
