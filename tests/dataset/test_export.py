"""Exports and the card of a finished dataset, opened by the programs they are for."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Image as Pictures
from datasets import load_dataset
from huggingface_hub import DatasetCard
from PIL import Image
from typer.testing import CliRunner

from idgen.cli import app
from idgen.dataset.card import report
from idgen.dataset.drawing import make_plan
from idgen.dataset.export import export, read_rows
from idgen.dataset.plan import CARD, DATA, REPORT, SHEET, Plan, data_name
from idgen.dataset.run import run
from idgen.evaluation.bins import read_bin
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities
from idgen.model import load_model
from idgen.sets import read_source


@pytest.fixture(scope="module")
def finished(loose: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "people"
    make_plan(Plan(people=5, images=4, **loose), folder)
    run(folder, 1)
    return folder


@pytest.fixture(scope="module")
def rows(finished: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((finished / DATA).glob("*.parquet")) for row in read_rows(path)]


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_datasets_opens_the_folder_with_pictures(finished: Path, rows: list[dict[str, Any]]) -> None:
    loaded = load_dataset(str(finished), split="train")
    assert isinstance(loaded.features["image"], Pictures) and len(loaded) == len(rows) == 20
    assert loaded[3]["image"].size == Image.open(io.BytesIO(rows[3]["image"]["bytes"])).size
    assert loaded[3]["soft_label"] == [{"identity": rows[3]["identity"], "weight": 1.0}]
    assert sorted(set(loaded["label"])) == list(range(5))
    source = read_source(finished)
    assert (
        len(source) == 20
        and set(source.wanted) == set(source.labels)
        and {who.space for who in source.wanted.values()} == {"tiny-encoder"}
    )


def test_parquet_that_is_not_whole_or_has_lists(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "part")
    broken = folder / DATA / data_name(3, 1)
    broken.write_bytes(broken.read_bytes()[:-50])
    with pytest.raises(InputError, match=f"{broken.name} cannot be read as Parquet"):
        read_source(folder)
    table = pq.read_table(finished / DATA / data_name(3, 0))
    ragged = table.append_column("boxes", pa.array([[1] * row for row in range(len(table))]))
    pq.write_table(ragged, tmp_path / "ragged.parquet")
    source = read_source(tmp_path / "ragged.parquet")
    assert "boxes" not in source.columns and "quality" in source.columns
    assert source.open is not None and source.open(3).size == source.open(0).size


def test_imagefolder(finished: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    export(finished, tmp_path / "out", "imagefolder")
    loaded = load_dataset("imagefolder", data_dir=str(tmp_path / "out"), split="train")
    assert sorted(zip(loaded["identity"], loaded["k"], strict=True)) == sorted((r["identity"], r["k"]) for r in rows)
    for row in rows:
        assert (tmp_path / "out" / f"{row['label']:06d}/{row['k']:03d}.png").read_bytes() == row["image"]["bytes"]
    assert len(read_source(tmp_path / "out")) == 20


def test_webdataset(finished: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for out in ("a", "b"):
        export(finished, tmp_path / out, "webdataset")
    tars = sorted((tmp_path / "a").glob("*.tar"))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    seen = []
    for path in tars:
        with tarfile.open(path) as tar:
            members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
        keys = {name.split(".")[0] for name in members}
        assert set(members) == {f"{key}.{ending}" for key in keys for ending in ("png", "json", "cls")}
        for key in sorted(keys):
            about = json.loads(members[f"{key}.json"])
            assert int(members[f"{key}.cls"]) == about["label"]
            seen.append((about["identity"], about["k"], members[f"{key}.png"]))
    assert sorted(seen) == sorted((row["identity"], row["k"], row["image"]["bytes"]) for row in rows)


def test_a_persons_name_is_no_path_that_another_program_interprets(
    loose: dict[str, Any], tmp_path: Path, tiny_model: Path
) -> None:
    names = ["test", "dev_patel", "anna", "a.b", "a-b", "名" * 35]
    people = load_model(tiny_model).sampler.sample(len(names), seed=1)
    Identities(people.vectors, people.space, people.sources, names).save(tmp_path / "named.safetensors")
    plan = Plan(people=len(names), images=2, method="file", file=tmp_path / "named.safetensors", **loose)
    folder = make_plan(plan, tmp_path / "people").folder
    run(folder, 1)
    export(folder, tmp_path / "folder", "imagefolder")
    loaded = load_dataset("imagefolder", data_dir=str(tmp_path / "folder"))
    assert set(loaded) == {"train"} and sorted(set(loaded["train"]["identity"])) == sorted(names)
    assert len(loaded["train"]) == 12
    export(folder, tmp_path / "tars", "webdataset")
    seen: dict[str, set[str]] = {}
    for path in (tmp_path / "tars").glob("*.tar"):
        with tarfile.open(path) as tar:
            for entry in tar:
                key, _, ending = entry.name.partition(".")
                seen.setdefault(key, set()).add(ending)
    assert len(seen) == 12 and all(endings == {"png", "json", "cls"} for endings in seen.values())


@pytest.mark.parametrize("layout", ["imagefolder", "webdataset"])
def test_exporting_again_adds_what_is_new_and_puts_right_what_was_changed(
    finished: Path, loose: dict[str, Any], tmp_path: Path, layout: Any
) -> None:
    export(finished, tmp_path / "whole", layout)
    whole = content(tmp_path / "whole")
    part = shutil.copytree(finished, tmp_path / "part")
    hidden = part / DATA / data_name(3, 1)
    hidden.rename(tmp_path / "hidden")
    export(part, tmp_path / "out", layout)
    (tmp_path / "hidden").rename(hidden)
    damaged = next(path for path in sorted((tmp_path / "out").rglob("*")) if path.suffix in (".png", ".tar"))
    damaged.write_bytes(b"0" * damaged.stat().st_size)
    export(part, tmp_path / "out", layout)
    assert content(tmp_path / "out") == whole
    other = make_plan(Plan(people=2, images=1, **loose), tmp_path / "b")
    run(other.folder, 1)
    with pytest.raises(InputError, match="another dataset or in another layout"):
        export(other.folder, tmp_path / "out", layout)


def content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pairs(finished: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no layout 'tar'.*imagefolder, webdataset, bin"):
        export(finished, tmp_path / "x", "tar")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no engine 'dask'.*local, slurm, ray"):
        run(finished, engine="dask")  # type: ignore[arg-type]
    export(finished, tmp_path / "pairs.bin", "bin", pairs=40, seed=3)
    export(finished, tmp_path / "again.bin", "bin", pairs=40, seed=3)
    assert (tmp_path / "pairs.bin").read_bytes() == (tmp_path / "again.bin").read_bytes()
    pairs = read_bin(tmp_path / "pairs.bin")
    who = {row["image"]["bytes"]: row["identity"] for row in rows}
    assert len(pairs) == 40 and all(sum(pairs.same[4 * fold : 4 * fold + 4]) == 2 for fold in range(10))
    for pair, same in enumerate(pairs.same):
        first, second = pairs.pictures[2 * pair : 2 * pair + 2]
        assert first != second and (who[first] == who[second]) == same
    with pytest.raises(InputError, match="a multiple of 20"):
        export(finished, tmp_path / "x.bin", "bin", pairs=30)


def test_what_is_not_made_yet_is_left_out_and_said(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "part")
    (folder / DATA / data_name(3, 1)).unlink()
    assert "1 of 3 shards are not made yet" in dataset("export", folder, tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.png"))) == 12
    shutil.rmtree(folder / DATA)
    for command in (["export", folder, tmp_path / "x"], ["report", folder]):
        assert "Nothing in" in dataset(*command, fails=True) and not (tmp_path / "x").exists()


def test_report_and_card(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "people")
    result = report(folder)
    assert result is not None and result.pictures == 20 and (folder / REPORT / "report.html").is_file()
    card = DatasetCard.load(folder / CARD)
    assert card.data.license == "apache-2.0" and card.data.configs[0]["data_files"][0]["path"] == "data/train-*.parquet"
    assert all(text in card.text for _, text in result.summary) and "people: 5" in card.text
    assert (folder / SHEET).is_file()
    assert "The judge also chose" not in card.text  # this plan has no filter of the judge's
    assert len(load_dataset(str(folder), split="train")) == 20  # by the card's own configuration

    part = report(folder, most=10)
    assert part is not None and part.pictures < 20
    assert f"Of {part.pictures} of the pictures" in (folder / CARD).read_text()


def dataset(*arguments: Any, fails: bool = False) -> str:
    """What the command says."""
    said = CliRunner().invoke(app, ["dataset", *map(str, arguments)])
    assert said.exit_code == 2 * fails, said.output
    return said.output


def test_the_commands_from_plan_to_status(tiny_model: Path, tmp_path: Path) -> None:
    d, e, plan = tmp_path / "d", tmp_path / "e", tmp_path / "plan.yaml"
    plan.write_text(f"people: 3\nimages: 2\nmodel: {tiny_model}\nsteps: 2\nmatch: none\nother: no\n")
    said = dataset("plan", plan, "--no-face", "--shard", 1, "--duplicate", "none", "--out", d)
    assert "3 people × 2 = 6 pictures in 3 shards of 1 people" in said
    assert "0 of 6 pictures" in dataset("status", d)
    assert "6 of 6 pictures; 3 of 3 shards are finished." in dataset("run", d, "--workers", 1)
    dataset("run", d / "plan.yaml", "--out", e, "--workers", 1)
    for number in range(3):
        name = f"{DATA}/{data_name(3, number)}"
        assert (d / name).read_bytes() == (e / name).read_bytes()
    told = json.loads(dataset("status", d, "--check", "--json"))
    assert told["pictures"] == 6 and told["missing"] == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("plan --people 3", "add --out DIR"),
        ("plan --out d", "needs --people"),
        ("plan absent.yaml --out d", "Cannot read absent.yaml"),
        ("plan --persons 3 --out d", "unrecognized arguments: --persons"),
        ("run absent", "holds no finished plan"),
        ("run absent --engine dask", "'dask' is not one of"),
        ("run absent --slurm x", "--slurm is YAML"),
        ("status absent", "holds no finished plan"),
        ("report absent --most 0", "of at least 1, got 0"),
        ("export absent out --format zip", "'zip' is not one of"),
    ],
)
def test_mistakes_are_said_in_a_sentence(
    arguments: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = dataset(*arguments.split(), fails=True)
    assert why in said and len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_crops_for_recognisers(finished: Path, tmp_path: Path) -> None:
    """The model's pictures are crops already, so they are resized, and say that they are generated."""
    now, without = export(finished, tmp_path / "out", "imagefolder", aligned=112)
    made = read_source(tmp_path / "out", labelled=False)
    assert made.open is not None and made.raw is not None
    assert len(made) == now.pictures == 20 and without == 0 and made.open(7).size == (112, 112)
    assert made.domain == "generated by tiny"
    export(finished, tmp_path / "pairs.bin", "bin", pairs=20, aligned=112)
    assert read_bin(tmp_path / "pairs.bin").picture(3).size == (112, 112)
    with pytest.raises(InputError, match="another layout"):
        export(finished, tmp_path / "out", "imagefolder")
    result = CliRunner().invoke(app, ["dataset", "export", str(finished), str(tmp_path / "t"), "--aligned", "15"])
    assert result.exit_code == 2 and "size of the crops" in result.output
