"""A run's curve as a picture: every figure of its log over the steps, in a panel of its own."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from idgen.ground import files

LOG, CURVE = "log.jsonl", "curve.svg"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 320, 170, 52, 24, 26
_NOT_DRAWN = ("step", "seconds")
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#5d6673}.name{font-weight:600;fill:#1b1f24}.curve{fill:none;"
    "stroke:#0f7b6c;stroke-width:2;stroke-linejoin:round}.frame{fill:#fff;stroke:#e1e5ea}"
)


def draw_curve(run: Path) -> None:
    """Write `curve.svg` into a run's folder, of its `log.jsonl`; a step that was run twice counts as it was last."""
    lines: dict[int, dict[str, float]] = {}
    for text in (run / LOG).read_text("utf-8").splitlines():
        try:
            line = json.loads(text)
            lines[int(line["step"])] = line
        except (ValueError, KeyError, TypeError):
            continue  # cut short when the process was killed
    steps = sorted(lines)
    names = list(dict.fromkeys(name for step in steps for name in lines[step] if name not in _NOT_DRAWN))
    panels = []
    for place, name in enumerate(names):
        points = [(step, float(lines[step][name])) for step in steps if name in lines[step]]
        panels.append(_panel(name, points, steps[-1], (place % 3) * _WIDTH, (place // 3) * _HEIGHT))
    height = -(-len(names) // 3) * _HEIGHT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * _WIDTH} {height}" role="img">'
    title = f"<title>{escape(run.name)}</title><style>{_STYLE}</style>"
    files.write(run / CURVE, f"{head}{title}{''.join(panels)}</svg>\n")


def _panel(name: str, points: list[tuple[int, float]], last: int, left: float, top: float) -> str:
    low, high = min(value for _, value in points), max(value for _, value in points)
    x0, y0 = left + _LEFT, top + _TOP
    wide, tall = _WIDTH - _LEFT - 12, _HEIGHT - _TOP - _BOTTOM
    across = [x0 + wide * step / max(last, 1) for step, _ in points]
    down = [y0 + tall * (1 - (value - low) / (high - low or 1)) for _, value in points]
    curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    return (
        f'<rect class="frame" x="{x0}" y="{y0}" width="{wide}" height="{tall}"/>'
        f'<text class="name" x="{x0}" y="{y0 - 8}">{escape(name)}: {points[-1][1]:.4g}</text>'
        f'<text x="{x0 - 4}" y="{y0 + 9}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{x0 - 4}" y="{y0 + tall}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{x0 + wide}" y="{y0 + tall + 14}" text-anchor="end">step {last:,}</text>'
        f'<polyline class="curve" points="{curve}"/>'
    )
