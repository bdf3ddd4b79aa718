"""The composition root: the only file that names concrete adapters. Builds the services, starts and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Mapping
from typing import Any

from gateway import ledger
from gateway.admission import Admission
from gateway.budgets import Budgets
from gateway.capture import Capture
from gateway.config.settings import Settings
from gateway.config.watch import ConfigHolder, ConfigWatcher
from gateway.configured import has_callable, load_config, read_calibration
from gateway.context import RequestContext
from gateway.decisions import DecisionIds, RecentDecisions
from gateway.demo.fleet import DemoProvider, handed_down, start_fleet, stop_fleet
from gateway.demo.registry import demo_config
from gateway.embedding import load_embedder
from gateway.experiments import Experiments
from gateway.feedback import FeedbackDesk
from gateway.forward.forwarder import HttpForwarder, needs_litellm
from gateway.idempotency import Idempotency
from gateway.keys import KeyRing
from gateway.learner import Learner
from gateway.observe.watching import Watching
from gateway.pacing import Pacing
from gateway.rate_limits import RateLimits
from gateway.recorder import Recorder
from gateway.renewals import Renewals
from gateway.secrets import Secret
from gateway.services import Services
from gateway.sessions import Sessions
from gateway.shadow import Shadow
from gateway.sharing import Sharing, shared_signing_key
from gateway.signals import Signals
from gateway.state import open_store
from gateway.state.exchange import Exchanger
from gateway.steady import SteadyClock
from gateway.store_errors import StoreError
from gateway.upkeep import Upkeep
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.features import extract
from router_core.outcome import RequestOutcome
from router_core.ports import StateStore
from router_core.prompt import read_prompt

_log = logging.getLogger("gateway")


def calibrate(services: Services) -> None:
    """Put the calibrated quality model under what was learned."""
    calibration = read_calibration(services.settings)
    if calibration is not None:
        learning = services.config.current.policy.learning
        services.learner.calibrate(calibration.state(share=learning.residual_share, prior=learning.residual_prior))


async def load_with_demo(settings: Settings) -> tuple[ConfigHolder, list[DemoProvider]]:
    """Read the configuration; when no deployment is callable, start the demo providers and add them."""
    config = load_config(settings)
    if has_callable(config):
        return ConfigHolder(config, lambda: load_config(settings)), []
    fleet = handed_down(os.environ) or await start_fleet()
    overlay = demo_config(fleet)
    return ConfigHolder(load_config(settings, overlay), lambda: load_config(settings, overlay)), fleet


def build(
    settings: Settings, config: ConfigHolder, fleet: list[DemoProvider], store: StateStore | None = None
) -> Services:
    """Put the parts of one worker together around a store that ``connect_store`` opened (None: memory only)."""
    store = store or open_store("memory://")
    steady = SteadyClock()
    watching = Watching(os.environ, webhook_url=settings.webhook_url, now=steady)
    recorder = Recorder(watching.observer, RecentDecisions(), ledger_rows)
    rng = random.Random()  # noqa: S311 - exploration and jitter, not secrets
    services = Services(
        settings=settings,
        config=config,
        forwarder=_forwarder(settings, config),
        learner=Learner(steady, rng),
        observer=watching.observer,
        watching=watching,
        recorder=recorder,
        keys=_keys(settings),
        store=store,
        budgets=Budgets(store, lambda: config.current.policy.budgets),
        rate_limits=RateLimits(store),
        idempotency=Idempotency(store=store, keep=recorder.document),
        sessions=Sessions(),
        admission=Admission(lambda: config.current.policy.admission, rng),
        ids=DecisionIds(),
        classifier=load_classifier(),
        embedder=load_embedder(),
        steady=steady,
        rng=rng,
        demo=fleet,
    )
    services.warnings.extend([*settings.warnings, *watching.warnings])
    services.watcher = ConfigWatcher(config)
    services.upkeep = Upkeep(store, lambda: config.current.policy.capture)
    services.feedback = FeedbackDesk(services)
    services.after.append(Signals(services).after)
    Renewals(services.learner, watching, lambda: config.current.policy)
    services.pacing = Pacing(lambda: config.current.policy, steady)
    services.after.extend((services.pacing.finished, Capture(services).finished))
    services.experiments = Experiments(store, steady)
    services.shadow = Shadow(services)
    services.after.extend((services.experiments.finished, services.shadow.finished))
    return services


def _forwarder(settings: Settings, config: ConfigHolder) -> HttpForwarder:
    """Return a forwarder that finds its keys in whatever configuration is in use."""
    ca_file = str(settings.ca_file) if settings.ca_file is not None else None

    def secret(name: str) -> Secret | None:
        return config.current.secrets.get(name)

    return HttpForwarder(secrets=secret, trust_env=settings.trust_env, ca_file=ca_file)


def _keys(settings: Settings) -> KeyRing:
    """Return a key ring that holds the environment's keys."""
    return KeyRing(
        api_keys=[key.reveal() for key in settings.api_keys],
        admin_keys=[key.reveal() for key in settings.admin_keys],
        metrics_keys=[key.reveal() for key in settings.metrics_keys],
    )


