/** `<vitrina-publish stream="NAME">`: camera, screen and microphone to this server by WHIP. */
import { LitElement, type TemplateResult, html, nothing } from "lit";
import { live } from "lit/directives/live.js";
import type { Loss } from "../webrtc/connection";
import { type Devices, type Wish, canCapture, capture, devices, stop } from "./capture";
import { captureError, publishError } from "./errors";
import { FLOOR_DB, LevelMeter } from "./level";
import { type Figures, type PublishState, Publisher } from "./publisher";
import { RATES, SIZES, bitrateOf, sizeOf } from "./quality";
import { styles } from "./styles";
import { type Words, languageOf, words } from "./text";

type Source = Wish["source"];
const SOURCES: readonly Source[] = ["camera", "screen", "none"];
const LEVEL_MS = 66;
/** The browser's estimate of the network begins low and rises. */
const SETTLED_S = 10;
/** A select's value for "no microphone"; device ids are never this. */
const NO_SOUND = "none";

export class VitrinaPublish extends LitElement {
  static override styles = styles;
  static override properties = {
    stream: { type: String },
    endpoint: { type: String },
    _state: { state: true },
    _problem: { state: true },
    _figures: { state: true },
    _media: { state: true },
    _devices: { state: true },
    _source: { state: true },
    _busy: { state: true },
  };

  /** Name of the stream. */
  declare stream: string;
  /** Address of the WHIP endpoint; `/whip/STREAM` of this server where it is not given. */
  declare endpoint: string;
  declare private _state: PublishState;
  declare private _problem: string;
  declare private _figures: Figures | null;
  declare private _media: MediaStream | null;
  declare private _devices: Devices;
  declare private _source: Source;
  declare private _busy: boolean;

  #words: Words = words([]);
  #key = "";
  #camera = "";
  #microphone = "";
  #height = 720;
  #fps = 30;
  #clean = true;
  #publisher: Publisher | null = null;
  #switching: Promise<boolean> | null = null;
  #meter: LevelMeter | null = null;
  #levels: ReturnType<typeof setInterval> | undefined;
  #awake: WakeLockSentinel | null = null;

  constructor() {
    super();
    this.stream = "";
    this.endpoint = "";
    this._state = "idle";
    this._problem = "";
    this._figures = null;
    this._media = null;
    this._devices = { cameras: [], microphones: [] };
    this._source = "camera";
    this._busy = false;
  }

  // ---- for tests and pages around it

  get state(): PublishState {
    return this._state;
  }

  get problem(): string {
    return this._problem;
  }

  get figures(): Figures | null {
    return this._figures;
  }

  // ---- life

