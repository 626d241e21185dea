"""The imperative shell: one actor a file, each a task (or two) in the session's nursery.

tree          all of one session's actors, wired to each other, and their nursery
channels      the inbox of events and the outbox of messages: bounded, with readable overflow policies
supervision   who was cancelled and does not let go
orchestrator  the loop with one await: event or deadline, step, perform
stt           the listener: the ear (VAD, endpointing, pauses) and the recogniser
reply         the scope of one turn, in which llm and tts stream into each other
speaker       paced output
link          reader and writer of the attached client link
"""
