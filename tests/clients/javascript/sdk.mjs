// openai: a written answer. This SDK speaks TLS only.
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const client = new OpenAI({ apiKey: process.env.KEY, baseURL: process.env.URL.replace(/^ws/, "http") });
const realtime = new OpenAIRealtimeWS({ model: "any" }, client);
const content = [{ type: "input_text", text: "Hello." }];
let text = "";
realtime.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
realtime.on("session.created", () => {
  realtime.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  realtime.send({ type: "response.create" });
});
realtime.on("response.output_text.delta", (event) => (text += event.delta));
realtime.on("response.done", (event) => {
  const whole = event.response.status === "completed" && event.response.output[0].content[0].text === text;
  process.exit(whole && text ? 0 : 1);
});
