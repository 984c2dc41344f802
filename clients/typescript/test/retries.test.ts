import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { Hub, HubProblem } from "../src/index.js";

type Handler = (request: IncomingMessage, response: ServerResponse, attempt: number) => void;

/** A server that answers as a hub in trouble would. */
async function troubled(t: TestContext, handler: Handler): Promise<{ hub: Hub; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    request.resume().on("end", () => handler(request, response, seen.length));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { hub: new Hub({ baseUrl: `http://127.0.0.1:${port}`, token: "t", maxPauseMilliseconds: 5 }), seen };
}

function problem(response: ServerResponse, status: number, code: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "Content-Type": "application/problem+json", ...headers });
  response.end(JSON.stringify({ type: code, title: code, status, detail: code, code, request_id: "r" }));
}

function receipt(response: ServerResponse, position: number): void {
  response.writeHead(201, { "Content-Type": "application/json", "Hub-Position": String(position), ETag: '"1"' });
  response.end(JSON.stringify({ id: "1", version: 1, position, events: [] }));
}

const entity = { body: { type: "customer", attributes: {} } };

describe("a write whose outcome is not known", () => {
  it("is sent again with its key, until it is answered", async (t) => {
    const { hub, seen } = await troubled(t, (request, response, attempt) => {
      if (attempt === 1) request.socket.destroy();
      else if (attempt === 2) problem(response, 503, "overloaded", { "Retry-After": "1" });
      else if (attempt === 3) problem(response, 504, "outcome_unknown");
      else receipt(response, 7);
    });
    const answer = await hub.post("/api/v1/entities", entity);
    assert.equal(answer.position, 7);
    assert.equal(hub.position, 7);
    const keys = [...new Set(seen.map((request) => String(request.headers["idempotency-key"])))];
    assert.deepEqual([seen.length, keys.length], [4, 1]);
    assert.match(keys[0]!, /^[!-~]{16,255}$/);
  });

  it("is given up after so many attempts", async (t) => {
    const { hub, seen } = await troubled(t, (_, response) => problem(response, 503, "overloaded"));
    await assert.rejects(hub.post("/api/v1/entities", entity), { code: "overloaded" });
    assert.equal(seen.length, 5);
  });

  it("is not sent again once the caller has given up", async (t) => {
    const controller = new AbortController();
    const { hub, seen } = await troubled(t, (_, response) => {
      controller.abort();
      problem(response, 503, "overloaded");
    });
    await assert.rejects(hub.post("/api/v1/entities", { ...entity, signal: controller.signal }));
    assert.equal(seen.length, 1);
  });
});

it("what can never be right is not sent again", async (t) => {
  for (const status of [400, 401, 403, 404, 409, 412, 422, 500]) {
    const { hub, seen } = await troubled(t, (_, response) => problem(response, status, "no"));
    await assert.rejects(hub.post("/api/v1/entities", entity), { status });
    assert.equal(seen.length, 1, String(status));
  }
});

it("an answer that is not the hub's own is a problem, too", async (t) => {
  const { hub } = await troubled(t, (_, response) => response.writeHead(404, { "Content-Type": "text/html" }).end("<html>"));
  await assert.rejects(hub.get("/api/v1/entities"), (problem: HubProblem) => problem.status === 404 && problem.code === "not_a_problem_document");
});

it("after a restore of the log, positions from before are forgotten", async (t) => {
  const { hub, seen } = await troubled(t, (request, response) => {
    if (request.method === "POST") receipt(response, 7);
    else if (request.headers["hub-min-position"]) problem(response, 409, "epoch_changed");
    else response.writeHead(200, { "Content-Type": "application/json", "Hub-Epoch": "new" }).end('{"items":[],"next_cursor":null}');
  });
  await hub.post("/api/v1/entities", entity);
  await assert.rejects(hub.get("/api/v1/entities"), { code: "epoch_changed" });
  assert.equal((await hub.get("/api/v1/entities")).epoch, "new");
  assert.deepEqual(seen.map((request) => request.headers["hub-min-position"]), [undefined, "7", undefined]);
});
