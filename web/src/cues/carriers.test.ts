import { describe, expect, it } from "vitest";
import { decodeBase64Url, fromDateRange, fromEvent, fromId3, fromState, userTextFrames } from "./carriers";
import { Certainty } from "./model";

const AT = "2026-11-22T14:00:01.480Z";
const AT_MS = Date.UTC(2026, 10, 22, 14, 0, 1, 480);
const PIN = { id: "c1", rev: 1, type: "pin", state: "live", at: AT, end: null, data: { sku: "A", label: "x" } };

function base64url(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function id3(description: string, value: Uint8Array | string, encoding = 3): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  const body = [encoding, ...new TextEncoder().encode(description), 0, ...bytes];
  const size = (n: number) => [(n >> 21) & 127, (n >> 14) & 127, (n >> 7) & 127, n & 127];
  const frame = [...new TextEncoder().encode("TXXX"), ...size(body.length), 0, 0, ...body];
  return Uint8Array.from([0x49, 0x44, 0x33, 4, 0, 0, ...size(frame.length), ...frame]);
}

describe("base64url", () => {
  it("round-trips every script", () => {
    for (const text of ["", "a", "ab", "abc", '"quoted"\n', "Größe ½", "日本語", "שלום مرحبا", "👗🧢👩🏽‍💻"]) {
      expect(decodeBase64Url(base64url(text))).toBe(text);
    }
  });
  it("refuses what is no base64url or no UTF-8", () => {
    expect(decodeBase64Url("a+b/")).toBeNull();
    expect(decodeBase64Url("<script>")).toBeNull();
    expect(decodeBase64Url("_w")).toBeNull(); // 0xFF
    expect(decodeBase64Url("A".repeat(20_000))).toBeNull();
  });
});

describe("DATERANGE", () => {
  it("takes START-DATE as the moment the revision takes effect", () => {
    const revision = fromDateRange(base64url(JSON.stringify(PIN)), AT_MS + 700, null);
    expect(revision).toEqual({
      cue: { id: "c1", rev: 1, type: "pin", state: "live", at: AT_MS, end: null, data: { sku: "A", label: "x" } },
      effective: AT_MS + 700,
      certainty: Certainty.DateRange,
      until: null,
    });
  });
  it("keeps an end that was added, but no instant one", () => {
    const attribute = base64url(JSON.stringify(PIN));
    expect(fromDateRange(attribute, AT_MS, AT_MS + 5000)?.until).toBe(AT_MS + 5000);
    expect(fromDateRange(attribute, AT_MS, AT_MS)?.until).toBeNull();
  });
  it("ignores foreign and broken values", () => {
    expect(fromDateRange(base64url("[1]"), AT_MS, null)).toBeNull();
    expect(fromDateRange(base64url('{"id":"c1"}'), AT_MS, null)).toBeNull();
    expect(fromDateRange("%%%", AT_MS, null)).toBeNull();
    expect(fromDateRange(base64url(JSON.stringify(PIN)), Number.NaN, null)).toBeNull();
  });
});

describe("ID3 in emsg", () => {
  it("reads the TXXX frame with our description", () => {
    const tag = id3("org.vitrina.cue", JSON.stringify({ ...PIN, rev: 2 }));
    expect(fromId3(tag, AT_MS + 3)).toMatchObject({ effective: AT_MS + 3, certainty: Certainty.InBand });
  });
  it("dates a first revision by the cue itself, since a late emsg rides in the next part", () => {
    const tag = id3("org.vitrina.cue", JSON.stringify(PIN));
    expect(fromId3(tag, AT_MS + 900)).toMatchObject({ effective: AT_MS, certainty: Certainty.Inferred });
  });
  it("leaves other frames alone", () => {
    expect(fromId3(id3("com.other", JSON.stringify(PIN)), AT_MS)).toBeNull();
  });
  it("reads Latin-1 and UTF-16 texts", () => {
    expect(userTextFrames(id3("d", Uint8Array.from([0xe9]), 0))).toEqual([{ description: "d", value: "é" }]);
    const wide = Uint8Array.from([0x49, 0x44, 0x33, 4, 0, 0, 0, 0, 0, 19, 0x54, 0x58, 0x58, 0x58, 0, 0, 0, 9, 0, 0, 2, 0, 0x64, 0, 0, 0x30, 0x42, 0x30, 0x44]);
    expect(userTextFrames(wide)).toEqual([{ description: "d", value: "あい" }]);
  });
  it("never reads past a tag that lies about its sizes", () => {
    const good = id3("org.vitrina.cue", JSON.stringify(PIN));
    for (let cut = 0; cut < good.length; cut += 1) {
      expect(() => fromId3(good.slice(0, cut), 0)).not.toThrow();
      const flipped = good.slice();
      flipped[cut] = 0xff;
      expect(() => fromId3(flipped, 0)).not.toThrow();
    }
  });
});

describe("SSE and state.json", () => {
  it("prefers the stated effective time", () => {
    const later = "2026-11-22T14:00:05.000Z";
    expect(fromEvent(JSON.stringify({ ...PIN, seq: 4, effective: later }))).toMatchObject({
      effective: Date.parse(later),
      certainty: Certainty.Stated,
    });
    expect(fromEvent("{")).toBeNull();
  });
  it("takes a bare list or an object with cues, and drops what is broken", () => {
    expect(fromState([PIN, { id: 3 }])).toHaveLength(1);
    expect(fromState({ cues: [PIN] })).toHaveLength(1);
    expect(fromState("no")).toEqual([]);
    expect(fromState(null)).toEqual([]);
  });
});
