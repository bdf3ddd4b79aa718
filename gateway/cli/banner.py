"""What ``serve`` prints when it is ready: where to point a client, and what is behind it."""

from __future__ import annotations

from gateway.demo.fleet import DemoProvider
from gateway.services import Services


def banner(services: Services, port: int) -> str:
    """Return the text; keys are never part of it."""
    settings = services.settings
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104 - shown, not bound
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    registry = services.config.current.registry
    live = [each.id for each in registry.deployments.values() if each.live]
    absent = [each.id for each in registry.deployments.values() if not each.callable]
    lines = [f"moe-gateway listens on {base}", ""]
    if services.demo:
        lines.append("no provider key is set: answers come from the built-in demo providers")
        lines += [_demo_line(each) for each in services.demo]
        lines.append("")
    lines.append(f"live deployments ({len(live)}): {', '.join(live)}")
    if absent:
        lines.append(f"no key ({len(absent)}): {', '.join(absent)}")
    lines += [f"warning: {text}" for text in services.warnings]
    if services.keys.empty:
        lines.append("warning: no keys are configured; everything is open to this machine")
    return "\n".join([*lines, "", *_trial(base, keyed=not services.keys.empty), "", f"dashboard: {base}/dashboard"])


def _trial(base: str, *, keyed: bool) -> list[str]:
    """Return commands to paste. A key is taken from the environment: double quotes, so that the shell looks it up."""
    key, literal = ("$MOE_API_KEY", 'os.environ["MOE_API_KEY"]') if keyed else ("any", '"any"')
    return [
        "try it, with a client key in MOE_API_KEY:" if keyed else "try it:",
        f'  curl -s {base}/v1/chat/completions -H "authorization: Bearer {key}" \\',
        """    -H 'content-type: application/json' \\""",
        """    -d '{"model": "auto", "messages": [{"role": "user", "content": "Write a haiku about routers"}]}'""",
        "",
        "or in Python:",
        *(["  import os"] if keyed else []),
        "  from openai import OpenAI",
        f'  client = OpenAI(base_url="{base}/v1", api_key={literal})',
        '  print(client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hi"}]))',
    ]


def _demo_line(each: DemoProvider) -> str:
    return f"  demo provider {each.name} ({each.wire} wire) pid {each.pid} at {each.base_url}"
