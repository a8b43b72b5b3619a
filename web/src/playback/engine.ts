/** What the player needs from whatever plays the stream. */
import type { Revision } from "../cues/model";
import type { Anchor } from "../timeline/program-date-time";

export interface Level {
  readonly index: number;
  readonly label: string;
  readonly height: number;
  /** Bits per second. */
  readonly bitrate: number;
}

/** One of the languages that the sound comes in. */
export interface Sound {
  readonly index: number;
  readonly label: string;
  /** BCP 47, empty where the stream does not tell it. */
  readonly language: string;
}

/** Why an engine gave up. `missing`: the server has no such live stream now (HTTP 4xx or 503). */
export type Failure = "missing" | "network" | "media" | "unsupported";

export interface EngineSink {
  anchors(anchors: readonly Anchor[]): void;
  cue(revision: Revision): void;
  levels(): void;
  /** The playlist grew: the origin has fresh media. */
  advanced(): void;
  failed(failure: Failure): void;
  /** UTC ms at a media time, as far as known. */
  dateAt(mediaTime: number): number | null;
}

export type EngineName = "hls.js" | "native" | "webrtc";

export interface Engine {
  readonly name: EngineName;
  readonly levels: readonly Level[];
  /** Index of the level on screen, -1 before the first. */
  readonly currentLevel: number;
  /** The viewer's choice; -1 is automatic. */
  quality: number;
  readonly sounds: readonly Sound[];
  /** Index of the sound that plays, -1 where there is none to choose from. */
  sound: number;
  /** Seconds from the live edge, null before playback. */
  readonly latency: number | null;
  /** Seconds from the live edge that playback should keep; null where the engine minds it itself. */
  readonly targetLatency: number | null;
  /** Media time where live playback belongs, null before the first playlist. */
  readonly livePosition: number | null;
  /** The first moment from there on that is listed with media (no gap); null when there is none. */
  readonly resumePosition: number | null;
  readonly isLive: boolean;
  /** Seconds of a finished playlist from the playhead on; null while it grows. */
  readonly remaining: number | null;
  /** Seconds to stay further behind live than the playlist's hold-back, after stalls. */
  cushion(seconds: number): void;
  /** Leaves a rung whose list stands still for another, unless the viewer chose it. */
  sidestep(): void;
  /** UTC ms of a presented picture (null: of what plays now), where the media time does not tell it. */
  dateOf?(frame: VideoFrameCallbackMetadata | null): number | null;
  start(): Promise<void>;
  destroy(): void;
}

/** A language's name in itself ("Deutsch"), else what the stream calls the sound. */
export function soundLabel(language: string, name: string): string {
  if (language === "") return name;
  try {
    return new Intl.DisplayNames([language], { type: "language", fallback: "none" }).of(language) ?? name;
  } catch {
    return name;
  }
}

/**
 * Safari's own player has LL-HLS in the system's media stack (less power, AirPlay) and dates it through
 * getStartDate; Chromium's newer native HLS has neither low latency nor dates, so it does not count.
 */
export function prefersNative(video: HTMLVideoElement): boolean {
  return "getStartDate" in video && video.canPlayType("application/vnd.apple.mpegurl") !== "";
}
