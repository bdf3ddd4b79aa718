// Where the money goes, and what was saved against "always the best model".

import { get } from "../api.js";
import { ofProvider } from "../colors.js";
import { card, empty, h, show, swatch, table } from "../dom.js";
import { count, share, usd, words } from "../format.js";

export const title = "Costs";
export const windowed = true;

export async function load({ window }) {
  const [costs, tasks] = await Promise.all(["costs", "tasks"].map((name) => get(`/v1/stats/${name}?window=${window}`)));
  return { rows: costs.data, savings: costs.savings, tasks: tasks.data };
}

export function render(place, state, { rows, savings, tasks }) {
  const of = (group) => rows.filter((row) => row.group === group);
  const total = of("total")[0];
  show(place,
    h("h2", { class: "hidden" }, title),
    h("div", { class: "grid two" }, saved(savings, total), split(of("provider"), total)),
    card("By provider and task", { flush: true, aside: h("span", { class: "muted" }, "USD; darker is more") }, matrix(of("provider_task"))),
    h("div", { class: "grid two" },
      card("By model", { flush: true }, lines("Deployment", of("deployment"))),
      card("By task", { flush: true }, byTask(tasks))),
    h("div", { class: "grid two" },
      card("By key", { flush: true }, lines("Key", of("key"), false)),
      card("By tag", { flush: true }, lines("Tag", of("tag"), false))),
    h("p", { class: "muted note" }, "The baseline is an estimate: for each answered request, the expected cost of the eligible model with the highest expected quality, scaled by how long the answer really became."),
    h("p", {}, h("a", { href: `/v1/stats/costs?window=${state.window}&format=csv`, download: `costs-${state.window}.csv`, onclick: (event) => saveCsv(event, state.window) }, "Save as CSV")));
}

async function saveCsv(event, window) {
  event.preventDefault();
  const { headers } = await import("../api.js");
  const answer = await fetch(`/v1/stats/costs?window=${window}&format=csv`, { headers: headers(), credentials: "omit" });
  const link = h("a", { href: URL.createObjectURL(await answer.blob()), download: `costs-${window}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function saved(savings, total) {
  if (!savings.baseline_usd) return card("Savings", {}, empty("No answered request with a known baseline yet."));
  const most = Math.max(savings.baseline_usd, savings.paid_usd);
  const bar = (name, value, kind) => h("div", { class: "compare" }, h("span", {}, name), h("b", { class: "num" }, usd(value)), h("i", { class: kind, style: { width: `${(100 * value) / most}%` } }));
  return card("Savings", { aside: h("span", { class: "muted" }, `${count(total?.requests)} calls, ${usd(total?.cost_usd.total)} in all`) },
    h("p", { class: "big num" }, usd(savings.saved_usd), h("small", {}, ` ${share(savings.saved_share, 0)} less than always the best model`)),
    bar("Always the best model", savings.baseline_usd, "before"),
    bar("Paid", savings.paid_usd, "after"));
}

function split(rows, total) {
  const whole = total?.cost_usd.total || 0;
  if (!whole) return card("By provider", {}, empty("Nothing was paid in this window."));
  return card("By provider", {},
    h("div", { class: "stackbar", role: "img", "aria-label": rows.map((row) => `${row.name} ${share(row.cost_usd.total / whole, 0)}`).join(", ") },
      rows.map((row) => h("i", { title: `${row.name}: ${usd(row.cost_usd.total)}`, style: { width: `${(100 * row.cost_usd.total) / whole}%`, background: ofProvider(row.name) } }))),
    h("ul", { class: "plainlist" }, rows.map((row) => h("li", {},
      h("span", {}, swatch(ofProvider(row.name)), row.name),
      h("span", { class: "num" }, h("b", {}, usd(row.cost_usd.total)), h("small", { class: "muted" }, ` ${usd(row.cost_usd.per_success)} per answer`))))));
}

function matrix(rows) {
  if (!rows.length) return empty("Nothing yet.");
  const cells = rows.map((row) => ({ provider: row.name.split(" ")[0], task: row.name.split(" ")[1], usd: row.cost_usd.total, answer: row.cost_usd.per_success }));
  const providers = [...new Set(cells.map((cell) => cell.provider))].sort();
  const tasks = [...new Set(cells.map((cell) => cell.task))].sort();
  const most = Math.max(...cells.map((cell) => cell.usd), 1e-12);
  const at = (provider, task) => cells.find((cell) => cell.provider === provider && cell.task === task);
  return h("table", { class: "heat" },
    h("caption", { class: "hidden" }, "Cost by provider and task"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Task"), providers.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, tasks.map((task) => h("tr", {}, h("td", {}, words(task)), providers.map((provider) => {
      const cell = at(provider, task);
      const depth = cell ? Math.round(6 + 40 * Math.sqrt(cell.usd / most)) : 0;
      return h("td", { title: cell ? `${usd(cell.answer)} per answer` : null, style: cell ? { background: `color-mix(in srgb, var(--accent) ${depth}%, var(--surface))` } : {} }, cell ? usd(cell.usd) : "–");
    })))));
}

function lines(name, rows, answers = true) {
  if (!rows.length) return empty("None in this window.");
  return table(`Cost by ${name.toLowerCase()}`, [
    { name, cell: (row) => row.name },
    { name: "Requests", cell: (row) => count(row.requests) },
    { name: "Tokens", cell: (row) => count(row.tokens) },
    { name: "Cost", cell: (row) => usd(row.cost_usd.total) },
    answers ? { name: "Per answer", cell: (row) => usd(row.cost_usd.per_success) } : { name: "Per request", cell: (row) => usd(row.cost_usd.per_request) },
  ], rows.slice(0, 30));
}

function byTask(rows) {
  if (!rows.length) return empty("None in this window.");
  return table("Cost by task", [
    { name: "Task", cell: (row) => words(row.task) },
    { name: "Requests", cell: (row) => count(row.requests) },
    { name: "Success", cell: (row) => share(row.success_rate) },
    { name: "Cost", cell: (row) => usd(row.cost_usd.total) },
    { name: "Per answer", cell: (row) => usd(row.cost_usd.per_success) },
  ], rows);
}
