"""ZeroGPU: a GPU for as long as the work asked for takes; elsewhere nothing happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from space.gpu import on_gpu, seconds


def test_elsewhere_a_function_stays_itself() -> None:
    def function() -> None: ...

    assert on_gpu(lambda: 60)(function) is function


def test_more_work_is_given_more_time_up_to_a_limit() -> None:
    asked = [seconds(pictures, steps) for pictures, steps in ((1, 1), (8, 15), (16, 15), (16, 50), (64, 100))]
    assert asked == sorted(asked) and asked[0] < asked[1] < asked[2] < asked[3] and asked[-1] <= 120


_THERE = """
import sys, types
asked = []
spaces = types.ModuleType("spaces")
spaces.GPU = lambda duration: lambda function: lambda *given: (asked.append(duration(*given)), function(*given))[1]
sys.modules["spaces"] = spaces
from space.gpu import ZERO, on_gpu, seconds
assert ZERO and "torch" not in sys.modules
assert on_gpu(lambda pictures, steps: seconds(pictures, steps))(lambda pictures, steps: pictures * steps)(8, 15) == 120
assert asked == [seconds(8, 15)]
"""


def test_on_zerogpu_the_duration_follows_the_arguments() -> None:
    """`spaces` itself only runs there: what is checked is what it is given, and that it comes before torch."""
    root = Path(__file__).parents[2]
    environment = {"SPACES_ZERO_GPU": "true", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", _THERE], check=True, cwd=root, env=environment)
