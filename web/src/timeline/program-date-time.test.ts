import { describe, expect, it } from "vitest";
import { type Anchor, ProgramDateTime } from "./program-date-time";

const T = Date.UTC(2026, 10, 22, 14);
const segment = (index: number, zero = 0): Anchor => ({
  start: index * 2 + zero,
  end: index * 2 + 2 + zero,
  pdt: T + index * 2000,
});

describe("ProgramDateTime", () => {
  it("dates a time inside, at the seam, before and after the list", () => {
    const clock = new ProgramDateTime();
    expect(clock.at(1)).toBeNull();
    clock.update([segment(1), segment(2)]);
    expect(clock.at(2)).toBe(T + 2000);
    expect(clock.at(4.5)).toBe(T + 4500);
    expect(clock.at(3.9995)).toBeCloseTo(T + 4000 - 0.5, 3);
    expect(clock.at(7)).toBe(T + 7000);
    expect(clock.at(1)).toBe(T + 1000);
  });
  it("jumps with the dates where the encoder was away", () => {
    const clock = new ProgramDateTime();
    clock.update([segment(0), { start: 2, end: 4, pdt: T + 60_000 }]);
    expect(clock.at(1.5)).toBe(T + 1500);
    expect(clock.at(2.5)).toBe(T + 60_500);
    expect(clock.mediaTime(T + 61_000)).toBe(3);
    expect(clock.mediaTime(T + 30_000)).toBeNull();
  });
  it("takes corrections from a later list and keeps what has left it", () => {
    const clock = new ProgramDateTime();
    clock.update([segment(0), segment(1), segment(2)]);
    clock.update([segment(1, 0.04), segment(2, 0.04), segment(3, 0.04)]);
    expect(clock.at(0.5)).toBe(T + 500);
    expect(clock.at(4.04)).toBe(T + 4000);
    expect(clock.anchors).toHaveLength(4);
  });
  it("forgets what is older than it must keep", () => {
    const clock = new ProgramDateTime(10);
    for (let i = 0; i < 100; i += 1) clock.update([segment(i), segment(i + 1)]);
    expect(clock.anchors.length).toBeLessThan(8);
    expect(clock.at(200)).toBe(T + 200_000);
  });
  it("ignores segments without a date or a length", () => {
    const clock = new ProgramDateTime();
    clock.update([{ start: 0, end: 2, pdt: Number.NaN }, { start: 2, end: 2, pdt: T }]);
    expect(clock.at(1)).toBeNull();
  });
});
