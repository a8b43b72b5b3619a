/** The server's own word on cues: state.json at start and after a seek, and the event stream. */
import type { ServerState } from "../playback/phase";
import { fromEvent, fromState } from "./carriers";
import type { Revision } from "./model";

export interface FeedSink {
  cue(revision: Revision): void;
  state(state: ServerState): void;
}

/** A stream that EventSource gave up (an HTTP error) is tried again after this long, doubling. */
const RETRY_MS = [1000, 2000, 4000, 8000, 15_000] as const;
const STATES: readonly string[] = ["idle", "live", "reconnecting", "ended"];

export class CueFeed {
  #events: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #lastId = "";
  #abort = new AbortController();

  constructor(
    /** Absolute address of the multivariant playlist; `events` and `state.json` lie beside it. */
    private readonly src: string,
    private readonly sink: FeedSink,
  ) {}

  start(): void {
    // The events go on where the state ends, so that no cue falls between the two.
    void this.sync(null).then(() => {
      if (!this.#abort.signal.aborted) this.#connect();
    });
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#retry);
    this.#events?.close();
    this.#events = null;
  }

  /** Cues active at a moment (UTC ms), or at the edge. A failure is no matter: other carriers follow. */
  async sync(at: number | null): Promise<void> {
    const url = new URL("state.json", this.src);
    if (at !== null) url.searchParams.set("at", new Date(at).toISOString());
    try {
      const answer = await fetch(url, { signal: this.#abort.signal, credentials: "omit" });
      if (!answer.ok) return;
      const json: unknown = await answer.json();
      for (const revision of fromState(json)) this.sink.cue(revision);
      const seq = (json as { seq?: unknown } | null)?.seq;
      if (at === null && typeof seq === "number") this.#lastId ||= String(seq);
    } catch {
      // Offline, aborted, or no JSON: the playlist carries the same cues.
    }
  }

  #connect(): void {
    const url = new URL("events", this.src);
    // A new EventSource cannot send Last-Event-ID; the server takes the same from the address.
    if (this.#lastId) url.searchParams.set("after", this.#lastId);
    const events = new EventSource(url);
    this.#events = events;
    events.addEventListener("open", () => {
      this.#attempt = 0;
    });
    events.addEventListener("cue", (event: MessageEvent<string>) => {
      this.#lastId = event.lastEventId || this.#lastId;
      const revision = fromEvent(event.data);
      if (revision) this.sink.cue(revision);
    });
    events.addEventListener("state", (event: MessageEvent<string>) => {
      const state = readState(event.data);
      if (state) this.sink.state(state);
    });
    events.addEventListener("error", () => {
      // CONNECTING: the browser resumes by itself, with Last-Event-ID.
      if (events.readyState !== EventSource.CLOSED) return;
      const delay = RETRY_MS[Math.min(this.#attempt, RETRY_MS.length - 1)];
      this.#attempt += 1;
      this.#retry = setTimeout(() => {
        void this.sync(null);
        this.#connect();
      }, delay);
    });
  }
}

function readState(data: string): ServerState | null {
  try {
    const state = (JSON.parse(data) as { state?: unknown } | null)?.state;
    return typeof state === "string" && STATES.includes(state) ? (state as ServerState) : null;
  } catch {
    return null;
  }
}
