import type { components } from "./schema.js";

/** ProblemDocument is an answer of application/problem+json (RFC 9457). */
export type ProblemDocument = components["schemas"]["Problem"] & Record<string, unknown>;

/**
 * HubProblem is thrown for every answer that is not a success. Branch on `code`, which is
 * stable; `document` has all members, such as the current version of a conflict.
 */
export class HubProblem extends Error {
  override readonly name = "HubProblem";
  readonly status: number;
  readonly code: string;
  readonly requestId: string | undefined;
  /** Where in the request the faults are. */
  readonly errors: readonly { location?: string; message: string }[];
  /** How long the hub asks to be left alone. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly document: ProblemDocument,
    response: Response,
  ) {
    super(`${document.code}: ${document.detail}`);
    this.status = response.status;
    this.code = document.code;
    this.requestId = document.request_id || response.headers.get("X-Request-Id") || undefined;
    this.errors = document.errors ?? [];
    const after = Number(response.headers.get("Retry-After") ?? NaN);
    this.retryAfterSeconds = Number.isFinite(after) && after >= 0 ? after : undefined;
  }
}

/** problemOf reads the problem that an answer is, also when something on the way made it. */
export async function problemOf(response: Response): Promise<HubProblem> {
  let document: ProblemDocument | undefined;
  if (response.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    document = (await response.json().catch(() => undefined)) as ProblemDocument | undefined;
  } else {
    await response.body?.cancel();
  }
  document ??= {
    type: "about:blank",
    title: response.statusText || "Error",
    status: response.status,
    detail: `The answer, ${response.status}, is not one of the hub's own.`,
    code: "not_a_problem_document",
    request_id: "",
  } as ProblemDocument;
  return new HubProblem(document, response);
}
