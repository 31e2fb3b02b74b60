from __future__ import annotations

from pydiff.training.metrics import MetricsLog


def filled(tmp_path, steps=(10, 20, 30)):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in steps:
        log.append({"step": step, "loss": 1.0 / step})
    return log


def test_what_is_appended_is_read_back(tmp_path):
    assert filled(tmp_path).read()[1] == {"step": 20, "loss": 0.05}


def test_truncate_forgets_later_steps_and_keeps_earlier_bytes(tmp_path):
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.truncate(20)
    assert log.path.read_bytes() == b"".join(lines[:2])


def test_a_torn_or_foreign_line_is_left_out(tmp_path):
    log = filled(tmp_path)
    with open(log.path, "a") as file:
        file.write('[1]\n{"loss": 2}\n' + "[" * 10_000 + '\n{"step": 40, "lo')
    assert [record["step"] for record in log.read()] == [10, 20, 30]
    log.truncate(25)
    assert len(log.path.read_text().splitlines()) == 2


def test_no_file_is_no_records(tmp_path):
    assert MetricsLog(tmp_path / "none").read() == []
