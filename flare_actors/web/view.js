// The page's furniture: what is shown where. It knows elements and words, no protocol and no sound.

import { button, element } from "./dom.js";
import { PROCESSING } from "./microphone.js";
import { readable } from "./states.js";

const SILENT_DB = -60;
const METER_TEXT_EVERY_MS = 1000; // what assistive technology reads; the bars move with every frame

const LINKS = {
  closed: "Not connected",
  connecting: "Connecting",
  open: "Connected",
  waiting: "Reconnecting",
};

const byId = (id) => document.getElementById(id);

/** RMS level in dBFS of what an analyser hears now. */
export function levelOf(analyser) {
  if (!analyser) return SILENT_DB;
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.max(SILENT_DB, 10 * Math.log10(sum / samples.length + 1e-12));
}

export class View {
  #notices = new Map();
  #meterText = 0;
  #told = byId("state-title").textContent;

  constructor() {
    this.primary = byId("primary");
    this.muteButton = byId("mute");
    this.stopButton = byId("stop");
    this.pushButton = byId("push");
    this.holdButton = byId("hold");
    this.composer = byId("composer");
    this.text = byId("text");
    this.log = byId("log");
  }

  /** Are keys named here? Where fingers are used, or little room is, they are not. */
  get showsKeys() {
    return getComputedStyle(this.holdButton.querySelector("kbd")).display !== "none";
  }

  /** Say something to people who do not see the page. */
  announce(text) {
    byId("announcer").textContent = text;
  }

  link(status) {
    document.body.dataset.link = status;
    byId("link-words").textContent = LINKS[status];
  }

  now({ title, hint }, tone, { aloud = true } = {}) {
    if (aloud && this.#told !== title) {
      this.announce(title);
      this.#told = title;
    }
    byId("state-title").textContent = title;
    byId("state-hint").textContent = hint;
    document.body.dataset.tone = tone;
  }

  /**
   * Buttons stay focusable while they can do nothing: one that vanishes under a keyboard user loses their place.
   *
   * @param {{active: boolean, microphone: "open" | "possible" | "none", muted: boolean, stoppable: boolean, push: boolean,
   *   held: boolean}} can
   */
  buttons({ active, microphone, muted, stoppable, push, held }) {
    this.primary.dataset.action = active ? "end" : "start";
    byId("primary-words").textContent = active ? "End" : "Start";
    const usable = (control, can) => control.setAttribute("aria-disabled", String(!can));
    const offer = active && microphone === "possible";
    this.muteButton.textContent = offer ? "Use microphone" : muted ? "Unmute" : "Mute";
    usable(this.muteButton, offer || (active && microphone === "open" && !push)); // who holds a button mutes by letting go
    this.pushButton.setAttribute("aria-pressed", String(push));
    this.holdButton.hidden = !push;
    this.holdButton.setAttribute("aria-pressed", String(held));
    usable(this.holdButton, active && microphone === "open");
    usable(this.stopButton, stoppable);
  }

  /**
   * Show a notice (or replace the one of the same key).
   *
   * @param {string} key
   * @param {object} notice
   * @param {"info" | "warning" | "error"} notice.tone
   * @param {string} notice.title
   * @param {(Node | string)[]} notice.text
   * @param {[string, () => void][]} [notice.actions] label and what it does
   * @param {boolean} [notice.quiet] not announced
   */
  notice(key, { tone, title, text, actions = [], quiet = false }) {
    const made = element("div", `notice ${tone}`, element("h3", "", title), element("p", "", ...text));
    made.dataset.key = key;
    if (actions.length > 0) {
      made.append(element("div", "actions", ...actions.map(([label, act]) => button(label, act))));
    }
    this.clearNotice(key);
    this.#notices.set(key, made);
    byId("notices").append(made);
    if (!quiet) this.announce(`${title}. ${made.querySelector("p").textContent}`);
    return made;
  }

  clearNotice(key) {
    const notice = this.#notices.get(key);
    if (notice === undefined) return;
    const hadFocus = notice.contains(document.activeElement);
    notice.remove();
    this.#notices.delete(key);
    if (hadFocus) (this.holdButton.hidden ? this.primary : this.holdButton).focus();
  }

  /** Ask for the server's API key. */
  askForKey(wrong, onKey) {
    const input = element("input", "");
    Object.assign(input, { type: "password", id: "key", autocomplete: "off", required: true });
    const label = element("label", "", "API key");
    label.htmlFor = "key";
    const submit = element("button", "", "Connect");
    const form = element("form", "key-form", label, input, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      onKey(input.value.trim());
    });
    const notice = this.notice("key", {
      tone: "warning",
      title: wrong ? "The server refused this key" : "The server asks for a key",
      text: [wrong ? "Check it and try again." : "Whoever runs the server can tell you its API key."],
    });
    notice.append(form);
    input.focus();
  }

  /** Say what is answering, where it is not what people would want in earnest. */
  brain(content) {
    byId("brain-words").replaceChildren(...content);
    byId("brain").hidden = false;
  }

  /** What the browser made of the request for the microphone; null: there is none. */
  granted(settings, words) {
    byId("microphone-words").textContent = words;
    const items = Object.entries(PROCESSING).map(([name, label]) => {
      const value = settings?.[name];
      const verdict = value === undefined ? "not told" : value === false ? "off" : "on";
      const item = element("li", "", element("span", "what", label), element("span", "verdict", verdict));
      item.dataset.verdict = verdict;
      return item;
    });
    byId("granted").replaceChildren(...(settings === null ? [] : items));
  }

  /** Pairs of name and value about the session in force. */
  facts(pairs) {
    byId("facts").replaceChildren(
      ...pairs.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", String(value))]),
    );
  }

  /** Levels in dBFS. */
  meters(user, agent, now) {
    const speak = now - this.#meterText > METER_TEXT_EVERY_MS;
    if (speak) this.#meterText = now;
    for (const [id, level] of [["user-level", user], ["agent-level", agent]]) {
      const meter = byId(id);
      const share = Math.max(0, Math.min(1, 1 - level / SILENT_DB));
      meter.firstElementChild.style.setProperty("--level", share.toFixed(3));
      if (speak) {
        meter.setAttribute("aria-valuenow", String(Math.round(level)));
        meter.setAttribute("aria-valuetext", level <= SILENT_DB ? "silent" : `${Math.round(level)} decibels`);
      }
    }
  }
}

export function describeSession(started) {
  return [
    ["Session", `${started.session_id.slice(0, 8)}…`],
    ["Language", started.locale],
    ["Transcripts", readable(started.stt_mode)],
    ["End of speech", endOfSpeech(started)],
    ["Sound", `${started.input_sample_rate / 1000} kHz in, ${started.output_sample_rate / 1000} kHz out`],
  ];
}

function endOfSpeech({ turn_detection, endpointing, silence_threshold_ms }) {
  if (turn_detection === "manual") return "when you let go of the button";
  const silence = `${silence_threshold_ms} ms of silence`;
  return endpointing === "adaptive" ? `after about ${silence}, as the words suggest` : `after ${silence}`;
}
