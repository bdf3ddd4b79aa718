"""What the environment and the command line say: where to listen, which files, which keys. Read once, at start.

Command line wins over environment, environment over defaults. Everything about models and policy stands in the files.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from gateway.config.problems import ConfigInvalid, Located
from gateway.secrets import Secret
from router_core.mapping import suggest

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("auto", "console", "json")
STORE_SCHEMES: Final = ("memory", "sqlite", "redis", "rediss")
VARIABLES: Final[Mapping[str, str]] = {
    "HOST": "address to listen on (127.0.0.1)",
    "PORT": "port to listen on, 0 for any free one (8080)",
    "MOE_CONFIG_DIR": "folder of models.yaml and policy.yaml (config)",
    "MOE_STORE_URL": "memory://, sqlite:///FILE, redis://HOST or rediss://HOST (an SQLite file in var/, "
    "or in the user's state folder outside a project folder)",
    "MOE_API_KEYS": "client keys, comma-separated",
    "MOE_ADMIN_KEYS": "admin keys, comma-separated; never the same as a client key",
    "MOE_METRICS_KEYS": "keys that may read /metrics, comma-separated",
    "MOE_API_KEYS_FILE": "a file of client keys, one a line, besides those of MOE_API_KEYS",
    "MOE_ADMIN_KEYS_FILE": "a file of admin keys, one a line",
    "MOE_METRICS_KEYS_FILE": "a file of metrics keys, one a line",
    "MOE_WORKERS": "worker processes, 1-64 (1)",
    "MOE_LOG_LEVEL": "debug, info, warning or error (info)",
    "MOE_LOG_FORMAT": "console, json, or auto: console on a terminal (auto)",
    "MOE_TRUST_ENV": "1 sends upstream calls through HTTP_PROXY, HTTPS_PROXY, NO_PROXY (0)",
    "MOE_CA_FILE": "a file of certificates to trust for upstream calls, besides the system's",
    "MOE_ALLOW_OPEN": "1 allows an address other than loopback without any key (0)",
    "MOE_WEBHOOK_URL": "http(s) address that hears of anomalies and opened circuits (none)",
}
"""Every variable that is read, with its meaning and default."""

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})
_SHORT_KEY: Final = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs. Keys do not print. ``warnings`` are sentences for the start's log."""

    host: str = "127.0.0.1"
    port: int = 8080
    config_dir: Path = Path("config")
    store_url: str = field(default="memory://", repr=False)
    api_keys: tuple[Secret, ...] = ()
    admin_keys: tuple[Secret, ...] = ()
    metrics_keys: tuple[Secret, ...] = ()
    workers: int = 1
    log_level: str = "info"
    log_format: str = "auto"
    trust_env: bool = False
    ca_file: Path | None = None
    allow_open: bool = False
    webhook_url: Secret | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)

    @classmethod
    def from_env(cls, env: Mapping[str, str], flags: Mapping[str, Any] | None = None, cwd: Path = Path()) -> Settings:
        """Read the environment; ``flags`` (field name -> value, None: not given) win over it.

        ``cwd`` is the folder the default store is chosen from. Raises ConfigInvalid listing all that is wrong.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        reader = _Reader(env)
        keys = {name: reader.keys(f"MOE_{name.upper()}") for name in ("api_keys", "admin_keys", "metrics_keys")}
        values: dict[str, Any] = {
            "host": reader.text("HOST", "127.0.0.1"),
            "port": reader.whole("PORT", 8080, 0, 65535),
            "config_dir": Path(reader.text("MOE_CONFIG_DIR", "config")),
            "store_url": reader.text("MOE_STORE_URL", default_store_url(env, cwd)),
            "workers": reader.whole("MOE_WORKERS", 1, 1, 64),
            "log_level": reader.one_of("MOE_LOG_LEVEL", LOG_LEVELS, "info"),
            "log_format": reader.one_of("MOE_LOG_FORMAT", LOG_FORMATS, "auto"),
            "trust_env": reader.flag("MOE_TRUST_ENV"),
            "ca_file": reader.file("MOE_CA_FILE"),
            "allow_open": reader.flag("MOE_ALLOW_OPEN"),
            "webhook_url": reader.address("MOE_WEBHOOK_URL"),
            **keys,
            **given,
        }
        reader.check_store(str(values["store_url"]))
        reader.check_keys(keys)
        reader.check_names()
        if reader.problems:
            raise ConfigInvalid(reader.problems)
        return cls(**values, warnings=tuple(reader.warnings))


def check_bind(settings: Settings) -> None:
    """Refuse to listen where others can reach us without any client key; raises ConfigInvalid."""
    if settings.loopback or settings.api_keys or settings.allow_open:
        return
    message = (
        f"{settings.host or 'every address'} is reachable by others and no key is set; "
        "set MOE_API_KEYS, or listen on 127.0.0.1, or set MOE_ALLOW_OPEN=1 if something in front asks for keys"
    )
    raise ConfigInvalid([Located("environment", 0, "HOST", message)])


def is_loopback(host: str) -> bool:
    """Whether an address is this machine only. A name other than ``localhost`` is not: who knows where it leads."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def default_store_url(env: Mapping[str, str], cwd: Path = Path()) -> str:
    """Return an SQLite file: ``var/`` in a project folder (it has config/models.yaml), else the user's state folder."""
    if (cwd / "config" / "models.yaml").is_file():
        return "sqlite:///var/state.db"
    base = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".local" / "state")
    return f"sqlite:///{base}/moe-gateway/state.db"


