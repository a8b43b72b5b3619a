/** Sizes to choose from, and the bit rates that go with them. */

export interface Size {
  readonly height: number;
  readonly width: number;
  /** Of the picture at 30 pictures a second, bits per second. */
  readonly bitrate: number;
}

/** Bit rates as they are advised for live H.264 of one encoder pass; VP8 needs about the same. */
export const SIZES: readonly Size[] = [
  { height: 1080, width: 1920, bitrate: 5_000_000 },
  { height: 720, width: 1280, bitrate: 3_000_000 },
  { height: 540, width: 960, bitrate: 1_800_000 },
  { height: 360, width: 640, bitrate: 900_000 },
];
export const RATES: readonly number[] = [60, 30, 25, 15];
export const AUDIO_BITRATE = 128_000;

export function sizeOf(height: number): Size {
  return SIZES.find((size) => size.height === height) ?? (SIZES[1] as Size);
}

/** Most bits per second to spend: by half as much as the rate rises or falls. */
export function bitrateOf(size: Size, fps: number): number {
  return Math.round(size.bitrate * (0.5 + fps / 60));
}

interface CodecLike {
  readonly mimeType: string;
  readonly sdpFmtpLine?: string;
}

/**
 * What to offer, best first: H.264, which reaches viewers as it is (Constrained Baseline and packetization
 * mode 1 before the rest), then VP8, which the server can re-encode; with their helpers (rtx, red, fec). AV1
 * and VP9 only where the browser has neither: servers may choose against our order, and few viewers play them.
 */
export function preferred<T extends CodecLike>(codecs: readonly T[]): T[] {
  const rank = ({ mimeType, sdpFmtpLine = "" }: T): number => {
    const name = mimeType.toLowerCase();
    if (name === "video/h264") {
      const single = /packetization-mode=1/.test(sdpFmtpLine) ? 0 : 2;
      return single + (/profile-level-id=42e0/i.test(sdpFmtpLine) ? 0 : 1);
    }
    if (name === "video/vp8") return 4;
    return /rtx|red|fec/.test(name) ? HELPER : OTHER;
  };
  const common = codecs.some((codec) => rank(codec) < OTHER);
  return codecs.filter((codec) => !common || rank(codec) !== OTHER).sort((a, b) => rank(a) - rank(b));
}

const OTHER = 5;
const HELPER = 6;
