"""Budgets that hold: the worst case of a call is reserved before it is made, and settled when it ends.

A worker reserves within slices it leased from the store, on its own memory. Only a request for which the slice is spent
waits, for at most ``budgets.wait_max_s``. A caller without budgets meets none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.budget_account import Account, Terms
from gateway.keys import Principal
from gateway.store_errors import StoreError
from router_core.budget import Budget, Period, Window, nano, period_of, usd
from router_core.policy import BudgetPolicy, BudgetRule
from router_core.ports import StateStore

__all__ = ["FREE", "Budgets", "Refusal", "Reservation"]

_log = logging.getLogger("gateway.budgets")
_LOOK_AGAIN_S: Final = 0.05
_KEEP_EVERY_S: Final = 0.25


@dataclass(slots=True, eq=False)
class Reservation:
    """What is set aside for one request; ``worst`` in nano-USD. Settled once, whatever happens to the request."""

    accounts: tuple[Account, ...] = ()
    worst: int = 0
    settled: bool = False


FREE: Final = Reservation(settled=True)
"""The shared reservation of everybody without a budget."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not be paid for: 402 ``budget_exceeded``, 429 ``budget_reserved``, 503 ``budget_unavailable``.

    ``left_usd`` is what the budget still has, ``renews_at`` the wall-clock second of its next period (None: never).
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None
    left_usd: float | None = None
    renews_at: float | None = None


@functools.cache
def _budget_of(rule: BudgetRule) -> Budget:
    return Budget(Window(rule.window), rule.usd)


