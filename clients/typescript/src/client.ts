import type { Body, Method, Path, PathParameters, Query, Result } from "./operations.js";
import { HubProblem, problemOf } from "./problem.js";
import type { components, paths } from "./schema.js";
import { messages } from "./sse.js";

export interface HubOptions {
  /** Where the hub is, without /api: https://hub.example */
  baseUrl: string;
  /** The access token, or how to get the current one before each attempt. */
  token: string | (() => string | Promise<string>);
  /**
   * With true, the default, each read waits until it shows all that this client has
   * written before.
   */
  readYourWrites?: boolean;
  /** How long such a read may wait, in seconds, 30 at most; the hub's default is 5. */
  waitSeconds?: number;
  /** Attempts at one request, the first included; 5 unless set. */
  attempts?: number;
  /** Longest pause between two attempts, in milliseconds; 10 000 unless set. */
  maxPauseMilliseconds?: number;
  /** fetch, if not the global one. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

interface Common {
  /** Your name for the request, for logs on both sides. */
  requestId?: string;
  signal?: AbortSignal;
}

export interface ReadOptions extends Common {
  /** Answer notModified while the entity tag is still this one. */
  ifNoneMatch?: string;
  /** Wait for this position instead of the client's own last one; 0 waits for none. */
  minPosition?: number;
}

export interface WriteOptions extends Common {
  /** Write only if this is still the version: the etag of a read or a receipt. */
  ifMatch?: string;
  /** Made up unless given. The same key with the same request is never done twice. */
  idempotencyKey?: string;
  /** Why; kept with the events. */
  reason?: string;
}

/** An event of the log, as the hub sends it (CloudEvents 1.0). */
export type CloudEvent = components["schemas"]["CloudEvent"];

export interface FollowOptions {
  /** Begin with the events after this position; with those to come unless given. */
  after?: number;
  /** The epoch that this position is of: of the answer or the event that it is from. */
  epoch?: string;
  /** Only these types; category.* stands for all of a category. */
  types?: readonly string[];
  /** Only what bears this tag. */
  tag?: string;
  signal?: AbortSignal;
}

/** Three heartbeats: a connection that is silent for longer is dead. */
const silenceMilliseconds = 45_000;

export interface Answer<T> {
  data: T;
  status: number;
  etag: string | undefined;
  /** Of a write, the position of its last event; of a read, that of what it shows. */
  position: number | undefined;
  epoch: string | undefined;
  /** The write had been done by an earlier request with the same key. */
  replayed: boolean;
  /** 304: data is undefined, what you hold is current. */
  notModified: boolean;
}

type WithPath<P extends keyof paths, M extends Method> = [PathParameters<P, M>] extends [never] ? { path?: never } : { path: PathParameters<P, M> };
type WithBody<P extends keyof paths, M extends Method> = [Body<P, M>] extends [never] ? { body?: never } : { body: Body<P, M> };
type Read<P extends keyof paths> = WithPath<P, "get"> & { query?: Query<P, "get"> } & ReadOptions;
type Write<P extends keyof paths, M extends Method> = WithPath<P, M> & WithBody<P, M> & { query?: Query<P, M> } & WriteOptions;
// A request without anything in it may be left out.
type Arguments<R> = object extends R ? [request?: R] : [request: R];

interface Plain extends ReadOptions, WriteOptions {
  path?: Record<string, string | number>;
  query?: Record<string, unknown>;
  body?: unknown;
}

/**
 * Hub is a thin typed client: paths, parameters, bodies and answers are those of the
 * OpenAPI document. It sends an Idempotency-Key with every write, so that it can repeat
 * one whose outcome it does not know, and remembers how far it has written, so that its
 * reads show it.
 */
export class Hub {
  readonly #options: Required<Omit<HubOptions, "waitSeconds">> & Pick<HubOptions, "waitSeconds">;
  #position = 0;
  #epoch: string | undefined;

