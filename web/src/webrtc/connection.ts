/** One peer connection over one HTTP exchange, for either direction. */
import { Refused, type Signalling } from "./signalling";

/** Host candidates are there in milliseconds; a STUN server that is down must not hold the offer up. */
const GATHER_MS = 1000;
const CLEANUP_MS = 8000;

/** `unreachable`: the answer came, but no packet got through: most often UDP is blocked. */
export type Loss = "unreachable" | "lost";

export interface ConnectionPlan {
  /** Adds tracks, transceivers and channels before the offer. */
  prepare(peer: RTCPeerConnection): void;
  /** Changes our description or theirs before it is set. */
  readonly local?: (sdp: string) => string;
  readonly remote?: (sdp: string) => string;
  /** From the answer to a connection, ms. */
  readonly connectMs: number;
  connected(): void;
  /** At most once; never after `close`. */
  lost(loss: Loss): void;
}

export class Connection {
  #peer: RTCPeerConnection | null = null;
  #session: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connected = false;
  readonly #abort = new AbortController();

  constructor(
    private readonly signalling: Signalling,
    private readonly plan: ConnectionPlan,
  ) {}

  get peer(): RTCPeerConnection | null {
    return this.#peer;
  }

  /** Resolves once the answer is set. Throws `Refused`, or what the browser says of a description. */
  async open(): Promise<void> {
    const { signal } = this.#abort;
    const iceServers = await this.signalling.servers(signal);
    if (signal.aborted) return;
    const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.#peer = peer;
    peer.addEventListener("connectionstatechange", () => this.#changed(peer), { signal });
    this.plan.prepare(peer);
    const { sdp = "" } = await peer.createOffer();
    if (signal.aborted) return;
    await peer.setLocalDescription({ type: "offer", sdp: this.plan.local?.(sdp) ?? sdp });
    await gathered(peer, signal);
    if (signal.aborted) return;
    const answered = await this.#offer(peer.localDescription?.sdp ?? "");
    if (answered === null) return;
    this.#timer = setTimeout(() => this.#lose("unreachable"), this.plan.connectMs);
    await peer.setRemoteDescription({ type: "answer", sdp: this.plan.remote?.(answered) ?? answered });
  }

  async #offer(sdp: string): Promise<string | null> {
    const { signal } = this.#abort;
    try {
      // Not ended with the rest: a session that the server has made must be learnt of to be deleted.
      const timeout = new AbortController();
      signal.addEventListener("abort", () => setTimeout(() => timeout.abort(), CLEANUP_MS));
      const answered = await this.signalling.offer(sdp, timeout.signal);
      if (!signal.aborted) {
        this.#session = answered.session;
        return answered.sdp;
      }
      await this.signalling.end(answered.session);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return null;
  }

  /** Ends the session on the server and the connection. */
  close(): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    clearTimeout(this.#timer);
    if (this.#session !== null) void this.signalling.end(this.#session);
    this.#session = null;
    this.#peer?.close();
    this.#peer = null;
  }

  #changed(peer: RTCPeerConnection): void {
    if (peer.connectionState === "connected" && !this.#connected) {
      this.#connected = true;
      clearTimeout(this.#timer);
      this.plan.connected();
    } else if (peer.connectionState === "failed") {
      this.#lose(this.#connected ? "lost" : "unreachable");
    }
  }

  #lose(loss: Loss): void {
    if (this.#abort.signal.aborted) return;
    this.close();
    this.plan.lost(loss);
  }
}

/** Resolves when all candidates are there, or after a second with those that are. */
function gathered(peer: RTCPeerConnection, signal: AbortSignal): Promise<void> {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const stop = new AbortController();
    const done = (): void => {
      clearTimeout(timer);
      stop.abort();
      resolve();
    };
    const timer = setTimeout(done, GATHER_MS);
    signal.addEventListener("abort", done, { signal: stop.signal });
    peer.addEventListener(
      "icegatheringstatechange",
      () => {
        if (peer.iceGatheringState === "complete") done();
      },
      { signal: stop.signal },
    );
  });
}

/** Whether another attempt with the same offer and key can never succeed. */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof Refused)) return true; // the browser's own: a description it cannot make or take
  return error.status >= 400 && error.status < 500 && ![408, 409, 425, 429].includes(error.status);
}
