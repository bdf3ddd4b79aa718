// What was learned: expected quality with its interval, learned weights, and whether expectations held.

import { get } from "../api.js";
import { ofProvider } from "../colors.js";
import { card, empty, h, pill, show, svg, table } from "../dom.js";
import { count, points, share, unit, words } from "../format.js";

export const title = "Learning";
export const windowed = false;
let task = null;

export async function load() {
  const [learned, wins] = await Promise.all([get("/dashboard/data/learning"), get("/v1/stats/win-rates?window=all")]);
  return { ...learned, wins: wins.data };
}

export function render(place, state, data) {
  const tasks = [...new Set(data.data.map((row) => row.task))];
  const most = (name) => data.data.filter((row) => row.task === name).reduce((sum, row) => sum + row.observations, 0);
  task ??= [...tasks].sort((a, b) => most(b) - most(a))[0];
  const rows = data.data.filter((row) => row.task === task).sort((a, b) => b.quality - a.quality);
  const choose = h("select", { "aria-label": "Task", data: { key: "task" }, onchange: (event) => { task = event.target.value; render(place, state, data); } },
    tasks.map((name) => h("option", { value: name, selected: name === task }, words(name))));
  show(place,
    h("h2", { class: "hidden" }, title),
    card("Expected quality", { aside: choose, flush: true }, h("p", { class: "legend pad" }, h("span", {}, h("i", { class: "key dot" }), "expected now, with 95 % interval"), h("span", {}, h("i", { class: "key tick" }), "registry's prior")), posteriors(rows)),
    h("div", { class: "grid two" },
      card("Did expectations hold?", { aside: h("span", { class: "muted" }, "expected against judged quality") }, calibration(data.calibration)),
      card("Head to head", { flush: true }, wins(data.wins))));
}

function posteriors(rows) {
  if (!rows.length) return empty("No deployment can be called.");
  const at = (value) => `${100 * value}%`;
  return h("table", { class: "posteriors stack" },
    h("caption", { class: "hidden" }, `Expected quality for ${words(task)}`),
    h("thead", {}, h("tr", {}, ["Deployment", "0 to 1", "Quality", "Learned", "Judged", "Seen", "Adjustment"].map((name, index) => h("th", { scope: "col", class: index === 1 ? "left" : null }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {},
      h("td", {}, row.deployment),
      h("td", { class: "wide plot" }, h("span", { class: "range", role: "img", "aria-label": `expected ${unit(row.quality)}, between ${unit(row.low)} and ${unit(row.high)}; prior ${unit(row.prior)}` },
        h("i", { class: "span", style: { left: at(row.low), width: at(row.high - row.low), background: ofProvider(row.provider) } }),
        h("i", { class: "tick", style: { left: at(row.prior) } }),
        h("i", { class: "dot", style: { left: at(row.quality), background: ofProvider(row.provider) } }))),
      h("td", { data: { label: "Quality" } }, unit(row.quality)),
      h("td", { data: { label: "Learned" } }, share(row.learned, 0)),
      h("td", { data: { label: "Judged" } }, row.rewards ? points(row.rewards) : "–"),
      h("td", { data: { label: "Seen" } }, row.observations ? count(row.observations) : "–"),
      h("td", { data: { label: "Adjustment" } }, Math.abs(row.adjustment - 1) < 0.005 ? "–" : pill(`× ${row.adjustment.toFixed(2)}`, row.adjustment < 1 ? "warn" : "good"))))));
}

function calibration(rows) {
  if (!rows.length) return empty("No answer was judged yet. POST /v1/feedback, or let shadow comparisons run.");
  const size = 260;
  const x = (value) => 34 + value * (size - 44);
  const y = (value) => size - 28 - value * (size - 40);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const biggest = Math.max(...rows.map((row) => row.n));
  return svg("svg", { class: "calibration", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": rows.map((row) => `expected ${unit(row.expected)}, judged ${unit(row.mean)}`).join("; ") },
    ticks.map((tick) => [
      svg("line", { class: "grid", x1: x(0), x2: x(1), y1: y(tick), y2: y(tick) }),
      svg("text", { x: x(0) - 5, y: y(tick) + 3.5, "text-anchor": "end" }, String(tick)),
      svg("text", { x: x(tick), y: y(0) + 15, "text-anchor": "middle" }, String(tick))]),
    svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    rows.map((row) => svg("g", {},
      svg("title", {}, `expected ${unit(row.expected)}, judged ${unit(row.mean)} (${unit(row.low)} to ${unit(row.high)}), weight ${points(row.n)}`),
      svg("line", { class: "error", x1: x(row.expected), x2: x(row.expected), y1: y(row.low), y2: y(row.high) }),
      svg("circle", { class: "point", cx: x(row.expected), cy: y(row.mean), r: 3.5 + 4 * Math.sqrt(row.n / biggest) }))));
}

function wins(rows) {
  const all = rows.filter((row) => row.task === "*");
  if (!all.length) return empty("No head-to-head comparison yet: they come from parallel runs, shadow comparisons and experiments.");
  return table("Head-to-head results", [
    { name: "Deployment", cell: (row) => row.deployment },
    { name: "Won", cell: (row) => share(row.rate, 0) },
    { name: "95 % interval", cell: (row) => `${share(row.low, 0)} – ${share(row.high, 0)}` },
    { name: "Wins / losses / draws", cell: (row) => `${row.wins} / ${row.losses} / ${row.draws}` },
  ], [...all].sort((a, b) => b.rate - a.rate));
}