  constructor(options: HubOptions) {
    this.#options = {
      readYourWrites: true,
      attempts: 5,
      maxPauseMilliseconds: 10_000,
      fetch: (url, init) => fetch(url, init),
      ...options,
      baseUrl: options.baseUrl.replace(/\/+$/, ""),
    };
  }

  /** The last position that this client has written. */
  get position(): number {
    return this.#position;
  }

  get<P extends Path<"get">>(path: P, ...[request]: Arguments<Read<P>>): Promise<Answer<Result<P, "get">>> {
    return this.#send("get", path, (request ?? {}) as Plain);
  }

  post<P extends Path<"post">>(path: P, ...[request]: Arguments<Write<P, "post">>): Promise<Answer<Result<P, "post">>> {
    return this.#send("post", path, (request ?? {}) as Plain);
  }

  put<P extends Path<"put">>(path: P, ...[request]: Arguments<Write<P, "put">>): Promise<Answer<Result<P, "put">>> {
    return this.#send("put", path, (request ?? {}) as Plain);
  }

  patch<P extends Path<"patch">>(path: P, ...[request]: Arguments<Write<P, "patch">>): Promise<Answer<Result<P, "patch">>> {
    return this.#send("patch", path, (request ?? {}) as Plain);
  }

  delete<P extends Path<"delete">>(path: P, ...[request]: Arguments<Write<P, "delete">>): Promise<Answer<Result<P, "delete">>> {
    return this.#send("delete", path, (request ?? {}) as Plain);
  }

  /** items yields all items of a list, page after page. */
  async *items<P extends Path<"get">>(path: P, ...[request]: Arguments<Read<P>>): AsyncGenerator<Item<Result<P, "get">>> {
    const plain = (request ?? {}) as Plain;
    for (let cursor: string | undefined; ; ) {
      const page = await this.#send<Page>("get", path, { ...plain, query: { ...plain.query, cursor } });
      yield* page.data.items as Item<Result<P, "get">>[];
      if (!page.data.next_cursor) return;
      cursor = page.data.next_cursor;
    }
  }

  /**
   * follow yields what happens, each event once and in order, without an end: it connects
   * again, with a new token, whenever the stream has ended or broken. It throws a
   * HubProblem when it may not go on, which of code epoch_changed means that the log was
   * restored to before what was yielded last; its document has the position and the epoch
   * to go on from.
   */
  async *follow(options: FollowOptions = {}): AsyncGenerator<CloudEvent> {
    let { after, epoch } = options;
    for (let failures = 0, retry = 1000; ; ) {
      const connection = new AbortController();
      const abort = () => connection.abort(options.signal?.reason);
      options.signal?.addEventListener("abort", abort, { once: true });
      let silence: ReturnType<typeof setTimeout> | undefined;
      const alive = () => {
        clearTimeout(silence);
        silence = setTimeout(() => connection.abort(new TypeError("the stream is silent")), silenceMilliseconds);
      };
      try {
        if (options.signal?.aborted) throw options.signal.reason;
        alive();
        const query = queryString({ after, epoch, types: options.types?.join(","), tag: options.tag });
        const response = await this.#options.fetch(`${this.#options.baseUrl}/api/v1/events/stream${query}`, {
          headers: { Authorization: `Bearer ${await this.#token()}` },
          signal: connection.signal,
        });
        if (!response.ok) throw await problemOf(response);
        after ??= Number(response.headers.get("Hub-Position"));
        epoch = response.headers.get("Hub-Epoch") ?? epoch;
        for await (const message of messages(response.body!)) {
          alive();
          failures = 0;
          retry = message.retryMilliseconds ?? retry;
          if (message.event === "end") break; // connecting again tells whether there is a way on
          if (message.id !== "") after = Number(message.id);
          if (message.data !== undefined) yield JSON.parse(message.data) as CloudEvent;
        }
      } catch (failure) {
        if (options.signal?.aborted || ++failures >= this.#options.attempts || !mayRepeat(failure)) throw failure;
        retry = this.#pauseBefore(failures, failure);
      } finally {
        clearTimeout(silence);
        options.signal?.removeEventListener("abort", abort);
        connection.abort(); // also when nobody wants to hear more
      }
      await pause(Math.min(retry, this.#options.maxPauseMilliseconds), options.signal);
    }
  }

  async #send<T>(method: Method, path: string, request: Plain): Promise<Answer<T>> {
    const url = this.#options.baseUrl + filled(path, request.path) + queryString(request.query);
    const headers = this.#headers(method, request);
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    for (let attempt = 1; ; attempt++) {
      let failure: unknown;
      try {
        headers.set("Authorization", `Bearer ${await this.#token()}`);
        const response = await this.#options.fetch(url, {
          method: method.toUpperCase(),
          headers,
          body,
          ...(request.signal && { signal: request.signal }),
        });
        if (response.ok || response.status === 304) return await this.#answer<T>(method, response);
        failure = await problemOf(response);
      } catch (error) {
        failure = error;
      }
      if (request.signal?.aborted || attempt >= this.#options.attempts || !mayRepeat(failure)) {
        this.#forgetAfter(failure);
        throw failure;
      }
      await pause(this.#pauseBefore(attempt, failure), request.signal);
    }
  }

  async #token(): Promise<string> {
    const { token } = this.#options;
    return typeof token === "string" ? token : token();
  }

  #headers(method: Method, request: Plain): Headers {
    const headers = new Headers();
    const set = (name: string, value: string | undefined) => value !== undefined && headers.set(name, value);
    set("X-Request-Id", request.requestId);
    if (request.body !== undefined) headers.set("Content-Type", "application/json");
    if (method !== "get") {
      headers.set("Idempotency-Key", request.idempotencyKey ?? newKey());
      set("If-Match", request.ifMatch);
      set("Hub-Reason", request.reason && encodeHeader(request.reason));
      return headers;
    }
    set("If-None-Match", request.ifNoneMatch);
    const position = request.minPosition ?? (this.#options.readYourWrites ? this.#position : 0);
    if (position > 0) {
      headers.set("Hub-Min-Position", String(position));
      set("Hub-Epoch", this.#epoch);
      if (this.#options.waitSeconds !== undefined) headers.set("Prefer", `wait=${this.#options.waitSeconds}`);
    }
    return headers;
  }

  async #answer<T>(method: Method, response: Response): Promise<Answer<T>> {
    const header = (name: string) => response.headers.get(name) ?? undefined;
    const position = header("Hub-Position");
    const answer: Answer<T> = {
      data: (response.status === 304 ? undefined : await response.json()) as T,
      status: response.status,
      etag: header("ETag"),
      position: position === undefined ? undefined : Number(position),
      epoch: header("Hub-Epoch"),
      replayed: header("Idempotency-Replayed") === "true",
      notModified: response.status === 304,
    };
    if (method !== "get" && answer.position !== undefined) this.#position = Math.max(this.#position, answer.position);
    if (answer.epoch !== undefined) this.#epoch = answer.epoch;
    return answer;
  }

  /** After a restore, positions of the log before mean nothing any more. */
  #forgetAfter(failure: unknown): void {
    if (failure instanceof HubProblem && failure.code === "epoch_changed") {
      this.#position = 0;
      this.#epoch = undefined;
    }
  }

  /** Twice as long each time, less up to half at random, so that clients spread. */
  #pauseBefore(attempt: number, failure: unknown): number {
    const asked = failure instanceof HubProblem ? (failure.retryAfterSeconds ?? 0) * 1000 : 0;
    const own = 100 * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
    return Math.min(Math.max(asked, own), this.#options.maxPauseMilliseconds);
  }
}

interface Page {
  items: unknown[];
  next_cursor?: string | null;
}

type Item<L> = L extends { items: (infer I)[] | null } ? I : never;

/**
 * mayRepeat tells what may be done again: with its key a write is done once however often
 * it is sent. Without an answer nothing is known; 503 did nothing, and 504 does not know.
 */
function mayRepeat(failure: unknown): boolean {
  if (failure instanceof HubProblem) return failure.status === 503 || failure.status === 504 || failure.status === 429;
  return failure instanceof TypeError; // fetch: no connection, or it broke
}

function filled(path: string, values: Record<string, string | number> | undefined): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values?.[name];
    if (value === undefined || value === "") throw new RangeError(`the path ${path} needs a value for ${name}`);
    return encodeURIComponent(value);
  });
}

function queryString(query: Record<string, unknown> | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

/** Header values are bytes; text goes as UTF-8. */
function encodeHeader(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** A key must differ from the caller's others of a week; nobody need be unable to guess it. */
function newKey(): string {
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${[0, 0, 0].map(() => Math.random().toString(36).slice(2)).join("")}`;
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }
    function aborted() {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
