import { describe, expect, it } from "vitest";
import { ratesOf, receptionOf, sendingOf } from "./stats";

const T = Date.UTC(2026, 10, 23, 10);
const pair = { type: "candidate-pair", nominated: true, state: "succeeded", currentRoundTripTime: 0.02 };

describe("receptionOf", () => {
  it("adds sound and picture up and reads the sender's clock", () => {
    const stats = [
      pair,
      { type: "inbound-rtp", kind: "audio", packetsReceived: 50, estimatedPlayoutTimestamp: T + 7 },
      { type: "inbound-rtp", kind: "video", packetsReceived: 300, framesDecoded: 30, estimatedPlayoutTimestamp: T },
      { type: "remote-outbound-rtp", kind: "audio", remoteTimestamp: T + 500, timestamp: T + 10 },
    ];
    expect(receptionOf(stats)).toEqual({ packets: 350, pictures: 30, playoutUtc: T, clockOffsetMs: 500 });
  });
  it("takes an NTP time for what it is", () => {
    const stats = [{ type: "inbound-rtp", kind: "video", estimatedPlayoutTimestamp: T + 2_208_988_800_000 }];
    expect(receptionOf(stats).playoutUtc).toBe(T);
  });
  it("stands empty reports", () => {
    expect(receptionOf([])).toEqual({ packets: 0, pictures: null, playoutUtc: null, clockOffsetMs: null });
    expect(receptionOf([{ type: "inbound-rtp", kind: "audio", packetsReceived: Number.NaN }]).packets).toBe(0);
  });
});

describe("sendingOf and ratesOf", () => {
  const stats = (bytes: number, frames: number, packets: number, lost: number) => [
    pair,
    { type: "codec", id: "c1", mimeType: "video/H264" },
    { type: "outbound-rtp", kind: "video", bytesSent: bytes, framesEncoded: frames, packetsSent: packets,
      frameWidth: 1280, frameHeight: 720, codecId: "c1", qualityLimitationReason: "bandwidth" },
    { type: "remote-inbound-rtp", kind: "video", packetsLost: lost, roundTripTime: 0.5 },
  ];
  it("gives rates between two readings", () => {
    const before = sendingOf(stats(0, 0, 0, 0), 1000);
    const now = sendingOf(stats(250_000, 60, 200, 5), 3000);
    expect(now).toMatchObject({ width: 1280, height: 720, codec: "H264", rttMs: 20, limited: "bandwidth" });
    expect(ratesOf(before, now)).toEqual({ kbps: 1000, fps: 30, loss: 0.025 });
  });
  it("gives none without time between, or after a new connection", () => {
    const one = sendingOf(stats(0, 0, 100, 0), 1000);
    expect(ratesOf(one, one)).toBeNull();
    expect(ratesOf(one, sendingOf(stats(0, 0, 1, 0), 2000))).toBeNull();
  });
  it("takes the receiver's word on the round trip where the pair has none", () => {
    expect(sendingOf(stats(0, 0, 0, 0).slice(1), 0).rttMs).toBe(500);
    expect(sendingOf([], 0)).toMatchObject({ bytes: 0, codec: null, rttMs: null, limited: null });
  });
});
