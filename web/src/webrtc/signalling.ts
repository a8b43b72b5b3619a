/** The HTTP side of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one POST, one DELETE. */
import { iceServers } from "./links";

const TIMEOUT_MS = 10_000;
const MAX_DETAIL = 500;

/** What the server said instead of an answer; status 0 when it could not be reached at all. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    /** The server's own sentence (RFC 9457 `detail`), empty where it gave none. */
    readonly detail: string,
    readonly retryAfterMs: number | null,
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
      throw new Refused(answer.status, await detailOf(answer), retryAfter(answer.headers.get("Retry-After")));
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

  /** Ends a session; works from `pagehide` too. A failure is no matter: the server notices by ICE consent. */
  async end(session: string): Promise<void> {
    try {
      await this.#fetch(session, { method: "DELETE", keepalive: true });
    } catch {
      // Offline.
    }
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== null) headers.set("Authorization", `Bearer ${this.token}`);
    return fetch(url, { ...init, headers, credentials: "omit", cache: "no-store" });
  }
}

async function detailOf(answer: Response): Promise<string> {
  if (!/\bjson\b/.test(answer.headers.get("Content-Type") ?? "")) return "";
  try {
    const problem = (await answer.json()) as { detail?: unknown; title?: unknown } | null;
    const detail = problem?.detail ?? problem?.title;
    return typeof detail === "string" ? detail.slice(0, MAX_DETAIL) : "";
  } catch {
    return "";
  }
}

/** Retry-After (RFC 9110 §10.2.3) in ms from now; null without one. */
export function retryAfter(value: string | null, now = Date.now()): number | null {
  if (value === null || value.trim() === "") return null;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}
