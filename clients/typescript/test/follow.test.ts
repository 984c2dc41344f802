import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Hub, HubProblem, type CloudEvent } from "../src/index.js";
import { startHub, type RunningHub } from "./hub.js";

const encoder = new TextEncoder();

/** A stream of what is given; with broken it breaks then. */
function stream(text: string, broken = false, headers: Record<string, string> = {}): Response {
  const parts = text.match(/.{1,7}/gs) ?? []; // events come in pieces
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = parts.shift();
      if (part !== undefined) controller.enqueue(encoder.encode(part));
      else if (broken) controller.error(new TypeError("broken"));
      else controller.close();
    },
  });
  return new Response(body, { headers: { "Content-Type": "text/event-stream", "Hub-Position": "3", "Hub-Epoch": "e1", ...headers } });
}

const event = (position: number) => `id: ${position}\ndata: {"position":${position},"type":"é"}\n\n`;

/** A hub that answers these, one after the other, and notes what it was asked. */
function answering(...answers: (Response | Error)[]): { hub: Hub; asked: URL[]; tokens: string[] } {
  const asked: URL[] = [];
  const tokens: string[] = [];
  const hub = new Hub({
    baseUrl: "http://hub",
    token: () => `token-${asked.length}`,
    attempts: 3,
    maxPauseMilliseconds: 1,
    fetch: async (url, init) => {
      asked.push(new URL(url));
      tokens.push(new Headers(init.headers).get("Authorization")!);
      const answer = answers.shift() ?? new Error("asked too often");
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { hub, asked, tokens };
}

async function take(from: AsyncGenerator<CloudEvent>, count: number): Promise<number[]> {
  const positions: number[] = [];
  for await (const one of from) {
    positions.push(one.position);
    if (positions.length === count) break;
  }
  return positions;
}

describe("following events", () => {
  it("goes on where it was when a stream ends or breaks", async () => {
    const { hub, asked, tokens } = answering(
      stream(`retry: 1\n\n${event(4)}${event(5)}id: 6\ndata: {"posi`, true),
      new TypeError("no connection"),
      stream(`${event(6)}: heartbeat\nid: 9\n\nevent: end\ndata: {"code":"token_expired"}\n\n`),
      stream(event(12)),
    );
    assert.deepEqual(await take(hub.follow({ types: ["a.b", "c.*"], tag: "t:1" }), 4), [4, 5, 6, 12]);
    assert.deepEqual(
      asked.map((url) => [url.searchParams.get("after"), url.searchParams.get("epoch")]),
      [
        [null, null],
        ["5", "e1"],
        ["5", "e1"],
        ["9", "e1"],
      ],
    );
    assert.ok(asked.every((url) => url.pathname === "/api/v1/events/stream" && url.searchParams.get("types") === "a.b,c.*" && url.searchParams.get("tag") === "t:1"));
    assert.equal(new Set(tokens).size, 4, "each connection has a token of its own");
  });

  it("knows where it began, though nothing came", async () => {
    const { hub, asked } = answering(stream("", true), stream(event(8)));
    assert.deepEqual(await take(hub.follow(), 1), [8]);
    assert.equal(asked[1]!.searchParams.get("after"), "3");
  });

  it("tells of a restore, and of what can never be", async () => {
    for (const [status, code] of [
      [409, "epoch_changed"],
      [403, "forbidden"],
    ] as const) {
      const problem = new Response(JSON.stringify({ code, status, position: 7, epoch: "e2" }), { status, headers: { "Content-Type": "application/problem+json" } });
      const { hub } = answering(stream(`${event(8)}event: end\ndata: {"code":"epoch_changed"}\n\n`), problem);
      await assert.rejects(take(hub.follow(), 2), (failure: HubProblem) => failure.code === code && failure.document.position === 7);
    }
    const { hub, asked } = answering(new TypeError("1"), new TypeError("2"), new TypeError("3"));
    await assert.rejects(take(hub.follow(), 1), TypeError);
    assert.equal(asked.length, 3);
  });

  it("ends when it is told to", async () => {
    const stop = new AbortController();
    const { hub } = answering(stream(event(4)), stream(event(5)));
    const got: number[] = [];
    await assert.rejects(async () => {
      for await (const one of hub.follow({ signal: stop.signal })) {
        got.push(one.position);
        stop.abort(new Error("enough"));
      }
    }, /enough/);
    assert.deepEqual(got, [4]);
  });

  describe("of a running hub", () => {
    let running: RunningHub;
    before(async () => void (running = await startHub()));
    after(() => running.stop());

    it("brings each event once", async () => {
      const hub = new Hub({ baseUrl: running.baseUrl, token: () => running.token("acme", "admin") });
      const defined = await hub.put("/api/v1/entity-types/{name}", { path: { name: "thing" }, body: { title: "Thing" } });
      const positions = take(hub.follow({ after: defined.position!, types: ["entity.*"] }), 10);
      const written: number[] = [];
      for (let n = 0; n < 10; n++) written.push((await hub.post("/api/v1/entities", { body: { type: "thing", attributes: { n } } })).position!);
      assert.deepEqual(await positions, written);
      const page = await hub.get("/api/v1/events", { query: { after: defined.position!, types: "entity.*", limit: 3 } });
      assert.deepEqual(page.data.map((one) => one.position), written.slice(0, 3));
      const ticket = await hub.post("/api/v1/stream-tickets");
      assert.ok(Date.parse(ticket.data.expires_at) > Date.now());
      const opened = await fetch(`${running.baseUrl}/api/v1/events/stream?ticket=${ticket.data.ticket}`);
      assert.equal(opened.status, 200);
      await opened.body!.cancel();
    });
  });
});
