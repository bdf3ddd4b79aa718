"""The edge: HTTP, providers, stores, metrics, dashboard and commands around ``router_core``."""

from typing import Final

VERSION: Final = "0.1.0"
