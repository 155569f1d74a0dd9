"""Put a model, a pipeline or a face encoder on the Hugging Face Hub, so that others load it in one line."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from idgen import hub, provenance
from idgen.contact_sheet import Cell, contact_sheet
from idgen.errors import InputError
from idgen.faces.encoder import FaceEncoder
from idgen.hub import hub_errors
from idgen.model import PARTS, Model, load_model
from idgen.painting import generate
from idgen.pipelines.base import IdentityPipeline
from idgen.sets import read_manifest
from idgen.sharing import card as cards
from idgen.sharing.remote_code import NETWORKS_FILE, PIPELINE_FILE, NeedsIdgen, networks_code, pipeline_code

INDEX, PEOPLE = "model_index.json", "people.safetensors"
SHOWN, MEASURED, IMAGES = 4, 12, 6
"""People on a card's sheet; people whose pictures are measured for it; pictures of each."""

Files = dict[str, Path | bytes]
"""Name in the repository → where it is, or what it holds."""


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
        if self.kind == "FaceEncoder":
            return [f"FaceEncoder.from_pretrained({pinned})"]
        lines = [f'load_model("{self.name}")', f"{self.kind}.from_pretrained({pinned})"]
        if self.alone:
            lines.append(
                f'DiffusionPipeline.from_pretrained({pinned}, custom_pipeline="pipeline", trust_remote_code=True)'
            )
        return lines


def push(what: str | Path | Model | IdentityPipeline | FaceEncoder, repo: str, **options: Any) -> Pushed:
    """Upload a model, a pipeline alone, or a face encoder.

    Args:
        what: a model, by name, folder, hub id or loaded; a pipeline; or a face encoder.
        repo: "user/name"; made if it does not exist.
        options: of `push_model`, or of `push_encoder`.

    Raises:
        InputError: as those.
    """
    if isinstance(what, FaceEncoder):
        return push_encoder(what, repo, **options)
    if isinstance(what, IdentityPipeline):
        with tempfile.TemporaryDirectory(prefix="idgen-push-") as folder:
            what.save_pretrained(folder)
            return push_model(folder, repo, **options)
    return push_model(what, repo, **options)


