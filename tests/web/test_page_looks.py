"""The page by keyboard, in light and dark, on a phone, and for people who read it with other senses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser_kit import OpenPage, ask, start, wait
from fake_server import FakeServer, Peer

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)").expect
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.no_cover]  # what is tested here is no Python


def talk(peer: Peer) -> None:
    """A conversation with everything in it: a cut answer, a long word, metrics, an error."""
    peer.send("speech_started", utterance=1)
    peer.send("transcript", utterance=1, text="What is the longest word you know?")
    peer.send("turn_started", turn=1, kind="response")
    peer.send("response_text_done", turn=1, text=f"It is {'long' * 40}. And there is more to say of it.")
    peer.send("turn_ended", turn=1, reason="barge_in", heard=f"It is {'long' * 40}.")
    peer.send(
        "turn_metrics", turn=1, endpoint_wait_s=0.48, stt_s=0.1, first_token_s=0.1, first_audio_s=0.1, total_s=0.78
    )
    peer.send("speech_started", utterance=2)
    peer.send("partial_transcript", utterance=2, text="And in")
    peer.send("turn_started", turn=2, kind="response")
    peer.send("response_text_delta", turn=2, text="In Finnish")
    peer.send("error", code="tts_failed", message="No voice.", recoverable=True, turn=2, field=None)


def everything(page: Page, server: FakeServer) -> None:
    server.healthz = {"demo_brain": True}
    page.reload()
    talk(start(page, server))
    expect(page.locator(".notice")).to_be_visible()


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_the_screen(open_page: OpenPage, server: FakeServer, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 740}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    everything(page, server)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    inside_scroller = ".filter(e => !e.closest('code.block') && !e.closest('.sr-only'))"
    assert page.evaluate(f"{wide}{inside_scroller}.map(e => e.outerHTML.slice(0, 80))") == []


def test_a_finger_can_hit_every_button(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(viewport={"width": 360, "height": 740})
    everything(page, server)
    heights = page.locator("button:visible").evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")
    assert min(heights) >= 40


def test_a_whole_conversation_by_keyboard(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    press = page.keyboard.press

    def focused() -> str:
        return str(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))

    press("Tab")
    assert focused() == "Skip to the text box"
    press("Tab")
    assert focused() == "Start"
    press("Enter")
    peer = server.peer()
    peer.wait_for("start_conversation")
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()
    assert focused() == "End"  # the same button: nobody loses their place
    press("Tab")
    assert focused() == "Mute"
    press("Space")
    assert peer.wait_for("mute")["muted"] is True
    press("Tab")
    assert focused().startswith("Stop talking")
    peer.go("listening", "playing_response", turn=1)
    expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
    press("Enter")
    peer.wait_for("interrupt")
    press("Tab")
    assert focused() == "Push to talk"
    press("Tab")
    assert focused() == "log"  # its content scrolls
    press("Tab")
    page.keyboard.type("Hello")
    press("Enter")
    assert peer.wait_for("text")["text"] == "Hello"
    for _ in range(5):
        press("Shift+Tab")
    assert focused() == "End"
    press("Enter")
    peer.wait_for("end_conversation")


def test_the_keyboard_is_trapped_nowhere_and_its_place_is_always_seen(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    everything(page, server)
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        place = page.evaluate(
            """() => {
              const {activeElement: e} = document;
              const {outlineStyle, outlineWidth} = getComputedStyle(e);
              return e === document.body ? null : [e.id || e.textContent, outlineStyle, parseFloat(outlineWidth)];
            }"""
        )
        if place is None:
            break
        seen.append(place)
    assert place is None, f"still inside after {seen}"
    assert {"stop", "log", "text", "Send"} <= {each[0] for each in seen}
    assert [each for each in seen if each[1] == "none" or each[2] < 2] == []


CONTRAST = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return {r, g, b, a};
  };
  const luminance = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return parse('rgb(255, 255, 255)');
  };
  const poor = [];
  let looked = 0;
  for (const element of document.querySelectorAll('body *')) {
    if (element.closest('svg, noscript, .sr-only') || !element.checkVisibility()) continue;
    if (![...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    looked += 1;
    if (ratio < 4.5) poor.push([element.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  return {looked, poor};
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(open_page: OpenPage, server: FakeServer, scheme: str) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    everything(page, server)
    found = page.evaluate(CONTRAST)
    assert found["looked"] > 40
    assert found["poor"] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(247, 245, 241)", "dark": "rgb(19, 18, 16)"}[scheme]


@pytest.mark.parametrize(("motion", "moving"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_those_who_asked_for_stillness(
    open_page: OpenPage, server: FakeServer, motion: str, moving: bool
) -> None:
    page = open_page(reduced_motion=motion)
    everything(page, server)
    endless = "document.getAnimations().filter(a => a.effect.getComputedTiming().endTime === Infinity).length"
    assert (page.evaluate(endless) > 0) is moving


def test_what_happens_is_told_to_those_who_do_not_see_it(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    announcer = page.locator("[aria-live=polite]")
    peer = start(page, server)
    expect(announcer).to_have_text("Listening")
    peer.go("listening", "playing_response", turn=1)
    expect(announcer).to_have_text("Speaking")
    peer.send("error", code="x", message="No voice.", recoverable=True, turn=1, field=None)
    expect(announcer).to_have_text("Something did not work. No voice.")
    page.get_by_role("button", name="Mute").click()
    expect(announcer).to_have_text("Muted")


def test_everything_that_can_be_used_has_a_name(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    everything(page, server)
    nameless = """[...document.querySelectorAll('button, input, [role], section, aside, [tabindex]')].filter((e) => !(
        e.textContent.trim() || e.labels?.length || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
    )).map((e) => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(nameless) == []
    assert page.title() == "flare_actors"
    assert page.get_by_role("meter", name="You").count() == page.get_by_role("meter", name="Agent").count() == 1
    assert page.get_by_role("log", name="Conversation").count() == 1


def test_markup_in_what_is_said_stays_text(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    evil = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    peer.send("transcript", utterance=1, text=evil)
    peer.send("response_text_delta", turn=1, text=evil)
    peer.send("turn_ended", turn=1, reason="barge_in", heard=evil[:10])
    peer.send("error", code="x", message=evil, recoverable=True, turn=1, field=None)
    expect(page.locator(".notice")).to_contain_text("onerror")
    assert page.locator(".entry img, .notice img, .entry script, .notice script").count() == 0


def test_a_long_session_does_not_grow_the_page_for_ever(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    start(page, server)
    ask(
        page,
        """[...Array(300).keys()].forEach((n) => {
          app.conversation.done(n, 'This was heard. And this was not.');
          app.conversation.ended(n, 'barge_in', 'This was heard.');
          app.waterfall.add({turn: n, stt_s: 0.1, total_s: 0.1});
        })""",
    )
    assert page.locator(".entry").count() == 200
    assert page.locator("#waterfall .turn").count() == 50
    height, end = page.evaluate(
        "[document.documentElement.scrollHeight, document.querySelector('main').getBoundingClientRect().bottom]"
    )
    assert height == pytest.approx(max(900, end), abs=1)


def test_the_log_stays_at_its_end_whatever_takes_its_room(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    start(page, server)
    ask(page, "[...Array(30).keys()].forEach((n) => app.conversation.done(n, 'Something long was said here.'))")
    below = "Math.round(app.view.log.scrollHeight - app.view.log.scrollTop - app.view.log.clientHeight)"
    wait(page, f"{below} === 0")
    full = ask(page, "app.view.log.clientHeight")
    page.get_by_role("button", name="Push to talk").click()
    wait(page, f"app.view.log.clientHeight < {full - 48} && {below} === 0")
    page.set_viewport_size({"width": 1200, "height": 780})
    wait(page, f"app.view.log.clientHeight < {full - 120} && {below} === 0")
    ask(page, "app.conversation.done(30, 'And more.')")
    wait(page, f"{below} === 0")
    page.locator("#log").evaluate("log => log.scrollTo(0, 200)")
    page.set_viewport_size({"width": 1200, "height": 900})
    wait(page, f"app.view.log.clientHeight > {full - 100}")
    ask(page, "app.conversation.done(31, 'And more.')")
    assert ask(page, "app.view.log.scrollTop") == 200  # who reads further up is left in peace


def test_figures_and_names_have_room_in_a_wide_font(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    page.evaluate("document.documentElement.style.fontFamily = 'DejaVu Sans'")
    for turn, wait_s in enumerate((2.048, 8.032, 12.345), 1):
        more = {"ahead_s": 1.234, "wasted_replies": 12, "wasted_s": 12 * 1.234}
        peer.send("turn_metrics", turn=turn, endpoint_wait_s=wait_s, stt_s=1.002, total_s=wait_s + 1.002, **more)
    expect(page.locator("#waterfall .turn")).to_have_count(3)
    page.locator("#waterfall .turn:not([open]) summary").evaluate_all("all => all.forEach((each) => each.click())")
    figures = page.locator("#waterfall .figure")
    assert "13.3 s" in figures.all_text_contents()
    assert "9034 ms" in figures.all_text_contents()
    cut = "all => all.filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)"
    assert figures.evaluate_all(cut) == []
    assert page.locator("#waterfall").evaluate("e => e.scrollWidth - e.clientWidth") == 0
    tracks = page.locator("#waterfall .track").evaluate_all("all => all.map((e) => e.getBoundingClientRect().width)")
    assert max(tracks) - min(tracks) < 1  # one scale for all
    margins = ask(
        page,
        """(await import('/states.js')).STATES.map((state) => {
          app.diagram.show(state);
          const [box, words] = [...app.diagram.svg.querySelector('.node.lit').children].map((e) => e.getBBox().width);
          return (box - words) / 2;
        })""",
    )
    assert min(margins) >= 5
