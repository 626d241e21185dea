"""What is always true of a conversation: between any two steps (``check_value``), and of each step (``ConversationChecker``).

    checker = ConversationChecker()
    async with open_session(agent, observers=[checker]) as session: ...

Every step of every session that it observes is held against the promises of the core; the first that is broken raises
``AssertionError`` with the step in it. Users of their own tables and handlers get the same check.
"""

from flare_actors.testing.invariants.between_steps import check_value
from flare_actors.testing.invariants.checker import ConversationChecker

__all__ = ["ConversationChecker", "check_value"]
