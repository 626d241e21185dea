// The state diagram: drawn from the transition table, with the live state and the last transition lit.
//
// What is drawn comes from TRANSITIONS alone; this file only knows where things stand. Seven states may fail and eight
// may be left for idle or ended: drawn one by one that would be 22 arrows, so they are three, from a frame around all.

import { STATES, TRANSITIONS, readable } from "./states.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 400;
const HEIGHT = 332;
const BOX = { width: 134, height: 32 };

const LEFT = 91;
const RIGHT = 295;
const ROWS = [24, 112, 172, 232, 292];

const PLACES = {
  idle: [LEFT, ROWS[0]],
  ended: [RIGHT, ROWS[0]],
  initializing: [LEFT, ROWS[1]],
  preparing_welcome: [LEFT, ROWS[2]],
  playing_welcome: [LEFT, ROWS[3]],
  error: [LEFT, ROWS[4]],
  listening: [RIGHT, ROWS[1]],
  processing_speech: [RIGHT, ROWS[2]],
  preparing_response: [RIGHT, ROWS[3]],
  playing_response: [RIGHT, ROWS[4]],
};

// Arrows that many states share; each stands for every transition to its target that has no arrow of its own.
const SHARED = {
  idle: "M107 64 V43",
  ended: "M295 64 V43",
  error: "M91 256 V273",
};

const INTO_LISTENING_LEFT = (row) => `M158 ${row} H170 Q180 ${row} 180 ${row - 10} V118 Q180 108 190 108 H225`;
const INTO_LISTENING_RIGHT = (row) => `M362 ${row} H368 Q378 ${row} 378 ${row - 10} V122 Q378 112 368 112 H365`;

const ROUTES = {
  "idle initializing": "M75 40 V93",
  "idle ended": "M158 24 H225",
  "initializing preparing_welcome": "M91 128 V153",
  "preparing_welcome playing_welcome": "M91 188 V213",
  "initializing listening": "M158 108 H225",
  "preparing_welcome listening": INTO_LISTENING_LEFT(ROWS[2]),
  "playing_welcome listening": INTO_LISTENING_LEFT(ROWS[3]),
  "error listening": INTO_LISTENING_LEFT(ROWS[4]),
  "listening processing_speech": "M295 128 V153",
  "processing_speech preparing_response": "M295 188 V213",
  "preparing_response playing_response": "M295 248 V273",
  "listening preparing_response": "M228 119 H216 Q206 119 206 129 V222 Q206 232 216 232 H225",
  "processing_speech listening": INTO_LISTENING_RIGHT(ROWS[2]),
  "preparing_response listening": INTO_LISTENING_RIGHT(ROWS[3]),
  "playing_response listening": INTO_LISTENING_RIGHT(ROWS[4]),
};

const OUTER = "M18 64 H382 Q396 64 396 78 V314 Q396 328 382 328 H18 Q4 328 4 314 V78 Q4 64 18 64 Z";
const INNER =
  "M24 74 H376 Q388 74 388 86 V308 Q388 320 376 320 H208 Q196 320 196 308 V268 Q196 256 184 256 H24 Q12 256 12 244 V86 Q12 74 24 74 Z";

function draw(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The path of a transition: its own, its target's shared one, or (a table that outgrew this drawing) a straight line. */
function route(from, to) {
  const own = ROUTES[`${from} ${to}`];
  if (own) return { key: `${from} ${to}`, path: own };
  if (SHARED[to]) return { key: `* ${to}`, path: SHARED[to] };
  return { key: `${from} ${to}`, path: `M${PLACES[from].join(" ")} L${PLACES[to].join(" ")}` };
}

export class Diagram {
  #nodes = new Map();
  #arrows = new Map();
  #state = null;

  constructor(container) {
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "diagram" });
    const marker = (id) =>
      draw(
        "marker",
        { id, viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto", markerUnits: "userSpaceOnUse" },
        draw("path", { d: "M0 0.5 L7 4 L0 7.5 Z" }),
      );
    this.svg.append(draw("defs", {}, marker("arrow"), marker("arrow-lit")));
    this.svg.append(draw("path", { d: OUTER, class: "frame" }), draw("path", { d: INNER, class: "frame inner" }));
    for (const [from, targets] of Object.entries(TRANSITIONS)) {
      for (const to of targets) this.#drawArrow(from, to);
    }
    for (const state of STATES) this.#drawNode(state);
    this.show(null);
    container.append(this.svg);
  }

  #drawArrow(from, to) {
    const { key, path } = route(from, to);
    if (this.#arrows.has(key)) return;
    const arrow = draw("path", { d: path, class: "arrow", "data-arrow": key });
    this.#arrows.set(key, arrow);
    this.svg.append(arrow);
  }

  #drawNode(state) {
    const [x, y] = PLACES[state];
    const { width, height } = BOX;
    const radius = state === "idle" || state === "ended" ? height / 2 : 9;
    const node = draw(
      "g",
      { class: "node", "data-state": state },
      draw("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: radius }),
      draw("text", { x, y: y + 4 }, readable(state)),
    );
    this.#nodes.set(state, node);
    this.svg.append(node);
  }

  /** Light up `state` (null: none), and the transition that led there. */
  show(state, from = this.#state) {
    for (const [name, node] of this.#nodes) node.classList.toggle("lit", name === state);
    const taken = state !== null && from !== null && TRANSITIONS[from]?.includes(state) ? route(from, state).key : null;
    for (const [key, arrow] of this.#arrows) arrow.classList.toggle("lit", key === taken);
    const lit = taken === null ? undefined : this.#arrows.get(taken);
    if (lit) this.svg.insertBefore(lit, this.#nodes.values().next().value); // above the arrows it shares a track with
    this.svg.setAttribute("aria-label", `State diagram. Now: ${state === null ? "no session" : readable(state)}.`);
    this.#state = state;
  }
}
