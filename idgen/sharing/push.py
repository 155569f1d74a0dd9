"""Put a model, a pipeline or a face encoder on the Hugging Face Hub, so that others load it in one line."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from idgen import models
from idgen.evaluation.evaluate import evaluate
from idgen.faces.encoder import FaceEncoder
from idgen.ground import provenance
from idgen.ground.errors import InputError
from idgen.ground.files import read_json, walk
from idgen.ground.identity import Identities
from idgen.model import PARTS, Model, load_model
from idgen.painting import generate, sheet
from idgen.pipelines import pipeline_class, schedulers
from idgen.pipelines.base import IdentityPipeline
from idgen.sharing import card as cards
from idgen.sharing.remote_code import NETWORKS_FILE, PIPELINE_FILE, NeedsIdgen, networks_code, pipeline_code
from idgen.sharing.repository import Files, Repository

INDEX, PEOPLE = "model_index.json", "people.safetensors"
SHOWN, MEASURED, IMAGES = 4, 12, 6
"""People on a card's sheet; people whose pictures are measured for it; pictures of each."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_BY = "By `idgen evaluate`, with this model's own judge."
_FEW = (
    f"{_BY} On {MEASURED} people × {IMAGES} pictures, made for this page: few. For more, evaluate a larger set and "
    "push again with --evaluation."
)
_UNMEASURED = "Its card has no figures: measure it by `idgen evaluate` and push again with --evaluation."


@dataclass(frozen=True)
class Pushed:
    """What was uploaded.

    Args:
        repo: "user/name".
        commit: the 40 characters that name exactly this state of it.
        url: of the commit.
        files: what was uploaded.
        left_out: files of the folder that were not.
        notes: what whoever pushed should know.
        alone: whether people without idgen can load it too.
        kind: class that loads it.
    """

    repo: str
    commit: str
    url: str
    files: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    alone: bool = False
    kind: str = "IDiffFacePipeline"

    @property
    def name(self) -> str:
        """What `load_model` and `--model` take: this commit and no other."""
        return f"{self.repo}@{self.commit}"

    def lines(self) -> list[str]:
        """How others load it, a line of Python each."""
        pinned = f'"{self.repo}", revision="{self.commit}"'
        if self.kind == "dataset":
            return [f"datasets.load_dataset({pinned})"]
        if self.kind == "FaceEncoder":
            return [f"FaceEncoder.from_pretrained({pinned})"]
        alone = f'DiffusionPipeline.from_pretrained({pinned}, custom_pipeline="pipeline", trust_remote_code=True)'
        return [f'load_model("{self.name}")', f"{self.kind}.from_pretrained({pinned})", *[alone] * self.alone]


def push(
    what: str | Path | Model | IdentityPipeline | FaceEncoder,
    repo: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    message: str | None = None,
    licence: str | None = None,
    data: str | None = None,
    evaluation: str | Path | None = None,
    measure: bool = True,
    token: str | bool | None = None,
    device: str | None = None,
) -> Pushed:
    """Upload a model's whole folder: pipeline, encoder, judge and sampler; weights as safetensors only. Or a pipeline
    alone, or a face encoder for `FaceEncoder.from_pretrained`.

    A README.md in the folder is its card, and gets what its front matter lacks. Where there is none, one is made, with
    a sheet of pictures by the model and figures of an evaluation. Code for people without idgen is added, see
    `idgen.sharing.remote_code`.

    Args:
        what: a model, by name, folder, hub id or loaded; a pipeline; or a face encoder.
        repo: "user/name"; made if it does not exist.
        private: make it private; by default as the Hub does. Only when it is made.
        revision: branch to commit to; made if it does not exist.
        message: of the commit.
        licence: the Hub's name of one, such as "apache-2.0"; not needed where the card says it.
        data: what it was trained on, a sentence for a card that is made.
        evaluation: of a model, the result of `idgen evaluate`, its folder or its JSON, whose figures go into the card;
            and what an `idgen audit` in the same folder says of template inversion.
        measure: for a model's card that is made, without `evaluation`: make and evaluate 12 people × 6 pictures.
        token: of the Hub; by default that of `hf auth login` or HF_TOKEN.
        device: for a model's networks.

    Raises:
        InputError: there is no such model, it does not load, its weights are no safetensors, nobody says the licence,
            the name cannot be a repository's, nobody is logged in, or the Hub refuses or cannot be reached; or it is an
            encoder of insightface, whose models are not ours to hand on.
    """
    target = Repository(repo, revision, token)
    known = None if evaluation is None else cards.read_evaluation(evaluation)
    with tempfile.TemporaryDirectory(prefix="idgen-push-") as folder:
        aside = Path(folder)
        if isinstance(what, FaceEncoder):
            files = _encoder_files(what, repo, licence, data, aside)
            target.make(private)
            done = target.commit(files, message or "Upload a face encoder by idgen")
            return Pushed(repo, done.oid, done.commit_url, tuple(sorted(files)), kind="FaceEncoder")
        if isinstance(what, IdentityPipeline):
            what.save_pretrained(aside / "pipeline")
            what = aside / "pipeline"
        model = load_model(what, device) if isinstance(what, (str, Path)) else what
        files, left_out, index = _model_files(model)
        for part in ("pipeline", *(part for part in PARTS if model.has(part))):
            getattr(model, part)  # what does not load here loads nowhere
        kind, notes, code = str(index["_class_name"]), [], {}
        try:
            code = _code(type(model.pipeline), index)
        except NeedsIdgen as error:
            notes.append(f"Only people with idgen can load it: {error}")
        people = model.sampler.sample(MEASURED, seed=0) if model.has("sampler") else None
        if people is not None:
            files[PEOPLE] = people.save(aside / PEOPLE)
        if cards.CARD in files:
            text = (model.folder / cards.CARD).read_text(encoding="utf-8")
            rows = [] if known is None else cards.figures(known)
            files[cards.CARD] = cards.completed(text, licence, name=repo.split("/")[1], rows=rows).encode()
            target.make(private)
        else:
            page = partial(cards.model_card, model, repo, licence=licence, data=data, alone=bool(code))
            page = partial(page, inversion=cards.risk(evaluation))
            page()  # refuses what would be refused after the pictures
            target.make(private)
            made, said = _new_card(model, repo, page, people, known, measure, aside)
            files |= made
            notes += said
        done = target.commit(files | code, message or f"Upload {kind} by idgen")
    uploaded = tuple(sorted(files | code))
    return Pushed(repo, done.oid, done.commit_url, uploaded, tuple(left_out), tuple(notes), bool(code), kind)