  override connectedCallback(): void {
    super.connectedCallback();
    this.#words = words([this.closest<HTMLElement>("[data-lang]")?.dataset["lang"] ?? "", ...navigator.languages].filter(Boolean));
    document.documentElement.lang = languageOf(this.#words);
    this.#key = recall(this.#storage) ?? "";
    window.addEventListener("pagehide", this.#leave);
    window.addEventListener("beforeunload", this.#warn);
    document.addEventListener("visibilitychange", this.#stayAwake);
    navigator.mediaDevices?.addEventListener("devicechange", this.#list);
    this.#levels = setInterval(() => this.#level(), LEVEL_MS);
    if (!window.isSecureContext) this._problem = this.#words.insecure;
    else if (!canCapture()) this._problem = this.#words.unsupported;
    else void this.#welcome();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener("pagehide", this.#leave);
    window.removeEventListener("beforeunload", this.#warn);
    document.removeEventListener("visibilitychange", this.#stayAwake);
    navigator.mediaDevices?.removeEventListener("devicechange", this.#list);
    clearInterval(this.#levels);
    this.#leave();
  }

  /** Asks for nothing, but shows the picture at once where permission was given before. */
  async #welcome(): Promise<void> {
    await this.#list();
    try {
      const asked = ["camera", "microphone"].map((name) => navigator.permissions.query({ name: name as PermissionName }));
      if ((await Promise.all(asked)).every(({ state }) => state === "granted")) await this.#switchOn();
    } catch {
      // Firefox before 125 knows neither name: the button asks.
    }
  }

  readonly #list = async (): Promise<void> => {
    try {
      this._devices = await devices();
    } catch {
      // The lists stay as they were.
    }
  };

  readonly #leave = (): void => {
    this.stop();
    this.#switchOff();
  };

  readonly #warn = (event: BeforeUnloadEvent): void => {
    if (this.#publisher) event.preventDefault();
  };

  get #storage(): string {
    return `vitrina-key:${this.stream}`;
  }

  // ---- devices

  get #wish(): Wish {
    return {
      source: this._source,
      camera: this.#camera,
      microphone: this.#microphone === NO_SOUND ? null : this.#microphone,
      size: sizeOf(this.#height),
      fps: this.#fps,
      clean: this.#clean,
    };
  }

  /** One at a time: who comes meanwhile waits for what is under way. */
  #switchOn(): Promise<boolean> {
    this.#switching ??= this.#capture().finally(() => {
      this.#switching = null;
    });
    return this.#switching;
  }

  async #capture(): Promise<boolean> {
    const wish = this.#wish;
    if (!this.#able()) return false;
    this._problem = "";
    if (wish.source === "none" && wish.microphone === null) {
      this._problem = this.#words.nothing;
      return false;
    }
    this._busy = true;
    try {
      // A camera or a screen that is on already stays with its old settings in some browsers.
      if (!this.#publisher) this.#switchOff();
      const media = await capture(wish);
      if (!this.isConnected) {
        stop(media);
        return false;
      }
      await this.#use(media);
      await this.#list();
      return true;
    } catch (error) {
      this._problem = captureError(error, wish.source === "screen", this.#words);
      return false;
    } finally {
      this._busy = false;
    }
  }

  #able(): boolean {
    if (!window.isSecureContext) this._problem = this.#words.insecure;
    else if (!canCapture()) this._problem = this.#words.unsupported;
    else return true;
    return false;
  }

  async #use(media: MediaStream): Promise<void> {
    const old = this._media;
    for (const track of media.getTracks()) {
      track.addEventListener("ended", () => this.#ended(track));
      await this.#publisher?.replace(track);
    }
    // The publisher owns a stream of its own with the same tracks, so the old ones can go.
    stop(old);
    this._media = media;
    this.#meter?.close();
    const [sound] = media.getAudioTracks();
    this.#meter = sound ? new LevelMeter(sound) : null;
  }

  #switchOff(): void {
    stop(this._media);
    this._media = null;
    this.#meter?.close();
    this.#meter = null;
  }

  /** Whether a part of what was on has ended. */
  get #lacks(): boolean {
    return this._media?.getTracks().some((track) => track.readyState === "ended") ?? false;
  }

  /** Unplugged, or "stop sharing". */
  #ended(track: MediaStreamTrack): void {
    if (!this._media?.getTracks().includes(track)) return;
    this._problem = this.#words.gone;
    if (this._media.getTracks().some((one) => one.readyState === "live")) return;
    this.stop();
    this.#switchOff();
  }

