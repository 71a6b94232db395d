"""What Linux tells of the clock rate of the processors, which times depend on."""

from __future__ import annotations

from pathlib import Path

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_PROCESSORS = Path("/proc/cpuinfo")


def governor() -> str | None:
    """Who governs the clock rate (`performance`, `powersave`); None where that is not told."""
    try:
        return _GOVERNOR.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def megahertz() -> tuple[float, float] | None:
    """The least and the greatest clock rate of the processors now; None where that is not told."""
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    rates = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return (min(rates), max(rates)) if rates else None
