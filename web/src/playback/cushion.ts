/** How much further behind live to stay after stalls, and when to come back. */

const STEP_S = 0.35;
const MAX_S = 2;
const CALM_MS = 20_000;

export class LatencyCushion {
  #seconds = 0;
  #since = 0;

  get seconds(): number {
    return this.#seconds;
  }

  /** A stall of the viewer's own network; an encoder's outage is none. `now` in ms. */
  stalled(now: number): void {
    this.#seconds = Math.min(MAX_S, this.#seconds + STEP_S);
    this.#since = now;
  }

  /** Takes one step back per calm period; returns the seconds to keep. */
  tick(now: number): number {
    if (this.#seconds > 0 && now - this.#since >= CALM_MS) {
      this.#seconds = Math.max(0, this.#seconds - STEP_S);
      this.#since = now;
    }
    return this.#seconds;
  }
}
