/**
 * Playback rate that keeps a live picture at its distance from the edge.
 *
 * hls.js has a controller of its own, but it waits for a second of buffer before it speeds up, and with
 * a part hold-back of one second that much is never there: it settled at 1.3 s where 1.0 was asked for.
 */

/** Two parts of 1/3 s less their travel: with less in the buffer, catching up would cause a stall. */
const MIN_FORWARD_S = 0.55;
const START_S = 0.12;
const STOP_S = 0.03;
/** Further away is the viewer's own choice (a seek, a pause), not drift. */
export const DRIFT_S = 3.5;
const MAX_RATE = 1.25;
const MIN_STEP = 0.03;
/** Nearer to the edge than the hold-back, every late part is a stall; slower than this is heard. */
const MIN_RATE = 0.92;

export interface Distance {
  /** Seconds that playback is later than it should be; negative: too near to the edge. */
  readonly late: number;
  /** Seconds in the buffer ahead of the playhead. */
  readonly forward: number;
  /** The rate now. */
  readonly rate: number;
}

/** The rate to set; 1 unless there is something to fall back, or to catch up and media to do it with. */
export function paceOf({ late, forward, rate }: Distance): number {
  if (late < (rate < 1 ? -STOP_S : -START_S)) {
    return Math.round((1 + Math.max(MIN_RATE - 1, Math.min(-MIN_STEP, late * 0.5))) * 100) / 100;
  }
  const limit = rate > 1 ? STOP_S : START_S;
  if (late < limit || late > DRIFT_S || forward < MIN_FORWARD_S) return 1;
  const gain = Math.max(MIN_STEP, Math.min(MAX_RATE - 1, late * 0.5));
  return Math.round((1 + gain) * 100) / 100;
}