class _Reader:
    """Reads variables one by one and collects what is wrong. Values of keys are never repeated in a message."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[Located] = []
        self.warnings: list[str] = []

    def complain(self, name: str, message: str) -> None:
        self.problems.append(Located("environment", 0, name, message))

    def text(self, name: str, default: str) -> str:
        return self.env.get(name, "").strip() or default

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        raw = self.text(name, str(default))
        if raw.isascii() and raw.isdigit() and len(raw) < 10 and low <= int(raw) <= high:
            return int(raw)
        self.complain(name, f"must be a whole number within {low} and {high}, not {raw[:40]!r}")
        return default

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        raw = self.text(name, default).lower()
        if raw not in allowed:
            self.complain(name, f"must be one of {', '.join(allowed)}, not {raw[:40]!r}")
        return raw

    def flag(self, name: str) -> bool:
        raw = self.env.get(name, "").strip().lower()
        if raw not in _TRUE | _FALSE:
            self.complain(name, f"must be 1 or 0, not {raw[:40]!r}")
        return raw in _TRUE

    def file(self, name: str) -> Path | None:
        raw = self.env.get(name, "").strip()
        if not raw:
            return None
        path = Path(raw).expanduser()
        if not path.is_file():
            self.complain(name, f"there is no file {raw!r}")
        return path

    def address(self, name: str) -> Secret | None:
        raw = self.env.get(name, "").strip()
        if raw and not raw.startswith(("http://", "https://")):
            self.complain(name, "must begin with http:// or https://")
        return Secret(raw) if raw else None

    def keys(self, name: str) -> tuple[Secret, ...]:
        listed = self.env.get(name, "").split(",")
        path = self.file(f"{name}_FILE")
        if path is not None and path.is_file():
            listed += path.read_text(encoding="utf-8", errors="replace").splitlines()
        found = list(dict.fromkeys(key.strip() for key in listed if key.strip()))
        for key in found:
            if not (key.isascii() and key.isprintable()) or " " in key:
                self.complain(name, "keys must be printable ASCII without spaces")
            elif len(key) < _SHORT_KEY:
                self.warnings.append(f"{name}: a key is shorter than {_SHORT_KEY} characters and can be guessed")
        return tuple(Secret(key) for key in found)

    def check_keys(self, keys: Mapping[str, tuple[Secret, ...]]) -> None:
        if set(keys["api_keys"]) & {*keys["admin_keys"], *keys["metrics_keys"]}:
            self.complain("MOE_API_KEYS", "a client key must not also be an admin or metrics key")

    def check_store(self, url: str) -> None:
        scheme, separator, _ = url.partition("://")
        if not separator or scheme not in STORE_SCHEMES:
            allowed = ", ".join(f"{each}://" for each in STORE_SCHEMES)
            self.complain("MOE_STORE_URL", f"must begin with one of {allowed}")
            return
        try:
            password = urlsplit(url).password
        except ValueError:
            self.complain("MOE_STORE_URL", "is no address")
            return
        if password:
            Secret(unquote(password))  # made once, so that it is scrubbed from every text from now on

    def check_names(self) -> None:
        """Warn of variables that look like ours and are read by nobody: a typo there opens doors."""
        for name in sorted(self.env):
            if name.startswith("MOE_") and name not in VARIABLES:
                self.warnings.append(f"{name}: unknown variable{suggest(name, VARIABLES)}")
