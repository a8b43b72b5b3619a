/** From each carrier's form to a Revision. Bad input gives null: a stranger's tag is not our cue. */
import { Certainty, parseCue, parseTime, type Revision } from "./model";

export const CUE_ATTRIBUTE = "X-ORG-VITRINA-CUE";
export const TXXX_DESCRIPTION = "org.vitrina.cue";
const MAX_CUE_BYTES = 8192;

/** base64url (RFC 4648 §5, padding optional) to UTF-8 text; null when it is neither. */
export function decodeBase64Url(value: string): string | null {
  if (value.length > MAX_CUE_BYTES * 2 || !/^[\w-]*={0,2}$/.test(value)) return null;
  try {
    const binary = atob(value.replaceAll("-", "+").replaceAll("_", "/").replaceAll("=", ""));
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function parseJson(text: string | null): unknown {
  if (text === null || text.length > MAX_CUE_BYTES) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/**
 * EXT-X-DATERANGE (rfc8216bis §4.4.5.1): START-DATE is when the revision takes effect; `ends` is its
 * END-DATE or START-DATE + DURATION, null while unknown. Times in UTC ms.
 */
export function fromDateRange(attribute: string, start: number, ends: number | null): Revision | null {
  const cue = parseCue(parseJson(decodeBase64Url(attribute)));
  if (!cue || !Number.isFinite(start)) return null;
  // An instant range is a mark (an end, a retraction, a zero-length cue), not a bound on what shows.
  const until = ends !== null && ends > start ? ends : null;
  return { cue, effective: start, certainty: Certainty.DateRange, until };
}

/** One emsg whose ID3 tag may hold a cue; `pdt` is the UTC ms of its presentation time, if known. */
export function fromId3(tag: Uint8Array, pdt: number | null): Revision | null {
  for (const frame of userTextFrames(tag)) {
    if (frame.description !== TXXX_DESCRIPTION) continue;
    const cue = parseCue(parseJson(frame.value));
    if (!cue) return null;
    // A first revision holds from the cue's own time, however late its emsg could ride.
    const late = pdt === null || cue.rev === 1;
    return {
      cue,
      effective: late ? cue.at : pdt,
      certainty: late ? Certainty.Inferred : Certainty.InBand,
      until: null,
    };
  }
  return null;
}

/** The JSON of SSE and state.json, with its optional `effective`. */
export function fromJson(json: unknown): Revision | null {
  const cue = parseCue(json);
  if (!cue) return null;
  const stated = parseTime((json as Record<string, unknown>)["effective"]);
  return {
    cue,
    effective: stated ?? cue.at,
    certainty: stated === null ? Certainty.Inferred : Certainty.Stated,
    until: null,
  };
}

export function fromEvent(data: string): Revision | null {
  return fromJson(parseJson(data));
}

/** The cues of a state.json answer; other shapes give none. */
export function fromState(json: unknown): Revision[] {
  const cues = Array.isArray(json) ? json : (json as { cues?: unknown } | null)?.cues;
  if (!Array.isArray(cues)) return [];
  return (cues as unknown[]).map(fromJson).filter((one) => one !== null);
}

export interface UserText {
  readonly description: string;
  readonly value: string;
}

/**
 * TXXX frames of an ID3v2.3/2.4 tag (id3.org, ID3v2.4.0 §4.2.6). Reads within the tag's own bytes only
 * and stops at the first frame that does not fit.
 */
export function userTextFrames(tag: Uint8Array): UserText[] {
  if (tag.length < 10 || tag[0] !== 0x49 || tag[1] !== 0x44 || tag[2] !== 0x33) return [];
  const version = tag[3] ?? 0;
  if (version !== 3 && version !== 4) return [];
  const end = Math.min(tag.length, 10 + syncsafe(tag, 6));
  const frames: UserText[] = [];
  let at = 10;
  if ((tag[5] ?? 0) & 0x40) at += version === 4 ? syncsafe(tag, 10) : 4 + uint32(tag, 10);
  while (at + 10 <= end) {
    const size = version === 4 ? syncsafe(tag, at + 4) : uint32(tag, at + 4);
    const body = at + 10;
    if (size < 1 || body + size > end) break;
    if (String.fromCharCode(...tag.subarray(at, at + 4)) === "TXXX") {
      const frame = userText(tag.subarray(body, body + size));
      if (frame) frames.push(frame);
    }
    at = body + size;
  }
  return frames;
}

function userText(body: Uint8Array): UserText | null {
  const encoding = ["windows-1252", "utf-16", "utf-16be", "utf-8"][body[0] ?? 255];
  if (!encoding) return null;
  const wide = encoding.startsWith("utf-16") ? 2 : 1;
  let stop = 1;
  while (stop + wide <= body.length && (body[stop] !== 0 || (wide === 2 && body[stop + 1] !== 0))) stop += wide;
  if (stop + wide > body.length) return null;
  const decoder = new TextDecoder(encoding);
  return {
    description: decoder.decode(body.subarray(1, stop)),
    value: decoder.decode(body.subarray(stop + wide)).replace(/\0+$/, ""),
  };
}

function syncsafe(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i += 1) value = value * 128 + ((bytes[i] ?? 0) & 0x7f);
  return value;
}

function uint32(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i += 1) value = value * 256 + (bytes[i] ?? 0);
  return value;
}
