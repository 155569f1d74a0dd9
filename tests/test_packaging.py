"""What is declared is what is used, and asking for help is quick."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import SpaceCard, SpaceCardData
from pages import DOCS, README, ROOT
from started import free_port, started
from typer.testing import CliRunner

import idgen
from idgen.cli import app

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no TOML reader of its own")

# Import names that are not the distribution's.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "faiss": "faiss-cpu",
    "c2pa": "c2pa-python",
    "fastapi": "gradio",  # which is built on them and brings them
    "starlette": "gradio",
    "loguru": "datatrove",  # which is built on them and brings them
    "gradio_client": "gradio",
    "jinja2": "gradio",
    "markupsafe": "gradio",
    "pyarrow": "datasets",
}
ROOMS = {  # what a folder may need beyond the base
    "idgen/training": "train",
    "idgen/pipelines/arc2face": "arc2face",
    "idgen/faces/insight": "insightface",
    "idgen/evaluation": "eval",
    "idgen/sets": "eval",
    "idgen/dataset": "dataset",
    "idgen/dataset/engine": "ray",
    "idgen/sampling": "faiss",
    "idgen/sharing/onnx": "onnx",
    "idgen/ground/signing": "c2pa",
    "space": "app",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert match, requirement
    return match.group().lower().replace("_", "-")


def lines(file: str) -> list[str]:
    texts = (line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [text for text in texts if text]


def test_the_space_needs_what_the_project_needs_in_the_versions_it_is_tested_with(project: dict[str, Any]) -> None:
    pins = dict(text.split(";")[0].strip().split("==") for text in lines("constraints.txt") if "<" not in text)
    wanted, extras = set(), project["optional-dependencies"]
    for text in project["dependencies"] + [*extras["app"], *extras["photos"]]:
        name = name_of(text)
        wanted.add(
            text
            if name == "torch"
            else f"{re.split('[<>=]', text)[0]}=={pins.get(name.replace('-', '_')) or pins[name]}"
        )
    assert set(lines("requirements.txt")) == wanted


def test_the_front_matter_is_what_the_hub_accepts() -> None:
    data = SpaceCard.load(ROOT / "README.md").data
    assert isinstance(data, SpaceCardData)
    assert (data.sdk, data.app_file, data.python_version) == ("gradio", "app.py", "3.11")
    assert f"gradio[mcp]=={data.sdk_version}" in lines("requirements.txt")
    said = data.to_dict()
    documented = {"colorFrom", "colorTo", "emoji", "pinned", "short_description", "suggested_hardware"}
    assert set(said) <= set(inspect.signature(SpaceCardData).parameters) | documented
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {said["colorFrom"], said["colorTo"]} <= colours and len(said["short_description"]) <= 60
    assert all(re.fullmatch(r"[a-z0-9.+-]+", name) for name in lines("packages.txt"))


def test_constraints_pin_one_version_of_things_that_are_needed(project: dict[str, Any]) -> None:
    known = {name_of(text) for texts in project["optional-dependencies"].values() for text in texts}
    known |= {name_of(text) for text in project["dependencies"]}
    pinned = lines("constraints.txt")
    assert "torch==2.13.0" in pinned
    assert all(re.match(r"[\w.-]+==[\w.]+(; python_version (<|>=) \"3.11\")?$", text) for text in pinned), pinned
    assert {name_of(text) for text in pinned} <= known


def test_every_extra_that_a_page_names_exists(project: dict[str, Any]) -> None:
    named = {
        extra
        for path in (README, *DOCS)
        for extras in re.findall(r"pip install [^\n`]*\[([\w,]+)\]", path.read_text("utf-8"))
        for extra in extras.split(",")
    }
    assert {"app", "train", "arc2face"} <= named <= set(project["optional-dependencies"])
    assert not [path for path in (README, *DOCS) if re.search(r"pip install '?idgen", path.read_text("utf-8"))]


def test_every_import_is_declared(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    declared = {extra: {name_of(text) for text in texts} for extra, texts in extras.items()}
    base, undeclared = {name_of(text) for text in project["dependencies"]}, []
    for path in [*ROOT.glob("idgen/**/*.py"), *ROOT.glob("space/**/*.py"), ROOT / "app.py"]:
        place = path.relative_to(ROOT).as_posix()
        allowed = base.union(*(declared[extra] for room, extra in ROOMS.items() if place.startswith(room)))
        nodes = list(ast.walk(ast.parse(path.read_text())))
        modules = {item.name for node in nodes if isinstance(node, ast.Import) for item in node.names}
        modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        for top in {module.split(".")[0] for module in modules} - {*sys.stdlib_module_names, "idgen", "space"}:
            if DISTRIBUTIONS.get(top, top).lower().replace("_", "-") not in allowed:
                undeclared.append(f"{place}: {top}")
    assert not undeclared


DEMO = """
import sys
from pathlib import Path
sys.path = [folder for folder in sys.path if not Path(folder, "idgen").exists() or Path(folder).name == "site"]
from idgen.cli import app
app()
"""


def test_a_wheel_brings_the_app_and_no_other_module(tmp_path: Path) -> None:
    """Installed elsewhere, `idgen demo` starts in a folder that is not the checkout."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("idgen_faces-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--no-compile", "--target", str(site), str(wheel)], check=True)
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"bin", "idgen"}
    assert (site / "idgen" / "space" / "style.css").exists()
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    port = free_port()
    command = [sys.executable, "-c", DEMO, "demo", "--port", str(port)]
    with started(command, port, tmp_path / "elsewhere", environment) as page:
        assert page.status_code == 200 and "One person, many pictures" in page.text


def output(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout


def seconds(code: str) -> float:
    """Processor time, which other programs on the machine change little."""
    before, _, after = os.times(), output(code), os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


HELP = """
import sys
from typer.testing import CliRunner
from idgen.cli import app
result = CliRunner().invoke(app, {arguments})
assert result.exit_code == 0 and result.stdout, result.output
print([name for name in {heavy} if name in sys.modules])
"""
HEAVY = ["torch", "diffusers", "numpy", "gradio", "transformers", "PIL"]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["generate", "--help"], ["train", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert output(HELP.format(arguments=arguments, heavy=HEAVY)).strip() == "[]"


def test_import_and_help_take_under_a_second() -> None:
    for code in ("import idgen", HELP.format(arguments=["--help"], heavy=[])):
        assert min(seconds(code) for _ in range(3)) < 1.0


def test_version(project: dict[str, Any]) -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == idgen.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", idgen.__version__)
    assert f"\nversion: {idgen.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {idgen.__version__}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"idgen_faces-{idgen.__version__}-" in README.read_text("utf-8")


def test_nothing_in_the_repository_names_a_place_outside_it() -> None:
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if files.returncode:
        pytest.skip("not a git checkout")
    outside = re.compile(r"\.\./" + r"shared|/" + r"work/")
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".json", ".html", ""}
    texts = [path for name in files.stdout.splitlines() if (path := ROOT / name).suffix in kinds and path.is_file()]
    assert texts and not [path for path in texts if outside.search(path.read_text(errors="replace"))]
