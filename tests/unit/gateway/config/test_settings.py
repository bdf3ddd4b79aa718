from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.problems import ConfigInvalid
from gateway.config.settings import VARIABLES, Settings, check_bind, default_store_url, is_loopback
from gateway.secrets import scrub

LONG = "client-key-0123456789"
ADMIN = "admin-key-0123456789"


def wrong(env: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        Settings.from_env(env)
    return [f"{each.key}: {each.message}" for each in caught.value.problems]


def test_an_empty_environment_gives_the_documented_defaults(tmp_path):
    settings = Settings.from_env({"HOME": "/home/someone"}, cwd=tmp_path)
    assert settings == Settings(store_url="sqlite:////home/someone/.local/state/moe-gateway/state.db")
    assert (settings.host, settings.port, settings.workers, settings.config_dir) == (
        "127.0.0.1",
        8080,
        1,
        Path("config"),
    )
    assert settings.loopback


def test_every_variable_reaches_its_field(tmp_path):
    (tmp_path / "ca.pem").write_text("-")
    (tmp_path / "keys").write_text(f"{LONG}-2\n\n{LONG}\n")
    settings = Settings.from_env(
        {
            "HOST": "0.0.0.0",
            "PORT": "9000",
            "MOE_CONFIG_DIR": "/etc/moe",
            "MOE_STORE_URL": "redis://redis:6379/0",
            "MOE_API_KEYS": f" {LONG} ,,{LONG},",
            "MOE_API_KEYS_FILE": str(tmp_path / "keys"),
            "MOE_ADMIN_KEYS": ADMIN,
            "MOE_METRICS_KEYS": f"{ADMIN}-m",
            "MOE_WORKERS": "2",
            "MOE_LOG_LEVEL": "DEBUG",
            "MOE_LOG_FORMAT": "json",
            "MOE_TRUST_ENV": "true",
            "MOE_CA_FILE": str(tmp_path / "ca.pem"),
            "MOE_ALLOW_OPEN": "1",
            "MOE_WEBHOOK_URL": "https://hooks.example/x",
        }
    )
    assert (settings.host, settings.port, settings.config_dir) == ("0.0.0.0", 9000, Path("/etc/moe"))
    assert settings.store_url == "redis://redis:6379/0"
    assert [key.reveal() for key in settings.api_keys] == [LONG, f"{LONG}-2"]
    assert [key.reveal() for key in settings.admin_keys] == [ADMIN]
    assert [key.reveal() for key in settings.metrics_keys] == [f"{ADMIN}-m"]
    assert (settings.workers, settings.log_level, settings.log_format) == (2, "debug", "json")
    assert settings.trust_env
    assert settings.allow_open
    assert settings.ca_file == tmp_path / "ca.pem"
    assert settings.webhook_url is not None
    assert settings.warnings == ()


def test_flags_win_over_the_environment_and_none_means_not_given():
    settings = Settings.from_env({"PORT": "9000", "HOST": "::1"}, {"port": 1234, "host": None})
    assert (settings.port, settings.host) == (1234, "::1")


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"PORT": "http"}, "PORT: must be a whole number within 0 and 65535, not 'http'"),
        ({"PORT": "65536"}, "PORT: must be a whole number within 0 and 65535, not '65536'"),
        ({"PORT": "٣"}, "PORT: must be a whole number within 0 and 65535, not '٣'"),
        ({"PORT": "1" * 5000}, f"PORT: must be a whole number within 0 and 65535, not '{'1' * 40}'"),
        ({"MOE_WORKERS": "0"}, "MOE_WORKERS: must be a whole number within 1 and 64, not '0'"),
        ({"MOE_LOG_LEVEL": "loud"}, "MOE_LOG_LEVEL: must be one of debug, info, warning, error, not 'loud'"),
        ({"MOE_TRUST_ENV": "maybe"}, "MOE_TRUST_ENV: must be 1 or 0, not 'maybe'"),
        ({"MOE_CA_FILE": "/nowhere/ca.pem"}, "MOE_CA_FILE: there is no file '/nowhere/ca.pem'"),
        ({"MOE_API_KEYS_FILE": "/nowhere/keys"}, "MOE_API_KEYS_FILE: there is no file '/nowhere/keys'"),
        ({"MOE_WEBHOOK_URL": "ftp://x"}, "MOE_WEBHOOK_URL: must begin with http:// or https://"),
        (
            {"MOE_STORE_URL": "postgres://x"},
            "MOE_STORE_URL: must begin with one of memory://, sqlite://, redis://, rediss://",
        ),
        (
            {"MOE_STORE_URL": "sqlite"},
            "MOE_STORE_URL: must begin with one of memory://, sqlite://, redis://, rediss://",
        ),
        ({"MOE_STORE_URL": "redis://[x"}, "MOE_STORE_URL: is no address"),
        ({"MOE_API_KEYS": "two words-0123456789"}, "MOE_API_KEYS: keys must be printable ASCII without spaces"),
        ({"MOE_API_KEYS": "schlüssel-0123456789"}, "MOE_API_KEYS: keys must be printable ASCII without spaces"),
        (
            {"MOE_API_KEYS": LONG, "MOE_ADMIN_KEYS": LONG},
            "MOE_API_KEYS: a client key must not also be an admin or metrics key",
        ),
    ],
)
def test_a_wrong_value_is_refused(env, problem):
    assert wrong(env) == [problem]


