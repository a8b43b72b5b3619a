import { describe, expect, it } from "vitest";
import { RealtimeChoice } from "./realtime";

describe("RealtimeChoice", () => {
  it("is never due where it is not wanted", () => {
    expect(new RealtimeChoice(false).due(1e9)).toBe(false);
  });
  it("backs off, and keeps to Retry-After where that is longer", () => {
    const choice = new RealtimeChoice(true);
    expect(choice.due(0)).toBe(true);
    choice.failed(0);
    expect(choice.due(14_999)).toBe(false);
    expect(choice.due(15_000)).toBe(true);
    choice.failed(15_000, 100_000);
    expect(choice.due(114_999)).toBe(false);
    expect(choice.due(115_000)).toBe(true);
    for (let n = 0; n < 10; n += 1) choice.failed(200_000);
    expect(choice.due(499_999)).toBe(false);
    expect(choice.due(500_000)).toBe(true);
  });
  it("begins anew after it has worked for a while, but not after a moment", () => {
    const choice = new RealtimeChoice(true);
    for (const [connected, failed, again] of [[0, 1000, 15_000], [20_000, 21_000, 30_000], [60_000, 90_000, 15_000]] as const) {
      choice.connected(connected);
      choice.failed(failed);
      expect(choice.due(failed + again - 1)).toBe(false);
      expect(choice.due(failed + again)).toBe(true);
    }
  });
  it("is due as soon as the show goes on air, unless there is no hope", () => {
    const choice = new RealtimeChoice(true);
    choice.failed(0);
    choice.onAir(100);
    expect(choice.due(100)).toBe(true);
    choice.hopeless();
    choice.onAir(200);
    expect(choice.due(1e12)).toBe(false);
  });
});
