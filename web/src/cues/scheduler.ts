/** Turns presented frames into cues that enter, change and leave. */
import type { Cue, Revision } from "./model";
import { CueStore } from "./store";

export type CueChange = { readonly phase: "enter" | "update" | "leave"; readonly cue: Cue };

/** A frame this far from the last one is a seek or a skipped hole, not the next frame. */
const JUMP_MS = 500;
const MAX_ERRORS = 1000;

export class CueScheduler {
  readonly store = new CueStore();
  /** Presented frame's date minus the cue's `at`, ms, for each cue whose moment was played through. */
  readonly paintErrors: number[] = [];
  #active: readonly Cue[] = [];
  #last: number | null = null;
  /** Date of the first frame of the stretch that plays without a jump. */
  #stretch = 0;

  get active(): readonly Cue[] {
    return this.#active;
  }

  merge(revision: Revision): boolean {
    return this.store.merge(revision);
  }

  /** `pdt` is the presented frame's date, UTC ms. Returns what changed with this frame. */
  frame(pdt: number): CueChange[] {
    if (this.#last === null || pdt < this.#last || pdt - this.#last > JUMP_MS) this.#stretch = pdt;
    this.#last = pdt;
    const before = new Map(this.#active.map((cue) => [cue.id, cue]));
    const now = this.store.activeAt(pdt);
    const changes: CueChange[] = [];
    for (const cue of now) {
      const held = before.get(cue.id);
      before.delete(cue.id);
      if (held === cue) continue;
      if (!held) this.#measure(cue, pdt);
      changes.push({ phase: held ? "update" : "enter", cue });
    }
    for (const cue of before.values()) changes.push({ phase: "leave", cue });
    if (changes.length > 0) this.#active = now;
    return changes;
  }

  reset(): CueChange[] {
    const changes = this.#active.map((cue): CueChange => ({ phase: "leave", cue }));
    this.#active = [];
    this.#last = null;
    this.store.clear();
    return changes;
  }

  #measure(cue: Cue, pdt: number): void {
    if (cue.at <= this.#stretch) return; // it began before this stretch: joined or sought into
    if (this.paintErrors.length >= MAX_ERRORS) this.paintErrors.shift();
    this.paintErrors.push(pdt - cue.at);
  }
}
