import { describe, expect, it } from "vitest";
import { paceOf } from "./pace";

describe("paceOf", () => {
  it("leaves small distances, empty buffers and the viewer's own distance alone", () => {
    expect(paceOf({ late: 0.1, forward: 1, rate: 1 })).toBe(1);
    expect(paceOf({ late: 1, forward: 0.4, rate: 1 })).toBe(1);
    expect(paceOf({ late: 30, forward: 5, rate: 1 })).toBe(1);
    expect(paceOf({ late: -0.1, forward: 5, rate: 1 })).toBe(1);
  });
  it("falls back from too near the edge, whatever the buffer holds", () => {
    expect(paceOf({ late: -0.5, forward: 0.2, rate: 1 })).toBe(0.92);
    expect(paceOf({ late: -0.05, forward: 0.9, rate: 0.92 })).toBe(0.97);
    expect(paceOf({ late: -0.02, forward: 0.9, rate: 0.97 })).toBe(1);
  });
  it("catches up gently, and goes on until it is there", () => {
    expect(paceOf({ late: 0.2, forward: 1, rate: 1 })).toBe(1.1);
    expect(paceOf({ late: 2, forward: 1, rate: 1 })).toBe(1.25);
    expect(paceOf({ late: 0.05, forward: 1, rate: 1.1 })).toBe(1.03);
    expect(paceOf({ late: 0.02, forward: 1, rate: 1.03 })).toBe(1);
  });
  it("arrives from a second away without passing the mark", () => {
    let late = 1;
    let rate = 1;
    for (let tick = 0; tick < 60; tick += 1) {
      rate = paceOf({ late, forward: 1, rate });
      late -= (rate - 1) * 0.25;
      expect(late).toBeGreaterThan(0);
    }
    expect(late).toBeLessThan(0.12);
  });
});
