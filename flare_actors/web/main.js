// The page: joins the person, the sound, the server and what is shown.
//
// The server owns the conversation's state; this file owns only what the person wants (`wanted`) and follows.

import { diagnose, health, keepKey, socketUrl, takeKey } from "./address.js";
import { Client } from "./client.js";
import { Conversation } from "./conversation.js";
import { Diagram } from "./diagram.js";
import { Hold } from "./hold.js";
import { Microphone, wireRate } from "./microphone.js";
import { Player } from "./player.js";
import { PAGE_WORDS, WORDS, canBeStopped, inConversation, takesText, toneOf } from "./states.js";
import { View, describeSession, levelOf } from "./view.js";
import { Waterfall } from "./waterfall.js";
import { demoBrain, endedNotice, insecureNotice, linkNotice } from "./words.js";

const OUTPUT_RATE = 24_000; // what speech needs; the worklet converts to the device's rate
const PENDING_TEXTS = 8; // typed before the agent takes text
const TAIL_MS = 80; // of a word whose speaker lets go at its end; some of it is still on its way through the worklet
const CALM_FRAME_MS = 250; // meters of people who asked for reduced motion

class App {
  constructor() {
    this.view = new View();
    this.diagram = new Diagram(document.getElementById("diagram"));
    this.waterfall = new Waterfall({
      list: document.getElementById("waterfall"),
      summary: document.getElementById("latency-summary"),
    });
    this.conversation = new Conversation(this.view.log);
    this.microphone = new Microphone({
      onAudio: (pcm) => this.client.sendAudio(pcm),
      onLost: (error) => this.#microphoneFailed(error),
    });
    this.client = new Client(socketUrl(), {
      onStatus: (status) => this.#onStatus(status),
      onMessage: (message) => this.#onMessage(message),
      onAudio: (turn, pcm) => this.player?.push(turn, pcm),
      diagnose: () => diagnose(this.client.key),
    });
    this.client.key = takeKey();
    this.context = null;
    this.player = null;
    this.state = null; // the server's word; null without a session
    this.wanted = false; // the person wants a conversation
    this.asked = false; // start_conversation is on its way
    this.preparing = false; // the microphone's permission may be asked for
    this.muted = false;
    this.push = false; // the microphone is on only while the person holds a button
    this.releasing = 0; // the timer that ends what was held
    this.facts = {}; // what the server said of the session
    this.speaking = false; // the user, as the server hears it
    this.still = null; // the turn that waits for what the user says
    this.stopped = false; // the latest answer, by a button or by typing
    this.texts = [];
    this.#wire();
    this.#show();
  }

  // --- What the person does -----------------------------------------------------------------------------------------

