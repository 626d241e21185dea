// The agent's ten states: what may follow what, and what each is called to a person.
//
// This repeats flare_actors/conversation/table.py for the page; tests/web compares the two, so they cannot drift apart.

export const TRANSITIONS = Object.freeze({
  idle: ["initializing", "ended"],
  initializing: ["preparing_welcome", "listening", "error", "idle", "ended"],
  preparing_welcome: ["playing_welcome", "listening", "error", "idle", "ended"],
  playing_welcome: ["listening", "error", "idle", "ended"],
  listening: ["processing_speech", "preparing_response", "error", "idle", "ended"],
  processing_speech: ["preparing_response", "listening", "error", "idle", "ended"],
  preparing_response: ["playing_response", "listening", "error", "idle", "ended"],
  playing_response: ["listening", "error", "idle", "ended"],
  error: ["listening", "idle", "ended"],
  ended: [],
});

export const STATES = Object.freeze(Object.keys(TRANSITIONS));

/** What a person reads: a headline, and what to do or expect now. */
export const WORDS = Object.freeze({
  idle: { title: "Ready when you are", hint: "Press Start and speak, or type below." },
  initializing: { title: "Getting ready", hint: "Opening the ears." },
  preparing_welcome: { title: "About to greet you", hint: "The welcome is being put into sound." },
  playing_welcome: { title: "Speaking", hint: "Just speak to interrupt." },
  listening: { title: "Listening", hint: "Go ahead." },
  processing_speech: { title: "Thinking", hint: "Your words are with the language model." },
  preparing_response: { title: "Preparing the answer", hint: "The first phrase is being put into sound." },
  playing_response: { title: "Speaking", hint: "Just speak to interrupt." },
  error: { title: "Something failed", hint: "It tries again by itself in a moment." },
  ended: { title: "The session has ended", hint: "Press Start for a new one." },
});

/** What it reads where the page itself, not the agent, has something to say. */
export const PAGE_WORDS = Object.freeze({
  preparing: { title: "One moment", hint: "Allow the microphone if the browser asks." },
  connecting: { title: "Connecting", hint: "Calling the server." },
  away: { title: "Not connected", hint: "The page is trying to come back." },
  hearing: { title: "Listening", hint: "I hear you." },
  muted: { title: "Muted", hint: "Nothing leaves your microphone." },
  hold: { title: "Your turn", hint: "Hold the button while you speak." },
  holdOrSpace: { title: "Your turn", hint: "Hold the button, or the space bar, while you speak." },
  holdOver: { title: "Speaking", hint: "Hold the button to interrupt." },
  stopOver: { title: "Speaking", hint: "Press Stop talking, or type, to interrupt." },
  held: { title: "Listening", hint: "Let go when you have finished." },
  typing: { title: "Your turn", hint: "Type below." },
});

/** The states in which there is an answer that can be stopped. */
const STOPPABLE = new Set([
  "preparing_welcome",
  "playing_welcome",
  "processing_speech",
  "preparing_response",
  "playing_response",
]);

export const inConversation = (state) => state !== null && state !== "idle" && state !== "ended";
export const canBeStopped = (state) => STOPPABLE.has(state);
export const takesText = (state) => state === "listening" || STOPPABLE.has(state);
export const readable = (state) => state.replaceAll("_", " ");

/** Who has the floor, for the page's colours. */
export function toneOf(state) {
  if (state === "listening") return "listening";
  if (state === "playing_response" || state === "playing_welcome") return "speaking";
  return "rest";
}
