/** Templates of the parts that cues and menus draw. */
import { type TemplateResult, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Product } from "../cues/catalogue";
import type { Cue, CueOf, Text } from "../cues/model";
import type { Level, Sound } from "../playback/engine";
import type { Phase } from "../playback/phase";
import { icon } from "./icons";
import type { Words } from "./text";

export interface Names {
  readonly words: Words;
  text(text: Text | undefined): string;
  product(sku: string): Product | undefined;
}

export type Offer = CueOf<"pin"> | CueOf<"hotspot">;

export function isOffer(cue: Cue): cue is Offer {
  return cue.type === "pin" || cue.type === "hotspot";
}

/** The producer's label, else the shop's title, else the SKU. */
export function offerName(cue: Offer, names: Names): string {
  return names.text(cue.data.label) || names.text(names.product(cue.data.sku)?.title) || cue.data.sku;
}

export function hotspots(active: readonly Cue[], names: Names, select: (cue: Offer) => void): unknown {
  const shown = active.filter((cue) => cue.type === "hotspot");
  return repeat(
    shown,
    (cue) => cue.id,
    (cue) => {
      const name = offerName(cue, names);
      return html`<button class="hotspot ${cue.data.shape ?? "rect"}" part="hotspot" data-cue=${cue.id}
        data-rev=${cue.rev} aria-label=${`${names.words.show}: ${name}`} @click=${() => select(cue)}>
        <span class="region" part="hotspot-region"></span>
        <span class="tag" dir="auto" aria-hidden="true">${name}</span>
      </button>`;
    },
  );
}

export function pins(active: readonly Cue[], names: Names, select: (cue: Offer) => void): unknown {
  const shown = active.filter((cue) => cue.type === "pin");
  return repeat(
    shown,
    (cue) => cue.id,
    (cue) => {
      const product = names.product(cue.data.sku);
      return html`<button class="pin" part="pin" data-cue=${cue.id} data-rev=${cue.rev}
        @click=${() => select(cue)}>
        ${product?.image ? html`<img src=${product.image} alt="" />` : html`<span class="thumb">${icon("bag")}</span>`}
        <span class="side"><span class="what" dir="auto">${offerName(cue, names)}</span>
          ${product?.price ? html`<span class="price">${product.price}</span>` : nothing}</span>
        <span class="go">${names.words.show}</span>
      </button>`;
    },
  );
}

export function notices(active: readonly Cue[], names: Names): unknown {
  const shown = active.filter((cue) => cue.type === "notice").slice(-3);
  return repeat(
    shown,
    (cue) => cue.id,
    (cue) => {
      const { text, level, url } = cue.data;
      const words = names.text(text);
      return html`<div class="notice ${level ?? "info"}" part="notice" data-cue=${cue.id} dir="auto">
        ${url ? html`<a href=${url} target="_blank" rel="noopener noreferrer">${words}</a>` : words}
      </div>`;
    },
  );
}

export function chapterPanel(
  chapters: readonly { readonly cue: CueOf<"chapter">; readonly reachable: boolean }[],
  current: string | null,
  names: Names,
  seek: (cue: CueOf<"chapter">) => void,
): TemplateResult {
  const { words } = names;
  if (chapters.length === 0) return html`<p>${words.noChapters}</p>`;
  return html`${chapters.map(
    ({ cue, reachable }) => html`<button class="row" ?disabled=${!reachable} data-cue=${cue.id}
      aria-current=${cue.id === current ? "true" : nothing} title=${reachable ? nothing : words.notShownAgain}
      @click=${() => seek(cue)}>
      <span class="mark">${cue.id === current ? icon("check") : nothing}</span>
      <span class="main" dir="auto">${names.text(cue.data.title)}</span>
      <span class="side">${timeOfDay(cue.at)}</span>
    </button>`,
  )}`;
}

export function offerPanel(active: readonly Cue[], names: Names, select: (cue: Offer) => void): TemplateResult {
  const offers = active.filter(isOffer);
  if (offers.length === 0) return html`<p>${names.words.noProducts}</p>`;
  return html`${offers.map(
    (cue) => html`<button class="row" data-cue=${cue.id} @click=${() => select(cue)}>
      <span class="mark">${icon("bag")}</span>
      <span class="main" dir="auto">${offerName(cue, names)}</span>
      <span class="side">${names.product(cue.data.sku)?.price ?? nothing}</span>
    </button>`,
  )}`;
}

export function qualityPanel(
  levels: readonly Level[],
  quality: number,
  current: number,
  words: Words,
  choose: (index: number) => void,
): TemplateResult {
  const row = (index: number, label: string, side: string) => html`<button class="row"
    role="menuitemradio" aria-checked=${index === quality ? "true" : "false"} @click=${() => choose(index)}>
    <span class="mark">${index === quality ? icon("check") : nothing}</span>
    <span class="main">${label}</span><span class="side">${side}</span>
  </button>`;
  const best = [...levels].sort((a, b) => b.height - a.height || b.bitrate - a.bitrate);
  const now = levels.find((level) => level.index === current)?.label ?? "";
  return html`${row(-1, words.auto, quality === -1 ? now : "")}
    ${best.map((level) => row(level.index, level.label, ""))}`;
}

export function soundPanel(
  sounds: readonly Sound[],
  current: number,
  words: Words,
  choose: (index: number) => void,
): TemplateResult | typeof nothing {
  if (sounds.length < 2) return nothing;
  return html`<h2 aria-hidden="true">${words.sound}</h2>
    ${sounds.map(
      ({ index, label, language }) => html`<button class="row" role="menuitemradio" data-sound=${index}
        aria-checked=${index === current ? "true" : "false"} @click=${() => choose(index)}>
        <span class="mark">${index === current ? icon("check") : nothing}</span>
        <span class="main" lang=${language || nothing} dir="auto">${label}</span>
      </button>`,
    )}`;
}

/** The message over the picture, or nothing while it plays. */
export function message(phase: Phase, words: Words): TemplateResult | typeof nothing {
  const box = (title: string, more: string, wait: boolean, solid: boolean) => html`
    <div class="message ${solid ? "solid" : ""}" part="message">
      ${wait ? html`<div class="spinner"></div>` : nothing}
      ${title ? html`<strong>${title}</strong>` : nothing}${more ? html`<span>${more}</span>` : nothing}
    </div>`;
  switch (phase) {
    case "idle":
      return box(words.idle, words.idleMore, false, true);
    case "loading":
      return box(words.loading, "", true, true);
    case "buffering":
      return box("", "", true, false);
    case "reconnecting":
      return box(words.reconnecting, words.reconnectingMore, true, false);
    case "ended":
      return box(words.ended, words.endedMore, false, true);
    case "unsupported":
      return box(words.unsupported, words.unsupportedMore, false, true);
    case "live":
      return nothing;
  }
}

export function timeOfDay(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
