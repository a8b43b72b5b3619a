/** Where the picture lies inside the element, and where a region lies inside the picture. */
import type { PathPoint } from "../cues/model";

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Smallest side of anything to press, in CSS pixels (WCAG 2.2 SC 2.5.5). */
export const MIN_TARGET_PX = 44;

/** `object-fit: contain` (CSS Images 3 §5.5): the picture centred in the box, null before its size is known. */
export function pictureRect(boxWidth: number, boxHeight: number, width: number, height: number): Rect | null {
  if (!(boxWidth > 0 && boxHeight > 0 && width > 0 && height > 0)) return null;
  const scale = Math.min(boxWidth / width, boxHeight / height);
  const shown = { width: width * scale, height: height * scale };
  return { x: (boxWidth - shown.width) / 2, y: (boxHeight - shown.height) / 2, ...shown };
}

/** The region at `t` seconds after the cue's `at`: linear between points, held before the first and after the last. */
export function regionAt(path: readonly PathPoint[], t: number): Rect | null {
  const first = path[0];
  if (!first) return null;
  let before = first;
  for (const point of path) {
    if (point[0] > t) {
      const span = point[0] - before[0];
      const share = span > 0 ? Math.max(0, t - before[0]) / span : 0;
      const mix = (i: 1 | 2 | 3 | 4) => before[i] + (point[i] - before[i]) * share;
      return { x: mix(1), y: mix(2), width: mix(3), height: mix(4) };
    }
    before = point;
  }
  return { x: before[1], y: before[2], width: before[3], height: before[4] };
}

/** A region of 0..1 in pixels of the picture's own box. */
export function toPixels(region: Rect, picture: Rect): Rect {
  return {
    x: region.x * picture.width,
    y: region.y * picture.height,
    width: region.width * picture.width,
    height: region.height * picture.height,
  };
}

/** The same centre, no side under the smallest target. */
export function touchTarget(region: Rect): Rect {
  const width = Math.max(region.width, MIN_TARGET_PX);
  const height = Math.max(region.height, MIN_TARGET_PX);
  return {
    x: region.x - (width - region.width) / 2,
    y: region.y - (height - region.height) / 2,
    width,
    height,
  };
}
