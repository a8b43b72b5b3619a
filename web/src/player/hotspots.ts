/** Places the hotspot buttons on the picture, once per presented frame. */
import type { Cue, CueOf } from "../cues/model";
import { type Rect, pictureRect, regionAt, toPixels, touchTarget } from "../picture/rect";

/** A label needs this much room under its region. */
const TAG_ROOM_PX = 40;

export class HotspotLayer {
  #picture: Rect | null = null;

  /** `layer` is the box that lies on the picture; its buttons carry `data-cue`. */
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly layer: HTMLElement,
  ) {}

  /** Fits the layer to the picture after a change of the element's or the video's size. */
  fit(): void {
    const { clientWidth, clientHeight, videoWidth, videoHeight } = this.video;
    this.#picture = pictureRect(clientWidth, clientHeight, videoWidth, videoHeight);
    this.layer.hidden = this.#picture === null;
    if (this.#picture) place(this.layer, this.#picture);
  }

  /** Moves every hotspot to where it is in the frame of `pdt`, UTC ms. */
  frame(active: readonly Cue[], pdt: number): void {
    const picture = this.#picture;
    if (!picture) return;
    for (const button of this.layer.children) {
      if (!(button instanceof HTMLElement)) continue;
      const cue = active.find((one) => one.type === "hotspot" && one.id === button.dataset["cue"]);
      if (cue) position(button, cue as CueOf<"hotspot">, pdt, picture);
    }
  }
}

function position(button: HTMLElement, cue: CueOf<"hotspot">, pdt: number, picture: Rect): void {
  const region = regionAt(cue.data.path, (pdt - cue.at) / 1000);
  if (!region) return;
  const exact = toPixels(region, picture);
  const target = touchTarget(exact);
  button.style.transform = `translate(${target.x}px, ${target.y}px)`;
  button.style.width = `${target.width}px`;
  button.style.height = `${target.height}px`;
  button.classList.toggle("high", exact.y + exact.height + TAG_ROOM_PX > picture.height);
  const mark = button.querySelector<HTMLElement>(".region");
  if (mark) place(mark, { ...exact, x: exact.x - target.x, y: exact.y - target.y });
}

function place(element: HTMLElement, rect: Rect): void {
  element.style.left = `${rect.x}px`;
  element.style.top = `${rect.y}px`;
  element.style.width = `${rect.width}px`;
  element.style.height = `${rect.height}px`;
}