def push_model(
    model: str | Path | Model,
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
    """Upload a model's whole folder: pipeline, encoder, judge and sampler; weights as safetensors only.

    A README.md in the folder is its card, and gets what its front matter lacks. Where there is none, one is made, with
    a sheet of pictures by the model and figures of an evaluation. Code for people without idgen is added, see
    `idgen.sharing.remote_code`.

    Args:
        model: name, folder or hub id of a model, or a loaded one.
        repo: "user/name"; made if it does not exist.
        private: make it private; by default as the Hub does. Only when it is made.
        revision: branch to commit to; made if it does not exist.
        message: of the commit.
        licence: the Hub's name of one, such as "apache-2.0"; not needed where the card says it.
        data: what the model was trained on, a sentence for a card that is made.
        evaluation: result of `idgen evaluate`, its folder or its JSON, whose figures go into the card.
        measure: for a card that is made, without `evaluation`: make and evaluate 12 people × 6 pictures.
        token: of the Hub; by default that of `hf auth login` or HF_TOKEN.
        device: for the networks.

    Raises:
        InputError: there is no such model, it does not load, its weights are no safetensors, nobody says the licence,
            the name cannot be a repository's, nobody is logged in, or the Hub refuses or cannot be reached.
    """
    check_repo(repo)
    known = None if evaluation is None else cards.read_evaluation(evaluation)
    if isinstance(model, (str, Path)):
        model = load_model(model, device)
    files, left_out, index = _model_files(model)
    parts = [part for part in PARTS if model.has(part)]
    for part in ("pipeline", *parts):
        getattr(model, part)  # what does not load here loads nowhere
    notes: list[str] = []
    kind, alone = str(index["_class_name"]), False
    try:
        files |= _code(index)
        alone = True
    except NeedsIdgen as error:
        notes.append(f"Only people with idgen can load it: {error}")
    with tempfile.TemporaryDirectory(prefix="idgen-push-") as folder:
        aside = Path(folder)
        people = model.sampler.sample(MEASURED, seed=0) if "sampler" in parts else None
        if people is not None:
            files[PEOPLE] = people.save(aside / PEOPLE)
        if cards.CARD in files:
            text = (model.folder / cards.CARD).read_text(encoding="utf-8")
            rows = [] if known is None else cards.figures(known)
            files[cards.CARD] = cards.completed(text, licence, name=repo.split("/")[1], rows=rows).encode()
            _make_repository(repo, private, revision, token)
        else:
            calibration = model.encoder.calibration if "encoder" in parts else None
            about = cards.About(
                repo,
                licence,
                space=str(index["space"]),
                data=data,
                calibrated_on=None if calibration is None else calibration["data"],
                pipeline=kind,
                parts=parts,
                alone=alone,
                notice=model.encoder.notice if "encoder" in parts else "",
            )
            cards.model_card(about, [], "", False)  # refuses what would be refused after the pictures
            _make_repository(repo, private, revision, token)
            measured = "" if known is None else _BY
            if people is not None:
                measure = measure and known is None and {"encoder", "judge"} <= set(parts)
                pictures = generate(people if measure else people[:SHOWN], aside / "pictures", IMAGES, model=model)
                files[cards.SHEET] = _sheet(pictures, people.names[:SHOWN], aside / cards.SHEET, repo)
                if measure:
                    known, measured = _evaluate(pictures, aside / "report", model)
            rows = [] if known is None else cards.figures(known)
            files[cards.CARD] = cards.model_card(about, rows, measured, cards.SHEET in files).encode()
            if people is not None and known is None:
                notes.append(
                    "Its card has no figures: measure it by `idgen evaluate` and push again with --evaluation."
                )
        done = _commit(repo, files, message or f"Upload {kind} by idgen", revision, token)
    return replace(done, left_out=tuple(left_out), notes=tuple(notes), alone=alone, kind=kind)


def push_encoder(
    encoder: FaceEncoder,
    repo: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    message: str | None = None,
    licence: str | None = None,
    data: str | None = None,
    token: str | bool | None = None,
) -> Pushed:
    """Upload a face encoder for `FaceEncoder.from_pretrained`; arguments as `push`.

    Raises:
        InputError: as `push`; or it is of insightface, whose models are not ours to hand on.
    """
    check_repo(repo)
    if encoder.notice:
        raise InputError(f"This encoder is not uploaded on its own: {encoder.notice}")
    calibration = encoder.calibration
    on = None if calibration is None else calibration["data"]
    about = cards.About(repo, licence, encoder.space, data, on)
    text = cards.encoder_card(about, cards.figures_of_encoder(calibration))
    with tempfile.TemporaryDirectory(prefix="idgen-push-") as aside:
        folder = encoder.save_pretrained(aside)
        files: Files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        files[cards.CARD] = text.encode()
        _make_repository(repo, private, revision, token)
        done = _commit(repo, files, message or "Upload a face encoder by idgen", revision, token)
    return replace(done, kind="FaceEncoder")


def check_repo(repo: str) -> None:
    """Raise InputError unless it can be a repository's name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise HFValidationError("it is not user/name")
    except HFValidationError as error:
        raise InputError(
            f"{repo!r} cannot be a repository on the Hub: give user/name, of letters, digits, - _ ."
        ) from error


def _make_repository(repo: str, private: bool | None, revision: str, token: str | bool | None) -> None:
    """Make sure that there is something to write to, before anything that takes long."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token)
    with _sentences(repo, api.endpoint):
        with suppress(RepositoryNotFoundError):
            api.model_info(repo, timeout=hub.PATIENCE)  # a silent Hub would let all else wait for minutes
        api.create_repo(repo, private=private, exist_ok=True)
        if revision != "main":
            api.create_branch(repo, branch=revision, exist_ok=True)


def _commit(
    repo: str, files: Mapping[str, Path | bytes], message: str, revision: str, token: str | bool | None
) -> Pushed:
    """Make a branch hold these files, in one commit.

    Weights, configurations and code that an earlier push left in folders, and that are not among the files, are
    removed: a model without a judge must not be loaded with an older one's.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    with _sentences(repo, api.endpoint):
        operations: list[Any] = [
            CommitOperationDelete(name)
            for name in api.list_repo_files(repo, revision=revision)
            if name not in files and (name in (PIPELINE_FILE, PEOPLE) or ("/" in name and name.endswith(_OURS)))
        ]
        operations += [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
        done = api.create_commit(repo, operations, commit_message=message, revision=revision)
    return Pushed(repo, done.oid, done.commit_url, tuple(sorted(files)))


_OURS = (".safetensors", ".json", ".py", ".onnx")
_LOG_IN = "The Hub does not know who you are: run `hf auth login`, or set HF_TOKEN to a token that may write."


@contextmanager
def _sentences(repo: str, endpoint: str) -> Iterator[None]:
    """What goes wrong with the Hub, as an `InputError`."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise InputError(_LOG_IN) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 401:
            raise InputError(_LOG_IN) from error
        if status == 403:
            what = "make one with the right to write, or ask its owner"
            raise InputError(f"Your token may not write to {repo}: {what}.") from error
        raise InputError(f"The Hub refused the upload to {repo}: {' '.join(str(error).split())}") from error
    except hub_errors() as error:
        raise InputError(
            f"Nothing was uploaded: the Hub at {endpoint} cannot be reached ({type(error).__name__}); try again."
        ) from error
    except ValueError as error:  # the Hub's check of the card's front matter
        raise InputError(f"The Hub refused the card: {' '.join(str(error).split())}") from error


def _model_files(model: Model) -> tuple[Files, list[str], dict[str, Any]]:
    """What travels of a model's folder, what does not, and model_index.json."""
    from idgen.pipelines import pipeline_class

    folder = model.folder
    if not (folder / INDEX).is_file():
        raise InputError(f"{model.name} is no model that can be uploaded: there is no {INDEX} in {folder}.")
    extra = pipeline_class(folder).extra_files
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    parts = [*(name for name, value in index.items() if isinstance(value, list) and value[0] is not None), *PARTS]
    card = (folder / cards.CARD).read_text(encoding="utf-8") if (folder / cards.CARD).is_file() else ""
    shown = {name.removeprefix("./") for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", card)}
    files: Files = {}
    left_out: list[str] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        top = name.split("/")[0]
        weights = path.suffix in (".json", ".safetensors") or (top == "encoder" and path.suffix == ".onnx")
        document = name in (INDEX, cards.CARD) or name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))
        if (top in parts and "/" in name and weights) or document or name in extra or name in shown:
            files[name] = path
        elif not any(part.startswith((".", "__")) for part in name.split("/")):
            left_out.append(name)
    for part in parts:
        pickles = [name for name in left_out if name.startswith(f"{part}/") and name.endswith(_PICKLES)]
        if pickles and not any(name.startswith(f"{part}/") and name.endswith(".safetensors") for name in files):
            raise InputError(f"{pickles[0]} could execute code where it is loaded: save it as safetensors first.")
    return files, left_out, index


