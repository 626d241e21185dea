// What was said: the user's words and the agent's answers as they grow, and which part of an answer was really heard.

import { element } from "./dom.js";

const KEPT = 200; // entries on the page
const NEARLY_PX = 48; // from the end of the log: whoever is so near is at it

const REASONS = {
  barge_in: "interrupted",
  conversation_ended: "conversation ended",
  session_ended: "session ended",
  client_disconnected: "connection lost",
  transport_error: "connection lost",
  error_recovery: "it failed",
  critical_error: "it failed",
  shutdown: "the server stopped",
  idle: "nobody was there",
  overloaded: "the server was overloaded",
};

/** Split an answer into what was heard and what was not; what was heard is nearly always a prefix, up to white space. */
export function split(text, heard) {
  const wanted = heard.replace(/\s+/g, "");
  let index = 0;
  let matched = 0;
  while (index < text.length && matched < wanted.length) {
    if (/\s/.test(text[index])) index += 1;
    else if (text[index] === wanted[matched]) {
      index += 1;
      matched += 1;
    } else return { heard, unheard: "" }; // rewritten: the server's word on what was heard stands
  }
  return { heard: text.slice(0, index), unheard: text.slice(index) };
}

/** Keep the newest entries that may still grow; a session may be long. */
function remember(map, number, entry) {
  map.set(number, entry);
  if (map.size > KEPT) map.delete(map.keys().next().value);
}

export class Conversation {
  #utterances = new Map();
  #turns = new Map();
  #atEnd = true;
  #top = 0;

  constructor(log) {
    this.log = log;
    log.addEventListener("scroll", () => this.#look());
    new ResizeObserver(() => this.#follow()).observe(log);
  }

  /** Numbers start again: what stands stays, nothing of it grows any more. */
  newSession() {
    this.#utterances.clear();
    this.#turns.clear();
  }

  /** A line between entries, e.g. where a conversation ended. */
  divide(text) {
    if (this.log.querySelector(".entry") === null || this.log.lastElementChild.className === "divider") return;
    this.#append(element("p", "divider", text));
  }

  /** A transcript of an utterance; the next one replaces it. */
  transcript(utterance, text, final) {
    if (text.trim() === "") {
      if (final) this.nothing(utterance);
      return; // a cough is no entry
    }
    const entry = this.#user(utterance);
    this.#write(() => {
      entry.words.textContent = text;
      entry.box.classList.toggle("partial", !final);
    });
  }

  nothing(utterance) {
    this.#utterances.get(utterance)?.box.remove();
    this.#utterances.delete(utterance);
  }

  typed(text) {
    const { box, words } = this.#entry("user", "You, typed");
    words.textContent = text;
    this.#append(box);
  }

  turn(turn, kind) {
    this.#agent(turn, kind);
  }

  /** What caused the turn, as far as it is known. */
  kind(turn) {
    return this.#turns.get(turn)?.kind;
  }

  delta(turn, text) {
    const entry = this.#agent(turn);
    this.#write(() => entry.words.append(text));
  }

  /** The whole text of an answer, which may repair what its deltas said. */
  done(turn, text) {
    const entry = this.#agent(turn);
    entry.box.classList.remove("growing");
    this.#write(() => {
      entry.words.textContent = text;
    });
  }

  /** The answer waits for what the user says, or goes on. */
  still(turn, waits) {
    const entry = this.#turns.get(turn);
    if (entry === undefined) return;
    entry.box.classList.toggle("still", waits);
    this.#write(() => {
      entry.note.textContent = waits ? "waits: you are speaking" : "";
    });
  }

  /**
   * The turn is over; what was not heard of it is set apart. An answer that never was leaves nothing behind, nor does one that
   * was taken back unheard, because the question went on: people who speak with pauses would see one after each.
   *
   * @param {object} [how]
   * @param {boolean} [how.stopped] by a button or by typing: that was no part of the question
   */
  ended(turn, reason, heard, { stopped = false } = {}) {
    const entry = this.#turns.get(turn);
    if (entry === undefined) return;
    entry.box.classList.remove("growing", "still");
    entry.note.textContent = "";
    const text = entry.words.textContent;
    const takenBack = reason === "barge_in" && !stopped && entry.kind === "response" && heard.trim() === "";
    if (text.trim() === "" || takenBack) {
      entry.box.remove();
      this.#turns.delete(turn);
      return;
    }
    if (reason === null) return;
    const parts = split(text, heard);
    this.#write(() => {
      const unheard = element("s", "unheard", parts.unheard);
      entry.words.replaceChildren(element("span", "heard", parts.heard));
      if (parts.unheard.trim() !== "") {
        entry.words.append(element("span", "sr-only", " Not heard: "), unheard);
      }
      entry.note.textContent = parts.heard.trim() === "" ? `${REASONS[reason] ?? reason}, not heard` : (REASONS[reason] ?? reason);
    });
  }

  /** The link is gone: nothing that is open now will be finished. */
  cutOff() {
    for (const entry of [...this.#utterances.values(), ...this.#turns.values()]) {
      if (entry.words.textContent.trim() === "") entry.box.remove();
      entry.box.classList.remove("growing", "partial", "still");
    }
    this.#utterances.clear();
  }

  #user(utterance) {
    let entry = this.#utterances.get(utterance);
    if (entry === undefined) {
      entry = this.#entry("user", "You");
      entry.box.classList.add("partial");
      remember(this.#utterances, utterance, entry);
      this.#append(entry.box);
    }
    return entry;
  }

  #agent(turn, kind) {
    let entry = this.#turns.get(turn);
    if (entry === undefined) {
      entry = this.#entry("agent", "Agent");
      entry.box.classList.add("growing");
      entry.box.dataset.turn = turn;
      remember(this.#turns, turn, entry);
      this.#append(entry.box);
    }
    entry.kind ??= kind;
    if (kind === "welcome") entry.name.textContent = "Agent, welcome";
    return entry;
  }

  #entry(who, name) {
    const box = element("article", `entry ${who}`);
    const head = element("p", "who");
    const entry = { box, name: element("span", "name", name), note: element("span", "note"), words: element("p", "words") };
    head.append(entry.name, entry.note);
    box.append(head, entry.words);
    return entry;
  }

  #append(node) {
    this.#write(() => {
      this.log.append(node);
      while (this.log.childElementCount > KEPT) this.log.firstElementChild.remove();
    });
  }

  /** Change the log, and stay at its end if the reader was there. */
  #write(change) {
    this.#look();
    change();
    this.#follow();
  }

  /** Is the reader at the end? Only who goes up leaves it: it also moves away when the log gets smaller. */
  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    if (scrollHeight - scrollTop - clientHeight < NEARLY_PX) this.#atEnd = true;
    else if (scrollTop < this.#top) this.#atEnd = false;
    this.#top = scrollTop;
  }

  #follow() {
    if (this.#atEnd) this.log.scrollTop = this.log.scrollHeight;
  }
}
