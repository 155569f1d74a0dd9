"""Code put together from idgen's modules; that it makes the same pictures is in test_push."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path

import pytest

from idgen import Arc2FacePipeline, IDiffFacePipeline, IDiffFaceScheduler, UIFacePipeline, UIFaceScheduler
from idgen import models as networks
from idgen.sharing.remote_code import NeedsIdgen, networks_code, pipeline_code


def undefined(code: str) -> set[str]:
    """Names that the code uses and nothing in it defines."""
    tree = ast.parse(code)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    made = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            made |= {(item.asname or item.name).split(".")[0] for item in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    return used - made - set(dir(builtins)) - {"__file__"}


def imported(code: str) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    return {module.split(".")[0] for module in modules}


def test_the_pipeline_s_file_needs_nothing_of_idgen() -> None:
    code = pipeline_code(IDiffFacePipeline)
    assert not undefined(code)
    assert imported(code) - set(sys.stdlib_module_names) == {"PIL", "diffusers", "numpy", "safetensors", "torch"}
    defined = {node.name for node in ast.parse(code).body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert {"IDiffFacePipeline", "IdentityPipeline", "Identities", "by_image", "whole"} <= defined
    assert "def from_pretrained" not in code and "register(" not in code
    assert "os.register_at_fork(after_in_child=_pool.cache_clear)" in code


def test_every_network_and_scheduler_stands_alone(tmp_path: Path) -> None:
    """Also with the oldest pipeline's code: executed in a process, by itself."""
    kinds = [getattr(networks, name) for name in networks.__all__ if isinstance(getattr(networks, name), type)]
    kinds += [IDiffFaceScheduler, UIFaceScheduler]
    code = networks_code([kind for kind in kinds if kind.__module__.startswith("idgen.")])
    assert not undefined(code) and "idgen" not in imported(code)
    (tmp_path / "alone.py").write_text(code)
    check = "import sys, alone; assert alone.IdentityDiT(depth=1).config.depth == 1; assert 'idgen' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_file_for_several_networks_has_each_once() -> None:
    code = networks_code([networks.FaceAutoencoder, networks.ResNetRecognizer])
    assert code.count("class ResidualBlock(") == 1 and code.index("class ResidualBlock(") < code.index("class FaceAuto")


@pytest.mark.parametrize("pipeline", [UIFacePipeline, Arc2FacePipeline])
def test_what_cannot_stand_alone_says_so(pipeline: type) -> None:
    with pytest.raises(NeedsIdgen):
        pipeline_code(pipeline)
    assert pipeline_code(IDiffFacePipeline) == pipeline_code(IDiffFacePipeline)  # whatever was asked before