  #wire() {
    const { view } = this;
    view.primary.addEventListener("click", (event) => {
      if (event.detail > 1) return; // the second half of a double click would end what the first has started
      if (this.wanted) this.end();
      else this.start();
    });
    view.muteButton.addEventListener("click", () => this.mute());
    view.stopButton.addEventListener("click", () => {
      this.stop();
      if (this.push) view.holdButton.focus();
    });
    view.pushButton.addEventListener("click", () => this.pushToTalk(!this.push));
    this.hold = new Hold(view.holdButton, {
      isOn: () => this.push && this.wanted && this.client.isOpen && this.microphone.isOpen,
      onPress: () => this.#speak(),
      onRelease: () => this.#spoken(),
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.stop();
    });
    view.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.type(view.text.value);
      view.text.value = "";
    });
    for (const moved of ["focusin", "focusout"]) document.addEventListener(moved, () => this.#show()); // the hint names the keys
    window.addEventListener("pagehide", () => this.client.send("end_session"));
    window.addEventListener("online", () => this.client.retryNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.client.retryNow();
    });
    if (!window.isSecureContext) view.notice("insecure", insecureNotice());
    else this.#lookAtServer();
  }

  /** Begin a conversation. Must run in a click or key press: only there does the browser unlock the sound. */
  async start({ withMicrophone = true } = {}) {
    if (this.wanted) return;
    this.wanted = true;
    this.preparing = true;
    for (const key of ["ended", "error", "link", "key"]) this.view.clearNotice(key);
    this.context ??= this.#makeContext();
    this.context.resume();
    this.#show();
    await this.#openPlayer();
    if (withMicrophone) await this.#openMicrophone();
    this.preparing = false;
    if (!this.wanted) {
      this.microphone.close(); // "End" came while the browser asked its user
      return;
    }
    if (this.client.isOpen) this.#advance();
    else this.#connect();
    this.#ready();
    this.#measure();
  }

  /** End the conversation; the session stays for the next one. */
  end() {
    const started = this.asked || inConversation(this.state);
    this.#rest();
    if (this.client.isOpen) {
      if (started) this.client.send("end_conversation");
    } else {
      this.client.close();
    }
    this.#show();
  }

  mute() {
    if (!this.wanted) return;
    if (!this.microphone.isOpen) {
      this.#openMicrophone().then(() => this.#ready());
      return;
    }
    this.muted = !this.muted;
    this.microphone.mute(this.muted);
    this.client.send("mute", { muted: this.muted });
    this.view.announce(this.muted ? "Muted" : "Not muted");
    this.#show();
  }

  /** Talk by holding a button, which also says when an utterance has ended; or let the agent find that out. */
  pushToTalk(on) {
    this.hold.letGo();
    this.#commit();
    this.push = on;
    if (on && this.muted) this.mute();
    this.microphone.mute(this.#silent);
    this.client.send("update_session", { turn_detection: on ? "manual" : "automatic" });
    this.view.announce(on ? "Push to talk" : "The microphone is open");
    this.#show();
    if (on) this.view.holdButton.focus(); // else the space bar would press the button that was pressed last
  }

  /** Show what is possible now; where that is to hold a button, the keyboard must not stay on what would end it all. */
  #ready() {
    this.#show();
    const { primary, muteButton, holdButton } = this.view;
    const pressed = [primary, muteButton].includes(document.activeElement);
    if (pressed && this.push && this.microphone.isOpen) holdButton.focus();
  }

  get #silent() {
    return this.muted || (this.push && !this.hold.isHeld);
  }

  #speak() {
    clearTimeout(this.releasing);
    this.releasing = 0;
    this.#interrupt(); // who presses the button wants to be heard
    this.microphone.mute(false);
    this.#show();
  }

  #spoken() {
    this.releasing = setTimeout(() => this.#commit(), TAIL_MS);
    this.#show();
  }

  #commit() {
    if (this.releasing === 0) return;
    clearTimeout(this.releasing);
    this.releasing = 0;
    this.microphone.mute(this.#silent);
    this.client.send("commit");
  }

  /** Stop the agent's answer; it listens again. */
  stop() {
    if (this.#interrupt()) this.stopped = true;
  }

  #interrupt() {
    return canBeStopped(this.state) && this.client.send("interrupt");
  }

  type(text) {
    const words = text.trim();
    if (words === "" || this.texts.length >= PENDING_TEXTS) return;
    this.conversation.typed(words);
    this.texts.push(words);
    if (this.wanted) this.#advance();
    else this.start({ withMicrophone: false });
  }

  // --- Sound -------------------------------------------------------------------------------------------------------------

  #makeContext() {
    const context = new AudioContext({ latencyHint: "interactive" }); // at the device's own rate
    context.addEventListener("statechange", () => {
      const paused = context.state !== "running" && context.state !== "closed" && this.wanted && !this.preparing;
      if (!paused) this.view.clearNotice("sound");
      else
        this.view.notice("sound", {
          tone: "warning",
          title: "The sound is paused",
          text: ["The browser or the system has paused this page's sound, for example for a call."],
          actions: [["Resume the sound", () => context.resume()]],
        });
    });
    return context;
  }

  async #openPlayer() {
    if (this.player !== null || !this.context.audioWorklet) return;
    const player = new Player(this.context, (type, fields) => this.client.send(type, fields));
    await player.open();
    this.player = player;
  }

  async #openMicrophone() {
    this.view.clearNotice("microphone");
    if (this.microphone.isOpen || !Microphone.isPossible) return;
    try {
      await this.microphone.open(this.context);
    } catch (error) {
      this.#microphoneFailed(error);
      return;
    }
    if (!this.wanted) {
      this.microphone.close();
      return;
    }
    this.microphone.mute(this.#silent);
    if (this.client.isOpen) this.microphone.use(this.inputRate);
    const { granted } = this.microphone;
    this.view.granted(granted, `${granted.label || "Microphone"}, ${granted.deviceRate / 1000} kHz`);
  }

  #microphoneFailed(error) {
    this.view.granted(null, error.title);
    this.view.notice("microphone", {
      tone: "warning",
      title: error.title,
      text: [error.message],
      actions: [["Try the microphone again", () => this.#openMicrophone().then(() => this.#show())]],
    });
    this.#show();
  }

  /** Move the meters while there is a conversation. */
  #measure() {
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    let last = -Infinity;
    const frame = (now) => {
      if (!calm.matches || now - last >= CALM_FRAME_MS) {
        last = now;
        this.view.meters(this.muted ? -60 : levelOf(this.microphone.analyser), levelOf(this.player?.analyser), now);
      }
      if (this.wanted) requestAnimationFrame(frame);
      else this.view.meters(-60, -60, Infinity);
    };
    requestAnimationFrame(frame);
  }

  // --- The server --------------------------------------------------------------------------------------------------------

  #connect() {
    this.client.connect({
      input_sample_rate: this.microphone.sampleRate ?? wireRate(this.context.sampleRate),
      output_sample_rate: OUTPUT_RATE,
      reports_playback: this.player !== null,
      pauses_playback: this.player !== null,
      ...(this.player === null ? { output: "text" } : {}),
    });
  }

  /** Do what is wanted and possible now: start the conversation, hand over typed text. */
  #advance() {
    if (!this.wanted || !this.client.isOpen) return;
    if (this.state === "idle" && !this.asked && !this.preparing) {
      this.asked = this.client.send("start_conversation");
    }
    while (this.texts.length > 0 && takesText(this.state)) {
      this.client.send("text", { text: this.texts.shift() });
      if (canBeStopped(this.state)) this.stopped = true;
    }
  }

  /** Want nothing any more: the microphone goes back, what was waiting is forgotten. */
  #rest() {
    this.wanted = false;
    this.asked = false;
    this.texts = [];
    this.hold.letGo();
    clearTimeout(this.releasing);
    this.releasing = 0;
    this.microphone.close();
    if (this.muted) this.client.send("mute", { muted: false });
    this.muted = false;
    this.view.granted(null, "Asked for when you press Start.");
  }

  #onStatus({ status, why, retryAt }) {
    this.view.link(status);
    this.view.clearNotice("link");
    clearInterval(this.countdown);
    if (status === "open") {
      if (this.muted) this.client.send("mute", { muted: true });
      if (this.push && this.facts.turn_detection !== "manual") this.client.send("update_session", { turn_detection: "manual" });
      this.#advance();
    } else {
      this.asked = false;
      this.still = null;
      this.hold.letGo();
      if (status !== "connecting") this.conversation.cutOff();
      if (status === "closed") this.#onClosed(why);
      if (status === "waiting") this.#onWaiting(why, retryAt);
    }
    if (status === "open") this.#ready();
    else this.#show();
  }

  #onWaiting(why, retryAt) {
    const seconds = () => Math.max(1, Math.ceil((retryAt - performance.now()) / 1000));
    const counter = document.createElement("span");
    counter.textContent = seconds();
    this.view.notice("link", {
      ...linkNotice(why, counter),
      actions: [["Try now", () => this.client.retryNow()]],
    });
    this.countdown = setInterval(() => {
      counter.textContent = seconds();
    }, 500);
  }

  #onClosed(why) {
    this.state = why === "ended" ? "ended" : null;
    this.diagram.show(this.state);
    this.player?.stop();
    this.#rest();
    if (why === "unauthorized" || why === "unusable-key") {
      this.view.askForKey(this.client.key !== null, (key) => this.#useKey(key));
    } else if (why === "forbidden" || why === "superseded") {
      this.view.notice("link", linkNotice(why));
    }
  }

  #useKey(key) {
    this.client.key = key;
    keepKey(key);
    this.start();
  }

  #onMessage(message) {
    const { conversation, view } = this;
    switch (message.type) {
      case "session_started":
        this.#onSessionStarted(message);
        break;
      case "state_transition":
        this.#onTransition(message);
        break;
      case "speech_started":
      case "speech_stopped":
        this.speaking = message.type === "speech_started";
        this.#show();
        break;
      case "partial_transcript":
        conversation.transcript(message.utterance, message.text, false);
        break;
      case "transcript":
        conversation.transcript(message.utterance, message.text, true);
        break;
      case "nothing_heard":
        conversation.nothing(message.utterance);
        break;
      case "turn_started":
        view.clearNotice("error");
        this.stopped = false;
        conversation.turn(message.turn, message.kind);
        break;
      case "response_text_delta":
        conversation.delta(message.turn, message.text);
        break;
      case "response_text_done":
        conversation.done(message.turn, message.text);
        this.player?.textDone(message.turn);
        if (this.player === null) view.announce(`Agent: ${message.text}`);
        break;
      case "playback_clear":
        this.player?.clear(message.turn);
        this.#goesOn(message.turn);
        break;
      case "playback_pause":
        this.player?.pause(message.turn);
        conversation.still(message.turn, true);
        this.still = message.turn;
        this.#show();
        break;
      case "playback_resume":
        this.player?.resume(message.turn);
        conversation.still(message.turn, false);
        this.#goesOn(message.turn);
        break;
      case "turn_ended":
        this.player?.resume(message.turn);
        this.#goesOn(message.turn);
        conversation.ended(message.turn, message.reason, message.heard, { stopped: this.stopped });
        break;
      case "turn_metrics":
        this.waterfall.add(message, { kind: conversation.kind(message.turn) });
        break;
      case "session_updated":
        this.facts = { ...this.facts, ...message };
        view.facts(describeSession(this.facts));
        break;
      case "error":
        if (message.code === "resume_failed") break; // session_started says so too
        if (message.code === "nothing_committed" && this.push) {
          view.announce("Nothing was heard"); // the button was only touched
          break;
        }
        view.notice("error", {
          tone: message.recoverable ? "warning" : "error",
          title: message.recoverable ? "Something did not work" : "The conversation cannot go on",
          text: [message.message],
          actions: [["Dismiss", () => view.clearNotice("error")]],
        });
        break;
      case "session_ended":
        view.notice("ended", endedNotice(message.reason));
        break;
      default: // stt_ready, and what newer servers say: nothing to show
    }
  }

  /** This turn waits no more for what the user says, if it did. */
  #goesOn(turn) {
    if (this.still !== turn) return;
    this.still = null;
    this.#show();
  }

  #onSessionStarted(message) {
    const wasTalking = inConversation(this.state);
    this.inputRate = message.input_sample_rate;
    this.microphone.use(message.input_sample_rate);
    this.facts = message;
    this.view.facts(describeSession(message));
    if (message.turn_detection === "manual") this.push = true; // as the server's settings have it
    this.microphone.mute(this.#silent);
    this.view.clearNotice("key");
    if (!message.resumed) {
      this.player?.reset(message.output_sample_rate);
      this.conversation.newSession();
      if (wasTalking) {
        this.#rest();
        this.view.notice("ended", endedNotice("missed"));
      }
    }
    this.state = message.state;
    this.speaking = false;
    this.diagram.show(message.state, null);
  }

  #onTransition({ old_state: from, new_state: to, reason }) {
    this.state = to;
    if (!inConversation(to)) this.speaking = false;
    this.diagram.show(to, from);
    if (to === "idle" && inConversation(from)) {
      this.conversation.divide(reason === "idle" ? "ended after a long silence" : "conversation ended");
      if (this.asked) {
        this.#rest(); // the server has ended it, not the person
        if (reason === "idle") this.view.notice("ended", endedNotice("silence"));
      }
    }
    this.#advance();
    this.#show();
  }

  async #lookAtServer() {
    const server = await health();
    if (server?.demo_brain) this.view.brain(demoBrain());
  }

  // --- What is shown -----------------------------------------------------------------------------------------------------

  #show() {
    const { state, wanted, preparing, client, microphone } = this;
    this.view.buttons({
      active: wanted,
      microphone: microphone.isOpen ? "open" : preparing || !Microphone.isPossible ? "none" : "possible",
      muted: this.muted,
      stoppable: client.isOpen && canBeStopped(state),
      push: this.push,
      held: this.hold.isHeld,
    });
    const tone = this.still === null ? toneOf(state) : "listening";
    // That a turn stands still is not told aloud: it would be told into what the user says.
    this.view.now(this.#words(), client.isOpen ? tone : "rest", { aloud: this.still === null });
  }

  #words() {
    const { state, client } = this;
    if (this.preparing && Microphone.isPossible) return PAGE_WORDS.preparing;
    if (client.status === "waiting" || (client.status === "connecting" && client.session)) return PAGE_WORDS.away;
    if (client.status === "connecting") return PAGE_WORDS.connecting;
    if (state === "listening" && this.muted) return PAGE_WORDS.muted;
    if (state === "listening" && !this.microphone.isOpen) return PAGE_WORDS.typing;
    if (this.push && this.hold.isHeld) return PAGE_WORDS.held;
    if (state === "listening" && this.push) {
      return this.hold.takesSpace && this.view.showsKeys ? PAGE_WORDS.holdOrSpace : PAGE_WORDS.hold;
    }
    if (this.still !== null || (state === "listening" && this.speaking)) return PAGE_WORDS.hearing;
    if (toneOf(state) === "speaking" && (this.muted || !this.microphone.isOpen)) return PAGE_WORDS.stopOver;
    if (toneOf(state) === "speaking" && this.push) return PAGE_WORDS.holdOver;
    return WORDS[state ?? "idle"];
  }
}

/** The running page; tests and the browser's console may look at it. */
export const app = new App();
