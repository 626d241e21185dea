"""Who does what the core has decided: one command, one actor, and nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import attrs
import trio

from flare_actors.actors.channels import Outbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.recognizer import RecognizerActor
from flare_actors.actors.replies import Replies
from flare_actors.actors.speaker import Speaker
from flare_actors.conversation import commands as do
from flare_actors.conversation.settings import Settings

__all__ = ["Performer"]


@attrs.frozen(kw_only=True)
class Performer:
    """Hands each command to the actor that it is for."""

    ear: Ear
    recognizer: RecognizerActor
    speaker: Speaker
    replies: Replies
    outbox: Outbox
    settings: Callable[[], Settings]
    """The settings in force, for the next reply."""

    def perform(self, command: do.Command, nursery: trio.Nursery) -> None:
        """Carry out one command; none of them waits.

        Args:
            command: what the core has decided.
            nursery: the session's, in which replies run.
        """
        match command:
            case do.Notify(notice=notice):
                self.outbox.put(notice)
            case do.CloseSession():
                self.outbox.close()
            case do.StartReply():
                self.replies.start(command, self.settings(), nursery)
            case do.ReleaseReply(turn=turn):
                self.replies.release(turn)
            case do.CancelReply(turn=turn, reason=reason):
                self.replies.cancel(turn, reason)
            case do.ReturnToolResult():
                self.replies.return_result(command)
            case do.FlushPlayback(turn=turn):
                self.speaker.flush(turn)
            case do.PausePlayback(turn=turn):
                self.speaker.pause(turn)
            case do.ResumePlayback(turn=turn):
                self.speaker.resume(turn)
            case _:
                self._hear(command)

    def _hear(
        self,
        command: do.OpenListener
        | do.CloseListener
        | do.StartStt
        | do.StopStt
        | do.ApplySettings
        | do.SetEndpoint
        | do.CommitUtterance
        | do.ClearInput
        | do.SetMute,
    ) -> None:
        match command:
            case do.OpenListener(settings=settings):
                self.ear.open(settings)
            case do.CloseListener():
                self.ear.close()
                self.recognizer.stop()
            case do.StartStt():
                self.ear.set_endpoint(command.endpoint_s)
                self.recognizer.start(command)
            case do.StopStt():
                self.recognizer.stop()
            case do.ApplySettings(settings=settings):
                self.ear.use(settings)
            case do.SetEndpoint():
                self.ear.wait(command.utterance, command.pause, command.silence_s, settled=command.settled)
            case do.CommitUtterance():
                self.ear.commit()
            case do.ClearInput():
                self.ear.clear()
            case do.SetMute(muted=muted):
                self.ear.mute(muted)
            case _:
                assert_never(command)
