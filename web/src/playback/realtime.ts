/** When to play by WebRTC: at once where it is wanted, later again after it failed. */

/** UDP that is blocked stays blocked for the most part, and each attempt costs the server a session. */
const AGAIN_MS = [15_000, 30_000, 60_000, 120_000, 300_000] as const;
/** So long it has to last to count as working. */
const STEADY_MS = 20_000;

export class RealtimeChoice {
  #next = 0;
  #failures = 0;
  #connectedAt: number | null = null;

  constructor(private readonly wanted: boolean) {}

  /** Whether to try now; `now` in ms. */
  due(now: number): boolean {
    return this.wanted && now >= this.#next;
  }

  connected(now: number): void {
    this.#connectedAt = now;
  }

  /** It was refused, did not connect, or stopped; `retryAfterMs` is the server's word, if any. */
  failed(now: number, retryAfterMs: number | null = null): void {
    if (this.#connectedAt !== null && now - this.#connectedAt >= STEADY_MS) this.#failures = 0;
    this.#connectedAt = null;
    const own = AGAIN_MS[Math.min(this.#failures, AGAIN_MS.length - 1)] as number;
    this.#failures += 1;
    this.#next = now + Math.max(own, retryAfterMs ?? 0);
  }

  /** The server cannot do it for this stream or at all. */
  hopeless(): void {
    this.#next = Infinity;
  }

  /** The show goes on air (again): what was refused before may work. */
  onAir(now: number): void {
    if (Number.isFinite(this.#next)) this.#next = now;
  }
}
