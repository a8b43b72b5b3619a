/** Keeps one stream published over WHIP: connects, watches, connects again. */
import { Connection, type Goodbye, type Loss, isFinal } from "../webrtc/connection";
import { withOpus, withStartBitrate } from "../webrtc/sdp";
import { Refused, Signalling } from "../webrtc/signalling";
import { type Rates, type Sending, ratesOf, sendingOf } from "../webrtc/stats";
import { AUDIO_BITRATE, preferred } from "./quality";

/** `replaced`: the server gave the stream to another encoder, or ended the show; only a person may take it back. */
export type PublishState = "idle" | "connecting" | "live" | "reconnecting" | "failed" | "replaced";

export interface Figures extends Rates {
  readonly sending: Sending;
  /** Seconds since it went live. */
  readonly age: number;
}

export interface PublisherSink {
  state(state: PublishState): void;
  figures(figures: Figures | null): void;
  /** Why it is not live: a Refused, the browser's error, or a lost connection. Null when it works again. */
  trouble(error: unknown, loss: Loss | null): void;
}

export interface Plan {
  readonly endpoint: string;
  readonly key: string;
  readonly stream: MediaStream;
  /** Of the picture, bits per second and pictures per second. */
  readonly bitrate: number;
  readonly fps: number;
  readonly stereo: boolean;
}

const CONNECT_MS = 8000;
const FIGURES_MS = 1000;
/** Waits between attempts, ms; the last one repeats: all viewers wait for this one publisher. */
export const BACKOFF_MS = [500, 1000, 2000, 4000] as const;
/** A disconnected transport often comes back by itself. */
const DISCONNECTED_MS = 4000;
/** Goodbyes without an answer until an offer is tried all the same: something between may let no DELETE through. */
const MAX_UNHEARD = 5;
/** So long it has to be live for the waits to begin anew. */
const STEADY_MS = 10_000;

export class Publisher {
  #connection: Connection | null = null;
  #state: PublishState = "idle";
  #attempt = 0;
  #everLive = false;
  #liveAt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #figures: ReturnType<typeof setInterval> | undefined;
  #disconnected: ReturnType<typeof setTimeout> | undefined;
  #last: Sending | null = null;
  /** To the session before, until the server has answered it. */
  #goodbye: Goodbye | null = null;
  #unheard = 0;

  constructor(
    private readonly plan: Plan,
    private readonly sink: PublisherSink,
  ) {}

  get state(): PublishState {
    return this.#state;
  }

  /** Whether there is no place for sound in what is sent. */
  get silent(): boolean {
    return this.plan.stream.getAudioTracks().length === 0;
  }