class Budgets:
    """All budgets this worker spends from. ``policy`` is read at each use, so a reload counts at once."""

    def __init__(
        self,
        store: StateStore,
        policy: Callable[[], BudgetPolicy],
        *,
        holder: str = "",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._policy = policy
        self._holder = holder or uuid.uuid4().hex
        self._clock = clock
        self._wall = wall
        self._accounts: dict[str, Account] = {}
        self._periods: dict[Window, tuple[float, Period]] = {}
        self._task: asyncio.Task[None] | None = None
        self.counters = {"reserved": 0, "waited": 0, "refused_402": 0, "refused_429": 0, "refused_503": 0, "overrun": 0}

    def start(self) -> None:
        """Begin to report and to keep leases alive; call once, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="budget-keeper")

    async def stop(self) -> None:
        """Report what is spent and give back what is not; open reservations stay reserved."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for account in self._accounts.values():
            with contextlib.suppress(StoreError):
                await account.give_back(self._terms())

    async def reserve(self, principal: Principal, worst_usd: float) -> Reservation | Refusal:
        """Set the worst case of a request aside in every budget that applies to its key and the key's tags.

        Returns at once where there is no budget, and where this worker's slice is large enough.
        """
        if not principal.budgets and not self._policy().rules:
            return FREE
        accounts = self._applying(principal)
        if not accounts:
            return FREE
        reservation = Reservation(accounts)
        return await self._add(reservation, nano(worst_usd)) or reservation

    async def extend(self, reservation: Reservation, extra_worst_usd: float) -> Refusal | None:
        """Set more aside for the same request, before it makes a call its reservation does not cover."""
        if not reservation.accounts or extra_worst_usd <= 0.0:
            return None
        return await self._add(reservation, nano(extra_worst_usd))

    def settle(self, reservation: Reservation, actual_usd: float) -> None:
        """Book what a request really cost and free the rest; a second call changes nothing."""
        if reservation.settled:
            return
        reservation.settled = True
        actual = nano(actual_usd) if 0.0 <= actual_usd < float("inf") else reservation.worst
        if actual > reservation.worst:
            self.counters["overrun"] += 1
        for account in reservation.accounts:
            account.settle(reservation.worst, actual)

    async def _add(self, reservation: Reservation, worst: int) -> Refusal | None:
        if self._fits(reservation, worst):
            return None
        self.counters["waited"] += 1
        ticket = object()
        for account in reservation.accounts:
            account.waiting[ticket] = worst
        try:
            refusal = await self._wait(reservation, worst)
        finally:
            for account in reservation.accounts:
                account.waiting.pop(ticket, None)
        if refusal is not None:
            self.counters[f"refused_{refusal.status}"] += 1
        return refusal

    def _fits(self, reservation: Reservation, worst: int) -> bool:
        now = self._clock()
        holdings = []
        for account in reservation.accounts:
            account.used_at = now
            holding = account.reserve(worst)
            if holding is None:
                return False
            holdings.append(holding)
        for account, holding in zip(reservation.accounts, holdings, strict=True):
            account.holding = holding
        reservation.worst += worst
        self.counters["reserved"] += 1
        return True

    async def _wait(self, reservation: Reservation, worst: int) -> Refusal | None:
        policy = self._policy()
        deadline, asked_at_all = self._clock() + policy.wait_max_s, False
        while True:
            lacking = [account for account in reservation.accounts if account.reserve(worst) is None]
            if not lacking and self._fits(reservation, worst):
                return None
            now = self._clock()
            for account in lacking:
                if account.exceeded_by(worst, now):
                    return self._exceeded(account, worst)
            if now >= deadline or (asked_at_all and self._hopeless(lacking, now)):
                return self._gave_up(reservation, lacking, worst)
            asked = [task for account in lacking if (task := self._ask(account)) is not None]
            if asked:
                await asyncio.wait(asked, timeout=deadline - now)
                asked_at_all = True
            else:
                await lacking[0].changed(min(_LOOK_AGAIN_S, deadline - now))

    def _ask(self, account: Account) -> asyncio.Task[None] | None:
        return account.ask(self._terms())

    def _terms(self) -> Terms:
        policy = self._policy()
        return Terms(self._store, policy.slice_share, policy.lease_s, self._clock)

    def _hopeless(self, lacking: Sequence[Account], now: float) -> bool:
        """Whether the store has been away for long and no call of our own can make room: waiting would only pile up."""
        wait = self._policy().wait_max_s
        return any(
            account.away_since is not None and now - account.away_since >= wait and account.holding.reserved == 0
            for account in lacking
        )

    def _gave_up(self, reservation: Reservation, lacking: Sequence[Account], worst: int) -> Refusal | None:
        if any(account.away_since is not None for account in lacking):
            if self._policy().on_store_loss == "allow":
                for account in reservation.accounts:
                    account.holding = account.holding.overrun(worst)
                reservation.worst += worst
                return None
            message = "the budget of this key cannot be checked now; try again"
            return Refusal(503, "budget_unavailable", message, 1.0)
        account = lacking[0]
        left = max(0, account.limit - account.spent())
        message = (
            f"the {account.scope} budget has {usd(left):.6f} USD left this {account.budget.window}, but calls that are "
            "still open have it reserved; try again"
        )
        return Refusal(429, "budget_reserved", message, 1.0, usd(left), account.ends_at)

    def _exceeded(self, account: Account, worst: int) -> Refusal:
        left = max(0, account.limit - account.spent())
        window = "in total" if account.budget.window is Window.TOTAL else f"per {account.budget.window}"
        renewal = "it does not renew"
        if account.ends_at is not None:
            renewal = f"it renews at {datetime.fromtimestamp(account.ends_at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        message = (
            f"the {account.scope} budget of {account.budget.usd:g} USD {window} has {usd(left):.6f} USD left, and this "
            f"request may cost up to {usd(worst):.6f} USD; {renewal}"
        )
        return Refusal(402, "budget_exceeded", message, None, usd(left), account.ends_at)

    def _applying(self, principal: Principal) -> tuple[Account, ...]:
        accounts = [self._account(f"key:{principal.key_id}", "key's", budget) for budget in principal.budgets]
        for rule in self._policy().rules:
            if rule.tag is not None and rule.tag in principal.tags:
                accounts.append(self._account(f"tag:{rule.tag}", f"tag {rule.tag}'s", _budget_of(rule)))
            elif rule.key is not None and rule.key == principal.key_id:
                accounts.append(self._account(f"rule:{rule.key}", "key's", _budget_of(rule)))
            elif rule.tag is None and rule.key is None:
                accounts.append(self._account("all", "gateway's", _budget_of(rule)))
        return tuple(accounts)

    def _account(self, subject: str, scope: str, budget: Budget) -> Account:
        period = self._period(budget.window)
        name = f"{subject}|{budget.window}|{period.label}"
        account = self._accounts.get(name)
        if account is None:
            limit, whole = nano(budget.usd), not self._store.shared
            account = Account(name, scope, budget, limit, period.ends_at, self._holder, whole, limit)
            self._accounts[name] = account
        elif account.budget is not budget and account.budget != budget:
            account.budget, account.limit = budget, nano(budget.usd)
            account.state_at = float("-inf")
        return account

    def _period(self, window: Window) -> Period:
        now = self._wall()
        since, period = self._periods.get(window, (float("inf"), None))
        if period is None or now < since or (period.ends_at is not None and now >= period.ends_at):
            period = period_of(window, now)
            self._periods[window] = (now, period)
        return period

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            for name, account in list(self._accounts.items()):
                try:
                    used = await account.keep(self._terms())
                except StoreError:
                    account.away_since = account.away_since or self._clock()
                    continue
                except Exception:  # noqa: BLE001 - one odd account must not end the reports of all others
                    _log.exception("reporting a budget")
                    continue
                if not used and account.holding.spent == account.reported and account.holding.room <= 0:
                    del self._accounts[name]

    def overview(self) -> list[dict[str, Any]]:
        """Return what this worker knows of each budget in use, for stats: USD, and the second it renews."""
        return [
            {
                "account": account.name,
                "window": account.budget.window.value,
                "limit_usd": account.budget.usd,
                "spent_usd": usd(account.spent()),
                "reserved_usd": usd(account.holding.reserved),
                "renews_at": account.ends_at,
                "store_away": account.away_since is not None,
            }
            for account in self._accounts.values()
        ]
