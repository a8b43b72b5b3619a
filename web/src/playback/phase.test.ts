import { describe, expect, it } from "vitest";
import { LatencyCushion } from "./cushion";
import { type Signs, phaseOf } from "./phase";
import { StallMeter } from "./stalls";

const quiet: Signs = {
  server: null, missing: false, restarted: false, unsupported: false, everPlayed: false, playedOut: false,
  stalledMs: 0,
};

describe("phaseOf", () => {
  const cases: [string, Partial<Signs>, string][] = [
    ["before anything is known", {}, "loading"],
    ["no stream yet", { missing: true }, "idle"],
    ["the server says idle", { server: "idle", missing: true }, "idle"],
    ["live, but the ladder is not known yet", { server: "live", missing: true }, "loading"],
    ["joined during an outage", { server: "reconnecting" }, "reconnecting"],
    ["joined after the end", { server: "ended" }, "ended"],
    ["playing", { everPlayed: true, server: "live" }, "live"],
    ["playing what was buffered while the encoder is away", { everPlayed: true, server: "reconnecting" }, "live"],
    ["a short wait", { everPlayed: true, server: "live", stalledMs: 500 }, "buffering"],
    ["the encoder is away and the buffer is empty", { everPlayed: true, server: "reconnecting", stalledMs: 900 }, "reconnecting"],
    ["a long wait without word from the server", { everPlayed: true, stalledMs: 6000 }, "reconnecting"],
    ["the server is gone after playback", { everPlayed: true, missing: true, stalledMs: 1000 }, "reconnecting"],
    ["the server forgot the stream after playback", { everPlayed: true, server: "idle", missing: true }, "ended"],
    ["the server was started anew", { everPlayed: true, server: "idle", missing: true, restarted: true }, "reconnecting"],
    ["over", { everPlayed: true, server: "ended", stalledMs: 900 }, "ended"],
    ["the last frame was shown", { everPlayed: true, playedOut: true, server: "live" }, "ended"],
    ["no Media Source", { unsupported: true }, "unsupported"],
  ];
  it.each(cases)("%s", (_name, signs, phase) => {
    expect(phaseOf({ ...quiet, ...signs })).toBe(phase);
  });
});

describe("StallMeter", () => {
  it("counts waits that can be seen and were not asked for", () => {
    const meter = new StallMeter();
    meter.waiting(0);
    meter.resumed(40);
    expect(meter.stalls(50)).toBe(0);
    meter.waiting(100);
    expect(meter.stalls(250)).toBe(1);
    meter.resumed(600);
    expect([meter.stalls(700), meter.seconds(700)]).toEqual([1, 0.5]);
    meter.waiting(1000);
    meter.resumed(5000, true);
    expect([meter.stalls(6000), meter.seconds(6000)]).toEqual([1, 0.5]);
  });
});

describe("LatencyCushion", () => {
  it("grows with stalls up to a bound and comes back when it is calm", () => {
    const cushion = new LatencyCushion();
    expect(cushion.tick(0)).toBe(0);
    for (let i = 0; i < 10; i += 1) cushion.stalled(1000);
    expect(cushion.tick(2000)).toBe(2);
    let now = 1000;
    while (cushion.tick(now) > 0 && now < 600_000) now += 1000;
    expect(now).toBeLessThan(200_000);
    expect(now).toBeGreaterThan(100_000);
  });
});
