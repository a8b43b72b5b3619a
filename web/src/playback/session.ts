/** Plays one stream for as long as its element lives: engines come and go, the session stays. */
import { CueFeed } from "../cues/feed";
import { CueScheduler, type CueChange } from "../cues/scheduler";
import { FrameClock } from "../timeline/frame-clock";
import { ProgramDateTime } from "../timeline/program-date-time";
import { LatencyCushion } from "./cushion";
import { type Engine, type EngineSink, type Failure, prefersNative } from "./engine";
import { HlsEngine } from "./hls-engine";
import { NativeEngine } from "./native-engine";
import { DRIFT_S, paceOf } from "./pace";
import { RealtimeChoice } from "./realtime";
import { WebRtcEngine } from "./webrtc-engine";
import { type Phase, type ServerState, phaseOf } from "./phase";
import { StallMeter } from "./stalls";

export interface SessionSink {
  phase(phase: Phase): void;
  cues(changes: readonly CueChange[]): void;
  /** After every presented frame that has a date, UTC ms. */
  frame(pdt: number): void;
  levels(): void;
}

const TICK_MS = 250;
/** Rebuilds after a failure, ms; the last one repeats. */
const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 5000] as const;
/** A hole in the buffer is stepped over after this long, faster than hls.js walks its gap list. */
const HOLE_MS = 700;
/** Standing still this close to the end of a finished list is the end. */
const LAST_S = 0.75;
/** The longest picture before a hole. */
const FRAME_S = 0.25;
/** What has to be there behind a hole. */
const AFTER_HOLE_S = 0.25;
const RESYNC_MS = 2500;
/** After the playlist grows again, hls.js gets this long to go on by itself. */
const RETURN_MS = 600;
const RESYNC_AGAIN_MS = 4000;
const REBUILD_MS = 12_000;
const SILENT_ORIGIN_MS = 20_000;
const FRESH_MS = 4000;
const SILENCE_MS = 2000;
/** Two parts late: the second that low latency buffers is nearly gone. */
const STILL_MS = 750;
const SEEK_SYNC_MS = 300;
/** Longer waits are outages; staying further behind would not have helped. */
const OWN_NETWORK_MS = 3000;
const LONG_WAIT_MS = 1500;
/** After a restart of the server its encoders are back within this, or the show is over. */
const RESTART_MS = 60_000;