  #level(): void {
    const bar = this.renderRoot?.querySelector<HTMLElement>(".level");
    if (!bar) return;
    const db = this.#meter?.db ?? FLOOR_DB;
    bar.style.setProperty("--level", String(1 - db / FLOOR_DB));
    bar.setAttribute("aria-valuenow", String(Math.round(db)));
    bar.classList.toggle("hot", db > -3);
  }

  // ---- publishing

  async start(): Promise<void> {
    if (this.#publisher) return;
    if (!this.#key) {
      this._problem = this.#words.keyMissing;
      this.renderRoot.querySelector<HTMLInputElement>("#key")?.focus();
      return;
    }
    if (!/^[\x20-\x7e]+$/.test(this.#key)) {
      this._problem = this.#words.wrongKey; // no header can carry it
      return;
    }
    if (this.#switching) await this.#switching;
    if ((!this._media || this.#lacks) && !(await this.#switchOn())) return;
    const media = this._media;
    if (!media || this.#publisher) return;
    remember(this.#storage, this.#key);
    this._problem = "";
    const { size, fps, clean } = this.#wish;
    const publisher = new Publisher(
      {
        endpoint: new URL(this.endpoint || `/whip/${encodeURIComponent(this.stream)}`, document.baseURI).href,
        key: this.#key,
        stream: new MediaStream(media.getTracks()),
        bitrate: bitrateOf(size, fps),
        fps,
        stereo: !clean,
      },
      {
        state: (state) => this.#onState(state),
        figures: (figures) => {
          this._figures = figures;
        },
        trouble: (error, loss) => this.#onTrouble(error, loss),
      },
    );
    this.#publisher = publisher;
    publisher.start();
    await this.#stayAwake();
  }

  /** A sleeping phone sends nothing. A page that was out of sight has lost its lock. */
  readonly #stayAwake = async (): Promise<void> => {
    const publisher = this.#publisher;
    if (!publisher || document.hidden) return;
    const lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    if (this.#publisher !== publisher) {
      void lock?.release();
    } else if (lock) {
      void this.#awake?.release();
      this.#awake = lock;
    }
  };

  stop(): void {
    this.#publisher?.stop();
    this.#release();
  }

  #release(): void {
    this.#publisher = null;
    void this.#awake?.release();
    this.#awake = null;
  }

  #onState(state: PublishState): void {
    this._state = state;
    if (state === "failed" || state === "replaced") this.#release();
    this.dispatchEvent(new CustomEvent("vitrina-publish-state", { detail: { state }, bubbles: true, composed: true }));
  }

  #onTrouble(error: unknown, loss: Loss | null): void {
    if (error !== null) this._problem = publishError(error, this.#words);
    else if (loss === "unreachable") this._problem = this.#words.blocked;
    else this._problem = this.#lacks ? this.#words.gone : "";
  }

  // ---- drawing

  protected override render(): TemplateResult {
    const w = this.#words;
    const on = !["idle", "failed", "replaced"].includes(this._state);
    return html`<div class="page" lang=${languageOf(w)}>
      <header>
        <h1>${w.title}: <span class="name" dir="auto">${this.stream}</span></h1>
        <p class="state ${this._state}" role="status">${w[this._state]}</p>
      </header>
      <section class="stage" aria-label=${w.preview}>
        <video muted autoplay playsinline .srcObject=${live(this._media)} aria-label=${w.preview}></video>
        ${this._media ? nothing : html`<p class="empty">${w.noPreview}</p>`}
      </section>
      <div class="level" role="meter" aria-label=${w.level} aria-valuemin=${FLOOR_DB} aria-valuemax="0"
        aria-valuenow=${FLOOR_DB} aria-valuetext=${nothing}><span></span></div>
      <div class="problem" role="alert">${this._problem ? html`<p>${this._problem}</p>` : nothing}</div>
      <form @submit=${this.#submit}>
        ${this.#fields(w, on)}
        <div class="buttons">
          ${this.#wanting(on)
            ? html`<button type="button" class="second" ?disabled=${this._busy} data-do="preview"
                @click=${() => void this.#switchOn()}>${this._source === "screen" ? w.onScreen : w.on}</button>`
            : nothing}
          ${on
            ? html`<button type="button" class="first stop" data-do="stop" @click=${(event: MouseEvent) => {
                if (!again(event)) this.stop();
              }}>${w.stop}</button>`
            : html`<button type="submit" class="first" data-do="start" @click=${(event: MouseEvent) => {
                if (again(event)) event.preventDefault();
              }}>${this._state === "replaced" ? w.takeBack : w.start}</button>`}
        </div>
      </form>
      ${this.#figuresView(w)}
      <p class="watch"><a href=${`/watch/${encodeURIComponent(this.stream)}`} target="_blank" rel="noopener">${w.watch}</a></p>
    </div>`;
  }

  /** Whether there is something to switch on: all of it, what has ended, or another screen. */
  #wanting(on: boolean): boolean {
    return !this._media?.getTracks().length || this.#lacks || (!on && this._source === "screen");
  }

  readonly #submit = (event: Event): void => {
    event.preventDefault();
    void this.start();
  };

  #fields(w: Words, on: boolean): TemplateResult {
    const { cameras, microphones } = this._devices;
    const change = (run: (value: string) => void, again: boolean) => (event: Event) => {
      run((event.target as HTMLSelectElement).value);
      // Not by itself for a screen: the browser would ask again.
      if (again && this._media && this._source !== "screen") void this.#switchOn();
      this.requestUpdate();
    };
    const choice = (id: string, label: string, value: string, options: readonly (readonly [string, string])[],
      run: (value: string) => void, disabled: boolean, again = true) => html`
      <label for=${id}>${label}</label>
      <select id=${id} ?disabled=${disabled} .value=${live(value)} @change=${change(run, again)}>
        ${options.map(([key, name]) => html`<option value=${key} ?selected=${key === value}>${name}</option>`)}
      </select>`;
    const numbered = (list: readonly MediaDeviceInfo[], name: string) =>
      list.map((device, index) => [device.deviceId, device.label || `${name} ${index + 1}`] as const);
    const cameraList = numbered(cameras, w.camera);
    const soundList = numbered(microphones, w.microphone);
    return html`<div class="fields">
      <label for="key">${w.key}</label>
      <div><input id="key" type="password" autocomplete="off" spellcheck="false" autocapitalize="off" required
        aria-describedby="key-hint" ?disabled=${on} .value=${live(this.#key)} @input=${(event: Event) => {
          this.#key = (event.target as HTMLInputElement).value.trim();
        }} /><small id="key-hint">${w.keyHint}</small></div>
      ${choice("source", w.source, this._source, SOURCES.map((source) => [source, w[source]] as const), (value) => {
        this._source = value as Source;
        if (value === "screen") this.#switchOff();
      }, on)}
      ${this._source === "camera"
        ? choice("camera", w.camera, this.#camera || (cameraList[0]?.[0] ?? ""), cameraList.length > 0 ? cameraList : [["", w.camera]], (value) => {
            this.#camera = value;
          }, this._busy)
        : nothing}
      ${choice("microphone", w.microphone, this.#microphone || (soundList[0]?.[0] ?? ""),
        [...(soundList.length > 0 ? soundList : [["", w.microphone] as const]), [NO_SOUND, w.none] as const], (value) => {
          this.#microphone = value;
        }, this._busy || this.#publisher?.silent === true)}
      ${choice("size", w.size, String(this.#height), SIZES.map(({ height, width }) => [String(height), `${height}p (${width} × ${height})`] as const), (value) => {
        this.#height = Number(value);
      }, on)}
      ${choice("rate", w.rate, String(this.#fps), RATES.map((rate) => [String(rate), String(rate)] as const), (value) => {
        this.#fps = Number(value);
      }, on)}
      <span></span>
      <div class="check"><input id="clean" type="checkbox" aria-describedby="clean-hint" .checked=${live(this.#clean)} ?disabled=${on}
        @change=${(event: Event) => {
          this.#clean = (event.target as HTMLInputElement).checked;
          if (this._media && this._source !== "screen") void this.#switchOn();
        }} /><label for="clean">${w.clean}</label><small id="clean-hint">${w.cleanHint}</small></div>
    </div>`;
  }

  #figuresView(w: Words): TemplateResult | typeof nothing {
    const figures = this._figures;
    if (!figures) return nothing;
    const { sending } = figures;
    const number = (value: number, digits = 0) =>
      value.toLocaleString(languageOf(w), { minimumFractionDigits: digits, maximumFractionDigits: digits });
    const row = (name: string, label: string, value: string) => html`<div data-figure=${name}><dt>${label}</dt><dd>${value}</dd></div>`;
    return html`<section aria-label=${w.figures}><dl class="figures">
        ${row("bitrate", w.bitrate, `${number(figures.kbps / 1000, 2)} Mb/s`)}
        ${row("fps", w.fps, `${number(figures.fps)} ${w.perSecond}`)}
        ${row("rtt", w.rtt, sending.rttMs === null ? "–" : `${number(sending.rttMs)} ms`)}
        ${row("loss", w.loss, `${number(figures.loss * 100, 1)} %`)}
        ${sending.height === null
          ? nothing
          : row("picture", w.picture, `${sending.width} × ${sending.height} ${sending.codec ?? ""}`)}
      </dl>
      ${sending.limited === null || figures.age < SETTLED_S
        ? nothing
        : html`<p class="limited">${sending.limited === "cpu" ? w.limitedCpu : w.limitedBandwidth}</p>`}
    </section>`;
  }
}

/** Whether a click is a double click's second one: the button that it was meant for has made room for its opposite. */
function again(event: MouseEvent): boolean {
  return event.detail > 1;
}

/** The key survives a reload of this tab and nothing else. */
function remember(name: string, key: string): void {
  try {
    sessionStorage.setItem(name, key);
  } catch {
    // Storage is switched off: it stays in memory.
  }
}

function recall(name: string): string | null {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}
