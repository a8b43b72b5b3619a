import { describe, expect, it } from "vitest";
import { isFinal } from "../webrtc/connection";
import { Refused } from "../webrtc/signalling";
import { captureError, publishError } from "./errors";
import { FLOOR_DB, peakDb } from "./level";
import { bitrateOf, preferred, sizeOf } from "./quality";
import { words } from "./text";

const w = words(["en"]);

describe("sentences", () => {
  it("names each failure of a device, and what to do", () => {
    const of = (name: string, screen = false) => captureError(Object.assign(new Error("why"), { name }), screen, w);
    expect(of("NotAllowedError")).toBe(w.denied);
    expect(of("NotAllowedError", true)).toBe(w.deniedScreen);
    expect(of("NotFoundError")).toBe(w.missing);
    expect(of("NotReadableError")).toBe(w.busy);
    expect(of("OverconstrainedError")).toBe(w.constraint);
    expect(of("TypeError")).toContain("why");
    expect(captureError(null, false, w)).toContain(w.capture);
  });
  it("keeps the server's sentence", () => {
    for (const [status, own] of [[401, w.wrongKey], [403, w.forbidden], [404, w.noWhip], [409, w.conflict], [415, w.refused],
      [422, w.refused], [503, w.overloaded], [500, w.server]] as const) {
      const sentence = publishError(new Refused(status, "Because.", null), w);
      expect(sentence).toContain(own);
      expect(sentence).toContain("Because.");
    }
    expect(publishError(new Refused(0, "", null), w)).toBe(w.offline);
    expect(publishError(new Refused(409, "Taken.", null, "revoked"), w)).toBe(`${w.replacedWhy} (Taken.)`);
    expect(publishError(new Refused(409, "Too much.", null, "limit"), w)).toBe(`${w.ended} (Too much.)`);
    expect(publishError(new Error("bad sdp"), w)).toBe(`${w.browser} bad sdp`);
  });
  it("are there in every language", () => {
    const german = words(["de-AT"]);
    for (const [key, value] of Object.entries(w)) {
      const other = german[key as keyof typeof german];
      expect(other.length, key).toBeGreaterThan(3);
      if (value.length > 12) expect(other, key).not.toBe(value);
    }
    expect(words(["fr"])).toBe(w);
  });
});

describe("isFinal", () => {
  it("tells what another attempt may mend", () => {
    for (const status of [400, 401, 403, 404, 405, 406, 415, 422]) expect(isFinal(new Refused(status, "", null))).toBe(true);
    for (const status of [0, 408, 409, 429, 500, 502, 503]) expect(isFinal(new Refused(status, "", null))).toBe(false);
    expect(isFinal(new Error("InvalidAccessError"))).toBe(true);
  });
});

describe("preferred", () => {
  it("offers H.264 Baseline first, then other H.264, then VP8; helpers last, others not at all", () => {
    const codec = (mimeType: string, sdpFmtpLine?: string) => ({ mimeType, ...(sdpFmtpLine ? { sdpFmtpLine } : {}) });
    const all = [
      codec("video/VP8"), codec("video/rtx"), codec("video/VP9"),
      codec("video/H264", "packetization-mode=0;profile-level-id=42e01f"),
      codec("video/H264", "packetization-mode=1;profile-level-id=640c1f"),
      codec("video/H264", "packetization-mode=1;profile-level-id=42e01f"),
      codec("video/red"), codec("video/AV1"),
    ];
    expect(preferred(all).map((one) => all.indexOf(one))).toEqual([5, 4, 3, 0, 1, 6]);
    expect(preferred([codec("video/VP9"), codec("video/VP8")]).map((one) => one.mimeType)).toEqual(["video/VP8"]);
    expect(preferred([codec("video/rtx"), codec("video/AV1")]).map((one) => one.mimeType)).toEqual(["video/AV1", "video/rtx"]);
  });
});

describe("bit rates and levels", () => {
  it("grow with size and rate", () => {
    expect(bitrateOf(sizeOf(720), 30)).toBe(3_000_000);
    expect(bitrateOf(sizeOf(720), 60)).toBe(4_500_000);
    expect(bitrateOf(sizeOf(1080), 30)).toBeGreaterThan(bitrateOf(sizeOf(720), 30));
    expect(sizeOf(1)).toBe(sizeOf(720));
  });
  it("are dB of full scale, within bounds", () => {
    expect(peakDb(new Float32Array(8))).toBe(FLOOR_DB);
    expect(peakDb(Float32Array.of(0.1, -0.5))).toBeCloseTo(-6.02, 2);
    expect(peakDb(Float32Array.of(3))).toBe(0);
    expect(peakDb(Float32Array.of(1e-9))).toBe(FLOOR_DB);
  });
});
