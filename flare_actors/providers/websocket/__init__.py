"""Speech services over WebSockets: one adapter for ears, one for voices, and what each service's messages mean, as data.

mapping     descriptions of a service's messages
line        the connection, and what refusals and broken lines are to a session
stt tts     the adapters
"""
