// Who answers, how well, how fast, for how much; with every provider's circuits.

import { get } from "../api.js";
import { timeChart } from "../charts.js";
import { ofProvider } from "../colors.js";
import { card, empty, h, pill, show, swatch, table } from "../dom.js";
import { count, ms, share, unit, usd, wait, words } from "../format.js";

export const title = "Providers";
export const windowed = true;
let opened = new Set();

export async function load({ window }) {
  const query = `?window=${window}`;
  const [providers, deployments, timeline, anomalies] = await Promise.all(
    ["providers", "deployments", "timeline", "anomalies"].map((name) => get(`/v1/stats/${name}${query}`)));
  return { providers, deployments: deployments.data, timeline: timeline.data, anomalies: anomalies.data };
}

export function render(place, state, { providers, deployments, timeline, anomalies }) {
  const again = () => render(place, state, { providers, deployments, timeline, anomalies });
  show(place,
    h("h2", { class: "hidden" }, title),
    anomalies.filter((each) => each.state === "active").map(banner),
    state.status.store_degraded ? h("p", { class: "banner" }, h("b", {}, "Store away"), "The state store does not answer; this worker goes on from memory.") : null,
    tiles(providers.summary),
    h("div", { class: "grid two" }, charts(timeline, state)),
    card("Providers", { flush: true }, providers.data.length ? overview(providers.data, deployments, again) : empty("No traffic in this window yet. Send a request, or try the playground.")));
}

function banner(each) {
  return h("p", { class: "banner", role: "status" }, h("b", {}, `${words(each.signal)} anomaly`), h("span", {}, h("strong", {}, each.deployment), `: ${each.text}`));
}

function tiles(all) {
  const { savings } = all;
  const tile = (name, value, note, kind = "") => h("div", { class: `card tile ${kind}` }, h("dt", {}, name), h("dd", {}, value), h("small", {}, note));
  const ended = (digit) => Object.entries(all.statuses).filter(([status]) => status.startsWith(digit)).reduce((sum, [, n]) => sum + n, 0);
  const failed = ended("5");
  const refused = ended("4"); // the client's own faults, and clients that left: nothing here is wrong
  const errors = `${failed ? count(failed) : "no"} server errors${refused ? `, ${count(refused)} client errors` : ""}`;
  return h("dl", { class: "tiles" },
    tile("Requests", count(all.requests), all.fell_back ? `${count(all.fell_back)} saved by a fallback` : "no fallback needed"),
    tile("Answered", share(all.success_rate), errors, failed > 0.05 * all.requests ? "bad" : ""),
    tile("Latency p95", ms(all.latency_ms.p95), `p50 ${ms(all.latency_ms.p50)}`),
    tile("Gateway's own time", ms(all.overhead_ms.p50), `p95 ${ms(all.overhead_ms.p95)}`),
    tile("Cost", usd(all.cost_usd.total), `${usd(all.cost_usd.per_success)} per answer`),
    tile("Saved", savings.saved_share === null ? "–" : share(savings.saved_share, 0), savings.saved_share === null ? "no baseline yet" : `${usd(savings.saved_usd)} vs. the best model`, savings.saved_usd > 0 ? "good" : ""));
}

function charts(timeline, state) {
  const names = [...new Set(timeline.map((row) => row.provider))].sort();
  const times = buckets(timeline, state.window);
  const at = new Map(timeline.map((row) => [`${row.at} ${row.provider}`, row]));
  const series = (field, missing) => names.map((name) => ({
    name, color: ofProvider(name), values: times.map((time) => at.get(`${time} ${name}`)?.[field] ?? missing),
  }));
  const legend = h("div", { class: "legend" }, names.map((name) => h("span", {}, swatch(ofProvider(name)), name)));
  const busiest = names.map((name) => `${name} ${timeline.filter((row) => row.provider === name).reduce((sum, row) => sum + row.attempts, 0)}`).join(", ");
  const nothing = empty("Nothing yet.");
  return [
    card("Calls", { aside: legend }, names.length ? timeChart({ id: "calls", times, series: series("attempts", 0), say: count, stacked: true, label: `Calls over time. In total: ${busiest}` }) : nothing),
    card("Latency p95", { aside: legend.cloneNode(true) }, names.length ? timeChart({ id: "latency", times, series: series("p95_ms", null), say: ms, label: "95th percentile of latency over time, by provider" }) : nothing),
  ];
}

