import { describe, expect, it } from "vitest";
import { RtpClock } from "./rtp-clock";

const T = Date.UTC(2026, 10, 23, 10);

describe("RtpClock", () => {
  it("knows nothing before a pair, and no broken pair", () => {
    const clock = new RtpClock();
    expect(clock.at(1)).toBeNull();
    for (const rtp of [-1, 1.5, 2 ** 32, Number.NaN]) clock.pair(rtp, T);
    clock.pair(1, Number.NaN);
    expect(clock.known).toBe(false);
  });
  it("counts 90 kHz both ways from the pair", () => {
    const clock = new RtpClock();
    clock.pair(900_000, T);
    expect(clock.at(900_000)).toBe(T);
    expect(clock.at(903_000)).toBeCloseTo(T + 33.333, 2);
    expect(clock.at(810_000)).toBe(T - 1000);
  });
  it("goes through the wrap, both ways", () => {
    const clock = new RtpClock();
    clock.pair(2 ** 32 - 90, T);
    expect(clock.at(0)).toBe(T + 1);
    expect(clock.at(89_910)).toBe(T + 1000);
    clock.pair(90, T);
    expect(clock.at(2 ** 32 - 90)).toBe(T - 2);
  });
  it("follows a day of pictures without another pair", () => {
    const clock = new RtpClock();
    clock.pair(4_000_000_000, T);
    const step = 9_000_000; // 100 s
    for (let n = 1; n <= 864; n += 1) {
      const utc = clock.at((4_000_000_000 + n * step) % 2 ** 32) as number;
      expect(Math.abs(utc - (T + n * 100_000))).toBeLessThan(0.01);
    }
  });
});
