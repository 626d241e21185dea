from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import docs
from benchmarks.peers import METRICS, OURS, PEERS, compared


def test_the_page_says_what_the_recorded_run_says() -> None:
    report = json.loads(docs.RECORDED.read_text(encoding="utf-8"))
    page = docs.PAGE.read_text(encoding="utf-8")
    assert docs.rewritten(page, report) == page, "run: python -m benchmarks.docs docs/performance.json"


def test_the_recorded_run_has_the_agreed_shape() -> None:
    report = json.loads(docs.RECORDED.read_text(encoding="utf-8"))
    for metrics in [*report["benchmarks"].values(), *report["peers"].values()]:
        for fields in metrics.values():
            assert {"unit", "median", "p99", "max", "n", "floor", "ratio"} <= fields.keys()
    assert set(report["peers"]) <= set(PEERS)
    for metrics in report["peers"].values():
        assert set(metrics) <= set(METRICS)
        assert all("ratio_to_ours" in fields for fields in metrics.values())


def test_a_page_without_its_marks_is_refused_by_name() -> None:
    report = json.loads(docs.RECORDED.read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="run: begin"):
        docs.rewritten("# nothing\n", report)


@pytest.mark.parametrize(("change", "why"), [({"quick": True}, "--quick"), ({"benchmarks": {}}, "lacks audio_in")])
def test_the_page_is_not_written_from_a_part(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    why: str,
) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(json.loads(docs.RECORDED.read_text(encoding="utf-8")) | change), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["benchmarks.docs", str(file)])
    before = docs.PAGE.read_bytes()
    with pytest.raises(SystemExit):
        docs.main()
    assert why in capsys.readouterr().err
    assert docs.PAGE.read_bytes() == before


def test_a_ratio_tells_how_many_times_better_ours_is() -> None:
    found = compared(
        {
            OURS: {"first_audio_ms": {0: [1.0]}, "duplex_sessions_per_core": {0: [200.0]}, "start_ms": {1: [1.0]}},
            "other": {"first_audio_ms": {0: [8.0]}, "duplex_sessions_per_core": {0: [40.0]}, "start_ms": {0: [1.0]}},
        }
    )
    assert found["other"]["first_audio_ms"]["ratio_to_ours"] == 8.0
    assert found["other"]["duplex_sessions_per_core"]["ratio_to_ours"] == 5.0
    assert found["other"]["start_ms"]["ratio_to_ours"] is None, "never in one round"


def test_what_is_compared_was_measured_in_one_round() -> None:
    ours, other = {0: [1.0, 1.0], 1: [2.0], 2: [2.0]}, {0: [4.0], 1: [8.0, 8.0], 2: [8.0]}
    found = compared({OURS: {"start_ms": ours}, "other": {"start_ms": other}})
    assert found["other"]["start_ms"]["ratio_to_ours"] == 4.0, "half as fast in two rounds of three, as ours"
    assert (found["other"]["start_ms"]["median"], found["other"]["start_ms"]["n"]) == (8.0, 4)
