from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from gateway.keys import KeyRing
from tests.behaviour.browser import chromium, complaints, size
from tests.fakes.outcomes import attempt, request
from tests.fakes.watched import World, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
T = TypeVar("T")
ADMIN, CLIENT = "admin-key-0123456789", "client-key-0123456789"
PAGES = ("providers", "decisions", "costs", "learning", "breakers", "playground")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(str(tmp_path_factory.mktemp("profile"))) as session:
        yield session


@pytest.fixture(scope="module")
def world() -> World:
    made = World()
    made.at += 900.0  # so that the oldest is no hour old when the last test looks
    made.run(count=300, seconds=2640.0)
    return made


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    with served(world) as found:
        yield found


@pytest.fixture
def page(browser: WebDriver, address: str) -> Iterator[WebDriver]:
    size(browser, 1280)
    browser.get(f"{address}/dashboard")
    browser.execute_script("localStorage.clear(); sessionStorage.clear();")
    complaints(browser)
    yield browser
    browser.get("about:blank")


def until(page: WebDriver, selector: str, text: str = "") -> None:
    def found(driver: WebDriver) -> bool:
        return any(text in each.text for each in driver.find_elements(By.CSS_SELECTOR, selector))

    WebDriverWait(page, 60, ignored_exceptions=[Exception]).until(found)


def steady(page: WebDriver, look: Callable[[], T]) -> T:
    """Return what is found when nothing is drawn anew meanwhile: what was found before is stale then."""
    found: list[T] = []

    def looked(_: WebDriver) -> bool:
        found[:] = [look()]
        return True

    WebDriverWait(page, 60, ignored_exceptions=(StaleElementReferenceException,)).until(looked)
    return found[0]


def comes_true(page: WebDriver, look: Callable[[], bool]) -> None:
    WebDriverWait(page, 60, ignored_exceptions=(StaleElementReferenceException,)).until(lambda _: look())


def visit(page: WebDriver, address: str, name: str) -> None:
    page.get("about:blank")
    page.get(f"{address}/dashboard#{name}")
    until(page, "main .card")


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_without_complaint_and_fits_desk_and_phone(
    page: WebDriver, address: str, name: str, width: int
):
    size(page, width)
    visit(page, address, name)
    until(page, "#live", "live")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert complaints(page) == []


def test_providers_show_success_latency_cost_and_circuits(page: WebDriver, address: str, world: World):
    visit(page, address, "providers")
    until(page, ".tile dd", "300")
    until(page, "table", "groq")
    text = steady(page, lambda: page.find_element(By.CSS_SELECTOR, "main table").text)
    assert all(name in text for name in ("anthropic", "google", "closed"))
    comes_true(page, lambda: len(page.find_elements(By.CSS_SELECTOR, ".chart canvas")) == 2)

    def open_it() -> None:
        row = next(each for each in page.find_elements(By.CSS_SELECTOR, "button.row") if "anthropic" in each.text)
        row.send_keys(Keys.ENTER)

    steady(page, open_it)
    until(page, "tr.sub", "anthropic/claude-quick")
    comes_true(page, lambda: page.switch_to.active_element.get_attribute("aria-expanded") == "true")


@pytest.mark.parametrize(
    ("status", "note", "alarming"), [(400, "no server errors, 9 client errors", False), (502, "9 server errors", True)]
)
def test_only_what_the_servers_did_wrong_is_alarming(browser: WebDriver, status: int, note: str, alarming: bool):
    made = World()
    for number in range(10):
        outcome = attempt("openai/gpt-large", made.at + 1800.0, failure="server" if number else None)
        made.observer.request(request(outcome, number=number, status=status if number else 200), {"candidates": []})
    with served(made) as where:
        visit(browser, where, "providers")
        until(browser, ".tile small", note)
        assert bool(browser.find_elements(By.CSS_SELECTOR, ".tile.bad")) is alarming
        browser.get("about:blank")


def test_a_decision_is_explained_with_seven_factors_refusals_and_attempts(page: WebDriver, address: str):
    visit(page, address, "decisions")
    until(page, ".detail", "Seven factors")
    assert len(page.find_elements(By.CSS_SELECTOR, ".legend span")) == 7

    def first_bar() -> tuple[str, list[int]]:
        first = page.find_element(By.CSS_SELECTOR, ".scores li .bar")
        widths = [part.size["width"] for part in first.find_elements(By.CSS_SELECTOR, "i")]
        return str(first.get_attribute("aria-label")), widths

    label, widths = steady(page, first_bar)
    assert "quality" in label
    assert len(widths) == 7
    assert max(widths) > 50

    def follow() -> str | None:
        link = page.find_elements(By.CSS_SELECTOR, ".decisions .list a")[3]
        address = link.get_attribute("href")
        link.click()
        return address

    wanted = steady(page, follow)
    comes_true(page, lambda: page.current_url == wanted)
    until(page, ".detail code", str(wanted).rpartition("/")[2])
    assert page.find_elements(By.CSS_SELECTOR, ".attempts li")


