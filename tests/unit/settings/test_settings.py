"""Where settings come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from serval.errors import CannotStart
from serval.settings.reading import load_settings
from serval.settings.reference import SettingDescription, describe
from serval.settings.settings import Settings


def load(
    argv: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    toml: Path | None = None,
    dotenv: Path | None = None,
) -> Settings:
    return load_settings(argv_overrides=argv or {}, environ=environ or {}, config_file=toml, dotenv=dotenv)


def refusal(**sources: Any) -> str:
    with pytest.raises(CannotStart) as caught:
        load(**sources)
    return caught.value.message


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Any]:
    """The same setting from everywhere."""
    toml, dotenv = tmp_path / "serval.toml", tmp_path / ".env"
    toml.write_text("port = 1003\n")
    dotenv.write_text("SERVAL_PORT=1002\n")
    return {"argv": {"port": "1000"}, "environ": {"SERVAL_PORT": "1001"}, "dotenv": dotenv, "toml": toml}


def test_sources_of_settings_have_a_precedence(sources: dict[str, Any]) -> None:
    found = []
    for name in ("argv", "environ", "dotenv", "toml"):
        found.append(load(**sources).port)
        del sources[name]
    assert [*found, load().port] == [1000, 1001, 1002, 1003, 8080]


def test_an_option_that_is_not_set_is_no_source() -> None:
    assert load(argv={"port": None}, environ={"SERVAL_PORT": "1001"}).port == 1001


def test_values_are_converted_to_the_type_of_their_setting(tmp_path: Path) -> None:
    toml = tmp_path / "serval.toml"
    toml.write_text('data_dir = "~/models"\ndrain_seconds = 3\nallow_unconfined_conversion = true\n')
    settings = load(toml=toml, environ={"SERVAL_MAX_ROWS": "7"})
    assert settings.data_dir == Path.home() / "models"
    assert (settings.drain_seconds, settings.allow_unconfined_conversion, settings.max_rows) == (3.0, True, 7)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1048576", 2**20), ("1 MiB", 2**20), ("1.5GiB", 3 * 2**29), ("2 mb", 2_000_000), ("64 KiB", 2**16)],
)
def test_sizes_may_have_units(text: str, count: int) -> None:
    assert load(environ={"SERVAL_CACHE_BYTES": text}).cache_bytes == count


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "trusted_proxies",
            "10.0.0.1, nonsense",
            "`nonsense` is neither an IP address nor a network such as `10.0.0.0/8`",
        ),
        ("root_path", "serval/", "`serval/` is no prefix of paths: begin with a slash and end without one"),
        ("cors_origins", "https://app.example.com/page", "`https://app.example.com/page` is no origin"),
        ("cors_origins", "https://app.example.com, *", "`*` is every origin: give it alone"),
    ],
)
def test_a_failed_check_of_a_setting_names_its_source(name: str, value: str, sentence: str) -> None:
    assert refusal(environ={f"SERVAL_{name.upper()}": value}).startswith(f"`SERVAL_{name.upper()}`: {sentence}")
    assert refusal(argv={name: value}).startswith(f"`--{name.replace('_', '-')}`: {sentence}")


def test_an_unknown_variable_is_refused_with_the_closest_name() -> None:
    assert (
        refusal(environ={"SERVAL_PROT": "1"})
        == "`SERVAL_PROT` in the environment is not a setting of Serval; did you mean `SERVAL_PORT`?"
    )


def test_an_unknown_variable_without_a_close_name_points_to_the_help() -> None:
    assert (
        refusal(environ={"SERVAL_QXZ": "1"})
        == "`SERVAL_QXZ` in the environment is not a setting of Serval; `serval serve --help` lists them all"
    )


def test_an_unknown_key_of_the_settings_file_is_refused(tmp_path: Path) -> None:
    toml = tmp_path / "serval.toml"
    toml.write_text("max_row = 3\n")
    assert refusal(toml=toml) == f"`max_row` in `{toml}` is not a setting of Serval; did you mean `max_rows`?"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "eighty", "a whole number from 0 to 65535"),
        ("PORT", "70000", "a whole number from 0 to 65535"),
        ("DRAIN_SECONDS", "0", "a number above 0"),
        ("MAX_ROWS", "0", "a whole number, at least 1"),
        ("CACHE_BYTES", "3 parsecs", "a size, as `1048576` or `1 MiB`"),
        ("CACHE_BYTES", "-1", "a size, as `1048576` or `1 MiB`"),
        ("LOG_LEVEL", "loud", "one of `debug`, `info`, `warning`, `error`"),
        ("ALLOW_UNCONFINED_CONVERSION", "maybe", "`true` or `false`"),
        ("DATABASE_URL", "mysql://host/db", "a URL as `postgresql://`"),
        ("DATA_DIR", "", "a path"),
        ("HOST", "", "text"),
    ],
)
def test_an_invalid_value_is_refused_with_what_is_expected(name: str, value: str, expected: str) -> None:
    assert refusal(environ={f"SERVAL_{name}": value}) == f"`SERVAL_{name}` is `{value}`: expected {expected}"


def test_a_refused_setting_names_its_option_or_file(tmp_path: Path) -> None:
    toml, dotenv = tmp_path / "serval.toml", tmp_path / ".env"
    toml.write_text('port = "eighty"\n')
    dotenv.write_text("SERVAL_PORT=eighty\n")
    assert refusal(argv={"port": "eighty"}).startswith("`--port` is `eighty`")
    assert refusal(toml=toml).startswith(f"`port` in `{toml}` is `eighty`")
    assert refusal(dotenv=dotenv).startswith(f"`SERVAL_PORT` in `{dotenv}` is `eighty`")


def test_a_refused_url_is_shown_without_its_password() -> None:
    assert "hunter2" not in refusal(environ={"SERVAL_DATABASE_URL": "mysql://me:hunter2@host/db"})


def test_a_named_settings_file_must_exist_and_be_toml(tmp_path: Path) -> None:
    assert refusal(toml=tmp_path / "none.toml").startswith(
        f"the settings file `{tmp_path / 'none.toml'}` cannot be read"
    )
    broken = tmp_path / "broken.toml"
    broken.write_text("port = \n")
    assert refusal(toml=broken).startswith(f"the settings file `{broken}` cannot be read")


def test_dotenv_lines_may_have_quotes_comments_and_export(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "# ours\n\nexport SERVAL_PORT=1001  # free here\n"
        "SERVAL_HOST='::1'\nSERVAL_DATA_DIR=\"my models\"\nOTHER=thing\n"
    )
    settings = load(dotenv=dotenv)
    assert (settings.port, settings.host, settings.data_dir) == (1001, "::1", Path("my models"))


def test_a_dotenv_line_without_an_assignment_is_refused(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("SERVAL_PORT=1001\nSERVAL_HOST\n")
    assert refusal(dotenv=dotenv) == f"line 2 of `{dotenv}` is not `NAME=value`"


def test_variables_of_the_command_line_are_ignored() -> None:
    assert (
        load(environ={"SERVAL_URL": "http://x", "SERVAL_KEY": "k", "SERVAL_CONFIG": "f", "PATH": "/bin"}) == Settings()
    )


def test_every_setting_has_a_description() -> None:
    described = {setting.name: setting for setting in describe()}
    assert list(described) == list(Settings.__struct_fields__)
    assert all(setting.description.endswith((".", "never.")) for setting in described.values())
    assert (described["cache_bytes"].default, described["cache_bytes"].environment) == ("256 MiB", "SERVAL_CACHE_BYTES")
    assert described["database_url"].default == "unset"


@pytest.mark.parametrize("setting", describe(), ids=lambda setting: setting.name)
def test_every_setting_is_documented_as_it_is(setting: SettingDescription) -> None:
    root = Path(__file__).parents[3]
    row = f"| `{setting.environment}` | {setting.accepts} | {setting.default} | {setting.description} |"
    assert row in (root / "docs" / "settings.md").read_text().splitlines()
    assert f"# {setting.environment}=" in (root / ".env.example").read_text()


def test_lists_rates_and_plans_can_be_written_in_the_environment_and_in_toml(tmp_path: Path) -> None:
    toml = tmp_path / "serval.toml"
    toml.write_text('trusted_proxies = ["10.0.0.0/8", "::1"]\napi_rate = "5/h"\n[plans.free]\npredict_rate = "10/s"\n')
    line = {
        "SERVAL_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "SERVAL_API_RATE": "5/h",
        "SERVAL_PLANS": '{"free": {"predict_rate": "10/s"}}',
    }
    assert load(toml=toml) == load(environ=line)
    assert load(toml=toml).plans["free"].predict_rate == "10/s"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SERVAL_API_RATE", "0/s", "expected a rate, as `1000/s`"),
        ("SERVAL_PREDICT_RATE", "often", "expected a rate, as `1000/s`"),
        ("SERVAL_PLANS", '{"free": {"rate": 1}}', "unknown field `rate`"),
        ("SERVAL_PLANS", "free", "expected JSON by name"),
    ],
)
def test_an_invalid_rate_or_plan_is_refused(name: str, text: str, message: str) -> None:
    assert message in refusal(environ={name: text})


def test_a_setting_may_be_read_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://:s3cret@cache:6379/0\n")
    assert load(environ={"SERVAL_REDIS_URL_FILE": str(secret)}).redis_url == "redis://:s3cret@cache:6379/0"
    missing = refusal(environ={"SERVAL_REDIS_URL_FILE": str(tmp_path / "none")})
    assert "`SERVAL_REDIS_URL_FILE` in the environment names" in missing
    both = refusal(environ={"SERVAL_REDIS_URL_FILE": str(secret), "SERVAL_REDIS_URL": "redis://a"})
    assert "set one of them" in both
    assert "not a setting of Serval" in refusal(environ={"SERVAL_NONE_FILE": str(secret)})
