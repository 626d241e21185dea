"""Benchmarks: one module a question, which its docstring asks. ``python -m benchmarks`` lists them, and runs them.

A module has ``async def measure(options) -> dict[str, Metric]``; it runs in a process of its own. Names of metrics: a figure
for each of several sizes is called ``name@size`` (which is drawn as a curve); a module may have ``STACKS``, the metrics that
are parts of one whole (drawn on top of each other), or a ``picture(metrics, path)`` of its own.
"""
