/** Counts interruptions of playback that the viewer did not ask for. */

/** Three frames at 30 fps: shorter waits are not seen. */
const NOTICEABLE_MS = 100;

export class StallMeter {
  #began: number | null = null;
  #count = 0;
  #ms = 0;

  /** Playback has no next frame. `now` in ms. */
  waiting(now: number): void {
    this.#began ??= now;
  }

  /** A frame moved again, or the wait had a reason (pause, seek, end): then it does not count. */
  resumed(now: number, asked = false): void {
    if (this.#began !== null && !asked && now - this.#began >= NOTICEABLE_MS) {
      this.#count += 1;
      this.#ms += now - this.#began;
    }
    this.#began = null;
  }

  /** Milliseconds of the wait that goes on, 0 while playing. */
  current(now: number): number {
    return this.#began === null ? 0 : now - this.#began;
  }

  stalls(now: number): number {
    return this.#count + (this.current(now) >= NOTICEABLE_MS ? 1 : 0);
  }

  seconds(now: number): number {
    const current = this.current(now);
    return (this.#ms + (current >= NOTICEABLE_MS ? current : 0)) / 1000;
  }
}
