/** Media Source playback through hls.js, which is loaded only when this engine starts. */
import type Hls from "hls.js";
import type { ErrorData, LevelDetails, MetadataSample } from "hls.js";
import { CUE_ATTRIBUTE, fromDateRange, fromId3 } from "../cues/carriers";
import type { Anchor } from "../timeline/program-date-time";
import { type Engine, type EngineSink, type Failure, type Level, type Sound, soundLabel } from "./engine";
import { hlsConfig } from "./hls-config";
import { type Piece, bridge, hasPaused, isMissing, recall } from "./parts";

const MAX_KNOWN_RANGES = 4096;
/** Clear of the seam between a gap and the media after it. */
const EDGE_S = 0.05;
const MAX_SHIFT_S = 0.1;
/** With less than this buffered, a smaller rung is taken at once and not at the segment's end. */
const HURRY_S = 0.35;
/** How long a rung that stood still is left alone. */
const SIDESTEP_MS = 15_000;
/** How long a rung that has paused is left alone: the server tries it again after 20 s at the earliest. */
const PAUSED_MS = 20_000;

export class HlsEngine implements Engine {
  readonly name = "hls.js";
  #hls: Hls | null = null;
  #destroyed = false;
  #quality = -1;
  #holdBack = 0;
  #cushion = 0;
  /** By kind and discontinuity sequence. */
  readonly #zeros = new Map<string, number>();
  #sidestep: ReturnType<typeof setTimeout> | undefined;
  /** When a rung was seen without media, by level, ms. */
  readonly #paused = new Map<number, number>();
  #silent = false;
  #buffered: Piece | null = null;
  #bufferedSound: Piece | null = null;
  /** DATERANGE id to its end as last read, so that a tag is decoded once and not on every reload. */
  readonly #ranges = new Map<string, number | null>();

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly src: string,
    private readonly sink: EngineSink,
  ) {}

  async start(): Promise<void> {
    let library: typeof import("hls.js");
    try {
      library = await import("hls.js");
    } catch {
      this.#fail("network");
      return;
    }
    if (this.#destroyed) return;
    const { default: Player, Events } = library;
    if (!Player.isSupported()) {
      this.#fail("unsupported");
      return;
    }
    const hls = new Player(hlsConfig);
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, () => this.sink.levels());
    hls.on(Events.LEVELS_UPDATED, () => this.sink.levels());
    hls.on(Events.LEVEL_SWITCHED, () => this.sink.levels());
    hls.on(Events.AUDIO_TRACKS_UPDATED, () => this.sink.levels());
    hls.on(Events.AUDIO_TRACK_SWITCHED, () => this.sink.levels());
    hls.on(Events.LEVEL_UPDATED, (_event, { details, level }) => {
      this.#heed(details, level);
      this.#listed(details, true);
    });
    hls.on(Events.LEVEL_PTS_UPDATED, (_event, { details }) => this.#listed(details, false));
    hls.on(Events.FRAG_BUFFERED, (_event, { frag, part }) => {
      if (frag.sn === "initSegment") return;
      const piece = { level: frag.level, sn: frag.sn, part: part?.index ?? null };
      if (frag.type === "audio") this.#bufferedSound = piece;
      if (frag.type !== "main") return;
      this.#buffered = piece;
      recall(hls.latestLevelDetails, piece);
      bridge(hls.latestLevelDetails);
      this.#follow(hls.latestLevelDetails);
    });
    hls.on(Events.AUDIO_TRACK_UPDATED, (_event, { details }) => {
      recall(details, this.#bufferedSound);
      bridge(details);
      // Where the sound is missing, too, it is the encoder that is away, and no rung is better.
      const silent = hasPaused(details);
      if (this.#silent && !silent) this.#paused.clear();
      this.#silent = silent;
      this.#dateRanges(details);
    });
    hls.on(Events.FRAG_PARSING_METADATA, (_event, { samples }) => this.#inBand(samples));
    hls.on(Events.INIT_PTS_FOUND, (_event, { id, frag, initPTS, timescale }) => {
      this.#zero(`${id} ${frag.cc}`, initPTS / timescale);
    });
    hls.on(Events.ERROR, (_event, data) => this.#error(data));
    hls.loadSource(this.src);
    hls.attachMedia(this.video);
    if (this.#quality >= 0) hls.loadLevel = this.#quality;
    hls.config.preserveManualLevelOnError = this.#quality >= 0;
  }

  destroy(): void {
    this.#destroyed = true;
    clearTimeout(this.#sidestep);
    this.#hls?.destroy();
    this.#hls = null;
  }

  get levels(): Level[] {
    const levels = this.#hls?.levels ?? [];
    return levels.map(({ height, bitrate, videoCodec, uri }, index) => {
      const twin = levels.some((other, i) => i !== index && other.height === height);
      const size = height > 0 ? `${height}p` : videoCodec ? `${(bitrate / 1e6).toFixed(1)} Mb/s` : "Audio";
      // The passthrough rung often has the size of the first re-encoded one.
      const source = twin && /\/source\/[^/]*$/.test(uri);
      return { index, height, bitrate, label: source ? `${size} source` : size };
    });
  }

  get sounds(): Sound[] {
    return (this.#hls?.audioTracks ?? []).map(({ name, lang = "" }, index) => ({
      index,
      language: lang,
      label: soundLabel(lang, name),
    }));
  }

  get sound(): number {
    return this.#hls?.audioTrack ?? -1;
  }

  set sound(index: number) {
    if (this.#hls) this.#hls.audioTrack = index;
  }

  get currentLevel(): number {
    return this.#hls?.currentLevel ?? -1;
  }

  get quality(): number {
    return this.#quality;
  }

  set quality(index: number) {
    this.#quality = index;
    clearTimeout(this.#sidestep);
    this.#sidestep = undefined;
    const hls = this.#hls;
    if (!hls) return;
    hls.config.preserveManualLevelOnError = index >= 0;
    if (this.#buffered === null) hls.loadLevel = index;
  }

  get latency(): number | null {
    const details = this.#hls?.latestLevelDetails;
    if (!details?.live || this.video.readyState === 0) return null;
    // The list ages between reloads; hls.latency is the same sum, but only as of the last timeupdate.
    return details.edge + details.age - this.video.currentTime;
  }

  get targetLatency(): number | null {
    return this.#hls?.latestLevelDetails?.live && this.#holdBack > 0 ? this.#holdBack + this.#cushion : null;
  }

  get livePosition(): number | null {
    return this.#hls?.liveSyncPosition ?? null;
  }

  get resumePosition(): number | null {
    const live = this.livePosition;
    const details = this.#hls?.latestLevelDetails;
    if (live === null || !details) return live;
    // hls.js waits for ever at a playhead inside a gap, so the seek must land behind it.
    const parts = details.partList ?? [];
    const listed = [
      ...details.fragments.filter((fragment) => !parts.some((part) => part.fragment === fragment)),
      ...parts,
    ];
    const next = listed.find((piece) => !isMissing(piece) && piece.start + piece.duration > live + EDGE_S);
    return next ? Math.max(live, next.start + EDGE_S) : null;
  }

  get isLive(): boolean {
    return this.#hls?.latestLevelDetails?.live ?? true;
  }

  get remaining(): number | null {
    const details = this.#hls?.latestLevelDetails;
    return !details || details.live ? null : details.edge - this.video.currentTime;
  }

  cushion(seconds: number): void {
    if (!this.#hls || this.#holdBack === 0 || seconds === this.#cushion) return;
    this.#cushion = seconds;
    this.#hls.targetLatency = this.#holdBack + seconds;
  }

  sidestep(): void {
    const hls = this.#hls;
    if (!hls || this.#quality >= 0 || this.#sidestep !== undefined || hls.levels.length < 2) return;
    // hls.js would wait for the blocked reload.
    const level = hls.loadLevel > 0 ? hls.loadLevel - 1 : 1;
    hls.loadLevel = level;
    this.#sidestep = setTimeout(() => {
      this.#sidestep = undefined;
      this.#follow(hls.latestLevelDetails);
    }, SIDESTEP_MS);
  }

  /**
   * Takes the wanted rung where a segment ends. hls.js alone would take it with the next part: it loads
   * the new rung from the start of the segment, over what is on screen, and the browser then shows nothing
   * between the end of the old pictures and the next key frame (0.3 to 0.7 s).
   */
  #follow(details: LevelDetails | null): void {
    const hls = this.#hls;
    if (!hls || !details || this.#buffered === null || this.#sidestep !== undefined) return;
    const current = hls.loadLevel;
    const wanted = this.#unpaused(this.#quality >= 0 ? this.#quality : hls.nextAutoLevel);
    const hurry = this.#quality < 0 && wanted < current && this.#ahead() < HURRY_S;
    if (wanted >= 0 && wanted !== current && (hurry || this.#endsSegment(details))) hls.loadLevel = wanted;
    else if (hls.autoLevelEnabled && current >= 0) hls.loadLevel = current;
  }

  /** Leaves a rung that has paused: hls.js may stay on it for as long as it lasts. */
  #heed(details: LevelDetails, level: number): void {
    const hls = this.#hls;
    if (!hls || this.#silent) return;
    if (!hasPaused(details)) {
      if (details.advanced) this.#paused.delete(level);
      return;
    }
    this.#paused.set(level, performance.now());
    const other = this.#unpaused(level);
    if (hls.loadLevel === level && other !== level) hls.loadLevel = other;
  }

  /** The level itself, or the nearest that has media, smaller ones first; itself where none has. */
  #unpaused(level: number): number {
    const since = performance.now() - PAUSED_MS;
    const plays = (index: number) => (this.#paused.get(index) ?? -Infinity) < since;
    const count = this.#hls?.levels.length ?? 0;
    const smaller = Array.from({ length: Math.max(level, 0) }, (_, below) => level - 1 - below);
    const larger = Array.from({ length: Math.max(count - level - 1, 0) }, (_, above) => level + 1 + above);
    return [level, ...smaller, ...larger].find(plays) ?? level;
  }

  #endsSegment(details: LevelDetails): boolean {
    const buffered = this.#buffered;
    if (!buffered || !details.fragments.some(({ sn }) => sn === buffered.sn)) return false;
    if (buffered.part === null) return true;
    const last = details.partList?.filter((part) => part.fragment.sn === buffered.sn && !isMissing(part)).at(-1);
    return last === undefined || last.index === buffered.part;
  }

  #ahead(): number {
    const { buffered, currentTime } = this.video;
    return buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
  }

  #listed(details: LevelDetails, advanced: boolean): void {
    this.#holdBack = details.partHoldBack || details.holdBack || 0;
    this.sink.anchors(anchorsOf(details));
    this.#dateRanges(details);
    recall(details, this.#buffered);
    bridge(details);
    if (advanced) this.#follow(details);
    if (advanced && details.advanced) this.sink.advanced();
  }

  #dateRanges(details: LevelDetails): void {
    for (const [id, range] of Object.entries(details.dateRanges)) {
      const attribute = range?.attr[CUE_ATTRIBUTE];
      if (!range || attribute === undefined) continue;
      const start = range.startDate.getTime();
      const ends = range.endDate?.getTime() ?? (range.duration === null ? null : start + range.duration * 1000);
      if (this.#ranges.get(id) === ends) continue;
      if (this.#ranges.size >= MAX_KNOWN_RANGES) this.#ranges.clear();
      this.#ranges.set(id, ends);
      const revision = fromDateRange(attribute, start, ends);
      if (revision) this.sink.cue(revision);
    }
  }

  #inBand(samples: readonly MetadataSample[]): void {
    for (const sample of samples) {
      const revision = fromId3(sample.data, this.sink.dateAt(sample.pts));
      if (revision) this.sink.cue(revision);
    }
  }

  /**
   * `seconds`: what hls.js takes off the media's own times. After a segment with a hole at its end it
   * loses count and chooses anew; what it places then belongs to other dates, so everything starts over.
   */
  #zero(line: string, seconds: number): void {
    const before = this.#zeros.get(line);
    this.#zeros.set(line, seconds);
    if (before !== undefined && Math.abs(before - seconds) > MAX_SHIFT_S) this.#fail("media");
  }

  #error(data: ErrorData): void {
    if (!data.fatal) return;
    const status = data.response?.code ?? 0;
    if (data.type === "networkError") this.#fail(status >= 400 && status <= 503 ? "missing" : "network");
    else this.#fail(String(data.details).includes("incompatible") ? "unsupported" : "media");
  }

  #fail(failure: Failure): void {
    if (!this.#destroyed) this.sink.failed(failure);
  }
}

/** Segments, and the one still growing out of parts; gaps have a date but no media. */
function anchorsOf(details: LevelDetails): Anchor[] {
  const listed = details.fragmentHint ? [...details.fragments, details.fragmentHint] : details.fragments;
  const anchors: Anchor[] = [];
  for (const fragment of listed) {
    const { start, duration, programDateTime } = fragment;
    if (programDateTime !== null) anchors.push({ start, end: start + duration, pdt: programDateTime });
  }
  return anchors;
}
