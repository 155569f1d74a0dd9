"""What one picture costs, and the variants of a recogniser beside it."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import patterns
from tiny_insight import build_recognizer
from typer.testing import CliRunner

from idgen.cli import app
from idgen.evaluation.evaluate import evaluate
from idgen.ground.errors import InputError
from idgen.ground.vectors import save_vectors
from idgen.sets import read_source

for package in ("torchmetrics", "onnx", "onnxscript", "onnxruntime", "insightface"):
    pytest.importorskip(package)


def test_every_variant_is_the_same_recogniser_and_smaller(tiny_model: Path, tmp_path: Path) -> None:
    images, labels = patterns(3, 2, size=112, seed=5)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (tmp_path / "faces" / f"p{label}").mkdir(parents=True, exist_ok=True)
        pixels = (image.permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / "faces" / f"p{label}" / f"{row}.png")
    threads, name, out = torch.get_num_threads(), str(tiny_model / "encoder"), tmp_path / "out"
    build_recognizer(tmp_path / "another.onnx", dim=48)  # which comes as ONNX
    another = str(tmp_path / "another.onnx")
    asked = ["evaluate", str(tmp_path / "faces"), "--by", name, "--by", another, "--fruits", "--out", str(out)]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0 and said.output.count(" ms a picture") == 8, said.output
    assert torch.get_num_threads() == threads
    content = json.loads((out / "evaluation.json").read_text())
    costs, kinds = content["one_thread"]["costs"], ("", ", ONNX", ", half", ", 8 bits")
    assert [cost["by"] for cost in costs] == [f"{who}{kind}" for who in (name, another) for kind in kinds]
    others = [other["by"] for other in content["verification_by_others"]]
    assert [content["verification"]["by"], *others] == [cost["by"] for cost in costs]
    sizes = [cost["weights"] for cost in costs[1:4]]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    for number, cost in enumerate(costs):
        assert (cost["dim"], cost["vector"]) == ((64, 256) if number < 4 else (48, 192))
        first = costs[0 if number < 4 else 4]["detection"]
        assert 0 < cost["embedding"] <= cost["total"] <= cost["slow"] and cost["detection"] == first
    assert "What one picture costs" in (out / "report.html").read_text()

    for who in ("encoder", "another.onnx"):
        files = [next(out.glob(f"vectors-*{who}{kind}.safetensors")) for kind in kinds]
        plain, whole, half, small = (read_source(file).vectors for file in files)
        for vectors, least in ((whole, 1 - 1e-5), (half, 0.999), (small, 0.9)):
            assert (plain * vectors).sum(1).min() > least
        assert not torch.equal(half, whole) and not torch.equal(small, whole)


def test_vectors_cost_nothing(tiny_model: Path, tmp_path: Path) -> None:
    unit = torch.nn.functional.normalize(torch.randn(4, 64), dim=1)
    file = save_vectors(tmp_path / "some.safetensors", unit, torch.tensor([0, 0, 1, 1]).numpy(), "tiny-encoder")
    with pytest.raises(InputError, match="--fruits times what makes them"):
        evaluate(file, tmp_path / "out", by=[str(tiny_model / "encoder")], fruits=True)
