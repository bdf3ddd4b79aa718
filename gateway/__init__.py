"""The edge: HTTP, providers, stores, metrics, dashboard and commands around ``router_core``."""
