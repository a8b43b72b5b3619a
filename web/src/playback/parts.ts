/** What hls.js knows of the parts it has loaded. */
import type { LevelDetails, Part } from "hls.js";

/** The newest piece of a rendition in the buffer; `part` null for a whole segment. */
export interface Piece {
  level: number;
  sn: number;
  part: number | null;
}

/**
 * Marks as loaded the parts of a segment up to the one in the buffer. hls.js 1.7 forgets this of the
 * first parts of a segment; where the browser then rounds the end of its buffer to a microsecond inside
 * that segment, as it does before a discontinuity, hls.js takes the segment for the next one to load,
 * finds it complete, and loads nothing more: a standstill until the supervisor ends it, 2.5 s later.
 */
export function recall(details: Pick<LevelDetails, "partList"> | null, buffered: Piece | null): void {
  if (!buffered || buffered.part === null) return;
  for (const part of details?.partList ?? []) {
    const { sn, level } = part.fragment;
    if (sn !== buffered.sn || level !== buffered.level || part.index > buffered.part || part.loaded) continue;
    mark(part);
  }
}

const bridged = new WeakSet<object>();

/** Whether the list has no media for a segment or part. */
export function isMissing(piece: { gap?: boolean }): boolean {
  return piece.gap === true || bridged.has(piece);
}

/** Whether the newest whole segment is missing, and nothing came after it. */
export function hasPaused(details: Pick<LevelDetails, "live" | "fragments" | "partList">): boolean {
  const last = details.fragments.at(-1);
  if (!details.live || last?.gap !== true || !last.tagList.some(([tag]) => tag === "GAP")) return false;
  return (details.partList ?? []).every((part) => part.fragment.sn <= last.sn || isMissing(part));
}

/**
 * Takes missing parts at the end of a segment that was loaded up to them for loaded. hls.js 1.7 goes on behind such parts only
 * once the whole next segment is listed, 2 s later, where the sound is there and only pictures are missing.
 */
export function bridge(details: { partList: readonly Part[] | null } | null): void {
  let loaded = false;
  let sn = -1;
  for (const part of details?.partList ?? []) {
    // A segment that is missing as a whole must drive hls.js to another rung.
    if (part.fragment.sn !== sn) loaded = false;
    sn = part.fragment.sn;
    // hls.js calls missing also what it failed to load.
    if (part.gap && part.stats.loading.start === 0 && (loaded || part.loaded)) {
      part.gap = false;
      bridged.add(part);
      mark(part);
    }
    loaded = part.loaded && !part.gap;
  }
}

function mark(part: Part): void {
  const { start, end } = part;
  const kind = part.fragment.type === "audio" ? "audio" : "video";
  part.elementaryStreams[kind] = { startPTS: start, endPTS: end, startDTS: start, endDTS: end };
}
