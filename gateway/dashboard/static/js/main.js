// Starts the page: which page is shown, over which window, with which key; and keeps it up to date.

import { follow, get, key, Refused } from "./api.js";
import { learn } from "./colors.js";
import { h, show, svg } from "./dom.js";
import * as breakers from "./views/breakers.js";
import * as costs from "./views/costs.js";
import * as decisions from "./views/decisions.js";
import * as experiments from "./views/experiments.js";
import * as learning from "./views/learning.js";
import * as playground from "./views/playground.js";
import * as providers from "./views/providers.js";

const VIEWS = { providers, decisions, costs, learning, experiments, breakers, playground };
const WINDOWS = { hour: "1 h", day: "24 h", week: "7 d", month: "30 d", all: "all" };
const KEPT = 100;

const place = document.getElementById("view");
const state = { window: "hour", status: null, decisions: [], refresh: () => reload(true) };
let view = null;
let busy = false;
let again = false;
let timer = 0;

function pick() {
  const name = location.hash.slice(1).split("/")[0];
  const chosen = VIEWS[name] ? name : "providers";
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("windows").hidden = !VIEWS[chosen].windowed;
  if (view !== VIEWS[chosen]) {
    view = VIEWS[chosen];
    document.title = `${view.title} · moe-gateway`;
    show(place, h("h2", { class: "hidden" }, view.title));
    reload(true);
  } else view.moved?.(place, state);
}

async function reload(force = false) {
  if (busy) { again = true; return; }
  busy = true;
  const asked = view;
  try {
    if (!state.status) take("status", await get("/dashboard/data/status"));
    const data = await asked.load(state, force);
    if (asked === view && data !== undefined) view.render(place, state, data);
  } catch (problem) {
    if (problem instanceof Refused && [401, 403].includes(problem.status)) await login();
    else if (asked === view) failed(problem);
  } finally {
    busy = false;
    if (again) { again = false; reload(true); }
  }
}

function failed(problem) {
  if (place.querySelector(".banner.unreachable")) return;
  const text = problem instanceof Refused ? problem.message : "The gateway does not answer; trying again.";
  place.prepend(h("p", { class: "banner bad unreachable", role: "alert" }, h("b", {}, "Not up to date"), text));
}

function take(kind, data) {
  if (kind === "status") {
    state.status = data;
    learn(data.deployments.filter((each) => each.callable).map((each) => each.provider));
  } else if (kind === "decision") {
    state.decisions = [data, ...state.decisions.filter((each) => each.id !== data.id)].slice(0, KEPT);
  }
  if (view?.heard?.(place, state, kind)) return;
  // Many decisions a second make one refresh every two.
  if (!timer) timer = setTimeout(() => { timer = 0; reload(); }, kind === "decision" ? 2000 : 300);
}

function login(problem = "") {
  const dialog = document.getElementById("login");
  document.getElementById("login-problem").textContent = key.get() ? "That key is not an admin's." : problem;
  return new Promise((done) => {
    if (!dialog.open) dialog.showModal();
    dialog.addEventListener("close", () => done(), { once: true });
  });
}

function setUp() {
  show(document.getElementById("tabs"), Object.entries(VIEWS).map(([name, each]) => h("a", { href: `#${name}` }, each.title)));
  show(document.getElementById("windows"), Object.entries(WINDOWS).map(([name, text]) => h("button", {
    type: "button", role: "radio", "aria-checked": String(name === state.window), data: { window: name },
    tabindex: name === state.window ? "0" : "-1", onclick: () => choose(name),
    onkeydown: (event) => step(event, name),
  }, text)));
  const theme = document.getElementById("theme");
  theme.append(svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" },
    svg("circle", { cx: 10, cy: 10, r: 6.5 }), svg("path", { d: "M10 3.5a6.5 6.5 0 0 1 0 13z", fill: "currentColor", stroke: "none" })));
  theme.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    paint(dark ? "light" : "dark");
    localStorage.setItem("moe-theme", dark ? "light" : "dark");
    reload(true);
  });
  document.getElementById("login-form").addEventListener("submit", () => {
    key.set(document.getElementById("login-key").value.trim());
    document.getElementById("login-key").value = "";
    document.getElementById("leave").hidden = false;
    setTimeout(() => reload(true));
  });
  document.getElementById("login").addEventListener("cancel", (event) => event.preventDefault());
  document.getElementById("leave").addEventListener("click", () => { key.clear(); location.reload(); });
  document.getElementById("leave").hidden = !key.get();
}

function choose(name) {
  state.window = name;
  for (const button of document.querySelectorAll("#windows button")) {
    const on = button.dataset.window === name;
    button.setAttribute("aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
  }
  reload(true);
}

function step(event, name) {
  const names = Object.keys(WINDOWS);
  const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  const next = names[(names.indexOf(name) + move + names.length) % names.length];
  choose(next);
  document.querySelector(`#windows [data-window="${next}"]`).focus();
}

const paint = (theme) => { if (theme) document.documentElement.dataset.theme = theme; };

function mark(now) {
  const live = document.getElementById("live");
  live.dataset.state = now;
  live.querySelector("b").textContent = now === "live" ? "live" : "reconnecting";
}

paint(localStorage.getItem("moe-theme"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => reload(true));
setUp();
addEventListener("hashchange", pick);
pick();
setInterval(() => { if (!document.hidden) reload(); }, 10000);
follow("/dashboard/events", {
  heard: take,
  state: mark,
  refused: async () => { while (document.getElementById("login").open || !key.get()) await new Promise((wake) => setTimeout(wake, 500)); },
});
