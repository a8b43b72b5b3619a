/** What the viewer is told, from what the server says and what the picture does. */

export type ServerState = "idle" | "live" | "reconnecting" | "ended";
export type Phase = "loading" | "idle" | "live" | "buffering" | "reconnecting" | "ended" | "unsupported";

export interface Signs {
  /** Null while the event stream has said nothing. */
  readonly server: ServerState | null;
  /** The manifest is not there (4xx, 503). */
  readonly missing: boolean;
  /** The server was at the show a moment ago and says idle: it was started anew, and encoders return to it. */
  readonly restarted: boolean;
  readonly unsupported: boolean;
  readonly everPlayed: boolean;
  /** The last frame of a finished playlist was shown. */
  readonly playedOut: boolean;
  /** Milliseconds without a new frame although one is due; 0 while playing or paused. */
  readonly stalledMs: number;
}

const SPINNER_MS = 400;
const OUTAGE_MS = 5000;
const SURE_OUTAGE_MS = 800;

/** A picture that still moves needs no message, whatever the server says: viewers are a second behind. */
export function phaseOf(signs: Signs): Phase {
  const { server, missing, everPlayed, stalledMs } = signs;
  if (signs.unsupported) return "unsupported";
  if (signs.playedOut) return server === "reconnecting" ? "reconnecting" : "ended";
  if (everPlayed && !missing && stalledMs < SPINNER_MS) return "live";
  if (server === "ended" && (missing || stalledMs >= SURE_OUTAGE_MS || !everPlayed)) return "ended";
  if (server === "idle" && (missing || stalledMs >= SURE_OUTAGE_MS || !everPlayed)) {
    if (!everPlayed) return "idle";
    return signs.restarted ? "reconnecting" : "ended";
  }
  if (missing) return everPlayed || server === "reconnecting" ? "reconnecting" : server === null ? "idle" : "loading";
  if (!everPlayed) return server === "reconnecting" ? "reconnecting" : "loading";
  if (server === "reconnecting" && stalledMs >= SURE_OUTAGE_MS) return "reconnecting";
  return stalledMs >= OUTAGE_MS ? "reconnecting" : "buffering";
}
