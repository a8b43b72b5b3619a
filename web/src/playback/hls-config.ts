/** hls.js settings and the reasons for them. */
import type { HlsConfig, RetryConfig } from "hls.js";

/**
 * A server that is there but has nothing yet (encoder away: 503 after the blocked reload, a 404 for a
 * part that never came) is the normal case of a live show, so it never runs out of retries here; the
 * supervisor decides when to give up. 403, 410 and the like will not mend themselves.
 */
function patient(retryDelayMs: number, maxRetryDelayMs: number): RetryConfig {
  return {
    maxNumRetry: 1_000_000,
    retryDelayMs,
    maxRetryDelayMs,
    backoff: "linear",
    shouldRetry: (_config, _count, isTimeout, response) =>
      isTimeout || response?.code === undefined || response.code < 400 || isTransient(response.code),
  };
}

function isTransient(status: number): boolean {
  return status === 404 || status === 408 || status === 425 || status === 429 || status >= 500;
}

/** A lost segment is skipped after a few tries: live media does not come back. */
const FRAGMENT_RETRIES = 3;

/**
 * Cues are read from the playlist and the emsg samples; text tracks would only copy them, without
 * bound, and their data: source breaks a strict CSP. There are no captions in these streams.
 * (hls.js takes "undefined" for a controller; its types do not say so.)
 */
const withoutTextTracks = {
  id3TrackController: undefined,
  timelineController: undefined,
  subtitleTrackController: undefined,
  subtitleStreamController: undefined,
} as unknown as Partial<HlsConfig>;

export const hlsConfig: Partial<HlsConfig> = {
  lowLatencyMode: true,
  // liveSyncDuration stays unset: a value would override PART-HOLD-BACK.
  // 1 is off: pace.ts sets the rate.
  maxLiveSyncPlaybackRate: 1,
  // hls.js never takes a stall's extra second back; LatencyCushion does.
  liveSyncOnStallIncrease: 0,
  backBufferLength: 30,
  maxBufferLength: 20,
  // fMP4 passes through, so a worker would only copy; and the page's CSP needs no blob: worker.
  enableWorker: false,
  capLevelToPlayerSize: true,
  // 0.5 Mb/s, the default, starts every viewer on the lowest rung.
  abrEwmaDefaultEstimate: 3_000_000,
  // A rung whose worker restarted comes back after this long.
  errorPenaltyExpireMs: 10_000,
  preserveManualLevelOnError: true,
  enableInterstitialPlayback: false,
  ...withoutTextTracks,
  manifestLoadPolicy: {
    default: { maxTimeToFirstByteMs: 20_000, maxLoadTimeMs: 25_000, timeoutRetry: null, errorRetry: null },
  },
  playlistLoadPolicy: {
    default: {
      // The server blocks for up to three target durations.
      maxTimeToFirstByteMs: 15_000,
      maxLoadTimeMs: 20_000,
      timeoutRetry: patient(0, 1000),
      errorRetry: patient(300, 1500),
    },
  },
  fragLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 10_000,
      maxLoadTimeMs: 30_000,
      timeoutRetry: { maxNumRetry: FRAGMENT_RETRIES, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { ...patient(200, 1000), maxNumRetry: FRAGMENT_RETRIES },
    },
  },
};
