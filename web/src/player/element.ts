/** `<vitrina-player src="/live/STREAM/index.m3u8">`: the embeddable live-shopping player. */
import { LitElement, type PropertyValues, type TemplateResult, html, nothing } from "lit";
import { Catalogue, type Product } from "../cues/catalogue";
import type { CueChange } from "../cues/scheduler";
import { type Cue, type CueOf, type Text, cueType } from "../cues/model";
import type { EngineName, Level, Sound } from "../playback/engine";
import type { Phase } from "../playback/phase";
import { Session } from "../playback/session";
import { HotspotLayer } from "./hotspots";
import { icon } from "./icons";
import { type Command, commandOf } from "./keys";
import { styles } from "./styles";
import { type Words, chooseText, words } from "./text";
import * as view from "./view";

type Panel = "chapters" | "offers" | "quality";

const SEEK_S = 5;
const QUIET_MS = 3500;
/** Further from the live edge than its target by this much is "behind live". */
const BEHIND_S = 2.5;

export interface PlayerStats {
  readonly stalls: number;
  readonly stallSeconds: number;
  /** Date of the frame that first showed a cue minus the cue's `at`, ms. */
  readonly paintErrors: readonly number[];
}

export class VitrinaPlayer extends LitElement {
  static override styles = styles;
  static override shadowRootOptions: ShadowRootInit = { ...LitElement.shadowRootOptions, delegatesFocus: true };
  static override properties = {
    src: { type: String },
    mode: { type: String },
    whep: { type: String },
    autoplay: { type: Boolean },
    products: { attribute: false },
    _panel: { state: true },
    _phase: { state: true },
    _quiet: { state: true },
    _needsTap: { state: true },
    _behind: { state: true },
    _said: { state: true },
  };

  declare src: string;
  /** "realtime" plays by WebRTC, and by HLS where that does not get through; anything else by HLS. */
  declare mode: string;
  /** Address of the WHEP endpoint where it is not `/whep/STREAM` beside the playlist's `/live/STREAM`. */
  declare whep: string;
  /** Starts muted by itself; `autoplay="false"` in markup or false here waits for a press. */
  declare autoplay: boolean;
  /** Titles, prices and images by SKU, if the shop wants them on the cards. */
  declare products: Readonly<Record<string, Product>>;
  declare private _panel: Panel | null;
  declare private _phase: Phase;
  declare private _quiet: boolean;
  declare private _needsTap: boolean;
  declare private _behind: boolean;
  declare private _said: string;

  #session: Session | null = null;
  #catalogue: Catalogue | null = null;
  #hotspots: HotspotLayer | null = null;
  #resize: ResizeObserver | null = null;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  #slowTimer: ReturnType<typeof setInterval> | undefined;
  #languages: readonly string[] = [];
  #words: Words = words([]);
  #pausedByViewer = false;

  constructor() {
    super();
    this.src = "";
    this.mode = "";
    this.whep = "";
    this.autoplay = true;
    this.products = {};
    this._panel = null;
    this._phase = "loading";
    this._quiet = false;
    this._needsTap = false;
    this._behind = false;
    this._said = "";
  }

  // ---- for embedding pages and tests

  /** Date of the frame on screen; null before the first. */
  get playingDate(): Date | null {
    const pdt = this.#session?.presented ?? null;
    return pdt === null ? null : new Date(pdt);
  }

  /** Seconds behind the live edge; null before playback. */
  get latency(): number | null {
    return this.#session?.engine?.latency ?? null;
  }

  /** The cues that show now. */
  get cues(): readonly Cue[] {
    return this.#session?.scheduler.active ?? [];
  }

  get state(): Phase {
    return this._phase;
  }

  get stats(): PlayerStats {
    const session = this.#session;
    return {
      stalls: session?.stalls ?? 0,
      stallSeconds: session?.stallSeconds ?? 0,
      paintErrors: session ? [...session.scheduler.paintErrors] : [],
    };
  }

  get levels(): readonly Level[] {
    return this.#session?.engine?.levels ?? [];
  }