/** All buckets of the window, so that silence is seen as silence. */
function buckets(timeline, window) {
  const step = { hour: 180, day: 3600 }[window] ?? 86400;
  const length = { hour: 20, day: 24, week: 7 }[window] ?? 30;
  const last = Math.max(Math.floor(Date.now() / 1000 / step) * step, ...timeline.map((row) => row.at));
  return Array.from({ length: length + 1 }, (_, index) => last - (length - index) * step);
}

function overview(providers, deployments, again) {
  const rows = providers.flatMap((row) => {
    const own = deployments.filter((each) => each.provider === row.provider);
    const open = opened.has(row.provider);
    return [{ ...row, own, open }, ...(open ? own.map((each) => ({ ...each, class: "sub", leaf: true })) : [])];
  });
  const toggle = (name) => { if (!opened.delete(name)) opened.add(name); again(); };
  return table("Providers and their deployments", [
    { name: "Provider", cell: (row) => row.leaf ? row.deployment : h("button", { class: "row", type: "button", "aria-expanded": String(row.open), data: { key: `p-${row.provider}` }, onclick: () => toggle(row.provider) }, h("i", { class: "arrow", "aria-hidden": "true" }), swatch(ofProvider(row.provider)), row.provider, h("small", { class: "muted" }, ` ${row.own.length}`)) },
    { name: "Circuit", left: true, cell: (row) => circuit(row.breaker) },
    { name: "Requests", cell: (row) => count(row.requests) },
    { name: "Success", hint: "without calls that the client cancelled or got wrong", cell: (row) => [meter(row.success_rate), share(row.success_rate)] },
    { name: "p50", cell: (row) => ms(row.latency_ms.p50) },
    { name: "p95", cell: (row) => ms(row.latency_ms.p95) },
    { name: "First token p95", hint: "first content of streams", cell: (row) => ms(row.first_content_ms.p95) },
    { name: "Cost", cell: (row) => usd(row.cost_usd.total) },
    { name: "Per answer", cell: (row) => usd(row.cost_usd.per_success) },
    { name: "Tokens in / out", wide: true, cell: (row) => `${count(row.tokens.input + row.tokens.cached_input + row.tokens.cache_write)} / ${count(row.tokens.output + row.tokens.reasoning)}` },
    { name: "Quality", hint: "mean judged reward", cell: (row) => row.quality.mean === null ? "–" : h("span", { title: `${unit(row.quality.low)} to ${unit(row.quality.high)}, n ${row.quality.n.toFixed(0)}` }, unit(row.quality.mean)) },
    { name: "Failures", left: true, wide: true, cell: (row) => failures(row) },
  ], rows);
}

function meter(rate) {
  if (rate === null) return null;
  const kind = rate >= 0.97 ? "" : rate >= 0.9 ? "warn" : "bad";
  return h("span", { class: "meter", "aria-hidden": "true" }, h("i", { class: kind, style: { width: `${rate * 100}%` } }));
}

export function circuit(breaker) {
  if (!breaker) return pill("–");
  const more = breaker.deployments > 1 && breaker.open ? ` ${breaker.open}/${breaker.deployments}` : "";
  if (breaker.ejected) return pill(`rate limited ${wait(breaker.retry_in_s)}`, "warn");
  if (breaker.state === "open") return pill(`open${more} ${wait(breaker.retry_in_s)}`.trim(), "bad", breaker.reason || null);
  if (breaker.state === "half_open") return pill("half open", "warn", breaker.reason || null);
  return pill("closed", "good");
}

function failures(row) {
  const kinds = Object.entries(row.failures);
  if (!kinds.length) return h("span", { class: "muted" }, "none");
  const all = kinds.map(([kind, n]) => `${words(kind)} ${count(n)}`).join(", ");
  return h("span", { class: "kinds", title: all }, kinds.slice(0, 1).map(([kind, n]) => pill(`${words(kind)} ${count(n)}`, "bad")), kinds.length > 1 ? pill(`+${kinds.length - 1}`) : null);
}