def ledger_rows(outcome: RequestOutcome, ctx: RequestContext) -> list[Mapping[str, Any]]:
    """Return a finished request's ledger rows; the registry's version says which prices were in force."""
    return list(ledger.rows(outcome, request_id=ctx.request_id, price_version=ctx.registry.version))


async def start(services: Services) -> None:
    """Open everything and warm up; ``services.ready`` is set when requests are welcome."""
    services.admission.start()
    await services.forwarder.open()
    services.upkeep.start()
    sharing = Sharing(services)
    services.exchanger = Exchanger(services.store, collect=sharing.collect, apply=(sharing.apply, sharing.observe))
    await services.exchanger.flush()
    sharing.start()
    services.exchanger.start()
    calibrate(services)
    services.watching.start()
    services.budgets.start()
    services.rate_limits.start()
    key = await shared_signing_key(services.store)
    if key is not None:
        services.ids.rekey(key)
    with contextlib.suppress(StoreError):
        await services.keys.reload(services.store)
    services.tasks = [
        asyncio.create_task(services.keys.follow(services.store), name="keys"),
        asyncio.create_task(services.experiments.follow(), name="experiments"),
        asyncio.create_task(services.watcher.run(), name="config-watch"),
    ]
    services.sharing = sharing
    services.watcher.holder.on_reload(lambda _, report: _log.info("%s", report))
    warm_classifier(services)
    await _warm(services)
    services.ready = True


def warm_classifier(services: Services) -> None:
    """Classify one text, so that the first request does not pay for what is made on first use."""
    prompt = read_prompt({"messages": [{"role": "user", "content": "Explain what this function does and test it."}]})
    classify(prompt, extract(prompt, services.embedder), services.classifier)


async def _warm(services: Services) -> None:
    """Pay litellm's import before the first request needs it; the handshakes with providers nobody waits for."""
    registry = services.config.current.registry
    used = [(registry.providers[each.provider], each) for each in registry.deployments.values() if each.live]
    providers = {provider.id: provider for provider, _ in used}
    translated = [provider for provider in providers.values() if needs_litellm(provider)]
    if translated:
        await services.forwarder.warm(translated)
    services.tasks.append(asyncio.create_task(services.forwarder.dial(used), name="dial"))


async def stop(services: Services) -> None:
    """Flush and close everything, in reverse."""
    services.ready = False
    for task in services.tasks:
        task.cancel()
    await services.admission.stop()
    await services.shadow.stop()
    if services.sharing is not None:
        await services.sharing.stop()
    await services.upkeep.stop()
    await services.budgets.stop()
    await services.rate_limits.stop()
    if services.exchanger is not None:
        await services.exchanger.stop()
    if services.store is not None:
        with contextlib.suppress(StoreError):
            await services.store.close()
    await services.forwarder.close()
    await services.watching.stop()
    if services.demo:
        stop_fleet(services.demo)