  /** Index of the level on screen; -1 before the first. */
  get currentLevel(): number {
    return this.#session?.engine?.currentLevel ?? -1;
  }

  /** Index into `levels`, or -1 for automatic. */
  get quality(): number {
    return this.#session?.quality ?? -1;
  }

  set quality(index: number) {
    if (this.#session) this.#session.quality = index;
    this.requestUpdate();
  }

  /** The languages of the sound. */
  get sounds(): readonly Sound[] {
    return this.#session?.engine?.sounds ?? [];
  }

  /** Index into `sounds`; -1 where there is nothing to choose. */
  get sound(): number {
    return this.#session?.engine?.sound ?? -1;
  }

  set sound(index: number) {
    const engine = this.#session?.engine;
    if (engine) engine.sound = index;
    this.requestUpdate();
  }

  get engine(): EngineName | null {
    return this.#session?.engine?.name ?? null;
  }

  get video(): HTMLVideoElement | null {
    return this.renderRoot?.querySelector("video") ?? null;
  }

  get muted(): boolean {
    return this.video?.muted ?? true;
  }

  mute(): void {
    if (this.video) this.video.muted = true;
  }

  unmute(): void {
    if (!this.video) return;
    this.video.muted = false;
    if (this.video.volume === 0) this.video.volume = 0.5;
  }

  async play(): Promise<void> {
    this.#pausedByViewer = false;
    try {
      await this.video?.play();
      this._needsTap = false;
    } catch (error) {
      this._needsTap = (error as DOMException).name === "NotAllowedError";
    }
  }

  pause(): void {
    this.#pausedByViewer = true;
    this.video?.pause();
  }

  goLive(): void {
    this.#session?.goLive();
    void this.play();
  }

  // ---- life

  override connectedCallback(): void {
    super.connectedCallback();
    this.#chooseLanguage();
    this.addEventListener("keydown", this.#onKey);
    this.addEventListener("pointermove", this.#wake);
    this.addEventListener("focusin", this.#wake);
    document.addEventListener("fullscreenchange", this.#onFullscreen);
    if (this.getAttribute("autoplay") === "false") this.autoplay = false;
    this.#slowTimer = setInterval(() => this.#slow(), 500);
    if (this.hasUpdated) this.#open();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.removeEventListener("keydown", this.#onKey);
    this.removeEventListener("pointermove", this.#wake);
    this.removeEventListener("focusin", this.#wake);
    document.removeEventListener("fullscreenchange", this.#onFullscreen);
    clearInterval(this.#slowTimer);
    clearTimeout(this.#quietTimer);
    this.#close();
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (changed.has("src") || changed.has("mode") || changed.has("whep")) this.#open();
    const pdt = this.#session?.presented ?? null;
    if (pdt !== null) this.#hotspots?.frame(this.cues, pdt);
  }

  #open(): void {
    this.#close();
    const { video } = this;
    const layer = this.renderRoot.querySelector<HTMLElement>(".picture");
    if (!video || !layer || !this.src) return;
    video.muted = true;
    const hotspotLayer = new HotspotLayer(video, layer);
    this.#hotspots = hotspotLayer;
    const fit = (): void => {
      hotspotLayer.fit();
      const pdt = this.#session?.presented ?? null;
      if (pdt !== null) hotspotLayer.frame(this.cues, pdt);
    };
    this.#resize = new ResizeObserver(fit);
    this.#resize.observe(video);
    video.onresize = fit;
    video.onloadeddata = () => {
      if (this.autoplay && !this.#pausedByViewer) void this.play();
    };
    video.onplay = video.onpause = video.onvolumechange = () => this.requestUpdate();
    fit();
    this._phase = "loading";
    const src = new URL(this.src, document.baseURI).href;
    this.#catalogue = new Catalogue(src, this.#languages, () => this.requestUpdate());
    const sink = {
      phase: (phase: Phase) => this.#onPhase(phase),
      cues: (changes: readonly CueChange[]) => this.#onCues(changes),
      frame: (pdt: number) => hotspotLayer.frame(this.cues, pdt),
      levels: () => this.requestUpdate(),
    };
    this.#session = new Session(video, src, sink, this.mode === "realtime" ? whepOf(src, this.whep) : null);
    this.#session.start();
    this.#wake();
  }

  #close(): void {
    const session = this.#session;
    if (!session) return;
    this.#session = null;
    session.stop();
    this.#catalogue?.stop();
    this.#onCues(session.scheduler.reset());
    this.#resize?.disconnect();
    this._panel = null;
  }

  // ---- what the session reports

  #onPhase(phase: Phase): void {
    this._phase = phase;
    const text = { idle: "idle", reconnecting: "reconnecting", ended: "ended", unsupported: "unsupported" } as const;
    const said = Object.values(text).map((key): string => this.#words[key]);
    if (phase in text) this._said = this.#words[text[phase as keyof typeof text]];
    else if (phase === "live" && said.includes(this._said)) this._said = "";
    if (phase !== "live") this.#wake();
    this.#emit("vitrina-state", { state: phase });
  }

  #onCues(changes: readonly CueChange[]): void {
    if (changes.length === 0) return;
    this.requestUpdate();
    const programDateTime = this.playingDate?.toISOString() ?? null;
    const offers = changes.map(({ cue }) => cue).filter(view.isOffer);
    const unknown = offers.map((cue) => cue.data.sku).filter((sku) => !Object.hasOwn(this.products, sku));
    void this.#catalogue?.want(unknown);
    for (const { phase, cue } of changes) {
      if (phase === "enter") this.#announce(cue);
      const wire = {
        ...cue,
        type: cueType(cue),
        at: new Date(cue.at).toISOString(),
        end: cue.end === null ? null : new Date(cue.end).toISOString(),
      };
      this.#emit("vitrina-cue", { phase, cue: wire, programDateTime });
    }
  }

  /** The text twin of what appears, read out politely and in time with the picture. */
  #announce(cue: Cue): void {
    if (view.isOffer(cue)) this._said = `${this.#words.productNow} ${view.offerName(cue, this.#names)}`;
    else if (cue.type === "chapter") this._said = `${this.#words.chapterNow} ${this.#text(cue.data.title)}`;
    else if (cue.type === "notice") this._said = this.#text(cue.data.text);
  }

  #slow(): void {
    const session = this.#session;
    const target = session?.engine?.livePosition ?? null;
    this._behind = target !== null && this.video !== null && target - this.video.currentTime > BEHIND_S;
    if (this._panel !== null) this.requestUpdate(); // reachability and the current rung change with time
  }

  // ---- what the viewer does

  readonly #onKey = (event: KeyboardEvent): void => {
    const focused = this.shadowRoot?.activeElement ?? null;
    const command = event.defaultPrevented ? null : commandOf(event, focused);
    if (command && this.#run(command)) event.preventDefault();
  };

  #run(command: Command): boolean {
    const { video } = this;
    if (!video) return false;
    switch (command) {
      case "toggle":
        this.#toggle();
        break;
      case "mute":
        if (video.muted) this.unmute();
        else this.mute();
        break;
      case "fullscreen":
        void this.#fullscreen();
        break;
      case "back":
        this.#seek(video.currentTime - SEEK_S);
        break;
      case "forward":
        this.#seek(video.currentTime + SEEK_S);
        break;
      case "louder":
      case "quieter":
        video.volume = Math.min(1, Math.max(0, video.volume + (command === "louder" ? 0.1 : -0.1)));
        break;
      case "live":
        this.goLive();
        break;
      case "chapters":
        this.#openPanel("chapters");
        break;
      case "close":
        if (this._panel === null) return false;
        this.#openPanel(this._panel);
        break;
    }
    this.#wake();
    return true;
  }

  #toggle(): void {
    if (this.video?.paused) void this.play();
    else this.pause();
  }

  #seek(time: number): void {
    const { video } = this;
    if (!video?.seekable.length) return;
    const live = this.#session?.engine?.livePosition ?? video.seekable.end(video.seekable.length - 1);
    video.currentTime = Math.max(video.seekable.start(0), Math.min(time, Math.max(live, video.currentTime)));
  }

  #seekTo(cue: CueOf<"chapter">): void {
    const time = this.#session?.clock.mediaTime(cue.at) ?? null;
    if (time !== null) this.#seek(time);
    this.#openPanel("chapters");
  }

  #reachable(cue: CueOf<"chapter">): boolean {
    const time = this.#session?.clock.mediaTime(cue.at) ?? null;
    const seekable = this.video?.seekable;
    return time !== null && !!seekable?.length && time >= seekable.start(0) - 0.5;
  }

  async #fullscreen(): Promise<void> {
    const video = this.video as (HTMLVideoElement & { webkitEnterFullscreen?: () => void }) | null;
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (document.fullscreenEnabled) await this.requestFullscreen();
      else video?.webkitEnterFullscreen?.(); // iPhone: only the video itself can
    } catch {
      // The embedding page forbids it; the player stays as it is.
    }
  }

  readonly #onFullscreen = (): void => this.requestUpdate();

  #openPanel(panel: Panel): void {
    const opening = this._panel !== panel;
    this._panel = opening ? panel : null;
    void this.updateComplete.then(() => {
      const next = opening ? ".panel button:enabled, .panel" : `[data-panel="${panel}"]`;
      this.renderRoot.querySelector<HTMLElement>(next)?.focus();
    });
  }

  #select(cue: view.Offer): void {
    this.#emit("vitrina-select", { sku: cue.data.sku, cue: cue.id, rev: cue.rev, type: cue.type });
  }

  readonly #wake = (): void => {
    this._quiet = false;
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => {
      const held = this._panel !== null || this.video?.paused || this.shadowRoot?.activeElement?.matches(":focus-visible");
      this._quiet = !held;
    }, QUIET_MS);
  };

  #emit(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // ---- words

  #chooseLanguage(): void {
    const own = this.closest("[lang]")?.getAttribute("lang");
    this.#languages = [...(own ? [own] : []), ...navigator.languages];
    this.#words = words(this.#languages);
  }

  #text(text: Text | undefined): string {
    return chooseText(text, this.#languages);
  }

  get #names(): view.Names {
    return {
      words: this.#words,
      text: (text) => this.#text(text),
      product: (sku) =>
        Object.hasOwn(this.products, sku) ? this.products[sku] : this.#catalogue?.get(sku),
    };
  }

  // ---- drawing

  protected override render(): TemplateResult {
    const active = this.cues;
    const chapter = active.find((cue) => cue.type === "chapter");
    const select = (cue: view.Offer): void => this.#select(cue);
    const names = this.#names;
    const covered = this._phase === "idle" || this._phase === "ended" || this._phase === "unsupported";
    const muted = this.muted && !covered && this._phase !== "loading";
    return html`
      <div class="stage ${this._quiet ? "quiet" : ""} ${this._panel ? "open" : ""}" role="region" aria-label=${this.#words.player} lang=${this.#languages[0] ?? nothing}>
        <video part="video" playsinline disablepictureinpicture @click=${this.#wakeOrToggle}></video>
        <div class="picture" part="picture" hidden>${view.hotspots(covered ? [] : active, names, select)}</div>
        ${view.message(this._phase, this.#words)}
        <div class="top ${muted ? "beside" : ""}">
          ${chapter && !covered
            ? html`<div class="chapter" part="chapter" data-cue=${chapter.id} dir="auto">${names.text(chapter.data.title)}</div>`
            : nothing}
          ${covered ? nothing : view.notices(active, names)}
        </div>
        ${muted && !this._needsTap
          ? html`<button class="unmute" part="unmute" aria-label=${this.#words.unmute} @click=${() => this.unmute()}>
              ${icon("muted")}<span>${this.#words.unmute}</span>
            </button>`
          : nothing}
        <div class="pins">${covered ? nothing : view.pins(active, names, select)}</div>
        ${this._needsTap && !covered
          ? html`<button class="start" part="start" aria-label=${this.#words.play} @click=${() => void this.play()}>${icon("play")}</button>`
          : nothing}
        ${covered ? nothing : this.#controls(active)}
        ${covered ? nothing : this.#panelView(active, chapter?.id ?? null)}
        <slot name="checkout"></slot><slot name="chat"></slot>
        <div class="sr" role="status" aria-live="polite">${this._said}</div>
      </div>
    `;
  }

  readonly #wakeOrToggle = (event: PointerEvent): void => {
    // On a touch screen the first tap only brings the controls back.
    if (event.pointerType === "mouse") this.#toggle();
    else if (this._quiet) this.#wake();
    else this._quiet = true;
  };

  #controls(active: readonly Cue[]): TemplateResult {
    const { video } = this;
    const paused = video?.paused ?? true;
    const offers = active.filter(view.isOffer).length;
    const full = document.fullscreenElement === this;
    const w = this.#words;
    const panelTool = (panel: Panel, label: string, sign: TemplateResult, badge: unknown = nothing) => html`
      <button class="tool" data-panel=${panel} aria-label=${label} title=${label}
        aria-expanded=${this._panel === panel ? "true" : "false"} @click=${() => this.#openPanel(panel)}>
        ${sign}${badge}
      </button>`;
    const tool = (label: string, sign: TemplateResult, run: () => void, name: string) => html`
      <button class="tool" data-tool=${name} aria-label=${label} title=${label} @click=${run}>${sign}</button>`;
    return html`<div class="chrome" part="controls">
      ${tool(paused ? w.play : w.pause, icon(paused ? "play" : "pause"), () => this.#toggle(), "play")}
      ${tool(this.muted ? w.unmute : w.mute, icon(this.muted ? "muted" : "sound"), () => this.#run("mute"), "mute")}
      <button class="tool live ${this._behind || paused ? "" : "on"}" data-tool="live"
        aria-label=${this._behind || paused ? w.goLive : w.live} @click=${() => this.goLive()}>${w.live}</button>
      <span class="grow"></span>
      ${panelTool("offers", w.products, icon("bag"), offers ? html`<span class="count">${offers}</span>` : nothing)}
      ${panelTool("chapters", w.chapters, icon("chapters"))}
      ${this.levels.length > 1 || this.sounds.length > 1 ? panelTool("quality", w.quality, icon("gear")) : nothing}
      ${tool(full ? w.exitFullscreen : w.fullscreen, icon(full ? "shrink" : "expand"), () => void this.#fullscreen(), "fullscreen")}
    </div>`;
  }

  #panelView(active: readonly Cue[], chapter: string | null): TemplateResult | typeof nothing {
    const session = this.#session;
    if (this._panel === null || !session) return nothing;
    const names = this.#names;
    const w = this.#words;
    const title = { chapters: w.chapters, offers: w.products, quality: w.quality }[this._panel];
    const rows = {
      chapters: () => {
        // Listed by what the playhead has reached: a chapter ahead of the picture would spoil it.
        const edge = session.furthest ?? 0;
        const listed = session.scheduler.store.chaptersUntil(edge);
        const all = listed.map((cue) => ({ cue, reachable: this.#reachable(cue) }));
        return view.chapterPanel(all, chapter, names, (cue) => this.#seekTo(cue));
      },
      offers: () => view.offerPanel(active, names, (cue) => this.#select(cue)),
      quality: () => html`${view.qualityPanel(this.levels, this.quality, this.currentLevel, w, (index) => {
        this.quality = index;
        this.#openPanel("quality");
      })}${view.soundPanel(this.sounds, this.sound, w, (index) => {
        this.sound = index;
        this.#openPanel("quality");
      })}`,
    }[this._panel];
    return html`<div class="panel" part="panel" role=${this._panel === "quality" ? "menu" : "group"}
      aria-label=${title} tabindex="-1"><h2 aria-hidden="true">${title}</h2>${rows()}</div>`;
  }
}

/** The endpoint that belongs to a playlist of this server, or the one that the page names. */
function whepOf(src: string, named: string): string | null {
  if (named) return new URL(named, document.baseURI).href;
  const path = /^(.*)\/live\/([^/]+)\/[^/]*$/.exec(new URL(src).pathname);
  return path ? new URL(`${path[1] ?? ""}/whep/${path[2] ?? ""}`, src).href : null;
}
