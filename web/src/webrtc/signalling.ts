/** The HTTP side of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one POST, one DELETE. */
import { iceServers } from "./links";

const TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 4000;
const MAX_DETAIL = 500;

/** What the server said instead of an answer; status 0 when it could not be reached at all. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    /** The server's own sentence (RFC 9457 `detail`), empty where it gave none. */
    readonly detail: string,
    readonly retryAfterMs: number | null,
    /** Of a session that the server has ended: `revoked`, `limit`, `timeout` or `error`. */
    readonly reason: string | null = null,
  ) {
    super(detail || `HTTP ${status}`);
  }
}

export interface Answered {
  readonly sdp: string;
  /** Address of the session, for DELETE. */
  readonly session: string;
  readonly iceServers: readonly RTCIceServer[];
}

export class Signalling {
  constructor(
    private readonly endpoint: string,
    /** Sent as Bearer on every request, never anywhere else. */
    private readonly token: string | null = null,
  ) {}

  /** Throws `Refused`, and AbortError once `signal` is aborted. */
  async offer(sdp: string, signal: AbortSignal): Promise<Answered> {
    let answer: Response;
    try {
      answer = await this.#fetch(this.endpoint, {
        method: "POST",
        body: sdp,
        headers: { "Content-Type": "application/sdp" },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new Refused(0, "", null);
    }
    if (answer.status !== 201) {
      throw await refusedBy(answer);
    }
    const location = answer.headers.get("Location");
    // Redirected (307, 308): a relative Location is relative to where the answer came from.
    if (location === null) throw new Refused(answer.status, "The answer has no Location header.", null);
    return {
      sdp: await answer.text(),
      session: new URL(location, answer.url || this.endpoint).href,
      iceServers: iceServers(answer.headers.get("Link")),
    };
  }

  /**
   * Ends a session; works from `pagehide` too. Null once it is over, else what the server says of it: why it
   * has ended it itself (409), or nothing at all (status 0). Never throws.
   */
  async end(session: string): Promise<Refused | null> {
    try {
      const answer = await this.#fetch(session, {
        method: "DELETE",
        keepalive: true,
        signal: AbortSignal.timeout(END_TIMEOUT_MS),
      });
      return answer.ok || answer.status === 404 ? null : await refusedBy(answer);
    } catch {
      return new Refused(0, "", null);
    }
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== null) headers.set("Authorization", `Bearer ${this.token}`);
    return fetch(url, { ...init, headers, credentials: "omit", cache: "no-store" });
  }
}

async function refusedBy(answer: Response): Promise<Refused> {
  const { detail, reason } = await problemOf(answer);
  return new Refused(answer.status, detail, retryAfter(answer.headers.get("Retry-After")), reason);
}

async function problemOf(answer: Response): Promise<{ detail: string; reason: string | null }> {
  const nothing = { detail: "", reason: null };
  if (!/\bjson\b/.test(answer.headers.get("Content-Type") ?? "")) return nothing;
  try {
    const problem = (await answer.json()) as { detail?: unknown; title?: unknown; reason?: unknown } | null;
    const detail = problem?.detail ?? problem?.title;
    return {
      detail: typeof detail === "string" ? detail.slice(0, MAX_DETAIL) : "",
      reason: typeof problem?.reason === "string" ? problem.reason : null,
    };
  } catch {
    return nothing;
  }
}

/** Retry-After (RFC 9110 §10.2.3) in ms from now; null without one. */
export function retryAfter(value: string | null, now = Date.now()): number | null {
  if (value === null || value.trim() === "") return null;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}
