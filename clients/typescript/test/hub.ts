// A real hub for the tests: the binary of `make build`, on ports and data of its own.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const binary = fileURLToPath(new URL("../../../../bin/hub", import.meta.url));

export interface RunningHub {
  baseUrl: string;
  token(organisation: string, ...roles: string[]): Promise<string>;
  stop(): Promise<void>;
}

export async function startHub(): Promise<RunningHub> {
  const folder = await mkdtemp(join(tmpdir(), "hub-client-"));
  await chmod(folder, 0o755); // the database's user, if not ours, must get through
  const [http, query, issuer] = [await freePort(), await freePort(), await freePort()];
  const outside = Object.entries(process.env).filter(([name]) => !name.startsWith("HUB_"));
  const child = spawn(binary, ["dev"], {
    env: {
      ...Object.fromEntries(outside),
      HUB_HTTP_ADDR: `127.0.0.1:${http}`,
      HUB_QUERY_ADDR: `127.0.0.1:${query}`,
      HUB_DEV_IDENTITY_ADDR: `127.0.0.1:${issuer}`,
      HUB_DATA_DIR: join(folder, "data"),
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await untilRunning(child);
  return {
    baseUrl: `http://127.0.0.1:${http}`,
    async token(organisation, ...roles) {
      const response = await fetch(`http://127.0.0.1:${issuer}/token`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ sub: "ana", org_id: organisation, roles }),
      });
      return ((await response.json()) as { access_token: string }).access_token;
    },
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const [code] = await ended;
      await rm(folder, { recursive: true, force: true });
      if (code !== 0) throw new Error(`hub ended with code ${code}`);
    },
  };
}

async function untilRunning(child: ChildProcess): Promise<void> {
  const failed = Promise.race([
    once(child, "exit").then(() => Promise.reject(new Error("hub ended at its start"))),
    once(child, "error").then(([error]) => Promise.reject(error)),
  ]);
  failed.catch(() => undefined); // from the start on, ending is no failure
  const started = (async () => {
    for await (const line of createInterface({ input: child.stdout! })) {
      if (line.includes("is running")) return;
    }
    await failed;
  })();
  await Promise.race([started, failed]);
  child.stdout!.resume();
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
