// @openai/agents: a function of the client's is called, its result is spoken of.
import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents/realtime";
import { z } from "zod";

let called;
const getWeather = tool({
  name: "get_weather",
  description: "How is the weather?",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    called = city;
    return "sunny";
  },
});
const agent = new RealtimeAgent({ name: "a", instructions: "Be brief.", tools: [getWeather] });
const session = new RealtimeSession(agent, { transport: "websocket" });
session.on("error", (error) => fail(JSON.stringify(error)));
session.on("audio", () => {
  if (called !== "Berlin") fail(`an answer before the function was called: ${called}`);
  session.interrupt();
  session.close();
  process.exit(0);
});

function fail(why) {
  console.error(why);
  process.exit(1);
}

await session.connect({ apiKey: process.env.KEY, url: `${process.env.URL}/realtime?model=any` });
session.sendMessage("How is the weather in Berlin?");
