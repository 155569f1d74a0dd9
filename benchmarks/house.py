"""The house in figures: circles, imports that do not go down, imports in functions, sizes; `--check` knows limits.

    python benchmarks/house.py [--check] [--verbose]

Floors and rooms are those of CONTRIBUTING.md. Imports for type checkers count like all others.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

# From the ground up; the rooms of one line may not import each other.
FLOORS = [
    ["ground"],
    ["models"],
    ["faces", "sampling", "scoring", "pipelines"],
    ["model"],
    ["sets"],
    ["similarity"],
    ["painting"],
    ["choosing"],
    ["evaluation"],
    ["dataset", "training", "convert"],
    ["sharing"],
    ["cli", "space", "__init__"],
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
DOORS = FLOORS[-1]

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
    "lines of idgen, space, benchmarks": 21_500,
    "lines of tests": 13_500,
    "lines of README.md": 180,
}


def modules() -> dict[str, Path]:
    """Name → file of every module of the package and of the app."""
    found = {}
    for path in sorted([*ROOT.glob("idgen/**/*.py"), *ROOT.glob("space/**/*.py")]):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def room(module: str) -> str:
    """The room that a module is in."""
    parts = module.split(".")
    return "space" if parts[0] == "space" else parts[1] if len(parts) > 1 else "__init__"


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int, bool]]:
    """(imported module, line, whether inside a function) of everything that a module imports, of ours or not."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*above, *([base] if base else [])])
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    yield (full if full in known else base), child.lineno, inside
            yield from walk(child, deeper)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The groups of more than one module that can all reach each other (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                out.append(sorted(group))

    for node in sorted(arrows):
        if node not in number:
            visit(node)
    return out


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """(lines, name) of every function of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.name}"


def lines(*patterns: str) -> int:
    """How many lines the Python files of some folders have."""
    files = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def measure() -> tuple[dict[str, int], dict[str, list[str]]]:
    """The figures, and what stands behind those that should be 0."""
    known = modules()
    arrows: dict[str, set[str]] = defaultdict(set)
    between: set[tuple[str, str]] = set()
    wrong, inner = set(), []
    for name, path in known.items():
        here = room(name)
        for target, line, inside in imports(name, path, known):
            top = target.split(".")[0]
            ours = target in known
            if ours and target != name:
                arrows[name].add(target)
                there = room(target)
                if there != here:
                    between.add((here, there))
                    if HEIGHT.get(there, 99) >= HEIGHT.get(here, -1) and target != "idgen":
                        wrong.add(f"{name} -> {target} (line {line})")
            picked = ours and (name, room(target)) in PICKED
            if inside and here not in DOORS and not picked and top not in OPTIONAL:
                inner.append(f"{name}: {target} (line {line})")
    house = [*known.values(), ROOT / "app.py"]
    longest = sorted((size for path in house for size in functions(path)), reverse=True)
    largest = sorted(
        ((len(path.read_text().splitlines()), str(path.relative_to(ROOT))) for path in house), reverse=True
    )
    rings = circles(arrows)
    figures = {
        "files in circles": sum(map(len, rings)),
        "imports up or sideways": len(wrong),
        "imports in functions": len(inner),
        "arrows between rooms": len(between),
        "longest function, lines": longest[0][0],
        "functions over 80 lines": sum(size > 80 for size, _ in longest),
        "largest file of idgen, space, app.py, lines": largest[0][0],
        "files over 400 lines": sum(size > 400 for size, _ in largest),
        "raise in 1,000 lines": round(_raises(house) / lines("idgen/**/*.py", "space/**/*.py") * 1000),
        "lines of idgen, space, benchmarks": lines("idgen/**/*.py", "space/**/*.py", "benchmarks/*.py", "app.py"),
        "lines of tests": lines("tests/**/*.py"),
        "lines of README.md": len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()),
    }
    behind = {
        "files in circles": [", ".join(ring) for ring in rings],
        "imports up or sideways": sorted(wrong),
        "imports in functions": inner,
        "longest function, lines": [f"{size} {name}" for size, name in longest if size > 80],
        "largest file of idgen, space, app.py, lines": [f"{size} {name}" for size, name in largest if size > 400],
    }
    return figures, behind


def _raises(files: list[Path]) -> int:
    return sum(
        isinstance(node, ast.Raise) for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is above its limit")
    parser.add_argument("--verbose", action="store_true", help="list what stands behind the figures")
    args = parser.parse_args()
    figures, behind = measure()
    over = [name for name, limit in LIMITS.items() if figures[name] > limit]
    for name, figure in figures.items():
        limit = f"  (at most {LIMITS[name]:,})" if name in LIMITS else ""
        print(f"{figure:7,}  {name}{limit}{'  <-- too much' if name in over else ''}")
        if args.verbose or (args.check and name in over):
            for line in behind.get(name, []):
                print(f"         {line}")
    sys.exit(1 if args.check and over else 0)


if __name__ == "__main__":
    main()
