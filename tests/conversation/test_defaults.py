"""What a value holds where nobody says anything: whoever makes one leaves most of it out, as does a journal of before."""

from __future__ import annotations

from enum import Enum

import attrs

from flare_actors.conversation import calls, changes, commands, events, history, items, model, notices, requests

ROOMS = (calls, changes, commands, events, history, items, model, notices, requests)

DEFAULTS = """
ToolSpec: description='' parameters='{"type": "object", "properties": {}}'
AnswerRest: instructions=None replace=False max_tokens=None tools=None tool_choice=None
ToolCall: arguments='{}'
ToolUse: step=0 due=0.0 client=False detached=False announced=False survives=False output=None
    failed=False
ChatMessage: content='' calls=() call=None failed=False
StartStt: retry=False
StartReply: messages=() text=None tools=() tool_choice='auto' instructions=None replace=False
    max_tokens=None held=False
ReturnToolResult: failed=False rest=None
ListenerOpened: estimates=False
ListenerFailed: message='' critical=False
SpeechStarted: pause_s=None
SpeechConfirmed: overdue=False
SpeechResumed: pause_s=None
SpeechStopped: taken=True too_short=False
RecognizerReady: partials=False
RecognizerFailed: message='' critical=False
TranscriptUpdated: complete=True
PhraseReady: first_token_at=None
ToolStarted: step=0 client=False batch=1 detached=False announced=False survives=False
ToolFinished: failed=False
GenerationFinished: limited=False
LanguageModelFailed: message='' critical=False
SynthesizerFailed: message='' critical=False
SpokenPhrase: start_s=None end_s=None words=()
UserSaid: id=''
AgentSaid: turn=0 interrupted=False audio_s=0.0
Instructed: id=''
ToolCalled: turn=0
ToolReturned: turn=0 failed=False client=False
Deadlines: session_idle=None lifetime=None grace=None drain=None initialize=None settle=None
    utterance=None commit=None interruption=None transcript=None generation=None playback=None
    stt_retry=None recovery=None idle=None
Waste: replies=0 work_s=0.0
Marks: speech_ended=None endpoint=None asked=None begun=None first_token=None first_phrase=None
    first_audio=None
Wish: instructions=None replace=False output=None max_tokens=None tools=None tool_choice=None
    items=None aside=False idle=False request_id=None ticket=None
Saying: interruptible=True ticket=None
Turn: output=Output.AUDIO wish=None saying=None waiting=False phrases=() calls=() generated_s=None
    playing=False paused_at=None resumed_at=None nodded=None played_s=0.0 reported_at=None
    paced_s=0.0 tokens=() limited=False llm_failed=False tts_failed=False marks=Marks()
Speculation: finished=None
Settling: delivered=False played_s=0.0 reported_at=None clock_s=None settled=False
Failures: vad=0 stt=0 llm=0 tts=0 unknown=0
Conversation: settings=Settings() state=State.IDLE attached=False reports_playback=False
    draining=False ended=None floor=Floor.SILENT utterance=0 confirmed=False worded=False
    overheard=False unheard=False paused=False partial='' pause=0 turn_end=None estimates=False
    endpoint=None pauses=() awaited=() listener_open=False hearing=Hearing.STOPPED partials=False
    committing=False muted=False deaf=False turns=0 turn=None speculation=None speculations_left=0
    speculated=0 released=0 wasted=Waste() waste=Waste() settling=() last_spoken='' spoken_at=None
    answer_due=False unanswered=False wish=None asked=Marks() client_tools=() tool_choice='auto'
    detached=() reports=() report_due=False history=() items=0 says=() apology_due=False
    quiet_since=0.0 prompts=0 failures=Failures() stale=0
StateChanged: turn=None reason=None
TurnStarted: output=Output.AUDIO aside=False idle=False request_id=None
ToolCallRequested: batch=1
TurnEnded: limited=False
TurnMetrics: endpoint_wait_s=None stt_s=None first_token_s=None first_phrase_s=None
    first_audio_s=None total_s=None ahead_s=None wasted_replies=0 wasted_s=0.0
ErrorRaised: turn=None field=None request_id=None
Fact: at=0.0
Request: request_id=None
SessionEndRequested: reason=Reason.SESSION_ENDED
ToolsOffered: tool_choice='auto'
ToolResultReceived: failed=False rest=None
ResponseRequested: instructions=None replace=False output=None max_tokens=None tools=None
    tool_choice=None items=None aside=False ticket=None
PlaybackProgressed: turn=None
PlaybackCompleted: turn=None played_s=None
ItemInsertRequested: after=None else_after=()
ClientAttached: reports_playback=False
TransportFailed: message=''
SayRequested: interruptible=True ticket=None
FailureRaised: message='' critical=False
"""
"""Each record's own fields that may be left out; what can be chosen is on the page (see test_settings)."""


def _shown(value: object) -> str:
    if attrs.has(type(value)):
        assert value == type(value)()
        return f"{type(value).__name__}()"
    return str(value) if isinstance(value, Enum) else repr(value)


def _defaults(kind: type[attrs.AttrsInstance]) -> str:
    own = [field for field in attrs.fields(kind) if not (field.inherited or field.default is attrs.NOTHING)]
    plain = [field for field in own if not hasattr(field.default, "takes_self")]  # Else it is computed.
    return " ".join(f"{field.name}={_shown(field.default)}" for field in plain)


def test_what_is_left_out_of_a_record_is_what_the_table_says() -> None:
    found = {
        kind.__name__: defaults
        for room in ROOMS
        for kind in vars(room).values()
        if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == room.__name__
        if (defaults := _defaults(kind))
    }
    lines = DEFAULTS.strip().replace("\n    ", " ").splitlines()
    assert found == dict(line.split(": ", 1) for line in lines)


def test_an_item_is_named_after_what_it_is_of() -> None:
    assert items.AgentSaid(turn=3, text="").id == "turn_3"
    assert items.AgentSaid(text="").id == ""
    assert items.ToolCalled(call="t3c1", name="tea", text="{}").id == "call_t3c1"
    assert items.ToolReturned(call="t3c1", text="").id == "result_t3c1"
