/** The cue as every carrier brings it (interface.md: cue; times are program date-time in UTC ms). */

export type Text = string | Readonly<Record<string, string>>;
export type CueState = "scheduled" | "live" | "ended" | "retracted";
/** t in seconds after `at`; x, y, w, h in 0..1 of the picture. */
export type PathPoint = readonly [t: number, x: number, y: number, w: number, h: number];

export interface PinData {
  readonly sku: string;
  readonly slot?: string;
  readonly label?: Text;
}
export interface HotspotData {
  readonly sku: string;
  readonly path: readonly PathPoint[];
  readonly label?: Text;
  readonly shape?: "rect" | "ellipse";
}
export interface ChapterData {
  readonly title: Text;
  readonly image?: string;
}
export interface NoticeData {
  readonly text: Text;
  readonly level?: "info" | "legal" | "warning";
  readonly url?: string;
}

interface Known {
  pin: PinData;
  hotspot: HotspotData;
  chapter: ChapterData;
  notice: NoticeData;
}

interface CueBase {
  readonly id: string;
  readonly rev: number;
  readonly state: CueState;
  /** First moment of the cue, UTC ms. */
  readonly at: number;
  /** First moment after the cue, UTC ms; null while open. */
  readonly end: number | null;
}

export type CueOf<T extends keyof Known> = CueBase & { readonly type: T; readonly data: Known[T] };
export type OtherCue = CueBase & { readonly type: "other"; readonly name: string; readonly data: unknown };
export type Cue = CueOf<"pin"> | CueOf<"hotspot"> | CueOf<"chapter"> | CueOf<"notice"> | OtherCue;

/** How well a carrier knows from when on a revision holds; a higher one replaces a lower one. */
export enum Certainty {
  /** No time but the cue's own. */
  Inferred = 0,
  /** emsg: true, except that a late one rides in the next part. */
  InBand = 1,
  /** START-DATE of the DATERANGE. */
  DateRange = 2,
  /** The `effective` field. */
  Stated = 3,
}

export interface Revision {
  readonly cue: Cue;
  /** The revision holds from here on, UTC ms. */
  readonly effective: number;
  readonly certainty: Certainty;
  /** A bound that the carrier added later (END-DATE, DURATION), UTC ms. */
  readonly until: number | null;
}

const MAX_POINTS = 256;
const STATES: readonly string[] = ["scheduled", "live", "ended", "retracted"];

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

/** RFC 3339 to UTC ms; null for anything that is no moment. */
export function parseTime(value: unknown): number | null {
  if (typeof value !== "string") return null;
  const ms = Date.parse(value);
  return Number.isFinite(ms) ? ms : null;
}

function isText(value: unknown): value is Text {
  if (typeof value === "string") return true;
  const byLanguage = record(value);
  return byLanguage !== null && Object.values(byLanguage).every((text) => typeof text === "string");
}

function text(value: unknown): { label?: Text } {
  return isText(value) ? { label: value } : {};
}

function path(value: unknown): PathPoint[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_POINTS) return null;
  const points: PathPoint[] = [];
  for (const point of value as unknown[]) {
    if (!Array.isArray(point) || point.length !== 5) return null;
    if (!point.every((n) => typeof n === "number" && Number.isFinite(n))) return null;
    points.push(point as unknown as PathPoint);
  }
  return points.sort((a, b) => a[0] - b[0]);
}

/** An address that may become a link or an image: never script. */
function safeUrl(value: unknown): string | null {
  if (typeof value !== "string") return null;
  try {
    const url = new URL(value, "https://relative.invalid/");
    return url.protocol === "https:" || url.protocol === "http:" ? value : null;
  } catch {
    return null;
  }
}

/**
 * A cue out of a carrier's JSON, or null when it breaks the contract. Types that this player does not
 * draw come back as "other", so that an embedding shop still gets their events.
 */
export function parseCue(json: unknown): Cue | null {
  const raw = record(json);
  if (!raw || typeof raw["id"] !== "string" || raw["id"] === "") return null;
  const { id, rev, state, type } = raw;
  if (typeof rev !== "number" || !Number.isSafeInteger(rev) || rev < 1) return null;
  if (typeof state !== "string" || !STATES.includes(state)) return null;
  const at = parseTime(raw["at"]);
  if (at === null || typeof type !== "string") return null;
  const base: CueBase = { id: id as string, rev, state: state as CueState, at, end: parseTime(raw["end"]) };
  const data = record(raw["data"]) ?? {};
  const { sku } = data;
  switch (type) {
    case "pin": {
      if (typeof sku !== "string") return null;
      const slot = typeof data["slot"] === "string" ? { slot: data["slot"] } : {};
      return { ...base, type, data: { sku, ...slot, ...text(data["label"]) } };
    }
    case "hotspot": {
      const points = path(data["path"]);
      if (typeof sku !== "string" || !points) return null;
      const shape = data["shape"] === "ellipse" ? "ellipse" : "rect";
      return { ...base, type, data: { sku, path: points, shape, ...text(data["label"]) } };
    }
    case "chapter": {
      if (!isText(data["title"])) return null;
      const image = safeUrl(data["image"]);
      return { ...base, type, data: { title: data["title"], ...(image ? { image } : {}) } };
    }
    case "notice": {
      if (!isText(data["text"])) return null;
      const level = data["level"] === "legal" || data["level"] === "warning" ? data["level"] : "info";
      const url = safeUrl(data["url"]);
      return { ...base, type, data: { text: data["text"], level, ...(url ? { url } : {}) } };
    }
    default:
      return { ...base, type: "other", name: type, data: raw["data"] };
  }
}

/** The wire name of the cue's type. */
export function cueType(cue: Cue): string {
  return cue.type === "other" ? cue.name : cue.type;
}
