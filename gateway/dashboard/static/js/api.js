// Talking to the gateway: JSON with the key in a header, and the live feed through a fetch that can carry it.

const KEY = "moe-admin-key";

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `the gateway answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  clear: () => sessionStorage.removeItem(KEY),
};

export function headers(extra = {}) {
  return key.get() ? { ...extra, authorization: `Bearer ${key.get()}` } : extra;
}

export async function get(path, { signal } = {}) {
  return read(await fetch(path, { headers: headers(), signal, credentials: "omit" }));
}

export async function post(path, body, extra = {}) {
  const init = { method: "POST", headers: headers({ "content-type": "application/json", ...extra }), credentials: "omit" };
  return read(await fetch(path, { ...init, body: JSON.stringify(body ?? {}) }));
}

async function read(answer) {
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

/** Yield {event, data} of a server-sent event stream; comments are left out. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += value;
      let end;
      while ((end = held.search(/\r?\n\r?\n/)) >= 0) {
        const block = held.slice(0, end);
        held = held.slice(end).replace(/^\r?\n\r?\n/, "");
        const found = parse(block);
        if (found) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let event = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { event, data: data.join("\n") } : null;
}

/**
 * Follow the live feed for ever: `heard(event, data)`, `state("live" | "lost")`. Comes back by itself. A tab nobody looks
 * at lets go of its connection: browsers have only six for one address, and each feed holds one.
 */
export async function follow(path, { heard, state, refused }) {
  let pause = 500;
  let control = new AbortController();
  const away = () => control.abort();
  addEventListener("pagehide", away);
  document.addEventListener("visibilitychange", () => document.hidden && away());
  for (;;) {
    await seen();
    try {
      control = new AbortController();
      const answer = await fetch(path, { headers: headers({ accept: "text/event-stream" }), credentials: "omit", cache: "no-store", signal: control.signal });
      if (!answer.ok) throw new Refused(answer.status, null);
      state("live");
      pause = 500;
      for await (const { event, data } of events(answer)) heard(event, JSON.parse(data));
      state("lost");
    } catch (problem) {
      state("lost");
      if (problem instanceof Refused && (problem.status === 401 || problem.status === 403)) await refused();
    }
    await new Promise((wake) => setTimeout(wake, pause));
    pause = Math.min(pause * 2, 10000);
  }
}

async function seen() {
  while (document.hidden) await new Promise((wake) => document.addEventListener("visibilitychange", wake, { once: true }));
}
