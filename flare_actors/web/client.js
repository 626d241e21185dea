// The native protocol over a WebSocket: who talks to the server, and how it comes back after a loss.
//
// Statuses: closed -> connecting -> open -> waiting -> connecting ... ; `waiting` is a back-off with its next attempt's
// time, `closed` is final until somebody calls `connect` again. `why` says what led there.

const FIRST_DELAY_S = 0.5;
const LONGEST_DELAY_S = 15;
const STARTING_S = 10; // from the attempt to session_started
const PING_EVERY_S = 10; // finds connections that died without a word, which a browser may not notice for minutes
const PONG_WITHIN_S = 8;
const MAX_BUFFERED_BYTES = 192_000; // 2 s at 48 kHz: on a congested uplink older audio helps nobody
const FINAL = new Set(["unauthorized", "forbidden", "superseded", "failed"]); // asking again would change nothing
const HEADER_BYTES = 8;
const HEADER_VERSION = 1;

const SUPERSEDED = 4001; // close code: a newer connection has taken the session over
const TEMPORARY = new Set(["busy", "draining"]); // errors after which the server may be asked again

/** Seconds before attempt number `attempt` (from 0): exponential, the upper half of it by chance. */
export function backoff(attempt, random = Math.random) {
  const ceiling = Math.min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** attempt);
  return ceiling * (0.5 + 0.5 * random());
}

/** The turn and the samples of a binary message, or null where it is none of ours. */
export function parseAudio(buffer) {
  if (buffer.byteLength < HEADER_BYTES) return null;
  const view = new DataView(buffer);
  if (view.getUint8(0) !== HEADER_VERSION) return null;
  const samples = (buffer.byteLength - HEADER_BYTES) >> 1;
  return { turn: view.getUint32(4, true), pcm: new Int16Array(buffer, HEADER_BYTES, samples) };
}

export class Client {
  #socket = null;
  #hello = {};
  #attempt = 0;
  #timers = { retry: 0, starting: 0, ping: 0, pong: 0 };
  #pings = 0;
  #refusal = null; // why the server said it does not want us, before it closed

  /**
   * @param {string | URL} url of the WebSocket
   * @param {object} handlers
   * @param {(status: {status: string, why?: string, retryAt?: number}) => void} handlers.onStatus
   * @param {(message: object) => void} handlers.onMessage every JSON message but pong
   * @param {(turn: number, pcm: Int16Array) => void} handlers.onAudio
   * @param {() => Promise<string>} handlers.diagnose asked when a connection was never opened: a `why`
   */
  constructor(url, { onStatus, onMessage, onAudio, diagnose }) {
    this.url = url;
    this.onStatus = onStatus;
    this.onMessage = onMessage;
    this.onAudio = onAudio;
    this.diagnose = diagnose;
    this.key = null;
    this.status = "closed";
    this.session = null; // {session_id, resume_token} of the session to come back to
    this.droppedAudioBytes = 0;
  }

  get isOpen() {
    return this.status === "open";
  }

  /** Start (or resume) a session; `hello` are the fields of start_session. */
  connect(hello) {
    this.#hello = hello;
    this.#attempt = 0;
    this.#open();
  }

  /** Try again now instead of at the end of the back-off. */
  retryNow() {
    if (this.status === "waiting") this.#open();
  }

  /** Leave for good; the session is ended where it still can be told. */
  close(why = "asked") {
    if (this.isOpen) this.send("end_session");
    this.session = null;
    this.#drop();
    this.#say("closed", { why });
  }

  /** Send a control message; without a session nothing is sent, and that is told. */
  send(type, fields = {}) {
    if (!this.#writable) return false;
    this.#socket.send(JSON.stringify({ type, ...fields }));
    return true;
  }

  sendAudio(buffer) {
    if (!this.#writable) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.droppedAudioBytes += buffer.byteLength;
      return;
    }
    this.#socket.send(buffer);
  }

  /** A socket that the server is closing takes nothing more, before its end has been told. */
  get #writable() {
    return this.isOpen && this.#socket.readyState === WebSocket.OPEN;
  }

  #say(status, more = {}) {
    this.status = status;
    this.onStatus({ status, ...more });
  }

  /** Forget the socket; what it still says is nobody's business. */
  #drop() {
    for (const name of Object.keys(this.#timers)) clearTimeout(this.#timers[name]);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  #open() {
    this.#drop();
    this.#refusal = null;
    let socket;
    try {
      socket = new WebSocket(this.url, this.key ? ["flare", `flare-api-key.${this.key}`] : ["flare"]);
    } catch {
      this.#say("closed", { why: "unusable-key" }); // a key with characters that no subprotocol may have
      return;
    }
    this.#socket = socket;
    this.#say("connecting", { why: this.session ? "lost" : undefined });
    socket.binaryType = "arraybuffer";
    let opened = false;
    socket.onopen = () => {
      opened = true;
      const resume = this.session ? { resume: { session_id: this.session.session_id, token: this.session.resume_token } } : {};
      socket.send(JSON.stringify({ type: "start_session", ...this.#hello, ...resume }));
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = (event) => this.#closed(opened, event.code);
    this.#timers.starting = setTimeout(() => this.#closed(opened, 1006), STARTING_S * 1000);
  }

  #receive(data) {
    if (typeof data !== "string") {
      const audio = parseAudio(data);
      if (audio !== null) this.onAudio(audio.turn, audio.pcm);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "pong") {
      clearTimeout(this.#timers.pong);
      return;
    }
    if (message.type === "session_started") {
      clearTimeout(this.#timers.starting);
      const { session_id, resume_token } = message;
      this.session = { session_id, resume_token };
      this.#attempt = 0;
      this.#schedulePing();
      this.onMessage(message);
      this.#say("open");
      return;
    }
    if (message.type === "session_ended") {
      // The last word of it. To wait until the server closes would leave the microphone open meanwhile.
      this.session = null;
      this.onMessage(message);
      this.#drop();
      this.#say("closed", { why: "ended" });
      return;
    }
    if (message.type === "error" && !message.recoverable) {
      this.#refusal = TEMPORARY.has(message.code) ? message.code : "failed";
      if (TEMPORARY.has(message.code)) return; // told with the status, and with when it tries again
    }
    this.onMessage(message);
  }

  #schedulePing() {
    const socket = this.#socket;
    this.#timers.ping = setTimeout(() => {
      this.#pings += 1;
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "ping", id: String(this.#pings) }));
      this.#timers.pong = setTimeout(() => this.#closed(true, 1006), PONG_WITHIN_S * 1000);
      this.#schedulePing();
    }, PING_EVERY_S * 1000);
  }

  async #closed(opened, code) {
    const refusal = this.#refusal;
    this.#drop();
    let why = refusal ?? (code === SUPERSEDED ? "superseded" : "lost");
    if (!opened && refusal === null) {
      this.status = "connecting";
      why = await this.diagnose();
      if (this.status !== "connecting" || this.#socket !== null) return; // somebody has decided otherwise meanwhile
    }
    if (FINAL.has(why)) {
      this.session = null;
      this.#say("closed", { why });
      return;
    }
    const delay = backoff(this.#attempt) * 1000;
    this.#attempt += 1;
    this.#timers.retry = setTimeout(() => this.#open(), delay);
    this.#say("waiting", { why, retryAt: performance.now() + delay });
  }
}
