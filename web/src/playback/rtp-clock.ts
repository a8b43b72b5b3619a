/** RTP timestamps of pictures to UTC, from the pairs that cue messages carry. */

const TICKS_PER_MS = 90;
/** Within half of this, which signed 32-bit arithmetic tells apart (6.6 h), the anchor moves along. */
const FAR_TICKS = 2 ** 30;

export class RtpClock {
  #rtp: number | null = null;
  #utc = 0;

  get known(): boolean {
    return this.#rtp !== null;
  }

  /** `rtp` of 32 bits is the timestamp of the picture of the moment `utc`, UTC ms. */
  pair(rtp: number, utc: number): void {
    if (!Number.isInteger(rtp) || rtp < 0 || rtp > 0xffff_ffff || !Number.isFinite(utc)) return;
    this.#rtp = rtp;
    this.#utc = utc;
  }

  /** UTC ms of the picture with this timestamp; null before the first pair. */
  at(rtp: number): number | null {
    if (this.#rtp === null) return null;
    const ticks = (rtp - this.#rtp) | 0; // signed, modulo 2^32
    const utc = this.#utc + ticks / TICKS_PER_MS;
    if (Math.abs(ticks) > FAR_TICKS) {
      this.#rtp = rtp;
      this.#utc = utc;
    }
    return utc;
  }

  clear(): void {
    this.#rtp = null;
  }
}
