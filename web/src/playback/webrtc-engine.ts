/** WebRTC playback over WHEP: sub-second, without a list, a buffer to seek in, or a choice of rungs. */
import { fromChannel } from "../cues/channel";
import { Connection, isFinal } from "../webrtc/connection";
import { withOpus, withoutRequests } from "../webrtc/sdp";
import { Refused, Signalling } from "../webrtc/signalling";
import { type Reception, receptionOf } from "../webrtc/stats";
import type { Engine, EngineSink, Level, Sound } from "./engine";
import { RtpClock } from "./rtp-clock";

export const CUE_CHANNEL = "vitrina.cues";
const CONNECT_MS = 4000;
/** Without a packet, or without a picture that can be decoded, for this long it counts as stopped. */
const SILENT_MS = 5000;
const POLL_MS = 250;

export interface RealtimeSink extends EngineSink {
  /** The first media is there; `attach` shows it. */
  ready(): void;
  /** Refused, not connected, or stopped. `hopeless`: this server does not do it. */
  gone(retryAfterMs: number | null, hopeless: boolean): void;
}

export class WebRtcEngine implements Engine {
  readonly name = "webrtc";
  readonly levels: readonly Level[] = [];
  readonly currentLevel = -1;
  readonly sounds: readonly Sound[] = [];
  readonly targetLatency = null;
  readonly livePosition = null;
  readonly resumePosition = null;
  readonly remaining = null;
  readonly isLive = true;
  quality = -1;
  sound = -1;
  readonly #clock = new RtpClock();
  readonly #stream = new MediaStream();
  readonly #connection: Connection;
  #timer: ReturnType<typeof setInterval> | undefined;
  #destroyed = false;
  #ready = false;
  #attached = false;
  #connectedAt: number | null = null;
  #reception: Reception | null = null;
  #polledAt = 0;
  #packetsAt = 0;
  #picturesAt = 0;
  #presented: number | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    endpoint: string,
    private readonly sink: RealtimeSink,
  ) {
    this.#connection = new Connection(new Signalling(endpoint), {
      prepare: (peer) => this.#prepare(peer),
      // Browsers take no time from pictures whose packets they have asked for, and ask for all that
      // were overtaken: where packets overtake each other, they show pictures in bunches.
      local: (sdp) => withoutRequests(withOpus(sdp, { stereo: 1 })),
      connectMs: CONNECT_MS,
      connected: () => this.#connected(),
      lost: () => this.#gone(null, false),
    });
  }

  async start(): Promise<void> {
    if (typeof RTCPeerConnection === "undefined") {
      this.#gone(null, true);
      return;
    }
    try {
      await this.#connection.open();
    } catch (error) {
      const refused = error instanceof Refused ? error : null;
      const hopeless = refused ? [401, 403, 404, 405].includes(refused.status) : isFinal(error);
      this.#gone(refused?.retryAfterMs ?? null, hopeless);
    }
  }

  /** Puts the tracks on screen; whatever was on the element before has to be gone. */
  attach(): void {
    if (this.#destroyed) return;
    this.#attached = true;
    this.video.playbackRate = 1;
    this.video.srcObject = this.#stream;
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    clearInterval(this.#timer);
    this.#connection.close();
    if (this.#attached) {
      this.video.srcObject = null;
      this.video.load();
    }
  }

  /** UTC ms of a presented picture; without one, of what plays now. */
  dateOf(frame: VideoFrameCallbackMetadata | null): number | null {
    const exact = frame?.rtpTimestamp === undefined ? null : this.#clock.at(frame.rtpTimestamp);
    this.#presented = exact ?? this.#estimate();
    return this.#presented;
  }

  get latency(): number | null {
    if (this.#presented === null) return null;
    return Math.max(0, Date.now() + (this.#reception?.clockOffsetMs ?? 0) - this.#presented) / 1000;
  }

  cushion(): void {
    // The jitter buffer minds itself.
  }

  sidestep(): void {
    // The server chooses the rung.
  }

  #prepare(peer: RTCPeerConnection): void {
    for (const kind of ["video", "audio"] as const) {
      const { receiver } = peer.addTransceiver(kind, { direction: "recvonly" });
      hurry(receiver);
    }
    const channel = peer.createDataChannel(CUE_CHANNEL);
    channel.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.#cue(data);
    });
    // The server says goodbye by closing: seconds sooner than silence would tell.
    channel.addEventListener("close", () => this.#gone(null, false));
    peer.addEventListener("track", ({ track }) => {
      this.#stream.addTrack(track);
      track.addEventListener("unmute", () => this.#media(), { once: true });
      if (!track.muted) this.#media();
    });
  }

  #connected(): void {
    const now = performance.now();
    this.#connectedAt = this.#packetsAt = this.#picturesAt = now;
    this.#timer = setInterval(() => void this.#poll(), POLL_MS);
  }

  #media(): void {
    if (this.#ready || this.#destroyed) return;
    this.#ready = true;
    this.sink.ready();
  }

  #cue(data: string): void {
    const { revisions, pair } = fromChannel(data);
    if (pair) this.#clock.pair(pair.rtp, pair.utc);
    for (const revision of revisions) this.sink.cue(revision);
  }

  #estimate(): number | null {
    if (this.#connectedAt === null) return null;
    const playout = this.#reception?.playoutUtc ?? null;
    // Without a sender report yet: what plays is about as old as the way here is long.
    if (playout === null) return Date.now();
    return playout + (performance.now() - this.#polledAt);
  }

  async #poll(): Promise<void> {
    const report = await this.#connection.peer?.getStats();
    if (!report || this.#destroyed) return;
    const now = performance.now();
    const before = this.#reception;
    const reception = receptionOf([...report.values()]);
    this.#reception = reception;
    this.#polledAt = now;
    if (before === null || reception.packets > before.packets) {
      this.#packetsAt = now;
      this.sink.advanced();
    }
    // A hidden page may leave pictures undecoded.
    const still = reception.pictures !== null && reception.pictures === before?.pictures;
    if (!still || document.hidden) this.#picturesAt = now;
    if (now - Math.min(this.#packetsAt, this.#picturesAt) > SILENT_MS) this.#gone(null, false);
  }

  #gone(retryAfterMs: number | null, hopeless: boolean): void {
    if (this.#destroyed) return;
    this.sink.gone(retryAfterMs, hopeless);
  }
}

/** As little delay as the network allows; the second name is the one of older Chromium. */
function hurry(receiver: RTCRtpReceiver): void {
  const target = "jitterBufferTarget" in receiver ? "jitterBufferTarget" : "playoutDelayHint";
  Object.assign(receiver, { [target]: 0 });
}
