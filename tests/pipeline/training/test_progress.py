"""What a person sees of a run that is not on a terminal."""

import pytest

from pipeline.training.display import TrainingProgress

METRICS = {"loss/full": 1.2345, "acc/full": 91.25, "speed/images_per_second": 1234.5}


def test_a_line_tells_phase_loss_accuracy_speed_cost_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("pipeline.training.display.time.monotonic", lambda: now)
    with TrainingProgress("demo", steps=100, done=20, visible=True) as progress:
        now += 60  # for 30 steps
        progress.show(50, "ramp", METRICS, "0.125 GPU hours (0.27 $)")
    line = capsys.readouterr().err.strip()
    assert line.startswith(
        "step 50/100 · ramp · loss 1.234 · held-out 91.2 % · 1,234 images/s · 0.125 GPU hours (0.27 $)"
    )
    assert line.endswith("0:01:40 left")


def test_lines_come_now_and_then_but_the_last_step_always(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.display.time.monotonic", lambda: 1000.0)
    with TrainingProgress("demo", steps=100, done=0, visible=True) as progress:
        for step in (10, 20, 30, 100):
            progress.show(step, "full model", METRICS, "cost")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["10/100", "100/100"]


def test_other_processes_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress("demo", steps=100, done=0, visible=False) as progress:
        progress.show(100, "full model", METRICS, "cost")
        progress.say("hello")
    assert capsys.readouterr().err == ""
