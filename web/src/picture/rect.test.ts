import { describe, expect, it } from "vitest";
import type { PathPoint } from "../cues/model";
import { MIN_TARGET_PX, pictureRect, regionAt, toPixels, touchTarget } from "./rect";

describe("pictureRect", () => {
  it("leaves out letterbox and pillarbox", () => {
    expect(pictureRect(1000, 700, 1280, 720)).toEqual({ x: 0, y: 68.75, width: 1000, height: 562.5 });
    expect(pictureRect(1000, 500, 720, 1280)).toEqual({ x: 359.375, y: 0, width: 281.25, height: 500 });
    expect(pictureRect(640, 360, 1920, 1080)).toEqual({ x: 0, y: 0, width: 640, height: 360 });
  });
  it("knows nothing before the size of the picture is known", () => {
    expect(pictureRect(1000, 700, 0, 0)).toBeNull();
    expect(pictureRect(0, 700, 16, 9)).toBeNull();
  });
});

describe("regionAt", () => {
  const path: PathPoint[] = [[0, 0.1, 0.2, 0.1, 0.1], [2, 0.5, 0.2, 0.3, 0.1], [4, 0.5, 0.6, 0.3, 0.1]];
  it("is linear between points", () => {
    const half = regionAt(path, 1);
    expect(half?.x).toBeCloseTo(0.3);
    expect(half?.width).toBeCloseTo(0.2);
    expect(regionAt(path, 3)?.y).toBeCloseTo(0.4);
  });
  it("holds the first point before and the last after", () => {
    expect(regionAt(path, -5)).toEqual({ x: 0.1, y: 0.2, width: 0.1, height: 0.1 });
    expect(regionAt(path, 99)).toEqual({ x: 0.5, y: 0.6, width: 0.3, height: 0.1 });
    expect(regionAt(path.slice(1), 0)?.x).toBe(0.5);
    expect(regionAt([], 0)).toBeNull();
  });
  it("takes two points of one time as a jump", () => {
    const jump: PathPoint[] = [[0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [1, 0.5, 0, 1, 1], [2, 0.5, 0, 1, 1]];
    expect(regionAt(jump, 0.999)?.x).toBe(0);
    expect(regionAt(jump, 1)?.x).toBe(0.5);
  });
});

describe("touchTarget", () => {
  it("grows a small region about its centre and leaves a large one", () => {
    const picture = { x: 0, y: 0, width: 400, height: 200 };
    const small = toPixels({ x: 0.5, y: 0.5, width: 0.05, height: 0.5 }, picture);
    expect(touchTarget(small)).toEqual({ x: 188, y: 100, width: MIN_TARGET_PX, height: 100 });
    const large = toPixels({ x: 0, y: 0, width: 0.5, height: 0.5 }, picture);
    expect(touchTarget(large)).toEqual(large);
  });
});
