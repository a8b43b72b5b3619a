import { AttrList, Fragment, type MediaFragment, Part, PlaylistLevelType } from "hls.js";
import { expect, test } from "vitest";
import { bridge, hasPaused, isMissing, recall } from "./parts";

function listed(sn: number, level: number, count: number, type = PlaylistLevelType.MAIN): Part[] {
  const fragment = new Fragment(type, { url: "http://shop/" });
  Object.assign(fragment, { sn, level, start: 2 * sn });
  return Array.from({ length: count }, (_, index) => {
    const attributes = new AttrList(`DURATION=0.333,URI="${sn}.${index}.m4s"`);
    return new Part(attributes, fragment as MediaFragment, { url: "http://shop/" }, index);
  });
}

const loaded = (parts: Part[]) => parts.map((part) => part.loaded);

test("parts up to the one in the buffer count as loaded", () => {
  const parts = listed(7, 1, 4);
  recall({ partList: parts }, { level: 1, sn: 7, part: 2 });
  expect(loaded(parts)).toEqual([true, true, true, false]);
});

test("nothing is said of other segments and rungs, nor of whole segments", () => {
  const parts = [...listed(6, 1, 2), ...listed(7, 0, 2), ...listed(8, 1, 2)];
  recall({ partList: parts }, { level: 1, sn: 7, part: 1 });
  recall({ partList: parts }, { level: 1, sn: 8, part: null });
  expect(loaded(parts)).toEqual(parts.map(() => false));
});

test("what hls.js knows of a part stays", () => {
  const parts = listed(7, 1, 1);
  const known = { startPTS: 14.1, endPTS: 14.4, startDTS: 14.1, endDTS: 14.4 };
  for (const part of parts) part.elementaryStreams.video = known;
  recall({ partList: parts }, { level: 1, sn: 7, part: 0 });
  expect(parts[0]?.elementaryStreams.video).toBe(known);
});

test("sound is marked as sound", () => {
  const parts = listed(7, 0, 2, PlaylistLevelType.AUDIO);
  recall({ partList: parts }, { level: 0, sn: 7, part: 0 });
  expect(parts[0]?.elementaryStreams).toMatchObject({ audio: { startPTS: 14 }, video: null });
});

test("without a playlist or a buffer there is nothing to do", () => {
  recall(null, { level: 0, sn: 7, part: 0 });
  recall({ partList: listed(7, 0, 1) }, null);
});

test("missing parts behind loaded ones are passed over, those before any are not", () => {
  const before = listed(6, 1, 2);
  const after = listed(7, 1, 4);
  for (const part of [...before, ...after.slice(2)]) part.gap = true;
  const behind = listed(8, 1, 2);
  const parts = [...before, ...after, ...behind];
  recall({ partList: parts }, { level: 1, sn: 7, part: 1 });
  for (let update = 0; update < 2; update += 1) bridge({ partList: parts });
  expect(loaded(parts)).toEqual([false, false, true, true, true, true, false, false]);
  expect(parts.map(({ gap }) => gap)).toEqual([true, true, false, false, false, false, false, false]);
  expect(parts.map(isMissing)).toEqual([true, true, false, false, true, true, false, false]);
});

test("a segment that is missing as a whole stays missing", () => {
  const parts = [...listed(7, 1, 2), ...listed(8, 1, 2)];
  for (const part of parts.slice(2)) part.gap = true;
  recall({ partList: parts }, { level: 1, sn: 7, part: 1 });
  bridge({ partList: parts });
  expect(parts.map(({ gap }) => gap)).toEqual([false, false, true, true]);
  expect(loaded(parts)).toEqual([true, true, false, false]);
});

test("a part that failed to load is none that is missing", () => {
  const parts = listed(7, 1, 2);
  for (const part of parts.slice(1)) {
    part.gap = true;
    part.stats.loading.start = 5;
  }
  recall({ partList: parts }, { level: 1, sn: 7, part: 0 });
  bridge({ partList: parts });
  expect(parts.map(({ gap }) => gap)).toEqual([false, true]);
});

test("what is not loaded yet ends the bridge", () => {
  const parts = listed(7, 1, 3);
  for (const part of parts.slice(1)) part.gap = true;
  bridge({ partList: parts });
  expect(loaded(parts)).toEqual([false, false, false]);
  bridge(null);
});

test("a rung has paused where its newest segment is listed as missing and nothing follows", () => {
  const details = (live: boolean, gap: boolean, tagged: boolean, behind: boolean) => {
    const parts = [...listed(7, 1, 2), ...listed(8, 1, 2)];
    const fragment = parts[0]?.fragment as MediaFragment;
    fragment.gap = gap;
    fragment.tagList = tagged ? [["GAP"]] : [["INF", "2"]];
    for (const part of parts) part.gap = !behind || part.fragment === fragment;
    return { live, fragments: [fragment], partList: parts };
  };
  expect(hasPaused(details(true, true, true, false))).toBe(true);
  expect(hasPaused(details(true, true, true, true))).toBe(false);
  // hls.js calls a segment missing that it failed to load.
  expect(hasPaused(details(true, true, false, false))).toBe(false);
  expect(hasPaused(details(true, false, false, false))).toBe(false);
  expect(hasPaused(details(false, true, true, false))).toBe(false);
  expect(hasPaused({ live: true, fragments: [], partList: null })).toBe(false);
});
