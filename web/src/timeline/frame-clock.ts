/** Calls back for every presented frame with its media time. */

/** Without frames (audio only, hidden page, old browser) the clock falls back to this period. */
const FALLBACK_MS = 100;
/** Longest silence of requestVideoFrameCallback that is still a slow picture and no missing one. */
const SILENCE_MS = 400;

export class FrameClock {
  #handle = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastFrame = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    /**
     * `mediaTime` in seconds: of the presented frame, not currentTime, which runs ahead of it. `frame` is
     * null where no frame tells and it is currentTime after all.
     */
    private readonly onFrame: (mediaTime: number, frame: VideoFrameCallbackMetadata | null) => void,
  ) {}

  start(): void {
    if (this.#timer !== undefined) return;
    if ("requestVideoFrameCallback" in this.video) this.#request();
    this.#timer = setInterval(() => {
      if (this.video.readyState >= 2 && performance.now() - this.#lastFrame > SILENCE_MS && !this.video.paused) {
        this.onFrame(this.video.currentTime, null);
      }
    }, FALLBACK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#handle) this.video.cancelVideoFrameCallback(this.#handle);
    this.#handle = 0;
  }

  #request(): void {
    this.#handle = this.video.requestVideoFrameCallback((now, frame) => {
      this.#lastFrame = now;
      this.#request();
      this.onFrame(frame.mediaTime, frame);
    });
  }
}
