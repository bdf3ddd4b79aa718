// Type a prompt, see what each policy would do with it at no cost, then send it.

import { events, headers, post, Refused } from "../api.js";
import { card, h, pill, show } from "../dom.js";
import { legend, rejections, scoreBars } from "../factors.js";
import { ms, share, usd, words } from "../format.js";

export const title = "Playground";
export const windowed = false;

const SAMPLES = {
  "Write code": "Write a Python function that parses ISO 8601 durations, with tests.",
  "Review code": "Review this for bugs:\n\ndef mean(xs):\n    total = 0\n    for i in range(1, len(xs)):\n        total += xs[i]\n    return total / len(xs)",
  Reason: "A bat and a ball cost 1.10 together. The bat costs 1.00 more than the ball. What does the ball cost? Prove it.",
  Translate: "Translate into French: The meeting was moved to Thursday afternoon.",
};
const kept = { prompt: "", answer: null };
let running = null;

export async function load() { return {}; }
export function heard() { return true; }

export function render(place, state) {
  if (place.querySelector(".playground")) return;
  const prompt = h("textarea", { id: "prompt", rows: 7, placeholder: "Type a prompt…", oninput: () => { kept.prompt = prompt.value; } });
  prompt.value = kept.prompt;
  const task = h("select", { id: "task" }, h("option", { value: "" }, "classified"), state.status.tasks.map((name) => h("option", { value: name }, words(name))));
  const found = h("div", { class: "grid policies", "aria-live": "polite" });
  const answer = h("div", { "aria-live": "polite" });
  const read = () => ({ text: prompt.value.trim(), task: task.value, found, answer, state });
  const ask = () => compare(read());
  show(place, h("h2", { class: "hidden" }, title),
    h("div", { class: "playground grid" },
      card("Prompt", { aside: h("span", { class: "row" }, Object.entries(SAMPLES).map(([name, text]) => h("button", { class: "plain small", type: "button", onclick: () => { prompt.value = kept.prompt = text; ask(); } }, name))) },
        h("label", { class: "hidden", for: "prompt" }, "Prompt"), prompt,
        h("div", { class: "row actions" },
          h("label", {}, "Task ", task),
          h("button", { class: "primary", type: "button", id: "compare", onclick: ask }, "Compare policies"),
          h("span", { class: "muted" }, "Calls nobody and costs nothing."))),
      found, answer));
  prompt.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask(); });
  if (kept.prompt) ask();
}

const body = ({ text, task }, policy) => ({ model: "auto", messages: [{ role: "user", content: text }], router: { policy, ...(task ? { task } : {}) } });

async function compare(asked) {
  if (!asked.text) { document.getElementById("prompt").focus(); return; }
  const names = Object.keys(asked.state.status.policies);
  show(asked.answer);
  const decisions = await Promise.all(names.map((name) => post("/v1/route", body(asked, name)).catch((problem) => ({ problem }))));
  show(asked.found, names.map((name, index) => option(name, decisions[index], asked)));
}

function option(name, decision, asked) {
  const refused = decision.problem;
  if (refused) {
    return card(name, {}, h("p", { class: "problem" }, refused.message), refused instanceof Refused ? rejections(refused.body?.error?.candidates ?? refused.body?.error?.rejections ?? []) : null);
  }
  const profile = decision.task ?? {};
  const weights = asked.state.status.policies[name];
  return card(name, { aside: h("button", { class: "plain small", type: "button", onclick: () => send(name, asked) }, "Send") },
    h("p", { class: "chosen" }, h("b", {}, decision.chosen), pill(words(profile.task ?? profile), "accent"), profile.confidence ? h("small", { class: "muted" }, `${share(profile.confidence, 0)} sure`) : null),
    h("p", { class: "muted note" }, decision.rationale),
    scoreBars(decision.candidates ?? [], weights, { chosen: decision.chosen, limit: 4, quiet: true }),
    h("p", { class: "muted note" }, `expected ${usd(decision.expected_cost_usd)}`, decision.rejections?.length ? ` · ${decision.rejections.length} refused` : ""));
}

async function send(policy, asked) {
  running?.abort();
  running = new AbortController();
  const out = h("pre", { class: "answer" });
  const line = h("p", { class: "muted note" }, "waiting for the first words…");
  show(asked.answer, card(`Answer under "${policy}"`, { aside: h("button", { class: "plain small", type: "button", onclick: () => running.abort() }, "Stop") }, line, out));
  asked.answer.scrollIntoView({ block: "nearest", behavior: "smooth" });
  const started = performance.now();
  try {
    const answer = await fetch("/v1/chat/completions", {
      method: "POST", signal: running.signal, credentials: "omit",
      headers: headers({ "content-type": "application/json" }),
      body: JSON.stringify({ ...body(asked, policy), stream: true, stream_options: { include_usage: true } }),
    });
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
    const by = answer.headers.get("x-router-model") ?? "";
    let first = null;
    let cost = null;
    for await (const { data } of events(answer)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(502, chunk);
      const text = chunk.choices?.[0]?.delta?.content ?? chunk.choices?.[0]?.delta?.reasoning_content;
      if (text) { first ??= performance.now() - started; out.append(text); }
      cost = chunk.usage?.cost ?? cost;
      line.textContent = [by, first === null ? null : `first words after ${ms(first)}`, `${ms(performance.now() - started)} in all`, cost === null ? null : usd(cost)].filter(Boolean).join(" · ");
    }
  } catch (problem) {
    line.replaceChildren(h("span", { class: "problem" }, problem.name === "AbortError" ? "Stopped." : problem.message));
  }
}