def test_a_new_decision_appears_by_itself(page: WebDriver, address: str, world: World):
    visit(page, address, "decisions")
    until(page, "#live", "live")
    world.at = time.time()
    outcome = world.one()
    until(page, f'.list a[href$="{outcome.decision_id}"]')


def test_costs_show_savings_and_a_matrix(page: WebDriver, address: str):
    visit(page, address, "costs")
    until(page, ".card", "less than always the best model")
    assert page.find_elements(By.CSS_SELECTOR, "table.heat td")
    until(page, "table", "team-search")


def test_learning_shows_intervals_and_changes_with_the_task(page: WebDriver, address: str):
    visit(page, address, "learning")
    until(page, ".posteriors", "openai/gpt-large")
    before = steady(page, lambda: page.find_element(By.CSS_SELECTOR, ".posteriors").text)
    steady(page, lambda: page.find_element(By.CSS_SELECTOR, "select").send_keys("planning"))
    comes_true(page, lambda: page.find_element(By.CSS_SELECTOR, ".posteriors").text != before)
    assert page.find_elements(By.CSS_SELECTOR, "svg.calibration circle")


def test_an_operator_resets_an_open_circuit(page: WebDriver, address: str, world: World):
    for _ in range(8):
        failed = attempt("mistral/medium", world.at, failure="server")
        world.learner.attempt(failed, world.registry, world.policy)
    visit(page, address, "breakers")
    until(page, ".circuit", "mistral/medium")
    steady(page, lambda: page.find_element(By.CSS_SELECTOR, '[data-key="reset-mistral/medium"]').click())
    until(page, ".chips", "mistral/medium")
    assert str(world.learner.snapshot.circuit("mistral/medium").state) == "closed"


def test_the_playground_decides_for_every_policy_and_then_sends(page: WebDriver, address: str):
    visit(page, address, "playground")
    box = page.find_element(By.ID, "prompt")
    box.send_keys("Write a function")
    box.send_keys(Keys.CONTROL, Keys.ENTER)
    comes_true(page, lambda: len(page.find_elements(By.CSS_SELECTOR, ".policies .card")) == 4)
    assert steady(page, lambda: page.find_element(By.CSS_SELECTOR, ".policies .chosen").text)
    steady(page, lambda: page.find_element(By.CSS_SELECTOR, ".policies .card button").click())
    until(page, "pre.answer", "Here is <b>the</b> answer.")
    assert not page.find_elements(By.CSS_SELECTOR, "pre.answer b")
    assert complaints(page) == []


def test_hostile_names_are_shown_as_text(page: WebDriver, address: str, world: World):
    name = '<img src=x onerror="document.title=1">'
    outcome = request(attempt("openai/gpt-large", time.time()), number=666, tags=(name,), key_id=name)
    world.observer.request(outcome, {"rationale": name, "chosen": name, "rejections": [], "candidates": []})
    visit(page, address, "decisions/d-666")
    until(page, ".detail h2", name)
    visit(page, address, "costs")
    until(page, "table", name)
    assert page.find_elements(By.CSS_SELECTOR, "main img") == []
    assert page.title.endswith("moe-gateway")
    assert complaints(page) == []


def test_the_window_is_chosen_with_the_arrow_keys(page: WebDriver, address: str):
    visit(page, address, "providers")
    page.find_element(By.CSS_SELECTOR, '[data-window="hour"]').send_keys(Keys.ARROW_RIGHT)

    def chosen() -> tuple[str | None, str | None]:
        focused = page.switch_to.active_element
        return focused.get_attribute("data-window"), focused.get_attribute("aria-checked")

    comes_true(page, lambda: chosen() == ("day", "true"))


def test_light_and_dark_are_chosen_and_remembered(page: WebDriver, address: str):
    def ground() -> str:
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    visit(page, address, "providers")
    before = ground()
    page.find_element(By.ID, "theme").click()
    comes_true(page, lambda: ground() != before)
    after = ground()
    visit(page, address, "providers")
    assert ground() == after


def test_with_keys_the_page_asks_for_an_admins_and_keeps_it_in_the_tab(browser: WebDriver):
    world = World(keys=KeyRing(api_keys=[CLIENT], admin_keys=[ADMIN]))
    world.run(count=20)
    with served(world) as address:
        size(browser, 1280)
        browser.get("about:blank")
        browser.get(f"{address}/dashboard")
        until(browser, "dialog[open]", "Admin key")
        assert "groq" not in browser.find_element(By.TAG_NAME, "main").text
        field = browser.find_element(By.ID, "login-key")
        field.send_keys(CLIENT, Keys.ENTER)
        until(browser, "#login-problem", "not an admin's")
        field.send_keys(ADMIN, Keys.ENTER)
        until(browser, ".tile dd", "20")
        until(browser, "#live", "live")
        assert ADMIN not in browser.current_url
        assert browser.execute_script("return localStorage.length") <= 1
        browser.find_element(By.ID, "leave").click()
        until(browser, "dialog[open]", "Admin key")
        browser.get("about:blank")


def test_the_files_are_small_enough_to_load_at_once():
    static = Path(__file__).parents[2] / "gateway" / "dashboard" / "static"
    assert sum(path.stat().st_size for path in static.rglob("*") if path.is_file()) < 300_000
