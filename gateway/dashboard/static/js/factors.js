// The seven factors of a score: one stacked bar per candidate, in the policy's weights.

import { deployment, h, swatch } from "./dom.js";
import { points, words } from "./format.js";

export const FACTORS = ["quality", "cost", "performance", "learning", "task_preference", "vendor_diversity", "vendor_preference"];

export function legend() {
  return h("div", { class: "legend" }, FACTORS.map((name) => h("span", {}, swatch(`var(--f-${name})`), words(name))));
}

function weighted(candidate, weights) {
  return FACTORS.map((name) => ({ name, term: candidate.terms[name], points: candidate.terms[name] * (weights?.[name] ?? 1) }));
}

/** Bars of all candidates on one scale; `chosen` and `served` are marked. */
export function scoreBars(candidates, weights, { chosen = null, served = null, limit = 12, quiet = false } = {}) {
  const shown = candidates.slice(0, limit);
  const scale = Math.max(...shown.map((each) => weighted(each, weights).reduce((sum, part) => sum + part.points, 0)), 1);
  return h("ol", { class: "scores" }, shown.map((each) => {
    const parts = weighted(each, weights);
    const spoken = parts.filter((part) => part.points).map((part) => `${words(part.name)} ${points(part.points)}`).join(", ");
    const mark = each.deployment === served ? "answered" : each.deployment === chosen ? "chosen" : null;
    return h("li", { class: mark ? "marked" : null },
      h("span", { class: "who" }, deployment(each.deployment), mark && !quiet ? h("em", {}, mark) : null),
      h("span", { class: "bar", role: "img", "aria-label": `${each.deployment}: ${spoken}` },
        parts.map((part) => h("i", {
          title: `${words(part.name)}: ${points(part.term)} × weight ${weights?.[part.name] ?? 1} = ${points(part.points)}`,
          style: { width: `${(100 * part.points) / scale}%`, background: `var(--f-${part.name})` },
        }))),
      h("span", { class: "score num" },
        Math.abs(each.adjustment - 1) > 0.005 ? h("small", { title: "live adjustment: recent behaviour against its own baseline" }, `× ${each.adjustment.toFixed(2)}`) : null,
        h("b", {}, points(each.score))));
  }), candidates.length > limit ? h("li", { class: "more muted" }, `and ${candidates.length - limit} more`) : null);
}

export function rejections(items) {
  if (!items.length) return null;
  const rules = Map.groupBy ? Map.groupBy(items, (each) => each.rule) : group(items);
  return h("div", { class: "refused" }, [...rules].map(([rule, list]) => h("details", { open: list.length <= 3 },
    h("summary", {}, h("span", { class: "pill" }, words(rule)), ` ${list.length} ${list.length === 1 ? "deployment" : "deployments"}`),
    h("ul", {}, list.map((each) => h("li", {}, h("b", {}, each.deployment), " ", h("span", { class: "muted" }, each.detail)))))));
}

function group(items) {
  const found = new Map();
  for (const each of items) found.set(each.rule, [...(found.get(each.rule) ?? []), each]);
  return found;
}
