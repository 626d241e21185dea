"""A run beside an earlier one."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["compare"]

_WORSE: Final = 1.2
"""A median that is worse by this factor counts as slower: runs on shared machines differ by 10 % for no reason."""


def compare(baseline: dict[str, Any], report: dict[str, Any]) -> bool:
    """Print each median beside the baseline's. True: at least one is worse by more than a fifth.

    Where the noise check does not trust one of the two runs it is said beside the figures that it may be the machine.
    """
    slower = False
    for name, metrics in report["benchmarks"].items():
        before = baseline["benchmarks"].get(name)
        if before is None:
            print(f"\n{name}: not in the baseline")
            continue
        print(f"\n{name}: baseline -> now")
        for which, run in (("the baseline", baseline), ("this run", report)):
            if not run["noise"].get(name, {"trusted": True})["trusted"]:
                print(f"  NOT TO BE TRUSTED: the machine was not quiet in {which}; what is slower may be the machine")
        for metric, fields in metrics.items():
            old = before.get(metric)
            if old is None or not old["median"] or not fields["median"]:
                print(f"  {metric}: {fields['median']:g} {fields['unit']} (nothing to compare with)")
                continue
            change = fields["median"] / old["median"]
            worse = change if fields["better"] == "lower" else 1 / change
            mark = "  SLOWER" if worse > _WORSE else ""
            slower |= bool(mark)
            print(f"  {metric}: {old['median']:g} -> {fields['median']:g} {fields['unit']} (x {change:.2f}){mark}")
    if baseline["machine"].get("processor") != report["machine"].get("processor"):
        print("\nThe baseline was measured on another machine: only ratios to floors can be compared.")
    return slower
