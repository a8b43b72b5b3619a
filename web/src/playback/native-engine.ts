/** The browser's own HLS (Safari): dates from getStartDate, cues from its metadata text track. */
import { CUE_ATTRIBUTE, fromDateRange } from "../cues/carriers";
import { type Engine, type EngineSink, type Level, type Sound, soundLabel } from "./engine";

interface DataCue extends TextTrackCue {
  readonly value?: { readonly key?: string; readonly data?: unknown };
}

interface AudioTrack {
  readonly label: string;
  readonly language: string;
  enabled: boolean;
}

const POLL_MS = 500;
/** Apple's default distance from the edge is not exposed; this is what Safari keeps with LL-HLS parts. */
const EDGE_S = 2;

export class NativeEngine implements Engine {
  readonly name = "native";
  readonly levels: readonly Level[] = [];
  readonly currentLevel = -1;
  readonly targetLatency = null;
  quality = -1;
  #abort = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;
  #end = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly src: string,
    private readonly sink: EngineSink,
  ) {}

  async start(): Promise<void> {
    const { signal } = this.#abort;
    const { video } = this;
    video.addEventListener(
      "error",
      () => this.sink.failed(video.error?.code === 4 ? "missing" : "network"),
      { signal },
    );
    video.textTracks.addEventListener("addtrack", ({ track }) => this.#watch(track), { signal });
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
    video.src = this.src;
    video.load();
  }

  destroy(): void {
    this.#abort.abort();
    clearInterval(this.#timer);
    this.video.removeAttribute("src");
    this.video.load();
  }

  get sounds(): Sound[] {
    return this.#audio.map(({ label, language }, index) => ({
      index,
      language,
      label: soundLabel(language, label),
    }));
  }

  get sound(): number {
    return this.#audio.findIndex((track) => track.enabled);
  }

  set sound(index: number) {
    for (const [i, track] of this.#audio.entries()) track.enabled = i === index;
  }

  /** Safari has the list; TypeScript's DOM library does not know it. */
  get #audio(): AudioTrack[] {
    const { audioTracks } = this.video as HTMLVideoElement & { audioTracks?: ArrayLike<AudioTrack> };
    return Array.from(audioTracks ?? []);
  }

  get latency(): number | null {
    const edge = this.#edge();
    return edge === null ? null : Math.max(0, edge - this.video.currentTime);
  }

  get livePosition(): number | null {
    const edge = this.#edge();
    return edge === null ? null : Math.max(0, edge - EDGE_S);
  }

  get resumePosition(): number | null {
    return this.livePosition;
  }

  get isLive(): boolean {
    return !Number.isFinite(this.video.duration);
  }

  get remaining(): number | null {
    return this.isLive ? null : this.video.duration - this.video.currentTime;
  }

  cushion(): void {
    // The system's player minds its own distance from the edge.
  }

  sidestep(): void {
    // It also chooses its rungs.
  }

  #edge(): number | null {
    const { seekable } = this.video;
    return seekable.length ? seekable.end(seekable.length - 1) : null;
  }

  #watch(track: TextTrack | null): void {
    if (track?.kind !== "metadata") return;
    track.mode = "hidden";
    track.addEventListener("cuechange", () => this.#read(track), { signal: this.#abort.signal });
  }

  #poll(): void {
    const dated = this.video as HTMLVideoElement & { getStartDate?: () => Date };
    const start = dated.getStartDate?.().getTime() ?? Number.NaN;
    const edge = this.#edge();
    if (edge === null) return;
    if (Number.isFinite(start)) this.sink.anchors([{ start: 0, end: Math.max(edge, 0.001), pdt: start }]);
    if (edge > this.#end) this.sink.advanced();
    this.#end = edge;
    for (const track of this.video.textTracks) if (track.kind === "metadata") this.#read(track);
  }

  #read(track: TextTrack): void {
    for (const cue of (track.cues ?? []) as Iterable<DataCue>) {
      const { key, data } = cue.value ?? {};
      if (key !== CUE_ATTRIBUTE || typeof data !== "string") continue;
      const start = this.sink.dateAt(cue.startTime);
      const end = Number.isFinite(cue.endTime) ? this.sink.dateAt(cue.endTime) : null;
      const revision = start === null ? null : fromDateRange(data, start, end);
      if (revision) this.sink.cue(revision);
    }
  }
}
