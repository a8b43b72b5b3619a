/** One peer connection over one HTTP exchange, for either direction. */
import { type Answered, Refused, type Signalling } from "./signalling";

const CLEANUP_MS = 8000;

/** The end of a session on the server, and what the server says of it. */
export class Goodbye {
  /** As `Signalling.end`. */
  readonly first: Promise<Refused | null>;
  #answer: Promise<Refused | null>;

  constructor(
    private readonly signalling: Signalling,
    private readonly session: string,
  ) {
    this.first = this.#answer = signalling.end(session);
  }

  /** The first answer; where there was none, what is said now. */
  async heard(): Promise<Refused | null> {
    const said = await this.#answer;
    if (said?.status === 0) this.#answer = this.signalling.end(this.session);
    return this.#answer;
  }
}

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
  /** At most once; never after `close`. `goodbye` tells why, where the server ended the session. */
  lost(loss: Loss, goodbye: Goodbye | null): void;
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

  /**
   * Resolves once the answer is set. Throws `Refused`, or what the browser says of a description.
   *
   * The offer goes out without candidates (RFC 9725 §4.3), before gathering: the server learns our
   * address from our checks, and the ICE servers that its answer names are there when gathering begins.
   */
  async open(): Promise<void> {
    const { signal } = this.#abort;
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.#peer = peer;
    peer.addEventListener("connectionstatechange", () => this.#changed(peer), { signal });
    this.plan.prepare(peer);
    const { sdp = "" } = await peer.createOffer();
    if (signal.aborted) return;
    const offer = this.plan.local?.(sdp) ?? sdp;
    const answered = await this.#offer(offer);
    if (answered === null) return;
    this.#timer = setTimeout(() => this.lose("unreachable"), this.plan.connectMs);
    if (answered.iceServers.length > 0) {
      peer.setConfiguration({ ...peer.getConfiguration(), iceServers: [...answered.iceServers] });
    }
    try {
      await peer.setLocalDescription({ type: "offer", sdp: offer });
      this.#watch(peer);
      await peer.setRemoteDescription({ type: "answer", sdp: this.plan.remote?.(answered.sdp) ?? answered.sdp });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #offer(sdp: string): Promise<Answered | null> {
    const { signal } = this.#abort;
    try {
      // Not ended with the rest: a session that the server has made must be learnt of to be deleted.
      const timeout = new AbortController();
      signal.addEventListener("abort", () => setTimeout(() => timeout.abort(), CLEANUP_MS));
      const answered = await this.signalling.offer(sdp, timeout.signal);
      if (!signal.aborted) {
        this.#session = answered.session;
        return answered;
      }
      await this.signalling.end(answered.session);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return null;
  }

  /** Ends the session on the server and the connection. */
  close(): Goodbye | null {
    if (this.#abort.signal.aborted) return null;
    this.#abort.abort();
    clearTimeout(this.#timer);
    const goodbye = this.#session === null ? null : new Goodbye(this.signalling, this.#session);
    this.#session = null;
    this.#peer?.close();
    this.#peer = null;
    return goodbye;
  }

  /** Takes it for lost, as the browser would have in the end. */
  lose(loss: Loss): void {
    if (this.#abort.signal.aborted) return;
    const goodbye = this.close();
    this.plan.lost(loss, goodbye);
  }

  /** The server's goodbye ends DTLS; the connection's own state would tell seconds later. */
  #watch(peer: RTCPeerConnection): void {
    const transport = peer.getTransceivers().map(({ sender, receiver }) => sender.transport ?? receiver.transport)[0];
    transport?.addEventListener(
      "statechange",
      () => {
        if (transport.state === "closed" || transport.state === "failed") this.lose(this.#connected ? "lost" : "unreachable");
      },
      { signal: this.#abort.signal },
    );
  }

  #changed(peer: RTCPeerConnection): void {
    if (peer.connectionState === "connected" && !this.#connected) {
      this.#connected = true;
      clearTimeout(this.#timer);
      this.plan.connected();
    } else if (peer.connectionState === "failed" || peer.connectionState === "closed") {
      this.lose(this.#connected ? "lost" : "unreachable");
    }
  }
}

/** Whether another attempt with the same offer and key can never succeed. */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof Refused)) return true; // the browser's own: a description it cannot make or take
  return error.status >= 400 && error.status < 500 && ![408, 409, 425, 429].includes(error.status);
}
