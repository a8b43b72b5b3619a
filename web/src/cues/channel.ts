/** Messages of the data channel `vitrina.cues`: what the event stream says, with the RTP time of its moment. */
import { fromJson, fromState } from "./carriers";
import { type Revision, parseTime } from "./model";

const MAX_CHARS = 1 << 20;
/** A pair from further away could be a whole wrap of RTP time (13.3 h) off. */
const NEAR_MS = 3_600_000;

export interface Pair {
  /** RTP timestamp, 32 bits. */
  readonly rtp: number;
  /** UTC ms of the picture that has it. */
  readonly utc: number;
}

export interface Message {
  readonly revisions: readonly Revision[];
  readonly pair: Pair | null;
}

/** Bad input gives no revisions and no pair. */
export function fromChannel(data: string, now = Date.now()): Message {
  const json = parse(data);
  const state = json["event"] === "state";
  const one = state ? null : fromJson(json);
  return { revisions: state ? fromState(json) : one ? [one] : [], pair: pairOf(json, now) };
}

function parse(data: string): Record<string, unknown> {
  try {
    const json: unknown = data.length > MAX_CHARS ? null : JSON.parse(data);
    return typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function pairOf({ rtp, utc }: Record<string, unknown>, now: number): Pair | null {
  const moment = typeof utc === "number" ? utc : parseTime(utc);
  if (typeof rtp !== "number" || moment === null || Math.abs(moment - now) > NEAR_MS) return null;
  return { rtp, utc: moment };
}
