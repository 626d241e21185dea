// Hold to talk: a button and the space bar, pressed as long as somebody speaks.
//
// Whoever presses by several means at once has let go when the last of them is let go. What the page never hears of (another
// window takes the keyboard, the system takes the finger) lets go, too: nobody is to be overheard by mistake.

const TYPING = "input, textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "button, a[href], summary";

export class Hold {
  #held = new Set();
  #clicked = null; // what a pointer has pressed last: whoever points does not mean it with the space bar, too

  /**
   * @param {HTMLElement} button
   * @param {object} handlers
   * @param {() => boolean} handlers.isOn asked before each press: the button does something now
   * @param {() => void} handlers.onPress
   * @param {() => void} handlers.onRelease
   */
  constructor(button, { isOn, onPress, onRelease }) {
    this.button = button;
    this.isOn = isOn;
    this.onPress = onPress;
    this.onRelease = onRelease;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId); // a finger that slides off the button still holds it
      this.#press(`pointer ${event.pointerId}`);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(end, (event) => this.#release(`pointer ${event.pointerId}`));
    }
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // what a long touch would open
    document.addEventListener("pointerdown", (event) => {
      this.#clicked = event.target.closest(PRESSED_BY_SPACE);
    });
    document.addEventListener("focusout", (event) => {
      if (event.target === this.#clicked) this.#clicked = null;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Tab") this.#clicked = null; // the keyboard's place is meant from here on
      if (event.key !== " " && !(event.target === button && event.key === "Enter")) return;
      if (!this.isOn() || event.ctrlKey || event.altKey || event.metaKey || !this.takesSpace) return;
      event.preventDefault(); // the page would scroll
      if (!event.repeat) this.#press(event.key);
    });
    document.addEventListener("keyup", (event) => this.#release(event.key));
    window.addEventListener("blur", () => this.letGo());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.letGo();
    });
  }

  /** The space bar is this button's, where the focus is now; else it types, or presses what the keyboard has gone to. */
  get takesSpace() {
    const { activeElement } = document;
    if (activeElement === null || activeElement === this.button) return true;
    const control = activeElement.closest(PRESSED_BY_SPACE);
    return !activeElement.closest(TYPING) && (control === null || control === this.#clicked);
  }

  get isHeld() {
    return this.#held.size > 0;
  }

  /** Nothing is pressed any more, whatever fingers do. */
  letGo() {
    if (!this.isHeld) return;
    this.#held.clear();
    this.onRelease();
  }

  #press(by) {
    if (!this.isOn()) return;
    const first = !this.isHeld;
    this.#held.add(by);
    if (first) this.onPress();
  }

  #release(by) {
    if (this.#held.delete(by) && !this.isHeld) this.onRelease();
  }
}
