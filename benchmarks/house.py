"""The house in figures: circles, imports that do not go down, imports in functions, sizes.

    python benchmarks/house.py [--check] [--verbose]

`--check` fails where a figure is above its limit; `--verbose` lists what stands behind them. Floors and rooms are those
of `pyproject.toml`. Imports for type checkers count like all others.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import numpy as np
from common import ROOT, options
from importlinter.api import read_configuration

DOORS = ["cli", "space", "__init__"]
# The layers of import-linter, from the ground up; rooms of one line may not import each other.
LAYERS = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"][0]["layers"][:1:-1]
FLOORS = [*(line.split(" | ") for line in LAYERS), DOORS, ["__main__"]]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Packages that an extra brings: they may be imported where they are used.
OPTIONAL = {
    *("c2pa", "cryptography", "datasets", "datatrove", "dlib", "faiss", "gradio", "insightface", "matplotlib", "mcp"),
    *("onnx", "onnxruntime", "onnxscript", "peft", "pyarrow", "pytorch_metric_learning", "ray", "skimage", "spaces"),
    *("torchmetrics", "transformers", "yaml"),
}
# What is picked by a model's folder, and only then loaded: (importing module, imported room).
PICKED = {("idgen.model", "pipelines")}

LIMITS = {
    "files in circles": 0,
    "imports up or sideways": 0,
    "imports in functions": 0,
    "longest function, lines": 80,
    "largest file of idgen, space, app.py, lines": 400,
    "lines of README.md": 180,
}


def room(module: str) -> str:
    """The room that a module is in."""
    parts = module.split(".")
    return "space" if parts[0] == "space" else parts[1] if len(parts) > 1 else "__init__"


def file_of(module: str) -> Path:
    """Where a module of ours is."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def circles(arrows: set[tuple[str, str]]) -> list[list[str]]:
    """The groups of modules that can all reach each other."""
    names = sorted({name for arrow in arrows for name in arrow})
    reach = np.array([[(one, other) in arrows for other in names] for one in names])
    for _ in range(len(names).bit_length()):
        reach |= reach @ reach
    groups = {tuple(np.flatnonzero(row)) for row in reach & reach.T if row.any()}
    return sorted([names[i] for i in group] for group in groups)


def nodes(path: Path, *kinds: type) -> Iterator[Any]:
    """The parts of a file's syntax tree that are of some kinds."""
    return (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds))


def lines(*patterns: str) -> int:
    """How many lines the Python files of some folders have."""
    files = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def measure_imports() -> tuple[dict[str, int], dict[str, list[str]]]:
    """The figures of who imports whom, and what stands behind those that should be 0."""
    graph = grimp.build_graph("idgen", "space", include_external_packages=True, cache_dir=None)
    ours = {module for module in graph.modules if module.split(".")[0] in ("idgen", "space")}
    arrows, wrong, inner = set(), set(), []
    for name in sorted(ours):
        here, within = room(name), set()
        for function in nodes(file_of(name), *FUNCTIONS, ast.Lambda):
            within |= set(range(function.lineno, function.end_lineno + 1))
        for target in sorted(graph.find_modules_directly_imported_by(name)):
            there = room(target) if target in ours else None
            places = [detail["line_number"] for detail in graph.get_import_details(importer=name, imported=target)]
            if there is not None:
                arrows.add((name, target))
                if there != here and HEIGHT.get(there, 99) >= HEIGHT.get(here, -1) and target != "idgen":
                    wrong |= {f"{name} -> {target} (line {line})" for line in places}
            if here not in DOORS and (name, there) not in PICKED and target.split(".")[0] not in OPTIONAL:
                inner += [f"{name}: {target} (line {line})" for line in places if line in within]
    rings = circles(arrows)
    between = {(room(one), room(other)) for one, other in arrows}
    figures = {
        "files in circles": sum(map(len, rings)),
        "imports up or sideways": len(wrong),
        "imports in functions": len(inner),
        "arrows between rooms": sum(here != there for here, there in between),
    }
    return figures, dict(zip(figures, ([", ".join(ring) for ring in rings], sorted(wrong), inner), strict=False))


def measure_sizes() -> tuple[dict[str, int], dict[str, list[str]]]:
    """The figures of how large files and functions are, and the ones that are too large."""
    house = [*ROOT.glob("idgen/**/*.py"), *ROOT.glob("space/**/*.py"), ROOT / "app.py"]
    named = {path: str(path.relative_to(ROOT)) for path in house}
    functions = [(one, f"{named[path]}:{one.name}") for path in house for one in nodes(path, *FUNCTIONS)]
    longest = sorted(((one.end_lineno - one.lineno + 1, name) for one, name in functions), reverse=True)
    largest = sorted(((lines(name), name) for name in named.values()), reverse=True)
    raises = sum(1 for path in house for _ in nodes(path, ast.Raise))
    figures = {
        "longest function, lines": longest[0][0],
        "functions over 80 lines": sum(size > 80 for size, _ in longest),
        "largest file of idgen, space, app.py, lines": largest[0][0],
        "files over 400 lines": sum(size > 400 for size, _ in largest),
        "raise in 1,000 lines": round(raises / lines("idgen/**/*.py", "space/**/*.py") * 1000),
        "lines of idgen, space, benchmarks": lines("idgen/**/*.py", "space/**/*.py", "benchmarks/*.py", "app.py"),
        "lines of tests": lines("tests/**/*.py"),
        "lines of README.md": lines("README.md"),
    }
    return figures, {
        "longest function, lines": [f"{size} {name}" for size, name in longest if size > 80],
        "largest file of idgen, space, app.py, lines": [f"{size} {name}" for size, name in largest if size > 400],
    }


if __name__ == "__main__":
    args = options(__doc__, check=False, verbose=False)
    figures, behind = (one | other for one, other in zip(measure_imports(), measure_sizes(), strict=True))
    over = [name for name, limit in LIMITS.items() if figures[name] > limit]
    for name, figure in figures.items():
        limit = f"  (at most {LIMITS[name]:,})" if name in LIMITS else ""
        print(f"{figure:7,}  {name}{limit}{'  <-- too much' if name in over else ''}")
        if args.verbose or (args.check and name in over):
            for line in behind.get(name, []):
                print(f"         {line}")
    sys.exit(1 if args.check and over else 0)
