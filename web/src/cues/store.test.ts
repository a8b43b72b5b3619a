import { describe, expect, it } from "vitest";
import { Certainty, type Cue, type CueState, type Revision } from "./model";
import { CueScheduler } from "./scheduler";
import { CueStore } from "./store";

const T = Date.UTC(2026, 10, 22, 14);

interface Options {
  rev?: number;
  state?: CueState;
  at?: number;
  end?: number | null;
  slot?: string;
  effective?: number;
  certainty?: Certainty;
  until?: number | null;
}

function pin(id: string, o: Options = {}): Revision {
  const at = T + (o.at ?? 0);
  const end = o.end === undefined || o.end === null ? null : T + o.end;
  const slot = o.slot ? { slot: o.slot } : {};
  const cue: Cue = { id, rev: o.rev ?? 1, type: "pin", state: o.state ?? "live", at, end, data: { sku: id, ...slot } };
  const effective = o.effective === undefined ? at : T + o.effective;
  return { cue, effective, certainty: o.certainty ?? Certainty.Stated, until: o.until ? T + o.until : null };
}

function chapter(id: string, at: number, state: CueState = "live", rev = 1): Revision {
  const cue: Cue = { id, rev, type: "chapter", state, at: T + at, end: null, data: { title: id } };
  return { cue, effective: T + at, certainty: Certainty.Stated, until: null };
}

const ids = (store: CueStore, t: number) => store.activeAt(T + t).map((cue) => `${cue.id}.${cue.rev}`);

describe("CueStore", () => {
  it("shows a cue from at to end, on rounded times too", () => {
    const store = new CueStore();
    store.merge(pin("a", { at: 1000, end: 3000 }));
    expect(ids(store, 998)).toEqual([]);
    expect(ids(store, 999.3)).toEqual(["a.1"]); // a frame at 999.6 was rounded to 1000
    expect(ids(store, 2998)).toEqual(["a.1"]);
    expect(ids(store, 3000)).toEqual([]);
  });
  it("lets the highest revision win from its own effective time, in any order of arrival", () => {
    const revisions = [
      pin("a", { at: 0 }),
      pin("a", { at: 0, rev: 2, effective: 2000, slot: "side" }),
      pin("a", { at: 0, rev: 3, effective: 4000, state: "ended" }),
    ];
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]]) {
      const store = new CueStore();
      for (const index of order) store.merge(revisions[index] as Revision);
      expect([ids(store, 1000), ids(store, 2000), ids(store, 3999 - 1), ids(store, 4000)]).toEqual([
        ["a.1"], ["a.2"], ["a.2"], [],
      ]);
    }
  });
  it("takes the surer and then the earlier effective time of one revision", () => {
    const store = new CueStore();
    expect(store.merge(pin("a", { rev: 2, effective: 900, certainty: Certainty.InBand }))).toBe(true);
    expect(store.merge(pin("a", { rev: 2, effective: 500, certainty: Certainty.DateRange }))).toBe(true);
    expect(store.merge(pin("a", { rev: 2, effective: 100, certainty: Certainty.Inferred }))).toBe(false);
    expect(store.merge(pin("a", { rev: 2, effective: 500, certainty: Certainty.DateRange }))).toBe(false);
    expect(ids(store, 400)).toEqual([]);
    expect(ids(store, 500)).toEqual(["a.2"]);
  });
  it("obeys an end that a DATERANGE added later", () => {
    const store = new CueStore();
    store.merge(pin("a"));
    expect(store.merge(pin("a", { until: 2000 }))).toBe(true);
    expect(ids(store, 1990)).toEqual(["a.1"]);
    expect(ids(store, 2000)).toEqual([]);
  });
  it("gives a retracted cue back to the past only", () => {
    const store = new CueStore();
    store.merge(pin("a"));
    store.merge(pin("a", { rev: 2, state: "retracted", effective: 1000 }));
    expect(ids(store, 500)).toEqual(["a.1"]);
    expect(ids(store, 1500)).toEqual([]);
  });
  it("keeps one pin a slot and one chapter, the latest", () => {
    const store = new CueStore();
    store.merge(pin("a"));
    store.merge(pin("b", { at: 1000 }));
    store.merge(pin("c", { at: 500, slot: "side" }));
    store.merge(chapter("one", 0));
    store.merge(chapter("two", 2000));
    expect(ids(store, 600)).toEqual(["a.1", "one.1", "c.1"]);
    expect(ids(store, 2500)).toEqual(["c.1", "b.1", "two.1"]);
  });
  it("does not bring an old pin back when the new one ends, but when it is retracted", () => {
    const store = new CueStore();
    store.merge(pin("a"));
    store.merge(pin("b", { at: 1000, end: 2000 }));
    expect(ids(store, 2500)).toEqual([]);
    store.merge(pin("b", { at: 1000, rev: 2, effective: 1500, state: "retracted" }));
    expect(ids(store, 1200)).toEqual(["b.1"]);
    expect(ids(store, 2500)).toEqual(["a.1"]);
  });
  it("shows an instant cue long enough for a frame to meet it", () => {
    const store = new CueStore();
    store.merge(pin("a", { at: 1000, end: 1000 }));
    expect(ids(store, 1010)).toEqual(["a.1"]);
    expect(ids(store, 1300)).toEqual([]);
  });
  it("lists chapters so far, without the retracted", () => {
    const store = new CueStore();
    store.merge(chapter("two", 2000));
    store.merge(chapter("one", 0));
    store.merge(chapter("gone", 1000));
    store.merge(chapter("gone", 1000, "retracted", 2));
    store.merge(chapter("later", 9000));
    expect(store.chaptersUntil(T + 3000).map((cue) => cue.id)).toEqual(["one", "two"]);
  });
  it("stays bounded", () => {
    const store = new CueStore();
    for (let i = 0; i < 1100; i += 1) store.merge(pin(`p${i}`));
    expect(store.size).toBe(1024);
    expect(store.dropped).toBe(76);
  });
});

