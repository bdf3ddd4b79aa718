// A/B tests: arms side by side with intervals that hold however often one looks.

import { get, post, Refused } from "../api.js";
import { card, empty, h, pill, show, table } from "../dom.js";
import { count, ms, share, unit, usd, words } from "../format.js";

export const title = "Experiments";
export const windowed = false;
const KINDS = { running: "good", stopped: "warn", concluded: "accent", draft: "" };

export async function load() {
  try {
    return (await get("/v1/experiments")).data ?? [];
  } catch (problem) {
    if (problem instanceof Refused && [400, 404, 501].includes(problem.status)) return null;
    throw problem;
  }
}

export function render(place, state, list) {
  show(place, h("h2", { class: "hidden" }, title),
    list?.length ? list.map((each) => one(each, state)) : card(null, { label: title }, empty(list ? "No experiment yet. POST /v1/experiments makes one." : "This gateway has no experiments.")));
}

function one(each, state) {
  const act = (name) => h("button", { class: "plain", type: "button", data: { key: `${name}-${each.id}` }, onclick: async () => { await post(`/v1/experiments/${encodeURIComponent(each.id)}/${name}`); state.refresh(); } }, name === "start" ? "Start" : "Stop");
  const where = [each.task ? words(each.task) : null, each.tag ? `tag ${each.tag}` : null].filter(Boolean).join(", ");
  const result = each.analysis ?? each.result ?? {};
  const arms = each.arms ?? result.arms ?? [];
  return card(each.name ?? each.id, { aside: h("span", { class: "row" }, pill(each.state, KINDS[each.state] ?? ""), each.state === "draft" ? act("start") : null, each.state === "running" ? act("stop") : null), flush: true },
    h("p", { class: "note muted pad" }, [where, each.hypothesis, result.verdict ?? each.verdict, each.reason].filter(Boolean).join(" · ")),
    arms.length ? table(`Arms of ${each.name ?? each.id}`, [
      { name: "Arm", cell: (row) => row.name ?? row.id },
      { name: "Share", cell: (row) => share(row.share ?? row.weight, 0) },
      { name: "Samples", cell: (row) => count(row.n ?? row.samples) },
      { name: "Reward", cell: (row) => interval(row.reward) },
      { name: "Success", cell: (row) => interval(row.success, share) },
      { name: "Cost", cell: (row) => interval(row.cost_usd ?? row.cost, usd) },
      { name: "Latency", cell: (row) => interval(row.latency_ms ?? row.latency, ms) },
    ], arms.map((arm) => ({ ...arm, ...(result.arms && !Array.isArray(result.arms) ? result.arms[arm.name ?? arm.id] : {}) }))) : null);
}

function interval(value, say = unit) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return say(value);
  const mean = value.mean ?? value.estimate;
  return h("span", {}, say(mean), value.low !== undefined && value.low !== null ? h("span", { class: "sub" }, `${say(value.low)} – ${say(value.high)}`) : null);
}
