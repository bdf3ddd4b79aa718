// Every deployment's circuit as it stands, with a reset for the operator.

import { get, post } from "../api.js";
import { ofProvider } from "../colors.js";
import { card, empty, h, pill, show, swatch } from "../dom.js";
import { wait, words } from "../format.js";

export const title = "Breakers";
export const windowed = false;
let message = "";

export async function load(state) {
  state.status = await get("/dashboard/data/status");
  return state.status;
}

export function heard(place, state, kind) {
  if (kind === "status") render(place, state);
  return true;
}

export function render(place, state) {
  const all = state.status.deployments.filter((each) => each.callable);
  const out = all.filter((each) => each.state !== "closed" || each.ejected);
  const absent = state.status.deployments.filter((each) => !each.callable);
  show(place,
    h("h2", { class: "hidden" }, title),
    h("p", { class: "hidden", role: "status" }, message),
    out.length ? h("div", { class: "circuits" }, out.map((each) => circuit(each, state))) : card(null, { label: "Open circuits" }, empty("Every circuit is closed: all deployments take traffic.")),
    card("Closed", { aside: h("span", { class: "muted" }, `${all.length - out.length} of ${all.length}`) },
      h("ul", { class: "chips" }, all.filter((each) => !out.includes(each)).map((each) => h("li", {}, swatch(ofProvider(each.provider)), each.id)))),
    absent.length ? card("Not callable", { aside: h("span", { class: "muted" }, "no key, or disabled") }, h("ul", { class: "chips muted" }, absent.map((each) => h("li", {}, each.id)))) : null);
}

function circuit(each, state) {
  const [kind, word] = each.ejected ? ["warn", "rate limited"] : each.state === "open" ? ["bad", "open"] : ["warn", "half open"];
  const why = each.credentials ? "The key, the account or the permission was refused." : each.reason ? `Because of: ${words(each.reason)}.` : "";
  return h("section", { class: `card circuit ${kind}`, "aria-label": each.id },
    h("header", {}, h("h3", {}, swatch(ofProvider(each.provider)), each.id), pill(word, kind)),
    h("p", { class: "muted" }, why, " ", each.retry_in_s ? `Tried again in about ${wait(each.retry_in_s)}.` : each.state === "half_open" ? "The next call is a probe." : ""),
    h("button", { class: "plain", type: "button", data: { key: `reset-${each.id}` }, onclick: (event) => reset(event.target, each, state) }, "Reset"));
}

async function reset(button, each, state) {
  button.disabled = true;
  try {
    await post(`/admin/breakers/${each.id.split("/").map(encodeURIComponent).join("/")}/reset`);
    message = `${each.id} is closed`;
  } catch (problem) {
    message = problem.message;
    button.after(h("span", { class: "problem", role: "alert" }, problem.message));
  }
  state.refresh();
}
