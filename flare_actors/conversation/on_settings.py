"""Settings that change during a session, and who is not heard because of them."""

from __future__ import annotations

from typing import Final

from flare_actors.conversation.changes import WrongSetting, changed
from flare_actors.conversation.commands import ApplySettings, SetMute
from flare_actors.conversation.model import Hearing
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import ErrorRaised, SettingsUpdated
from flare_actors.conversation.requests import SettingsChanged
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Input, Mute, Reason, State
from flare_actors.conversation.table import ACTIVE, MUTED

_RECOGNIZING: Final = ACTIVE - {State.INITIALIZING, State.ERROR}
"""The states in which a recogniser is wanted now, not later."""


def on_settings_changed(d: Draft, e: SettingsChanged) -> None:
    old = d.c.settings
    try:
        new = changed(old, e.changes)
    except WrongSetting as wrong:
        d.tell(ErrorRaised(code="invalid_settings", message=str(wrong), recoverable=True, field=wrong.name))
        return
    d.set(settings=new)
    d.tell(SettingsUpdated(settings=new))
    if new == old:
        return
    d.emit(ApplySettings(settings=new))
    d.wait(lifetime=None if new.session_max_s is None else max(d.at, new.session_max_s))
    if d.c.state is State.IDLE:
        if d.c.deadlines.session_idle is not None or old.session_idle_s is None:
            d.watch_session()
        return
    _hear_as_set(d, old, new)
    if d.c.state is State.LISTENING:
        d.watch_idle()


def _hear_as_set(d: Draft, old: Settings, new: Settings) -> None:
    """Have the recogniser as the settings want it from now on."""
    if new.input is Input.TEXT:
        if old.input is not Input.TEXT:
            d.pause_stt(Reason.SETTINGS)
            if d.c.state is State.LISTENING:
                d.listen(afresh=False)
        return
    same = (new.input, new.locale, new.stt_mode, new.endpoint_s) == (
        old.input,
        old.locale,
        old.stt_mode,
        old.endpoint_s,
    )
    if not same and d.c.attached and d.c.state in _RECOGNIZING and d.c.hearing is not Hearing.FAILED:
        d.start_stt()


def mute_as_set(d: Draft) -> None:
    """After each step: drop the user's audio, or do so no longer, as the client, the settings and the state have it."""
    c = d.c
    tools = c.settings.mute is Mute.TOOLS and c.turn is not None and c.turn.carries_out_tools
    deaf = c.muted or c.settings.input is Input.TEXT or c.state in MUTED[c.settings.mute] or tools
    if deaf is not c.deaf:
        d.set(deaf=deaf)
        d.emit(SetMute(muted=deaf))
