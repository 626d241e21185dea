// The longer explanations: what happened, and what to do about it.

import { element } from "./dom.js";

const code = (text) => element("code", "", text);

/** Why there is no connection. `counter` holds the seconds until the next attempt. */
export function linkNotice(why, counter) {
  const again = counter ? [" Trying again in ", counter, " s."] : [];
  const notices = {
    busy: ["info", "The server is busy", "All its places are taken."],
    unreachable: ["error", "The server cannot be reached", "It may be stopped, or the network is away."],
    refused: ["error", "The server refused the connection", "It is running, but did not take this page's call."],
    draining: ["info", "The server is restarting", "It takes nobody new until it is back."],
    forbidden: ["error", "This page may not use the server", "The server does not know the address under which this page was opened."],
    superseded: ["info", "The conversation goes on elsewhere", "Another connection has taken it over."],
    lost: ["error", "The connection is lost", "The conversation waits for you on the server."],
  };
  const [tone, title, text] = notices[why] ?? notices.lost;
  return { tone, title, text: [text, ...again] };
}

/** Why a session or conversation is over, where the person did not end it. */
export function endedNotice(reason) {
  const notices = {
    idle: ["info", "The session has ended", "Nobody used it for a while. Press Start for a new one."],
    silence: ["info", "The conversation has ended", "Nobody spoke for a while. Press Start to go on."],
    shutdown: ["info", "The server is shutting down", "It ended the session. Press Start once it is back."],
    time_limit: ["info", "The session has ended", "It is as long as a session may be here. Press Start for a new one."],
    critical_error: ["error", "The session has ended", "A part that it needs does not work. The server's log says which."],
    overloaded: ["error", "The session has ended", "The server could not keep up with it."],
    transport_error: ["error", "The session has ended", "The connection broke."],
    missed: ["info", "The earlier conversation is over", "The server ended it while you were away. Press Start for a new one."],
  };
  const [tone, title, text] = notices[reason] ?? ["info", "The session has ended", "Press Start for a new one."];
  return { tone, title, text: [text] };
}

/** Why there can be no microphone here at all. */
export function insecureNotice() {
  const port = location.port ? `:${location.port}` : "";
  return {
    tone: "warning",
    title: "No microphone on this address",
    text: [
      "Browsers give the microphone, and this page's sound, only to ",
      code("https://"),
      " pages and to this very machine. Open ",
      code(`http://localhost${port}`),
      " on the machine that runs the server, or start the server with ",
      code("--tls-self-signed"),
      " and open its ",
      code("https://"),
      " address here. You can type meanwhile; answers will be shown, not spoken.",
    ],
  };
}

/** The embedded language model is for trying things out; say so, and say what to do for more. */
export function demoBrain() {
  return [
    "A demo brain is answering: the embedded language model is tiny, it shows the timing and not the wit. For real " +
      "answers let ",
    code("agent.toml"),
    " name a local Ollama or llama.cpp server:",
    element("code", "block", '[providers.llm]\nuse = "openai"\nbase_url = "http://127.0.0.1:11434/v1"\nmodel = "llama3.2"'),
  ];
}
