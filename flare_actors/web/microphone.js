// The user's voice: asks for the microphone, says what was granted, and delivers PCM16 chunks.

/** What the page asks the browser to do to the microphone's signal, and what each is called to a person. */
export const PROCESSING = Object.freeze({
  echoCancellation: "Echo cancellation",
  noiseSuppression: "Noise suppression",
  autoGainControl: "Automatic gain",
});

/** Why there is no microphone, in words that say what to do. */
export class MicrophoneError extends Error {
  constructor(code, title, message) {
    super(message);
    this.code = code;
    this.title = title;
  }
}

function explain(error) {
  if (error.name === "NotAllowedError" || error.name === "SecurityError") {
    return new MicrophoneError(
      "denied",
      "The microphone is blocked",
      "The browser does not let this page use it. Allow the microphone in the address bar (or in the system's privacy " +
        "settings), then try again. You can type meanwhile.",
    );
  }
  if (error.name === "NotFoundError" || error.name === "OverconstrainedError") {
    return new MicrophoneError(
      "absent",
      "No microphone was found",
      "Plug one in or enable it in the system's sound settings, then try again. You can type meanwhile.",
    );
  }
  if (error.name === "NotReadableError" || error.name === "AbortError") {
    return new MicrophoneError(
      "busy",
      "The microphone cannot be opened",
      "Another program may be using it. Close that program, then try again. You can type meanwhile.",
    );
  }
  return new MicrophoneError("failed", "The microphone does not work here", `${error.name}: ${error.message}`);
}

export class Microphone {
  #stream = null;
  #context = null;
  #own = null;
  #source = null;
  #node = null;
  #rate = null;
  #muted = false;

  /**
   * @param {object} handlers
   * @param {(pcm: ArrayBuffer) => void} handlers.onAudio a chunk of about 32 ms
   * @param {(error: MicrophoneError) => void} handlers.onLost the device went away
   */
  constructor({ onAudio, onLost }) {
    this.onAudio = onAudio;
    this.onLost = onLost;
    this.analyser = null;
    this.granted = null;
  }

  get isOpen() {
    return this.#stream !== null;
  }

  /** Hz of what `onAudio` gets, or null while closed. */
  get sampleRate() {
    return this.#rate;
  }

  /** May the browser give a microphone to this page at all? */
  static get isPossible() {
    return window.isSecureContext && navigator.mediaDevices !== undefined;
  }

  /**
   * Ask for the microphone; the browser may ask its user. Audio flows from here on.
   *
   * @throws {MicrophoneError} with words for the user
   */
  async open(context) {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: {
          channelCount: { ideal: 1 },
          echoCancellation: true,
          noiseSuppression: true,
          autoGainControl: true,
        },
      });
    } catch (error) {
      throw explain(error);
    }
    const [track] = stream.getAudioTracks();
    const settings = track.getSettings();
    try {
      this.#connect(context, stream, settings.sampleRate);
      await this.#context.audioWorklet.addModule(new URL("./capture-worklet.js", import.meta.url));
    } catch (error) {
      stream.getTracks().forEach((each) => each.stop());
      await this.#own?.close();
      this.#own = null;
      throw explain(error);
    }
    this.#rate = wireRate(this.#context.sampleRate);
    this.#node = new AudioWorkletNode(this.#context, "flare-capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit", // a stereo microphone is mixed down
      processorOptions: { sampleRate: this.#rate },
    });
    this.#node.port.onmessage = ({ data }) => {
      if (this.#stream !== null && !this.#muted) this.onAudio(data);
    };
    this.analyser = new AnalyserNode(this.#context, { fftSize: 1024 });
    this.#source.connect(this.analyser);
    this.#source.connect(this.#node);
    this.#stream = stream;
    this.granted = { label: track.label, deviceRate: this.#context.sampleRate, ...settings };
    this.mute(this.#muted);
    track.onended = () => {
      this.close();
      this.onLost(
        new MicrophoneError("lost", "The microphone is gone", "It was unplugged or taken away. Try again, or type."),
      );
    };
  }

  /** The device's own rate, whatever it is; Firefox takes the microphone only into a context of the same rate. */
  #connect(context, stream, deviceRate) {
    this.#context = context;
    try {
      this.#source = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    } catch (error) {
      if (error.name !== "NotSupportedError" || !deviceRate) throw error;
      this.#own = new AudioContext({ sampleRate: deviceRate });
      this.#context = this.#own;
      this.#source = new MediaStreamAudioSourceNode(this.#own, { mediaStream: stream });
    }
  }

  /** Deliver at the rate that the server has confirmed. */
  use(rate) {
    if (this.#node === null || rate === this.#rate) return;
    this.#rate = rate;
    this.#node.port.postMessage({ type: "rate", sampleRate: rate });
  }

  /** While muted nothing leaves the device: the browser gives silence, and even that is not sent. */
  mute(muted) {
    this.#muted = muted;
    this.#stream?.getAudioTracks().forEach((track) => {
      track.enabled = !muted;
    });
  }

  /** Give the microphone back; the browser's recording sign goes out. */
  close() {
    if (this.#stream === null) return;
    this.#stream.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.#node.port.postMessage({ type: "close" });
    this.#node.port.onmessage = null;
    this.#source.disconnect();
    this.#own?.close();
    this.#stream = this.#source = this.#node = this.#own = this.#rate = null;
    this.analyser = null;
  }
}

/** The rate to announce for a device at `deviceRate` Hz: its own where the protocol takes it, else the nearest. */
export function wireRate(deviceRate) {
  return Math.min(48_000, Math.max(8_000, Math.round(deviceRate)));
}
