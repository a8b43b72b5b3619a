/** Peak level of a sound track. */

/** Quieter than this is shown as silence, dB below full scale. */
export const FLOOR_DB = -60;

/** Peak of samples in -1..1 as dB of full scale, not below the floor. */
export function peakDb(samples: Float32Array): number {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return peak === 0 ? FLOOR_DB : Math.max(FLOOR_DB, 20 * Math.log10(Math.min(1, peak)));
}

export class LevelMeter {
  readonly #context = new AudioContext();
  readonly #analyser = this.#context.createAnalyser();
  readonly #samples: Float32Array<ArrayBuffer>;
  readonly #source: MediaStreamAudioSourceNode;

  constructor(track: MediaStreamTrack) {
    this.#analyser.fftSize = 2048;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    // Made without a press of a button (permission given earlier) it begins suspended.
    void this.#context.resume();
  }

  get db(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return peakDb(this.#samples);
  }

  close(): void {
    this.#source.disconnect();
    void this.#context.close();
  }
}