_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def _code(index: dict[str, Any]) -> Files:
    """The pipeline's and the networks' code, for people without idgen."""
    import idgen

    ours = {name: value[1] for name, value in index.items() if isinstance(value, list) and value[0] == "idgen"}
    files: Files = {PIPELINE_FILE: pipeline_code(getattr(idgen, index["_class_name"])).encode()}
    if ours:
        # One file for all: diffusers puts them into one place before it runs them.
        code = networks_code([getattr(idgen, name) for name in sorted(set(ours.values()))]).encode()
        files |= {f"{part}/{NETWORKS_FILE}": code for part in ours}
    return files


_BY = "By `idgen evaluate`, with this model's own judge."


def _evaluate(pictures: Path, out: Path, model: Model) -> tuple[dict[str, Any] | None, str]:
    """Figures of few pictures, and the sentence that says so; None where the packages for it are missing."""
    try:
        from idgen.evaluation.evaluate import evaluate

        found = evaluate(pictures, out, model=model, progress=False).to_dict()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "idgen":
            raise
        return None, ""
    return found, (
        f"{_BY} On {MEASURED} people × {IMAGES} pictures, made for this page: few. For more, evaluate a larger set and "
        "push again with --evaluation."
    )


def _sheet(pictures: Path, names: Sequence[str], out: Path, repo: str) -> Path:
    """A contact sheet of some people of a generated folder."""
    rows: dict[str, list[Cell]] = {name: [] for name in names}
    seeds = set()
    for line in read_manifest(pictures):
        if line["identity"] in rows:
            seeds.add(line["seed"])
            cell = Cell(pictures / line["file"], line["judge_similarity"], line["match"])
            rows[line["identity"]].append(cell)
    title = f"AI-generated by {repo}. Under each picture: the judge's verdict and its cosine."
    (seed,) = seeds  # of the one run that made them
    provenance.save_image(contact_sheet(list(rows.items()), title), out, {"model": repo, "seed": seed})
    return out
