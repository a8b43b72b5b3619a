import { describe, expect, it } from "vitest";
import { cueType, parseCue } from "./model";

const base = { id: "c1", rev: 1, state: "live", at: "2026-11-22T14:00:00.000Z", end: null };

describe("parseCue", () => {
  it("refuses what breaks the contract", () => {
    const data = { sku: "A" };
    for (const bad of [
      null,
      [],
      "x",
      { ...base, type: "pin", data, id: "" },
      { ...base, type: "pin", data, rev: 0 },
      { ...base, type: "pin", data, rev: 1.5 },
      { ...base, type: "pin", data, state: "armed" },
      { ...base, type: "pin", data, at: "soon" },
      { ...base, type: "pin", data: {} },
      { ...base, type: "hotspot", data: { sku: "A" } },
      { ...base, type: "hotspot", data: { sku: "A", path: [] } },
      { ...base, type: "hotspot", data: { sku: "A", path: [[0, 1, 2, 3]] } },
      { ...base, type: "hotspot", data: { sku: "A", path: [[0, 1, 2, 3, Number.NaN]] } },
      { ...base, type: "chapter", data: { title: 3 } },
      { ...base, type: "notice", data: { text: { en: 1 } } },
    ]) {
      expect(parseCue(bad)).toBeNull();
    }
  });
  it("never lets script into a link or an image", () => {
    const notice = parseCue({ ...base, type: "notice", data: { text: "t", url: "javascript:alert(1)" } });
    expect(notice?.data).toEqual({ text: "t", level: "info" });
    const chapter = parseCue({ ...base, type: "chapter", data: { title: "t", image: "data:text/html,x" } });
    expect(chapter?.data).toEqual({ title: "t" });
    const linked = parseCue({ ...base, type: "notice", data: { text: "t", url: "/terms" } });
    expect(linked?.data).toMatchObject({ url: "/terms" });
  });
  it("hands other types on with their name", () => {
    const cue = parseCue({ ...base, type: "custom", data: { name: "confetti" } });
    expect(cue && cueType(cue)).toBe("custom");
    expect(cue?.data).toEqual({ name: "confetti" });
  });
});
