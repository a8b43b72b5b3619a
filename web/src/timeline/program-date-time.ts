/** Media time to program date-time and back, from the dates of the listed segments. */

export interface Anchor {
  /** Media time of the segment's first sample, seconds. */
  readonly start: number;
  /** Media time after its last sample, seconds. */
  readonly end: number;
  /** Its program date-time, UTC ms. */
  readonly pdt: number;
}

/** Some float noise is left between the end of one segment and the start of the next. */
const SEAM_S = 0.002;

export class ProgramDateTime {
  #anchors: Anchor[] = [];

  constructor(readonly keepSeconds = 600) {}

  get anchors(): readonly Anchor[] {
    return this.#anchors;
  }

  /** Takes one playlist's segments; older ones stay, for a playhead that is behind the window. */
  update(anchors: readonly Anchor[]): void {
    const valid = anchors.filter((a) => Number.isFinite(a.pdt) && Number.isFinite(a.start) && a.end > a.start);
    const first = valid[0];
    const last = valid.at(-1);
    if (!first || !last) return;
    const oldest = last.end - this.keepSeconds;
    // By date too: a corrected list may have moved the same segment to a later media time.
    const kept = this.#anchors.filter(
      (a) => a.start < first.start - SEAM_S && a.pdt < first.pdt - 1 && a.end > oldest,
    );
    this.#anchors = [...kept, ...valid];
  }

  clear(): void {
    this.#anchors = [];
  }

  /** UTC ms of the sample at `time` seconds; past the last segment its line goes on; null without dates. */
  at(time: number): number | null {
    const anchors = this.#anchors;
    let low = 0;
    let high = anchors.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((anchors[middle] as Anchor).start <= time + SEAM_S) low = middle + 1;
      else high = middle;
    }
    const anchor = anchors[Math.max(0, low - 1)];
    return anchor ? anchor.pdt + (time - anchor.start) * 1000 : null;
  }

  /** Media time of a moment, or null when no listed segment holds it. */
  mediaTime(pdt: number): number | null {
    for (const anchor of this.#anchors) {
      const time = anchor.start + (pdt - anchor.pdt) / 1000;
      if (time >= anchor.start - SEAM_S && time < anchor.end) return Math.max(time, anchor.start);
    }
    return null;
  }
}
