// Plays the agent's voice and tells the server what was really heard of it.
//
// The queue lives in the worklet; this side knows the protocol: which turn's text is complete, and what to report when.

const STAYS_EMPTY_MS = 300; // a queue that is empty this long without its turn being complete is reported all the same
const LONGEST_LATENCY_S = 0.5; // browsers have been seen to report nonsense

export class Player {
  #context;
  #node = null;
  #sampleRate = null;
  #textDone = new Set();
  #ending = null; // {turn, timer}: it has run dry, which is reported once it has been heard, too
  #asked = new Map();

  /**
   * @param {AudioContext} context
   * @param {(type: string, fields: object) => void} report takes `playback_progress` and `audio_playback_completed`
   */
  constructor(context, report) {
    this.#context = context;
    this.report = report;
    this.analyser = new AnalyserNode(context, { fftSize: 1024 });
  }

  /** Load the worklet. Where there is none (an insecure page) this throws, and answers can only be read. */
  async open() {
    await this.#context.audioWorklet.addModule(new URL("./playback-worklet.js", import.meta.url));
    this.#node = new AudioWorkletNode(this.#context, "flare-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }) => this.#hear(data);
    this.#node.connect(this.analyser).connect(this.#context.destination);
  }

  /** A new session whose audio comes at `sampleRate` Hz: drop everything, turns are numbered from 1 again. */
  reset(sampleRate) {
    this.#forgetEnding();
    this.#sampleRate = sampleRate;
    this.#textDone.clear();
    this.#node?.port.postMessage({ type: "reset", sampleRate });
  }

  /** The session is over: fall silent, and take no more audio until the next one. */
  stop() {
    if (this.#sampleRate !== null) this.reset(this.#sampleRate);
    this.#sampleRate = null;
  }

  /** Queue a frame of a turn: PCM16 at the session's output rate. */
  push(turn, pcm) {
    if (this.#node === null || this.#sampleRate === null) return;
    if (this.#ending?.turn === turn) this.#forgetEnding();
    const samples = new Float32Array(pcm.length);
    for (let index = 0; index < pcm.length; index += 1) samples[index] = pcm[index] / 0x8000;
    this.#node.port.postMessage({ type: "audio", turn, samples }, [samples.buffer]);
  }

  /** The turn's text is complete: once its queue is empty, the turn has been heard. */
  textDone(turn) {
    this.#textDone.add(turn);
    if (this.#textDone.size > 64) this.#textDone.delete(this.#textDone.values().next().value);
  }

  /** Silence this turn now, and refuse what still comes of it. */
  clear(turn) {
    if (this.#ending?.turn === turn) this.#forgetEnding();
    this.#node?.port.postMessage({ type: "flush", turn });
  }

  /** Stand still in this turn, at once; what comes of it is kept. */
  pause(turn) {
    this.#node?.port.postMessage({ type: "pause", turn });
  }

  /** Go on with this turn at the very sample where it stood still. */
  resume(turn) {
    this.#node?.port.postMessage({ type: "resume", turn });
  }

  /** What the audio thread says of itself (for tests and the curious). */
  async statistics() {
    const id = this.#asked.size + performance.now();
    const answer = new Promise((resolve) => this.#asked.set(id, resolve));
    this.#node.port.postMessage({ type: "ask", id });
    return await answer;
  }

  /** Samples leave the worklet this much before they leave the loudspeaker, in seconds. */
  get #latency() {
    const latency = this.#context.outputLatency || this.#context.baseLatency || 0;
    return Math.min(latency, LONGEST_LATENCY_S);
  }

  #hear(message) {
    const { type, turn, playedS } = message;
    if (type === "statistics") {
      this.#asked.get(message.id)?.(message);
      this.#asked.delete(message.id);
      return;
    }
    // What is told of another turn comes after this one's end: the page was busy, or the next turn is a short one.
    if (this.#ending !== null && this.#ending.turn !== turn) this.#completed();
    if (type === "progress" || type === "flushed") {
      this.#progress(turn, playedS - this.#latency);
    } else if (type === "ran-dry") {
      const wait = this.#textDone.has(turn) ? this.#latency * 1000 : STAYS_EMPTY_MS;
      this.#forgetEnding();
      this.#ending = { turn, timer: setTimeout(() => this.#completed(), wait) };
    }
  }

  #completed() {
    const { turn } = this.#ending;
    this.#forgetEnding();
    this.report("audio_playback_completed", { turn });
  }

  #forgetEnding() {
    clearTimeout(this.#ending?.timer);
    this.#ending = null;
  }

  #progress(turn, seconds) {
    this.report("playback_progress", { turn, played_s: Math.max(0, Math.round(seconds * 1000) / 1000) });
  }
}
