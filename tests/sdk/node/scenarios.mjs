// What an application does with the OpenAI Node SDK, against a running gateway.
//
//     node scenarios.mjs BASE_URL BASE_URL_WITH_KEYS KEY
//
// Prints one JSON object a line for each scenario: {"name", "ok", "error"}.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, guardedURL, key] = process.argv.slice(2);
const settings = { maxRetries: 0, timeout: 60_000 };
const client = new OpenAI({ baseURL, apiKey: "any", ...settings });
const hello = [{ role: "user", content: "Say hello in one short sentence." }];
const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

const tool = (name, description) => ({
  type: "function",
  function: {
    name,
    description,
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  },
});
const weather = tool("get_weather", "Look up the current weather in a city");
const time = tool("get_time", "Look up the current local time in a city");

const create = (more = {}, options = {}) => client.chat.completions.create({ model: "auto", messages: hello, ...more }, options);

async function raises(kind, status, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor.name, kind.name, String(error));
    assert.equal(error.status, status);
    for (const field of ["message", "type", "param", "code"]) assert.ok(field in error.error, `no ${field}: ${JSON.stringify(error.error)}`);
    assert.ok(error.headers.get("x-request-id"));
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

const scenarios = {
  async chat() {
    const answer = await create();
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.choices.length, 1);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.choices[0].message.role, "assistant");
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.notEqual(answer.model, "auto");
  },

  async headers() {
    const { data, response } = await create({}, { headers: { "x-router-policy": "quality", "x-request-id": "sdk-node.1" } }).withResponse();
    assert.equal(response.headers.get("x-request-id"), "sdk-node.1");
    assert.equal(response.headers.get("x-router-policy"), "quality");
    for (const name of ["decision-id", "model", "provider", "task", "task-confidence", "mode", "score", "attempts", "overhead-ms"])
      assert.ok(response.headers.get(`x-router-${name}`), `no x-router-${name}`);
    assert.ok(data.choices[0].message.content);
  },

  async stream() {
    const chunks = [];
    for await (const chunk of await create({ stream: true })) chunks.push(chunk);
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    assert.ok(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""));
    assert.equal(chunks.filter((chunk) => chunk.choices.length).at(-1).choices[0].finish_reason, "stop");
    assert.ok(chunks.every((chunk) => !chunk.usage));
  },

  async stream_usage() {
    const chunks = [];
    for await (const chunk of await create({ stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.ok(chunks.at(-1).usage.total_tokens > 0);
    assert.ok(chunks.slice(0, -1).every((chunk) => !chunk.usage));
  },

  async stream_helper() {
    const stream = client.chat.completions.stream({ model: "auto", messages: hello });
    let text = "";
    stream.on("content", (delta) => (text += delta));
    assert.equal(await stream.finalContent(), text);
    assert.ok(text);
  },

  async stream_left_early() {
    const stream = await create({ stream: true });
    for await (const _ of stream) break;
    assert.ok((await create()).choices[0].message.content);
  },

  async tools() {
    const question = [{ role: "user", content: "What is the weather in Paris?" }];
    const first = await create({ messages: question, tools: [weather] });
    assert.equal(first.choices[0].finish_reason, "tool_calls");
    const [call] = first.choices[0].message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
    const result = { role: "tool", tool_call_id: call.id, content: "Sunny, 21.5 degrees" };
    const second = await create({ messages: [...question, first.choices[0].message, result], tools: [weather] });
    assert.match(second.choices[0].message.content, /21\.5/);
  },

  async parallel_tools() {
    const question = [{ role: "user", content: "Look up the weather in Paris and the local time in Tokyo" }];
    const first = await create({ messages: question, tools: [weather, time], parallel_tool_calls: true });
    const calls = first.choices[0].message.tool_calls;
    assert.deepEqual(calls.map((call) => call.function.name), ["get_weather", "get_time"]);
    assert.notEqual(calls[0].id, calls[1].id);
    const results = calls.map((call, index) => ({ role: "tool", tool_call_id: call.id, content: `result number ${40 + index}` }));
    const second = await create({ messages: [...question, first.choices[0].message, ...results], tools: [weather, time] });
    assert.match(second.choices[0].message.content, /40/);
    assert.match(second.choices[0].message.content, /41/);
  },

  async stream_tools() {
    const stream = client.chat.completions.stream({ model: "auto", messages: [{ role: "user", content: "What is the weather in Paris?" }], tools: [weather] });
    const [call] = (await stream.finalMessage()).tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
  },

  async json_schema() {
    const Person = z.object({ name: z.string(), age: z.number().int(), tags: z.array(z.string()) });
    const answer = await client.chat.completions.parse({
      model: "auto",
      messages: [{ role: "user", content: "Invent a person." }],
      response_format: zodResponseFormat(Person, "person"),
    });
    Person.parse(answer.choices[0].message.parsed);
  },

  async images() {
    const content = [
      { type: "text", text: "What is on this picture?" },
      { type: "image_url", image_url: { url: pixel } },
    ];
    const answer = await create({ messages: [{ role: "user", content }] });
    assert.match(answer.choices[0].message.content, /image\/png/);
  },

  async models() {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model.id);
    for (const alias of ["auto", "auto:quality", "auto:cost", "auto:speed"]) assert.ok(listed.includes(alias), alias);
    const pinned = listed.find((name) => name.includes("/"));
    assert.equal((await client.models.retrieve(pinned)).id, pinned);
  },

  async errors() {
    const bad = await raises(OpenAI.BadRequestError, 400, () => create({ messages: [] }));
    assert.equal(bad.param, "messages");
    await raises(OpenAI.BadRequestError, 400, () => create({}, { headers: { "x-router-policy": "no-such" } }));
    await raises(OpenAI.NotFoundError, 404, () => create({ model: "no-such-model" }));
    await raises(OpenAI.NotFoundError, 404, () => create({ model: "no-such-model", stream: true }));
    const lost = new OpenAI({ baseURL: baseURL.replace(/\/v1$/, ""), apiKey: "any", ...settings });
    const told = await raises(OpenAI.NotFoundError, 404, () => lost.chat.completions.create({ model: "auto", messages: hello }));
    assert.ok(told.message.includes("use POST /v1/chat/completions"), told.message);
    const missing = await raises(OpenAI.NotFoundError, 404, () => client.responses.create({ model: "auto", input: "x" }));
    assert.equal(missing.code, "not_supported");
  },

  async wrong_key() {
    const stranger = new OpenAI({ baseURL: guardedURL, apiKey: "wrong", ...settings });
    await raises(OpenAI.AuthenticationError, 401, () => stranger.chat.completions.create({ model: "auto", messages: hello }));
    const friend = new OpenAI({ baseURL: guardedURL, apiKey: key, ...settings });
    assert.ok((await friend.chat.completions.create({ model: "auto", messages: hello })).choices[0].message.content);
  },
};

for (const [name, scenario] of Object.entries(scenarios)) {
  let error = "";
  try {
    await scenario();
  } catch (failure) {
    error = failure.stack ?? String(failure);
  }
  console.log(JSON.stringify({ name, ok: !error, error }));
}