describe("CueScheduler", () => {
  const FRAME = 1000 / 30;
  it("enters on the first frame that is not before the cue, and measures it", () => {
    const scheduler = new CueScheduler();
    scheduler.merge(pin("a", { at: 1000, end: 1500 }));
    const seen: [number, string][] = [];
    for (let n = 0; n < 60; n += 1) {
      for (const { phase, cue } of scheduler.frame(T + n * FRAME)) seen.push([n, `${phase} ${cue.id}`]);
    }
    expect(seen).toEqual([[30, "enter a"], [45, "leave a"]]);
    expect(scheduler.paintErrors).toHaveLength(1);
    expect(Math.abs(scheduler.paintErrors[0] as number)).toBeLessThan(1);
  });
  it("reports a revision as an update and measures nothing for it", () => {
    const scheduler = new CueScheduler();
    scheduler.merge(pin("a"));
    scheduler.frame(T + 10);
    scheduler.merge(pin("a", { rev: 2, effective: 20 }));
    expect(scheduler.frame(T + 40)).toMatchObject([{ phase: "update", cue: { rev: 2 } }]);
    expect(scheduler.paintErrors).toEqual([]);
  });
  it("does not count a cue that it joined or sought into", () => {
    const scheduler = new CueScheduler();
    scheduler.merge(pin("a", { at: 0 }));
    scheduler.frame(T + 5000);
    scheduler.merge(pin("b", { at: 60_000, slot: "s" }));
    expect(scheduler.frame(T + 65_000)).toMatchObject([{ phase: "enter", cue: { id: "b" } }]);
    expect(scheduler.paintErrors).toEqual([]);
  });
  it("counts a cue that came too late", () => {
    const scheduler = new CueScheduler();
    for (let t = 0; t <= 500; t += 33) scheduler.frame(T + t);
    scheduler.merge(pin("a", { at: 300 }));
    scheduler.frame(T + 528);
    expect(scheduler.paintErrors).toEqual([228]);
  });
  it("leaves everything on reset", () => {
    const scheduler = new CueScheduler();
    scheduler.merge(pin("a"));
    scheduler.frame(T);
    expect(scheduler.reset()).toMatchObject([{ phase: "leave", cue: { id: "a" } }]);
    expect(scheduler.frame(T + 33)).toEqual([]);
  });
});