  start(): void {
    this.#set("connecting");
    window.addEventListener("online", this.#online);
    this.#connect();
  }

  stop(): void {
    this.#end("idle");
  }

  /** The network is back: no use in waiting. */
  readonly #online = (): void => {
    if (this.#retry === undefined) return;
    clearTimeout(this.#retry);
    void this.#next();
  };

  /** Puts another track of the same kind in place without a new connection. */
  async replace(track: MediaStreamTrack): Promise<void> {
    const senders = this.#connection?.peer?.getSenders() ?? [];
    for (const old of this.plan.stream.getTracks()) {
      if (old.kind !== track.kind) continue;
      const sender = senders.find((one) => one.track === old);
      this.plan.stream.removeTrack(old);
      this.plan.stream.addTrack(track);
      await sender?.replaceTrack(track);
    }
  }

  /** Once it is known how the session before ended: another one may have the stream, and shall keep it. */
  async #next(): Promise<void> {
    this.#retry = undefined;
    const goodbye = this.#goodbye;
    if (goodbye !== null) {
      const said = await goodbye.heard();
      if (goodbye !== this.#goodbye) return;
      if (said?.status === 0 && ++this.#unheard < MAX_UNHEARD) {
        this.#again(said, null, goodbye);
        return;
      }
      if (this.#replaced(said)) return;
      this.#goodbye = null;
      if (said === null || said.status !== 0) this.#unheard = 0;
    }
    this.#connect(this.#unheard > 0 ? goodbye : null);
  }

  /** Whether a session's end means that there is to be no other by itself. */
  #replaced(said: Refused | null): boolean {
    if (said?.reason !== "revoked") return false;
    this.#end("replaced");
    this.sink.trouble(said, null);
    return true;
  }

  #hear(goodbye: Goodbye, said: Refused | null): void {
    if (goodbye !== this.#goodbye || this.#replaced(said)) return;
    if (said?.reason) this.sink.trouble(said, null);
  }

  /** `unheard`: to ask again where the offer finds nobody either. */
  #connect(unheard: Goodbye | null = null): void {
    const { endpoint, key, stereo, bitrate } = this.plan;
    const connection = new Connection(new Signalling(endpoint, key), {
      prepare: (peer) => this.#prepare(peer),
      ...(stereo ? { local: (sdp: string) => withOpus(sdp, { stereo: 1, "sprop-stereo": 1 }) } : {}),
      remote: (sdp) =>
        withStartBitrate(
          withOpus(sdp, { ...(stereo ? { stereo: 1 } : {}), maxaveragebitrate: AUDIO_BITRATE }),
          Math.round(bitrate / 2000),
        ),
      connectMs: CONNECT_MS,
      connected: () => this.#connected(),
      lost: (loss, goodbye) => this.#again(null, loss, goodbye),
    });
    this.#connection = connection;
    connection.open().catch((error: unknown) => {
      if (this.#connection !== connection) return;
      this.#again(error, null, error instanceof Refused && error.status === 0 ? unheard : null);
    });
  }

  #prepare(peer: RTCPeerConnection): void {
    const { stream, bitrate, fps } = this.plan;
    for (const track of stream.getTracks()) {
      const video = track.kind === "video";
      const transceiver = peer.addTransceiver(track, {
        direction: "sendonly",
        streams: [stream],
        ...(video ? { sendEncodings: [{ maxBitrate: bitrate, maxFramerate: fps }] } : {}),
      });
      const capable = video ? RTCRtpSender.getCapabilities("video")?.codecs : undefined;
      if (capable) transceiver.setCodecPreferences(preferred(capable));
      if (video) keepSize(transceiver.sender);
    }
    peer.addEventListener("connectionstatechange", () => {
      clearTimeout(this.#disconnected);
      if (peer.connectionState !== "disconnected") return;
      this.#disconnected = setTimeout(() => this.#connection?.lose("lost"), DISCONNECTED_MS);
    });
  }

  #connected(): void {
    this.#unheard = 0;
    this.#everLive = true;
    this.#liveAt = performance.now();
    this.#last = null;
    this.#figures = setInterval(() => void this.#read(), FIGURES_MS);
    this.sink.trouble(null, null);
    this.#set("live");
  }

  async #read(): Promise<void> {
    const connection = this.#connection;
    const report = await connection?.peer?.getStats();
    if (!report || connection !== this.#connection) return;
    const sending = sendingOf([...report.values()] as Record<string, unknown>[], performance.now());
    const rates = this.#last && ratesOf(this.#last, sending);
    this.#last = sending;
    if (rates) this.sink.figures({ ...rates, sending, age: (sending.at - this.#liveAt) / 1000 });
  }

  #again(error: unknown, loss: Loss | null, goodbye: Goodbye | null): void {
    if (this.#state === "live" && performance.now() - this.#liveAt > STEADY_MS) this.#attempt = 0;
    this.#drop();
    this.#goodbye = goodbye;
    this.sink.trouble(error, loss);
    // What was taken before will be taken again, so a conflict or a blocked path may pass.
    const final = loss === null ? isFinal(error) || (!this.#everLive && isConflict(error)) : false;
    if (final) {
      this.#end("failed");
      return;
    }
    void goodbye?.first.then((said) => this.#hear(goodbye, said));
    const own = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)] as number;
    this.#attempt += 1;
    const wait = Math.max(own, (error instanceof Refused ? error.retryAfterMs : null) ?? 0);
    this.#retry = setTimeout(() => void this.#next(), wait);
    this.#set(this.#everLive ? "reconnecting" : "connecting");
  }

  #end(state: PublishState): void {
    window.removeEventListener("online", this.#online);
    this.#drop();
    this.#set(state);
  }

  #drop(): void {
    this.#goodbye = null;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    clearTimeout(this.#disconnected);
    clearInterval(this.#figures);
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
    this.sink.figures(null);
  }

  #set(state: PublishState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.sink.state(state);
  }
}

/** Another size in mid-show is another format for every viewer; fewer or coarser pictures are not. */
function keepSize(sender: RTCRtpSender): void {
  const parameters = Object.assign(sender.getParameters(), { degradationPreference: "maintain-resolution" });
  // Safari does not know it.
  void sender.setParameters(parameters).catch(() => undefined);
}

function isConflict(error: unknown): boolean {
  return error instanceof Refused && error.status === 409;
}
