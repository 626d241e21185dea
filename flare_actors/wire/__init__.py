"""Codecs: what goes over a wire to and from a client, as values. Pure; one file (or two) per protocol.

``flare`` is the native protocol, ``flare_client_messages`` and ``flare_server_messages`` its shapes, ``schema`` what can be
generated from them, ``strict`` the reading of untrusted JSON that every codec shares.
"""
