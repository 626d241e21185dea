"""What is made up reaches everything: whoever adds a mode or a move that no simulated session has is told.

A simulation proves nothing of what its scripts never do.
"""

from __future__ import annotations

from flare_actors.testing.simulation import FAULT_KINDS, MOVES, make_script


def test_simulated_sessions_make_every_move_in_every_mode() -> None:
    made = [make_script(1, number, seconds=240.0, faults=FAULT_KINDS) for number in range(100)]
    assert {move.kind for script in made for move in script.moves} == set(MOVES)
    modes = {(name, str(value)) for script in made for name, value in script.settings.items()}
    assert {
        ("turn_detection", "manual"),
        ("input", "text"),
        ("output", "text"),
        ("mute", "tools"),
        ("auto_answer", "False"),
        ("barge_in", "off"),
        ("false_interruption_s", "0.0"),
        ("idle_answer", "True"),
    } <= modes
    assert {script.pauses for script in made} == {script.drains for script in made} == {True, False}
    faults = {fault.act.value for script in made for plan in script.faults.values() for fault in plan if fault}
    assert faults == set(FAULT_KINDS)
