/** What getStats says, in the few figures that the pages show and decide by (webrtc-stats). */

type Stat = Readonly<Record<string, unknown>>;

/** Chromium's estimatedPlayoutTimestamp counts from 1900 (NTP); the specification's from 1970. */
const NTP_MS = 2_208_988_800_000;
const YEAR_2035_MS = 2_051_222_400_000;

const number = (stat: Stat | undefined, name: string): number | null => {
  const value = stat?.[name];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
};
const of = (stats: readonly Stat[], type: string, kind?: string): Stat[] =>
  stats.filter((stat) => stat["type"] === type && (kind === undefined || stat["kind"] === kind));
const sum = (stats: readonly Stat[], name: string): number =>
  stats.reduce((total, stat) => total + (number(stat, name) ?? 0), 0);

/** Round trip of the pair in use, ms. */
function roundTrip(stats: readonly Stat[]): number | null {
  const pairs = of(stats, "candidate-pair").filter((stat) => stat["nominated"] === true && stat["state"] === "succeeded");
  const seconds = number(pairs[0], "currentRoundTripTime");
  return seconds === null ? null : seconds * 1000;
}

export interface Reception {
  /** Of sound and picture, so far. */
  readonly packets: number;
  /** Pictures decoded so far; null where there is no picture. */
  readonly pictures: number | null;
  /** UTC ms by the sender's clock of what plays now; null before its first report. */
  readonly playoutUtc: number | null;
  /** Sender's clock minus ours, ms. */
  readonly clockOffsetMs: number | null;
}

export function receptionOf(stats: readonly Stat[]): Reception {
  const inbound = of(stats, "inbound-rtp");
  const video = inbound.filter((stat) => stat["kind"] === "video");
  const playout = number(video[0] ?? inbound[0], "estimatedPlayoutTimestamp");
  const [report] = of(stats, "remote-outbound-rtp");
  const sent = number(report, "remoteTimestamp");
  const came = number(report, "timestamp");
  return {
    packets: sum(inbound, "packetsReceived"),
    pictures: video.length > 0 ? sum(video, "framesDecoded") : null,
    playoutUtc: playout === null || playout <= 0 ? null : playout > YEAR_2035_MS ? playout - NTP_MS : playout,
    clockOffsetMs: sent === null || came === null ? null : sent + (roundTrip(stats) ?? 0) / 2 - came,
  };
}

export interface Sending {
  /** When it was read, ms of the page's clock. */
  readonly at: number;
  readonly bytes: number;
  readonly frames: number;
  readonly packets: number;
  /** Packets that the receiver missed, so far. */
  readonly lost: number;
  readonly width: number | null;
  readonly height: number | null;
  readonly codec: string | null;
  readonly rttMs: number | null;
  /** Why the encoder sends less than it may. */
  readonly limited: "cpu" | "bandwidth" | null;
}

export function sendingOf(stats: readonly Stat[], at: number): Sending {
  const outbound = of(stats, "outbound-rtp");
  const [video] = outbound.filter((stat) => stat["kind"] === "video");
  const remote = of(stats, "remote-inbound-rtp");
  const codec = stats.find((stat) => stat["type"] === "codec" && stat["id"] === video?.["codecId"]);
  const reason = video?.["qualityLimitationReason"];
  const reported = number(remote.find((stat) => number(stat, "roundTripTime") !== null), "roundTripTime");
  return {
    at,
    bytes: sum(outbound, "bytesSent") + sum(outbound, "headerBytesSent"),
    frames: sum(outbound, "framesEncoded"),
    packets: sum(outbound, "packetsSent"),
    lost: Math.max(0, sum(remote, "packetsLost")),
    width: number(video, "frameWidth"),
    height: number(video, "frameHeight"),
    codec: typeof codec?.["mimeType"] === "string" ? codec["mimeType"].replace(/^\w+\//, "") : null,
    rttMs: roundTrip(stats) ?? (reported === null ? null : reported * 1000),
    limited: reason === "cpu" || reason === "bandwidth" ? reason : null,
  };
}

export interface Rates {
  readonly kbps: number;
  readonly fps: number;
  /** 0 to 1. */
  readonly loss: number;
}

/** Rates between two readings; null where there is nothing between them. */
export function ratesOf(before: Sending, now: Sending): Rates | null {
  const seconds = (now.at - before.at) / 1000;
  const packets = now.packets - before.packets;
  if (seconds <= 0 || packets < 0) return null;
  return {
    kbps: ((now.bytes - before.bytes) * 8) / 1000 / seconds,
    fps: (now.frames - before.frames) / seconds,
    loss: packets === 0 ? 0 : Math.min(1, Math.max(0, now.lost - before.lost) / packets),
  };
}
