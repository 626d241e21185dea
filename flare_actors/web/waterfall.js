// Where each turn's time went, from the end of the user's speech to the first sound of the answer.

import { element } from "./dom.js";

const STAGES = [
  ["endpoint_wait_s", "wait", "Silence wait"],
  ["stt_s", "stt", "Speech to text"],
  ["first_token_s", "token", "First token"],
  ["first_phrase_s", "phrase", "First phrase"],
  ["first_audio_s", "audio", "First audio"],
];
const KEPT = 50; // turns; older ones leave the page, the server's log has them
const LEAST_SCALE_S = 0.5;

const SECONDS_FROM_S = 9.9995; // five digits of milliseconds tell nobody more, and take more room than there is

const duration = (seconds) =>
  seconds < SECONDS_FROM_S ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export class Waterfall {
  #turns = []; // newest first: {total, bars, details}

  /** @param {{list: HTMLElement, summary: HTMLElement}} places */
  constructor({ list, summary }) {
    this.list = list;
    this.summary = summary;
  }

  /**
   * Add a turn's metrics; the newest stands first and open.
   *
   * @param {object} metrics a `turn_metrics` message
   * @param {object} [turn]
   * @param {string} [turn.kind] from `turn_started`
   */
  add(metrics, { kind = "response" } = {}) {
    const spoken = typeof metrics.stt_s === "number"; // else it answers nobody's speech
    const stages = STAGES.map(([field, key, label]) => ({ key, label, seconds: metrics[field] })).filter(
      ({ seconds }) => typeof seconds === "number",
    );
    const shares = stages.reduce((sum, { seconds }) => sum + seconds, 0);
    const total = typeof metrics.total_s === "number" ? metrics.total_s : shares;
    if (!(total > 0)) return;
    const bars = [];
    const bar = ({ key, seconds }, from) => {
      const made = element("span", `bar ${key}`);
      bars.push({ made, from, seconds });
      return made;
    };
    let start = 0;
    const stacked = element("span", "track");
    const rows = element("dl", "stages");
    for (const stage of stages) {
      stacked.append(bar(stage, start));
      const figure = element("span", "figure", duration(stage.seconds));
      const shown = element("dd", "", element("span", "track", bar(stage, start)), figure);
      rows.append(element("div", "", element("dt", "", stage.label), shown));
      start += stage.seconds;
    }
    const note = (label, figure) =>
      rows.append(element("div", "", element("dt", "", label), element("dd", "", element("span", "figure long", figure))));
    if (typeof metrics.ahead_s === "number") note("Begun ahead", duration(metrics.ahead_s));
    if (metrics.wasted_replies > 0) note("Begun in vain", `${metrics.wasted_replies} × ${duration(metrics.wasted_s / metrics.wasted_replies)}`);
    stacked.setAttribute("aria-hidden", "true");
    const details = element(
      "details",
      "turn",
      element("summary", "", kind === "welcome" ? "Welcome" : `Turn ${metrics.turn}`, stacked, element("span", "figure", duration(total))),
      rows,
    );
    const newest = this.#turns[0];
    if (newest?.openedByUs) newest.details.open = false;
    details.open = true;
    const turn = { total, spoken, bars, details, openedByUs: true };
    details.addEventListener("click", () => {
      turn.openedByUs = false;
    });
    this.#turns.unshift(turn);
    this.list.prepend(element("li", "", details));
    while (this.#turns.length > KEPT) {
      this.#turns.pop();
      this.list.lastElementChild.remove();
    }
    this.#scale();
  }

  /** One scale for all turns, so that bars can be compared. Widths go through the CSSOM: a style attribute breaks the CSP. */
  #scale() {
    const longest = Math.max(LEAST_SCALE_S, ...this.#turns.map(({ total }) => total));
    for (const { bars } of this.#turns) {
      for (const { made, from, seconds } of bars) {
        made.style.setProperty("--from", `${(100 * from) / longest}%`);
        made.style.setProperty("--width", `${(100 * seconds) / longest}%`);
      }
    }
    const totals = this.#turns.filter(({ spoken }) => spoken).map(({ total }) => total);
    if (totals.length === 0) return;
    this.summary.textContent =
      `Median ${duration(median(totals))}, slowest ${duration(Math.max(...totals))} ` +
      `of ${totals.length} ${totals.length === 1 ? "answer" : "answers"}`;
  }
}