def _encoder_files(encoder: FaceEncoder, repo: str, licence: str | None, data: str | None, folder: Path) -> Files:
    if encoder.notice:
        raise InputError(f"This encoder is not uploaded on its own: {encoder.notice}")
    card = cards.encoder_card(encoder, repo, licence, data)
    encoder.save_pretrained(folder)
    files: Files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return files | {cards.CARD: card.encode()}


def _model_files(model: Model) -> tuple[Files, list[str], dict[str, Any]]:
    """What travels of a model's folder, what does not, and model_index.json."""
    folder = model.folder
    if not (folder / INDEX).is_file():
        raise InputError(f"{model.name} is no model that can be uploaded: there is no {INDEX} in {folder}.")
    extra = pipeline_class(folder).extra_files
    index = read_json(folder / INDEX)
    parts = [*(name for name, value in index.items() if isinstance(value, list) and value[0] is not None), *PARTS]
    card = (folder / cards.CARD).read_text(encoding="utf-8") if (folder / cards.CARD).is_file() else ""
    shown = {name.removeprefix("./") for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", card)}
    files: Files = {}
    left_out: list[str] = []
    for path in sorted(walk(folder)):
        name = path.relative_to(folder).as_posix()
        top = name.split("/")[0]
        weights = path.suffix in (".json", ".safetensors") or (top in ("encoder", "judge") and path.suffix == ".onnx")
        document = name in (INDEX, cards.CARD) or name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))
        if (top in parts and "/" in name and weights) or document or name in extra or name in shown:
            files[name] = path
        else:
            left_out.append(name)
    for part in parts:
        pickles = [name for name in left_out if name.startswith(f"{part}/") and name.endswith(_PICKLES)]
        if pickles and not any(name.startswith(f"{part}/") and name.endswith(".safetensors") for name in files):
            raise InputError(f"{pickles[0]} could execute code where it is loaded: save it as safetensors first.")
    return files, left_out, index


def _code(pipeline: type, index: dict[str, Any]) -> Files:
    """The pipeline's and the networks' code, for people without idgen."""
    ours = {name: value[1] for name, value in index.items() if isinstance(value, list) and value[0] == "idgen"}
    classes = [getattr(models if name in models.__all__ else schedulers, name) for name in sorted(set(ours.values()))]
    # One file for all: diffusers puts them into one place before it runs them.
    code = networks_code(classes).encode()
    return {PIPELINE_FILE: pipeline_code(pipeline).encode(), **{f"{part}/{NETWORKS_FILE}": code for part in ours}}


def _new_card(
    model: Model,
    repo: str,
    page: Callable[..., str],
    people: Identities | None,
    known: dict[str, Any] | None,
    measure: bool,
    aside: Path,
) -> tuple[Files, list[str]]:
    """The card, with its sheet where there are people to picture; and what whoever pushes should know of it."""
    files: Files = {}
    measured = "" if known is None else _BY
    if people is not None:
        measure = measure and known is None and model.has("encoder") and model.has("judge")
        measure = measure and importlib.util.find_spec("torchmetrics") is not None  # of the extra for evaluating
        pictures = generate(people if measure else people[:SHOWN], aside / "pictures", IMAGES, seed=0, model=model)
        some = sheet(pictures, people.names[:SHOWN], repo)
        files[cards.SHEET] = provenance.save_image(some, aside / cards.SHEET, {"model": repo, "seed": 0})
        if measure:
            known, measured = evaluate(pictures, aside / "report", model=model, progress=False).to_dict(), _FEW
    rows = [] if known is None else cards.figures(known)
    files[cards.CARD] = page(rows=rows, measured=measured, sheet=cards.SHEET in files).encode()
    return files, [_UNMEASURED] if people is not None and known is None else []