def test_all_that_is_wrong_is_said_at_once_without_repeating_a_key():
    found = wrong({"PORT": "x", "MOE_WORKERS": "y", "MOE_ADMIN_KEYS": "hidden value"})
    assert [each.partition(":")[0] for each in found] == ["MOE_ADMIN_KEYS", "MOE_WORKERS", "PORT"]
    assert "hidden" not in "".join(found)


def test_typos_and_short_keys_are_warned_of():
    settings = Settings.from_env({"MOE_API_KEY": LONG, "MOE_ADMIN_KEYS": "abc"})
    assert settings.warnings == (
        "MOE_ADMIN_KEYS: a key is shorter than 16 characters and can be guessed",
        "MOE_API_KEY: unknown variable; did you mean 'MOE_API_KEYS'?",
    )


def test_nothing_secret_is_printed_and_a_store_password_is_scrubbed():
    url = "redis://user:pass%2Dword-77@redis:6379"
    settings = Settings.from_env(
        {"MOE_API_KEYS": LONG, "MOE_STORE_URL": url, "MOE_WEBHOOK_URL": "https://h.example/token-1"}
    )
    shown = repr(settings)
    assert LONG not in shown
    assert "word-77" not in shown
    assert "token-1" not in shown
    assert "pass-word-77" not in scrub("cannot log in with pass-word-77")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host):
    assert is_loopback(host)
    check_bind(Settings(host=host))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "gateway.example", "", "localhost.example", "127.1"]
)
def test_another_address_without_keys_is_refused_in_one_line(host):
    assert not is_loopback(host)
    with pytest.raises(ConfigInvalid) as caught:
        check_bind(Settings(host=host))
    assert str(caught.value).startswith("environment: HOST: ")
    assert "MOE_API_KEYS" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_address_is_fine_with_keys_or_when_opened_on_purpose():
    check_bind(Settings.from_env({"HOST": "0.0.0.0", "MOE_API_KEYS": LONG}))
    check_bind(Settings.from_env({"HOST": "0.0.0.0", "MOE_ALLOW_OPEN": "1"}))
    with pytest.raises(ConfigInvalid):
        check_bind(Settings.from_env({"HOST": "0.0.0.0", "MOE_ADMIN_KEYS": ADMIN}))


def test_the_store_lies_in_the_project_folder_or_in_the_users_state(tmp_path):
    assert default_store_url({"XDG_STATE_HOME": "/s"}, tmp_path) == "sqlite:////s/moe-gateway/state.db"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "models.yaml").touch()
    assert default_store_url({"XDG_STATE_HOME": "/s"}, tmp_path) == "sqlite:///var/state.db"


def test_every_documented_variable_is_read():
    class Recorder(dict[str, str]):
        def __init__(self) -> None:
            super().__init__()
            self.asked: set[str] = set()

        def get(self, name, default=None):
            self.asked.add(name)
            return default

    env = Recorder()
    Settings.from_env(env)
    assert set(VARIABLES) <= env.asked
