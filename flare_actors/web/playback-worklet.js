// The loudspeaker's end on the audio thread: a queue of turns, emptied in order, dropped at once when told to.
//
// Everything that decides what is heard happens here, behind no timer and no main thread: a flush takes effect in the
// next 128 samples, and frames of a flushed turn that were still on their way are refused. So does a pause; after it the
// next sample is the one that would have come without it.

import { Resampler } from "./resampler.js";

const PREBUFFER_S = 0.04; // collected before sound begins (or waited for in vain), so that jitter makes no gaps
const LONGEST_S = 120; // of queued audio; a server that paces its output holds up to 0.24 s here
const FADE_SAMPLES = 96; // 2 ms: neither a flush nor a pause may click
const REPORT_EVERY_S = 0.25;
const REMEMBERED_TURNS = 64; // flushed turns whose late frames are refused; older ones have no frames on their way

class PlaybackProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.reset(sampleRate);
    this.pull = () => this.next();
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  /** A new session: its turns begin at 1 again. */
  reset(rate) {
    this.rate = rate;
    this.resampler = new Resampler(rate, sampleRate);
    this.queue = []; // {turn, samples}
    this.offset = 0; // into the first chunk
    this.queued = 0; // samples in all
    this.turn = null; // whose samples were taken last
    this.played = 0; // samples taken of it
    this.playing = false;
    this.dry = true; // the turn's last "ran-dry" has been reported
    this.waited = 0; // output samples since the queue began to fill
    this.silence = this.resampler.taps; // input samples of silence since the last real one
    this.sinceReport = 0;
    this.fade = 0;
    this.rise = 0; // what is left of the fade after a pause
    this.last = 0;
    this.paused = null; // the turn that stands still
    this.flushed = new Set();
    this.rendered = 0;
    this.refused = 0;
    this.dropped = 0;
  }

  receive(message) {
    if (message.type === "audio") this.add(message.turn, message.samples);
    else if (message.type === "flush") this.flush(message.turn);
    else if (message.type === "pause") this.pause(message.turn);
    else if (message.type === "resume") this.resume(message.turn);
    else if (message.type === "reset") this.reset(message.sampleRate);
    else if (message.type === "ask") this.post("statistics", { id: message.id, ...this.statistics() });
  }

  add(turn, samples) {
    if (samples.length === 0) return; // the queue has no empty chunks: its first one always has a next sample
    if (this.flushed.has(turn) || this.queued > LONGEST_S * this.rate) {
      this.refused += samples.length;
      return;
    }
    this.queue.push({ turn, samples });
    this.queued += samples.length;
  }

  /** Stand still at this sample, if the turn is being played; else at its first one. */
  pause(turn) {
    this.paused = turn;
    if (this.playing && this.turn === turn) {
      this.fade = FADE_SAMPLES;
      this.report("progress");
    }
  }

  resume(turn) {
    if (this.paused !== turn) return;
    this.paused = null;
    this.rise = FADE_SAMPLES;
  }

  /** What is to be played next belongs to the turn that stands still. */
  get still() {
    return this.paused !== null && this.paused === (this.queue.length > 0 ? this.queue[0].turn : this.turn);
  }

  flush(turn) {
    if (this.paused === turn) this.paused = null;
    this.flushed.add(turn);
    if (this.flushed.size > REMEMBERED_TURNS) this.flushed.delete(this.flushed.values().next().value);
    const before = this.queued;
    if (this.queue.length > 0 && this.queue[0].turn === turn) {
      this.queued += this.offset;
      this.offset = 0;
    }
    this.queue = this.queue.filter((chunk) => chunk.turn !== turn);
    this.queued = this.queue.reduce((sum, chunk) => sum + chunk.samples.length, -this.offset);
    this.dropped += before - this.queued;
    if (this.turn === turn) {
      this.resampler.reset();
      this.silence = this.resampler.taps;
      this.fade = FADE_SAMPLES;
      this.playing = false;
      this.waited = 0;
    }
    if (this.turn !== null && turn < this.turn) return; // long played: there is nothing to report
    this.post("flushed", { turn, playedS: this.turn === turn ? this.played / this.rate : 0 });
  }

  /** The next sample at the wire's rate; silence when there is none. */
  next() {
    const chunk = this.queue[0];
    if (chunk === undefined) {
      this.silence += 1;
      return 0;
    }
    if (chunk.turn !== this.turn) {
      if (!this.dry && !this.flushed.has(this.turn)) this.report("ran-dry");
      this.turn = chunk.turn;
      this.played = 0;
      this.sinceReport = 0;
    }
    const sample = chunk.samples[this.offset];
    this.offset += 1;
    this.queued -= 1;
    this.played += 1;
    this.silence = 0;
    this.dry = false;
    if (this.offset >= chunk.samples.length) {
      this.queue.shift();
      this.offset = 0;
    }
    return sample;
  }

  process(_inputs, outputs) {
    const output = outputs[0][0];
    const still = this.still; // messages come between two blocks, never within one
    if (!this.playing && this.queued > 0 && !still) {
      this.waited += output.length;
      this.playing = this.queued >= PREBUFFER_S * this.rate || this.waited >= PREBUFFER_S * sampleRate;
    }
    for (let index = 0; index < output.length; index += 1) {
      let sample = 0;
      if (this.playing && !still) {
        sample = this.resampler.read(this.pull);
        if (this.rise > 0) {
          sample *= 1 - this.rise / FADE_SAMPLES;
          this.rise -= 1;
        }
        this.rendered += 1;
        // The resampler's window holds a last few samples after the queue is empty; then the turn has been rendered.
        if (this.queued === 0 && this.silence >= this.resampler.taps / 2) this.stop();
      } else if (this.fade > 0) {
        this.fade -= 1;
        sample = (this.last * this.fade) / FADE_SAMPLES;
        output[index] = sample;
        continue;
      }
      this.last = sample;
      output[index] = sample;
    }
    if (this.playing && !still) {
      this.sinceReport += output.length;
      if (this.sinceReport >= REPORT_EVERY_S * sampleRate) this.report("progress");
    }
    return true;
  }

  stop() {
    this.playing = false;
    this.dry = true;
    this.waited = 0;
    this.report("ran-dry");
  }

  report(type) {
    this.sinceReport = 0;
    this.post(type, { turn: this.turn, playedS: this.played / this.rate });
  }

  statistics() {
    return {
      turn: this.turn,
      playedS: this.played / this.rate,
      queuedS: this.queued / this.rate,
      playing: this.playing,
      still: this.still,
      renderedSamples: this.rendered,
      refusedSamples: this.refused,
      droppedSamples: this.dropped,
    };
  }

  post(type, fields) {
    this.port.postMessage({ type, ...fields });
  }
}

registerProcessor("flare-playback", PlaybackProcessor);
