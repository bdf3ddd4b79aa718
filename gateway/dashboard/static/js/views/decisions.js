// The last decisions, each explained: what was asked, who could, who was chosen and why, what then happened.

import { get } from "../api.js";
import { ofProvider } from "../colors.js";
import { card, deployment, empty, h, pill, show } from "../dom.js";
import { legend, rejections, scoreBars } from "../factors.js";
import { clock, ms, share, usd, words } from "../format.js";

export const title = "Decisions";
export const windowed = false;

const selected = () => decodeURIComponent(location.hash.split("/")[1] ?? "");
let shown = null;
let asked = 0;

export async function load(state, force) {
  // The feed tells of this worker's decisions; those of others come from the store, now and then.
  if (force || Date.now() - asked > 30000) {
    asked = Date.now();
    const { data } = await get("/dashboard/data/decisions");
    state.decisions = [...state.decisions.filter((each) => !data.some((other) => other.id === each.id)), ...data]
      .sort((a, b) => b.at - a.at).slice(0, 100);
  }
  return state.decisions;
}

export function heard(place, state, kind) {
  if (kind === "decision" && place.querySelector(".decisions")) list(place, state);
  return kind === "decision";
}

export function moved(place, state) { list(place, state); detail(place, state); place.querySelector(".detail")?.scrollIntoView?.({ block: "nearest" }); }

export function render(place, state) {
  if (!place.querySelector(".decisions")) {
    shown = null;
    show(place, h("h2", { class: "hidden" }, title),
      h("div", { class: "decisions" }, h("section", { class: "card list", "aria-label": "Last decisions" }), h("div", { class: "detail", "aria-live": "polite" })));
  }
  list(place, state);
  detail(place, state);
}

function list(place, state) {
  const current = selected() || state.decisions[0]?.id;
  const box = place.querySelector(".list");
  const top = box.scrollTop;
  show(box, state.decisions.length ? h("ul", {}, state.decisions.map((each) => h("li", {},
    h("a", { href: `#decisions/${encodeURIComponent(each.id)}`, "aria-current": each.id === current ? "true" : null, data: { key: each.id } },
      h("span", { class: "line" }, h("b", {}, words(each.task)), outcome(each), h("time", { class: "num muted" }, clock(each.at))),
      h("span", { class: "line" }, h("span", { class: "served" }, each.served_by ?? each.chosen ?? "nobody"), h("span", { class: "num muted" }, `${ms(each.duration_ms)} · ${usd(each.cost_usd)}`))))))
    : empty("No decision yet. Send a request, or try the playground."));
  box.scrollTop = top;
}

function outcome(each) {
  if (each.status === 499) return pill("client left");
  if (each.status >= 400) return pill(String(each.status), "bad");
  return each.attempts.length > 1 && each.attempts.some((attempt) => !attempt.ok) ? pill("fell back", "warn") : null;
}

function detail(place, state) {
  const box = place.querySelector(".detail");
  const each = state.decisions.find((one) => one.id === selected()) ?? (selected() ? null : state.decisions[0]);
  if (shown && shown === each?.id) return;
  shown = each?.id ?? null;
  if (!each) { show(box, state.decisions.length ? card(null, { label: "Decision" }, empty("This decision is no longer among the last ones.")) : null); return; }
  const weights = state.status.policies[each.policy];
  show(box, head(each), attempts(each),
    card("Seven factors", { aside: h("span", { class: "muted" }, `policy ${each.policy}`) }, each.ranking.length
      ? [legend(), scoreBars(each.ranking, weights, { chosen: each.chosen, served: each.served_by }), facts(each)] : empty("Nobody was eligible.")),
    each.rejections.length ? card(`Refused: ${each.rejections.length}`, {}, rejections(each.rejections)) : null);
}

function head(each) {
  const fact = (name, value) => value === null || value === undefined || value === "" ? null : [h("dt", {}, name), h("dd", {}, value)];
  return card(each.rationale ?? "No rationale recorded", { aside: h("time", { class: "muted num" }, clock(each.at)), label: "Decision" },
    h("dl", { class: "facts" },
      fact("Task", `${words(each.task)}${each.confidence === null || each.confidence === undefined ? "" : ` (${share(each.confidence, 0)} sure)`}${each.secondary ? `, content: ${words(each.secondary)}` : ""}`),
      fact("Seen in the prompt", each.evidence.join("; ")),
      fact("Answered by", each.served_by ?? "nobody"),
      fact("Status", `${each.status}${each.error_code ? ` ${each.error_code}` : ""}`),
      fact("Time", `${ms(each.duration_ms)}, ${ms(each.overhead_ms)} of it in the gateway`),
      fact("Cost", usd(each.cost_usd)),
      fact("Mode", each.mode === "single" ? null : each.mode),
      fact("Drawn with probability", each.propensity === null || each.propensity === undefined || each.propensity >= 1 ? null : share(each.propensity)),
      fact("Exploring", each.explored ? "yes" : null),
      fact("Tags", each.tags.join(", ")),
      fact("Id", h("code", {}, each.id))));
}

function attempts(each) {
  if (!each.attempts.length) return null;
  const longest = Math.max(...each.attempts.map((one) => one.duration_ms), 1);
  return card("Attempts", {}, h("ol", { class: "attempts" }, each.attempts.map((one) => h("li", {},
    h("span", { class: "who" }, deployment(one.deployment), one.role === "primary" ? null : h("em", {}, words(one.role))),
    h("span", { class: "bar", "aria-hidden": "true" }, h("i", { class: one.ok ? "" : "bad", style: { width: `${Math.max(1.5, (100 * one.duration_ms) / longest)}%`, ...(one.ok ? { background: ofProvider(one.deployment.split("/")[0]) } : {}) } })),
    h("span", { class: "num" }, ms(one.duration_ms)),
    one.ok ? pill("ok", "good") : pill(words(one.failure), "bad"),
    h("small", { class: "muted" }, one.ok ? `${one.prompt_tokens} + ${one.completion_tokens} tokens, ${usd(one.cost_usd)}` : one.message)))));
}

function facts(each) {
  const rows = each.ranking.slice(0, 3);
  return h("p", { class: "muted note" }, rows.map((one) => `${one.deployment}: expected quality ${one.facts?.quality?.toFixed(2) ?? "–"}, ${usd(one.facts?.expected_cost_usd)}`).join(" · "));
}
