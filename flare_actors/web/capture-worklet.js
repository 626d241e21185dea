// The microphone's end on the audio thread: floats at the device's rate become chunks of PCM16 at the session's rate.

import { Resampler } from "./resampler.js";

const CHUNK_S = 0.032; // one VAD chunk; 20-40 ms is what keeps both the delay and the number of messages low

class CaptureProcessor extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.open = true;
    this.use(options.processorOptions.sampleRate);
    this.port.onmessage = ({ data }) => {
      if (data.type === "rate") this.use(data.sampleRate);
      if (data.type === "close") this.open = false;
    };
  }

  /** Deliver at `rate` Hz from here on. */
  use(rate) {
    this.resampler = new Resampler(sampleRate, rate);
    this.size = Math.round(rate * CHUNK_S);
    this.chunk = new Int16Array(this.size); // little-endian, as on every platform that has a browser
    this.filled = 0;
  }

  take(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    this.chunk[this.filled] = Math.round(clipped < 0 ? clipped * 0x8000 : clipped * 0x7fff);
    this.filled += 1;
    if (this.filled === this.size) {
      this.port.postMessage(this.chunk.buffer, [this.chunk.buffer]);
      this.chunk = new Int16Array(this.size);
      this.filled = 0;
    }
  }

  process(inputs) {
    const channel = inputs[0][0]; // undefined while the device delivers nothing
    if (channel) {
      const emit = (sample) => this.take(sample);
      for (const sample of channel) this.resampler.write(sample, emit);
    }
    return this.open;
  }
}

registerProcessor("flare-capture", CaptureProcessor);
