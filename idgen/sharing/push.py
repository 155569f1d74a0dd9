"""Put a model, a pipeline or a face encoder on the Hugging Face Hub, so that others load it in one line."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idgen.errors import InputError
from idgen.hub import PARTS, hub_errors, load_model
from idgen.sharing import card as cards
from idgen.sharing.remote_code import NETWORKS_FILE, PIPELINE_FILE, NeedsIdgen, networks_code, pipeline_code

if TYPE_CHECKING:
    from idgen.faces.encoder import FaceEncoder
    from idgen.hub import Model
    from idgen.identity import Identities

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


def push(
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
        InputError: there is no such model, its weights are no safetensors, nobody says the licence, the name cannot be
            a repository's, nobody is logged in, or the Hub refuses or cannot be reached.
    """
    check_repo(repo)
    known = None if evaluation is None else cards.read_evaluation(evaluation)
    if isinstance(model, (str, Path)):
        model = load_model(model, device)
    files, left_out, index = _model_files(model)
    notes: list[str] = []
    kind, alone = str(index["_class_name"]), False
    try:
        files |= _code(index)
        alone = True
    except NeedsIdgen as error:
        notes.append(f"Only people with idgen can load it: {error}")
    people = model.sampler.sample(MEASURED, seed=0) if model.has("sampler") else None
    with tempfile.TemporaryDirectory(prefix="idgen-push-") as aside:
        if people is not None:
            files[PEOPLE] = people.save(Path(aside) / PEOPLE)
        if cards.CARD in files:
            text = (model.folder / cards.CARD).read_text(encoding="utf-8")
            rows = [] if known is None else cards.figures(known)
            files[cards.CARD] = cards.completed(text, licence, name=repo.split("/")[1], rows=rows).encode()
        else:
            made = _Card(model, repo, licence, data, kind, alone)
            made.check()
            if people is not None:
                files[cards.SHEET], measured = made.picture(people, Path(aside), measure and known is None)
                known = known or measured
            files[cards.CARD] = made.text(known, evaluation is None, cards.SHEET in files).encode()
            notes += made.notes
        done = upload(
            repo, files, message or f"Upload {kind} by idgen", private=private, revision=revision, token=token
        )
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
        what = message or "Upload a face encoder by idgen"
        done = upload(repo, files, what, private=private, revision=revision, token=token)
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


def upload(
    repo: str,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    token: str | bool | None = None,
) -> Pushed:
    """Make the repository hold these files, in one commit.

    Weights, configurations and code that an earlier push left in folders, and that are not among the files, are
    removed: a model without a judge must not be loaded with an older one's.

    Raises:
        InputError: nobody is logged in, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision != "main":
            api.create_branch(repo, branch=revision, exist_ok=True)
        stale = [
            name
            for name in api.list_repo_files(repo, revision=revision)
            if name not in files
            and (
                name in (PIPELINE_FILE, PEOPLE)
                or ("/" in name and name.endswith((".safetensors", ".json", ".py", ".onnx")))
            )
        ]
        operations: list[Any] = [CommitOperationDelete(name) for name in stale]
        operations += [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
        commit = api.create_commit(repo, operations, commit_message=message, revision=revision)
    except LocalTokenNotFoundError as error:
        raise InputError(_LOG_IN) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 401:
            raise InputError(_LOG_IN) from error
        if status == 403:
            raise InputError(
                f"Your token may not write to {repo}: make one with the right to write, or ask its owner."
            ) from error
        raise InputError(f"The Hub refused the upload to {repo}: {' '.join(str(error).split())}") from error
    except ValueError as error:  # the Hub's check of the card's front matter
        raise InputError(f"The Hub refused the card: {' '.join(str(error).split())}") from error
    except hub_errors() as error:
        raise InputError(
            f"Nothing was uploaded: the Hub at {api.endpoint} cannot be reached ({type(error).__name__}); try again."
        ) from error
    return Pushed(repo, commit.oid, commit.commit_url, tuple(sorted(files)))


_LOG_IN = "The Hub does not know who you are: run `hf auth login`, or set HF_TOKEN to a token that may write."


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


class _Card:
    """The card of a model that has none."""

    def __init__(self, model: Model, repo: str, licence: str | None, data: str | None, kind: str, alone: bool):
        self.model, self.repo, self.licence, self.data, self.kind, self.alone = model, repo, licence, data, kind, alone
        self.notes: list[str] = []

    def check(self) -> None:
        """Refuse what would be refused later, before pictures are made."""
        self.text(None, False, False)

    def picture(self, people: Identities, aside: Path, measure: bool) -> tuple[Path, dict[str, Any] | None]:
        """The sheet, and an evaluation if it was wanted and can be made."""
        from idgen import provenance
        from idgen.contact_sheet import Cell, contact_sheet
        from idgen.generate import generate, read_manifest

        measure = measure and self.model.has("encoder") and self.model.has("judge")
        folder = generate(people if measure else people[:SHOWN], aside / "pictures", IMAGES, model=self.model)
        rows: dict[str, list[Cell]] = {name: [] for name in people.names[:SHOWN]}
        for line in read_manifest(folder):
            if line["identity"] in rows:
                cell = Cell(folder / line["file"], line["judge_similarity"], line["match"])
                rows[line["identity"]].append(cell)
        sheet = aside / cards.SHEET
        title = f"AI-generated by {self.repo}. Under each picture: the judge's verdict and its cosine."
        provenance.save_image(contact_sheet(list(rows.items()), title), sheet, {"model": self.repo})
        if not measure:
            return sheet, None
        try:
            from idgen.evaluation.evaluate import evaluate

            return sheet, evaluate(folder, aside / "report", model=self.model, progress=False).to_dict()
        except ModuleNotFoundError as error:
            self.notes.append(f"Nothing was measured: that needs {error.name}, pip install 'idgen[eval]'.")
            return sheet, None

    def text(self, evaluation: dict[str, Any] | None, made: bool, sheet: bool) -> str:
        """The page."""
        model, parts = self.model, [part for part in PARTS if self.model.has(part)]
        calibration = model.encoder.calibration if "encoder" in parts else None
        measured = "" if evaluation is None else "By `idgen evaluate`, with this model's own judge."
        if evaluation is not None and made:
            measured += (
                f" On {MEASURED} people × {IMAGES} pictures, made for this page: few. For more, evaluate a larger set"
                " and push again with --evaluation."
            )
        on = None if calibration is None else calibration["data"]
        space = json.loads((model.folder / INDEX).read_text(encoding="utf-8"))["space"]
        notice = model.encoder.notice if "encoder" in parts else ""
        about = cards.About(self.repo, self.licence, space, self.data, on, self.kind, parts, self.alone, notice)
        return cards.model_card(about, [] if evaluation is None else cards.figures(evaluation), measured, sheet)
