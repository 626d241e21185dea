// A streaming resampler for speech: a windowed sinc, read between its phases by linear interpolation.
//
// The browser's own resampler cannot be flushed, cannot say how many input samples it has used, and Firefox refuses an
// AudioContext at another rate than the microphone's; so the page converts by itself, inside the worklets.

const LOBES = 12; // zero crossings on either side: half a millisecond of delay at 24 kHz
const GUARD = 0.88; // of the slower Nyquist frequency, where that is the output's: room for the filter to fall
const PHASES = 128; // kernel samples between two input samples; the error of interpolating lies below 16 bits

/** Kernel values from -LOBES to LOBES crossings for a cut-off of `cutoff` (1 = the input's own Nyquist frequency). */
function makeKernel(cutoff) {
  const half = Math.ceil(LOBES / cutoff); // in input samples
  const table = new Float32Array(2 * half * PHASES + 2);
  for (let index = 0; index <= 2 * half * PHASES; index += 1) {
    const x = index / PHASES - half;
    const angle = Math.PI * x * cutoff;
    const sinc = x === 0 ? 1 : Math.sin(angle) / angle;
    const window = 0.42 + 0.5 * Math.cos((Math.PI * x) / half) + 0.08 * Math.cos((2 * Math.PI * x) / half); // Blackman
    table[index] = cutoff * sinc * window;
  }
  return { half, table };
}

export class Resampler {
  /** From `inputRate` to `outputRate`, both in Hz. Equal rates pass samples through untouched. */
  constructor(inputRate, outputRate) {
    this.step = inputRate / outputRate;
    this.through = inputRate === outputRate;
    const { half, table } = makeKernel(this.step > 1 ? GUARD / this.step : 1);
    this.taps = 2 * half;
    this.table = table;
    this.reset();
  }

  /** Forget the past: the next output follows silence. */
  reset() {
    this.window = new Float32Array(2 * this.taps); // written twice, so that the last `taps` samples are contiguous
    this.head = 0;
    this.phase = 1; // position of the next output, in input samples after the middle of the window
  }

  #shift(sample) {
    this.window[this.head] = sample;
    this.window[this.head + this.taps] = sample;
    this.head = (this.head + 1) % this.taps;
    this.phase -= 1;
  }

  #interpolate() {
    const { window, table, taps, head } = this;
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const position = (tap + 1 - this.phase) * PHASES;
      const index = Math.floor(position);
      const fraction = position - index;
      sum += window[head + tap] * (table[index] + fraction * (table[index + 1] - table[index]));
    }
    return sum;
  }

  /** The next output sample; `pull()` is called for each input sample that it needs. */
  read(pull) {
    if (this.through) return pull();
    while (this.phase >= 1) this.#shift(pull());
    const value = this.#interpolate();
    this.phase += this.step;
    return value;
  }

  /** Take one input sample; `emit(sample)` is called for each output sample that it completes. */
  write(sample, emit) {
    if (this.through) {
      emit(sample);
      return;
    }
    this.#shift(sample);
    while (this.phase < 1) {
      emit(this.#interpolate());
      this.phase += this.step;
    }
  }
}
