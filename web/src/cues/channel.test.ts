import { describe, expect, it } from "vitest";
import { fromChannel } from "./channel";
import { Certainty } from "./model";

const AT = "2026-11-22T14:00:01.480Z";
const AT_MS = Date.UTC(2026, 10, 22, 14, 0, 1, 480);
const PIN = { id: "c1", rev: 1, type: "pin", state: "live", at: AT, end: null, effective: AT, data: { sku: "A" } };
const of = (message: unknown, now = AT_MS) => fromChannel(JSON.stringify(message), now);

describe("fromChannel", () => {
  it("reads a revision with the RTP time of its moment", () => {
    const { revisions, pair } = of({ event: "cue", seq: 7, ...PIN, rtp: 4_294_967_295, utc: AT_MS });
    expect(revisions).toMatchObject([{ cue: { id: "c1" }, effective: AT_MS, certainty: Certainty.Stated }]);
    expect(pair).toEqual({ rtp: 4_294_967_295, utc: AT_MS });
  });
  it("reads the state with all its cues, and its own time", () => {
    const cues = [{ ...PIN, rtp: 1, utc: AT_MS }, { ...PIN, id: "c2", rtp: 1, utc: AT_MS }];
    const { revisions, pair } = of({ event: "state", at: AT, seq: 9, cues, rtp: 90_000, utc: AT_MS + 500 });
    expect(revisions.map(({ cue }) => cue.id)).toEqual(["c1", "c2"]);
    expect(pair).toEqual({ rtp: 90_000, utc: AT_MS + 500 });
  });
  it("takes no time from far away, where RTP time is ambiguous, nor where there are no pictures", () => {
    expect(of({ event: "cue", ...PIN, rtp: 5, utc: AT_MS }, AT_MS - 8 * 3_600_000).pair).toBeNull();
    expect(of({ event: "cue", ...PIN, rtp: null, utc: AT_MS }).pair).toBeNull();
  });
  it("stands anything", () => {
    for (const data of ["", "[]", "null", "{", "7", '{"event":"state","cues":7}', " ".repeat(2 ** 21)]) {
      expect(fromChannel(data)).toEqual({ revisions: [], pair: null });
    }
  });
});
