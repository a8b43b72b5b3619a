/** Merges what the carriers bring by (id, rev) and says what holds at a moment. */
import type { Cue, CueOf, Revision } from "./model";

/**
 * Segment dates and cue times are both rounded to a millisecond; without this much grace a cue on the
 * very time of a frame would show one frame late.
 */
export const ROUNDING_MS = 1;
/** An instant cue (end = at) lasts this long, so that no frame interval can step over it. */
const INSTANT_MS = 250;
const MAX_IDS = 1024;

export class CueStore {
  readonly #byId = new Map<string, Revision[]>();
  #dropped = 0;

  /** Cues let go because more than 1024 were held (the oldest that are over go first). */
  get dropped(): number {
    return this.#dropped;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** True when the revision is new or says more about one already held. */
  merge(revision: Revision): boolean {
    const { id, rev } = revision.cue;
    const held = this.#byId.get(id);
    if (!held) {
      this.#byId.set(id, [revision]);
      this.#bound();
      return true;
    }
    const index = held.findIndex((other) => other.cue.rev <= rev);
    const same = index >= 0 ? held[index] : undefined;
    if (same?.cue.rev !== rev) {
      held.splice(index < 0 ? held.length : index, 0, revision); // highest revision first
      return true;
    }
    const better =
      revision.certainty > same.certainty ||
      (revision.certainty === same.certainty && revision.effective < same.effective);
    const until = earliest(same.until, revision.until);
    if (!better && until === same.until) return false;
    const times = better ? revision : same;
    held[index] = { cue: same.cue, effective: times.effective, certainty: times.certainty, until };
    return true;
  }

  /** The revision of a cue that holds at `t` (UTC ms), whether it shows or not. */
  at(id: string, t: number): Revision | null {
    return (this.#byId.get(id) ?? []).find((held) => held.effective <= t + ROUNDING_MS) ?? null;
  }

  /**
   * What shows at `t` (UTC ms), in order of `at`. A new pin ends the old one of its slot, a new chapter
   * the old chapter, and for good: the old one does not come back when the new one ends.
   */
  activeAt(t: number): Cue[] {
    const active: Cue[] = [];
    const last = new Map<string, Cue>();
    for (const revisions of this.#byId.values()) {
      const held = revisions.find((one) => one.effective <= t + ROUNDING_MS);
      if (!held) continue;
      const { cue } = held;
      if (shows(held, t)) active.push(cue);
      const key = exclusive(cue);
      if (key === null || cue.at > t + ROUNDING_MS || cue.state === "retracted") continue;
      const other = last.get(key);
      if (!other || byTime(other, cue) < 0) last.set(key, cue);
    }
    return active
      .filter((cue) => {
        const key = exclusive(cue);
        return key === null || last.get(key) === cue;
      })
      .sort(byTime);
  }

  /** Chapters that have begun by `t` and were not taken back, oldest first. */
  chaptersUntil(t: number): CueOf<"chapter">[] {
    const chapters: CueOf<"chapter">[] = [];
    for (const id of this.#byId.keys()) {
      const held = this.at(id, t);
      if (held?.cue.type === "chapter" && held.cue.state !== "retracted" && held.cue.at <= t + ROUNDING_MS) {
        chapters.push(held.cue);
      }
    }
    return chapters.sort(byTime);
  }

  clear(): void {
    this.#byId.clear();
  }

  #bound(): void {
    if (this.#byId.size <= MAX_IDS) return;
    // Insertion order is arrival order; chapters stay longest because the menu lists them.
    const first = [...this.#byId].find(([, held]) => held[0]?.cue.type !== "chapter") ?? [...this.#byId][0];
    if (first) this.#byId.delete(first[0]);
    this.#dropped += 1;
  }
}

function shows({ cue, until }: Revision, t: number): boolean {
  if (cue.state === "ended" || cue.state === "retracted" || cue.at > t + ROUNDING_MS) return false;
  const end = earliest(cue.end, until);
  return end === null || t + ROUNDING_MS < (end <= cue.at ? cue.at + INSTANT_MS : end);
}

/** Cues with the same key end one another. */
function exclusive(cue: Cue): string | null {
  if (cue.type === "pin") return `pin ${cue.data.slot ?? "main"}`;
  return cue.type === "chapter" ? "chapter" : null;
}

function byTime(a: Cue, b: Cue): number {
  return a.at - b.at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null) return b;
  return b === null ? a : Math.min(a, b);
}
