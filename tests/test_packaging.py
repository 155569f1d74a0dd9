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
from pages import DOCS, README, ROOT
from started import free_port, started

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
    "idgen/dataset/run": "ray",
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
    needed = {name_of(text): text for text in project["dependencies"] + project["optional-dependencies"]["app"]}
    pins = dict(text.split(";")[0].strip().split("==") for text in lines("constraints.txt") if "<" not in text)
    wanted = {
        needed["torch"]
        if name == "torch"
        else f"{text[: re.search('[<>=]', text).start()]}=={pins[name.replace('-', '_')]}"
        for name, text in needed.items()
    }
    assert set(lines("requirements.txt")) == wanted


def test_the_front_matter_is_what_the_hub_accepts() -> None:
    from huggingface_hub import SpaceCard, SpaceCardData

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
    declared = {
        extra: {name_of(text) for text in texts} for extra, texts in project["optional-dependencies"].items()
    } | {"": {name_of(text) for text in project["dependencies"]}}
    undeclared = []
    for path in [*ROOT.glob("idgen/**/*.py"), *ROOT.glob("space/**/*.py"), ROOT / "app.py"]:
        place = path.relative_to(ROOT).as_posix()
        allowed = declared[""].union(*(declared[extra] for room, extra in ROOMS.items() if place.startswith(room)))
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [item.name for item in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for module in modules:
                top = module.split(".")[0]
                if top in {*sys.stdlib_module_names, "idgen", "space"}:
                    continue
                if DISTRIBUTIONS.get(top, top).lower().replace("_", "-") not in allowed:
                    undeclared.append(f"{place}: {module}")
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


def seconds_and_output(code: str) -> tuple[float, str]:
    """Processor time, which other programs on the machine change little, and stdout."""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, done.stdout


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
    _, output = seconds_and_output(HELP.format(arguments=arguments, heavy=HEAVY))
    assert output.strip() == "[]"


def test_import_and_help_take_under_a_second() -> None:
    for code in ("import idgen", HELP.format(arguments=["--help"], heavy=[])):
        assert min(seconds_and_output(code)[0] for _ in range(3)) < 1.0


def test_version(project: dict[str, Any]) -> None:
    from typer.testing import CliRunner

    import idgen
    from idgen.cli import app

    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == idgen.__version__
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
    named = [
        name
        for name in files.stdout.splitlines()
        if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".json", ".html", ""}
        and (ROOT / name).is_file()
        and outside.search((ROOT / name).read_text(errors="replace"))
    ]
    assert not named