export class Session {
  readonly scheduler = new CueScheduler();
  readonly clock = new ProgramDateTime();
  readonly #meter = new StallMeter();
  readonly #cushion = new LatencyCushion();
  readonly #frames: FrameClock;
  readonly #feed: CueFeed;
  readonly #realtime: RealtimeChoice;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;
  #rebuild: ReturnType<typeof setTimeout> | undefined;
  #seekSync: ReturnType<typeof setTimeout> | undefined;
  #engine: Engine | null = null;
  /** HLS follows on WebRTC, and has not played yet. */
  #afterRealtime = false;
  /** Connects while another engine still plays. */
  #standby: WebRtcEngine | null = null;
  #quality = -1;
  #failures = 0;
  #server: ServerState | null = null;
  /** When the server said idle though it had not said that the show ended. */
  #restartedAt: number | null = null;
  #missing = false;
  #unsupported = false;
  #everPlayed = false;
  #playedOut = false;
  #phase: Phase = "loading";
  #presented: number | null = null;
  #furthest: number | null = null;
  #advancedAt = 0;
  /** When the playlist began to grow, or grew again after a silence. */
  #returnedAt = 0;
  #resyncAt = 0;
  #lastTime = -1;
  /** Media time of the latest frame shown. */
  #shown = -1;
  #movedAt = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly src: string,
    private readonly sink: SessionSink,
    /** Address of the WHEP endpoint, null for HLS alone. */
    private readonly whep: string | null = null,
  ) {
    this.#realtime = new RealtimeChoice(whep !== null);
    this.#frames = new FrameClock(video, (time, frame) => this.#frame(time, frame));
    this.#feed = new CueFeed(src, {
      cue: (revision) => void this.scheduler.merge(revision),
      state: (state) => this.#serverSays(state),
    });
  }

  get engine(): Engine | null {
    return this.#engine;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get quality(): number {
    return this.#quality;
  }

  set quality(index: number) {
    this.#quality = index;
    if (this.#engine) this.#engine.quality = index;
  }

  /** UTC ms of the frame on screen. */
  get presented(): number | null {
    return this.#presented;
  }

  /** UTC ms of the latest frame ever shown: what a seek back does not take from the viewer. */
  get furthest(): number | null {
    return this.#furthest;
  }

  get stalls(): number {
    return this.#meter.stalls(performance.now());
  }

  get stallSeconds(): number {
    return this.#meter.seconds(performance.now());
  }

  start(): void {
    const { signal } = this.#abort;
    const on = (name: string, run: () => void) => this.video.addEventListener(name, run, { signal });
    on("waiting", () => {
      if (this.#everPlayed && !this.video.seeking && !this.video.paused) this.#meter.waiting(performance.now());
    });
    on("playing", () => this.#moved());
    on("pause", () => this.#meter.resumed(performance.now(), true));
    on("seeked", () => this.#sought());
    on("ended", () => this.#over());
    this.#frames.start();
    this.#feed.start();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#build();
  }

  stop(): void {
    this.#abort.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#rebuild);
    clearTimeout(this.#seekSync);
    this.#frames.stop();
    this.#feed.stop();
    this.#standby?.destroy();
    this.#engine?.destroy();
    this.#engine = null;
  }

  goLive(): void {
    const position = this.#engine?.livePosition;
    if (position !== null && position !== undefined) this.video.currentTime = position;
  }

  #build(): void {
    clearTimeout(this.#rebuild);
    this.#rebuild = undefined;
    this.#engine?.destroy();
    this.clock.clear(); // a new engine has a new zero
    this.#playedOut = false;
    this.#advancedAt = this.#returnedAt = this.#movedAt = performance.now();
    if (this.#standby === null && this.#realtime.due(this.#advancedAt)) {
      this.#engine = this.#connect();
      return;
    }
    const Kind = prefersNative(this.video) ? NativeEngine : HlsEngine;
    this.#engine = new Kind(this.video, this.src, this.#engineSink());
    this.#engine.quality = this.#quality;
    void this.#engine.start();
  }

  #engineSink(): EngineSink {
    return {
      anchors: (anchors) => {
        this.clock.update(anchors);
        this.#afterwards();
      },
      cue: (revision) => void this.scheduler.merge(revision),
      levels: () => this.sink.levels(),
      advanced: () => this.#advanced(),
      failed: (failure) => this.#failed(failure),
      dateAt: (time) => this.clock.at(time),
    };
  }

  /** Starts a WebRTC connection, which takes the picture over once media comes. */
  #connect(): WebRtcEngine {
    const engine: WebRtcEngine = new WebRtcEngine(this.video, this.whep ?? "", {
      ...this.#engineSink(),
      advanced: () => {
        if (this.#engine === engine) this.#advanced();
      },
      ready: () => this.#takeOver(engine),
      gone: (retryAfterMs, hopeless) => this.#gone(engine, retryAfterMs, hopeless),
    });
    void engine.start();
    return engine;
  }

  #takeOver(engine: WebRtcEngine): void {
    const playing = !this.video.paused;
    this.#realtime.connected(performance.now());
    if (this.#standby === engine) {
      this.#standby = null;
      clearTimeout(this.#rebuild);
      this.#rebuild = undefined;
      this.#engine?.destroy();
      this.#engine = engine;
    }
    this.clock.clear();
    this.#playedOut = false;
    this.#advancedAt = this.#returnedAt = this.#movedAt = performance.now();
    engine.attach();
    this.#goOn(playing);
    this.sink.levels();
    this.#tell();
  }

  #gone(engine: WebRtcEngine, retryAfterMs: number | null, hopeless: boolean): void {
    const playing = !this.video.paused;
    engine.destroy();
    this.#realtime.failed(performance.now(), retryAfterMs);
    if (hopeless) this.#realtime.hopeless();
    if (this.#standby === engine) this.#standby = null;
    if (this.#engine !== engine) return;
    this.#engine = null;
    this.#afterRealtime = this.#everPlayed;
    this.#build(); // HLS, at once
    this.#goOn(playing);
  }

  /** The viewer has seen a finished show to its end in realtime: HLS would begin it anew. */
  #afterwards(): void {
    const engine = this.#engine;
    if (!this.#afterRealtime || engine === null || engine.isLive) return;
    this.#afterRealtime = false;
    engine.destroy();
    this.#engine = null;
    this.#over();
  }

  /** Another source stops the element (HTML, media element load algorithm). */
  #goOn(playing: boolean): void {
    // Autoplay may be refused only where nothing played before.
    if (playing) void this.video.play().catch(() => undefined);
  }

  #advanced(): void {
    const now = performance.now();
    if (now - this.#advancedAt > SILENCE_MS) this.#returnedAt = now;
    this.#advancedAt = now;
    if (this.#missing) {
      this.#missing = false;
      this.#tell();
    }
  }

  #failed(failure: Failure): void {
    this.#engine?.destroy();
    this.#engine = null;
    this.#unsupported = failure === "unsupported";
    this.#missing = failure === "missing" || (failure === "network" && this.#missing);
    if (!this.#unsupported) this.#later();
    this.#tell();
  }

  #later(): void {
    if (this.#rebuild !== undefined) return;
    const step = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 5000;
    this.#failures += 1;
    // Spread, so that a thousand viewers do not come back in the same millisecond.
    this.#rebuild = setTimeout(() => this.#build(), step * (0.75 + Math.random() / 2));
  }

  #serverSays(state: ServerState): void {
    if (state === "live" && this.#server !== null && this.#server !== "live") this.#realtime.onAir(performance.now());
    if (state !== "idle") this.#restartedAt = null;
    else if (this.#server === "live" || this.#server === "reconnecting") this.#restartedAt = performance.now();
    this.#server = state;
    const waits = this.#engine === null || this.#playedOut || this.#missing;
    const sooner = !this.#everPlayed && this.#engine?.name !== "webrtc" && this.#realtime.due(performance.now());
    if (state === "live" && (waits || sooner)) {
      this.#failures = 0;
      this.#build();
    }
    this.#tell();
  }

  #frame(time: number, frame: VideoFrameCallbackMetadata | null): void {
    if (frame) this.#shown = time;
    const pdt = this.#engine?.dateOf ? this.#engine.dateOf(frame) : this.clock.at(time);
    if (pdt === null) return;
    this.#presented = pdt;
    this.#furthest = Math.max(pdt, this.#furthest ?? pdt);
    const changes = this.scheduler.frame(pdt);
    if (changes.length > 0) this.sink.cues(changes);
    this.sink.frame(pdt);
  }

  #moved(): void {
    const now = performance.now();
    const wait = this.#meter.current(now);
    if (wait >= 100 && wait < OWN_NETWORK_MS && this.#server !== "reconnecting") this.#cushion.stalled(now);
    this.#meter.resumed(now, !this.#everPlayed);
    // A wait leaves the viewer behind without having chosen to be.
    if (wait >= LONG_WAIT_MS && (this.#late() ?? 0) > DRIFT_S) this.goLive();
    this.#movedAt = now;
    this.#afterRealtime = false;
    this.#everPlayed = true;
    this.#playedOut = false;
    this.#missing = false;
    this.#failures = 0;
    this.#tell();
  }

  #over(): void {
    this.#meter.resumed(performance.now(), true);
    this.#playedOut = true;
    this.#tell();
  }

  #sought(): void {
    clearTimeout(this.#seekSync);
    this.#seekSync = setTimeout(() => {
      void this.#feed.sync(this.clock.at(this.video.currentTime));
    }, SEEK_SYNC_MS);
  }

  #tick(): void {
    this.#afterwards();
    const now = performance.now();
    const { video } = this;
    const engine = this.#engine;
    if (video.currentTime !== this.#lastTime) {
      this.#lastTime = video.currentTime;
      // Chromium lets the sound run on for seconds over missing pictures, without a waiting event.
      if (this.#everPlayed && !video.paused && !video.seeking && inHole(video)) this.#meter.waiting(now);
      else if (this.#meter.current(now) > 0 && video.readyState >= 3 && !video.seeking) this.#moved();
      if (this.#meter.current(now) === 0) this.#movedAt = now;
    }
    this.#overHole();
    engine?.cushion(this.#cushion.tick(now));
    const other = engine !== null && engine.name !== "webrtc" && this.#everPlayed && this.#server === "live";
    if (other && this.#standby === null && this.#realtime.due(now)) this.#standby = this.#connect();
    const still = now - this.#advancedAt;
    // A silence of all renditions (the encoder's) is not one rung's fault.
    if (this.#everPlayed && this.#server === "live" && still > STILL_MS && still < SILENCE_MS) engine?.sidestep();
    this.#pace();
    // Before the first picture the element is still paused: autoplay waits for loadeddata.
    const starting = !this.#everPlayed && video.readyState === HTMLMediaElement.HAVE_METADATA;
    const due = engine !== null && (!video.paused || starting) && !this.#playedOut;
    if (due) this.#recover(engine, now - this.#movedAt, now);
    if (!due) this.#movedAt = now;
    this.#tell();
  }

  /**
   * Chromium plays the sound on over a hole in the pictures, and keeps the last picture for up to three
   * seconds although those behind the hole are there. A seek brings them at once.
   */
  #overHole(): void {
    const { video } = this;
    if (video.paused || video.seeking || !this.#everPlayed) return;
    const to = behindHole(video, this.#shown);
    if (to === null) return;
    this.#shown = to;
    video.currentTime = to;
  }

  /** Seconds later than it should be; null where that means nothing. */
  #late(): number | null {
    const { latency, targetLatency } = this.#engine ?? { latency: null, targetLatency: null };
    return latency === null || targetLatency === null ? null : latency - targetLatency;
  }

  #pace(): void {
    const { video } = this;
    const late = this.#late();
    if (late === null || video.paused || video.seeking) return;
    const silent = performance.now() - this.#advancedAt > SILENCE_MS; // nothing to catch up with
    const forward = silent ? 0 : forwardBuffer(video);
    const rate = paceOf({ late, forward, rate: video.playbackRate });
    if (rate !== video.playbackRate) video.playbackRate = rate;
  }

  /** Steps that bring a stuck picture back, mildest first; `stuck` in ms. */
  #recover(engine: Engine, stuck: number, now: number): void {
    const { video } = this;
    if (stuck < HOLE_MS || (video.seeking && stuck < RESYNC_MS)) return;
    const next = nextBuffered(video);
    if (next !== null) {
      video.currentTime = next;
      return;
    }
    // hls.js ends a show only where sound and picture end within half a part of each other.
    if ((engine.remaining ?? Infinity) < LAST_S) {
      this.#over();
      return;
    }
    const fresh = now - this.#advancedAt < FRESH_MS;
    const back = now - this.#returnedAt;
    if (stuck >= RESYNC_MS && fresh && back >= RETURN_MS && now - this.#resyncAt > RESYNC_AGAIN_MS) {
      const target = engine.resumePosition;
      if (target !== null && Math.abs(target - video.currentTime) > 0.2) {
        this.#resyncAt = now;
        video.currentTime = target;
        return;
      }
    }
    const silent = now - this.#advancedAt > SILENT_ORIGIN_MS && this.#server !== "reconnecting";
    if (silent || (Math.min(stuck, back) >= REBUILD_MS && fresh && this.#everPlayed)) {
      engine.destroy();
      this.#engine = null;
      this.#later();
    }
  }

  #tell(): void {
    const now = performance.now();
    const due = !this.video.paused && !this.#playedOut;
    const phase = phaseOf({
      server: this.#server,
      missing: this.#missing,
      restarted: this.#restartedAt !== null && now - this.#restartedAt < RESTART_MS,
      unsupported: this.#unsupported,
      everPlayed: this.#everPlayed,
      playedOut: this.#playedOut,
      stalledMs: due ? now - this.#movedAt : 0,
    });
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.sink.phase(phase);
  }
}

/** Where the next buffered stretch begins when the playhead stands before a hole; null when it does not. */
function nextBuffered(video: HTMLVideoElement): number | null {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i += 1) {
    const start = buffered.start(i);
    const end = buffered.end(i);
    if (start <= currentTime && end > currentTime + 0.15) return null; // media is there: the decoder is slow
    if (start > currentTime && end - start > 0.3) return start + 0.02;
  }
  return null;
}

/** Where to go on once the playhead has come to a hole or run over it, and `shown` lies before it. */
function behindHole({ buffered, currentTime }: HTMLVideoElement, shown: number): number | null {
  for (let i = 1; i < buffered.length; i += 1) {
    const hole = buffered.end(i - 1);
    const start = buffered.start(i);
    const end = buffered.end(i);
    const played = shown <= hole && hole - shown < FRAME_S;
    if (played && currentTime > hole - FRAME_S / 2 && end - start > AFTER_HOLE_S && currentTime < end) {
      return Math.max(currentTime, start) + 0.02;
    }
  }
  return null;
}

/** Whether the playhead stands or runs between two buffered stretches. */
function inHole({ buffered, currentTime }: HTMLVideoElement): boolean {
  let after = false;
  for (let i = 0; i < buffered.length; i += 1) {
    if (buffered.start(i) <= currentTime && buffered.end(i) > currentTime) return false;
    after ||= buffered.start(i) > currentTime;
  }
  return after;
}

/** Seconds buffered from the playhead on without a hole. */
function forwardBuffer({ buffered, currentTime }: HTMLVideoElement): number {
  for (let i = 0; i < buffered.length; i += 1) {
    if (buffered.start(i) <= currentTime + 0.05 && buffered.end(i) > currentTime) {
      return buffered.end(i) - currentTime;
    }
  }
  return 0;
}
