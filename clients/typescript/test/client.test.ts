import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Hub, HubProblem } from "../src/index.js";
import { startHub, type RunningHub } from "./hub.js";

describe("against a running hub", () => {
  let running: RunningHub;
  let hub: Hub;

  before(async () => {
    running = await startHub();
    hub = new Hub({ baseUrl: running.baseUrl + "/", token: () => running.token("acme", "admin"), waitSeconds: 30 });
    const defined = await hub.put("/api/v1/entity-types/{name}", {
      path: { name: "customer" },
      body: { title: "Customer", schema: { type: "object", required: ["name"] } },
    });
    assert.equal(defined.status, 201);
  });
  after(() => running.stop());

  it("reads what it has just written", async () => {
    for (let n = 0; n < 20; n++) {
      const receipt = await hub.post("/api/v1/entities", { body: { type: "customer", key: `C-${n}`, attributes: { name: "Ana", n }, tags: ["vip"] } });
      assert.equal(receipt.data.version, 1);
      assert.equal(receipt.data.events?.[0]?.type, "entity.created");
      assert.equal(hub.position, receipt.position);
      const read = await hub.get("/api/v1/entities/{id}", { path: { id: receipt.data.id } });
      assert.equal((read.data.attributes as { n: number }).n, n);
      assert.equal(read.etag, receipt.etag);
      assert.ok((read.position ?? 0) >= hub.position);
      const again = await hub.get("/api/v1/entities/{id}", { path: { id: receipt.data.id }, ifNoneMatch: read.etag! });
      assert.ok(again.notModified);
    }
  });

  it("goes through all pages of a list, filtered", async () => {
    const seen = new Set<string>();
    for await (const entity of hub.items("/api/v1/entities", { query: { type: "customer", limit: 7, "attr.name": "Ana" } })) seen.add(entity.id);
    assert.equal(seen.size, 20);
  });

  it("writes once however often it sends the same key", async () => {
    const request = { body: { type: "customer", key: "once", attributes: { name: "Bo" } }, idempotencyKey: "same", reason: "Kundin rief an – ä" };
    const first = await hub.post("/api/v1/entities", request);
    const second = await hub.post("/api/v1/entities", request);
    assert.deepEqual(second.data, first.data);
    assert.deepEqual([first.replayed, second.replayed], [false, true]);
  });

  it("changes, archives and restores under optimistic concurrency", async () => {
    const { data, etag } = await hub.post("/api/v1/entities", { body: { type: "customer", attributes: { name: "Cy" } } });
    const path = { id: data.id };
    const patched = await hub.patch("/api/v1/entities/{id}", { path, body: { attributes: { city: "Lyon" } }, ifMatch: etag! });
    assert.equal(patched.data.version, 2);
    await assert.rejects(hub.patch("/api/v1/entities/{id}", { path, body: { attributes: { city: "Nice" } }, ifMatch: etag! }), (problem: HubProblem) => {
      assert.ok(problem instanceof HubProblem);
      assert.deepEqual([problem.status, problem.code], [412, "version_conflict"]);
      assert.ok(problem.requestId);
      return true;
    });
    await hub.delete("/api/v1/entities/{id}", { path });
    assert.equal((await hub.get("/api/v1/entities/{id}", { path })).data.status, "archived");
    await hub.post("/api/v1/entities/{id}/restore", { path });
    assert.equal((await hub.get("/api/v1/entities/{id}", { path })).data.status, "active");
  });

  it("says where a request is wrong", async () => {
    await assert.rejects(hub.post("/api/v1/entities", { body: { type: "customer", attributes: {} } }), (problem: HubProblem) => {
      assert.equal(problem.code, "invalid_attributes");
      assert.ok(problem.errors.length > 0);
      return true;
    });
    await assert.rejects(new Hub({ baseUrl: running.baseUrl, token: "nonsense" }).get("/api/v1/entities"), { name: "HubProblem", code: "invalid_token" });
    const viewer = new Hub({ baseUrl: running.baseUrl, token: await running.token("acme", "viewer") });
    await assert.rejects(viewer.post("/api/v1/entities", { body: { type: "customer", attributes: { name: "D" } } }), { code: "forbidden" });
    const health = await viewer.get("/api/v1/health");
    assert.equal(health.data.service, "backend");
  });
});
