"""A pipeline's code in one file, for people without idgen: put together from idgen's own modules at every push.

diffusers runs such files only where the caller says `trust_remote_code=True`. There is no second copy to maintain: what
is written are the definitions that the pipeline reaches, as they stand in the modules, in an order in which they can be
executed, without the imports between them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

from idgen.ground.errors import InputError
from idgen.ground.version import __version__

PIPELINE_FILE, NETWORKS_FILE = "pipeline.py", "idgen.py"
"""The pipeline's code in a repository's root, and that of networks and schedulers in the folder of each: there
diffusers looks for a part that model_index.json says is of the library idgen."""

# Loading is left to diffusers: it has fetched everything and made the parts before it makes the pipeline.
_LEFT_OUT = {"LoadedPipeline": ("from_pretrained", "_load_network", "download", "push_to_hub")}

_HEAD = '''"""{what} in one file, without idgen.

Written by `idgen push` of idgen {version} (Apache-2.0) from the modules
{modules}.
"""

from __future__ import annotations

{imports}
'''

# `del`: diffusers wants to see exactly one pipeline in the file. The rest is what its own `save_pretrained` leaves out.
_PIPELINE_TAIL = '''

_SOURCE = Path(__file__).read_text(encoding="utf-8")


def _save_pretrained(self: {name}, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
    """As `DiffusionPipeline.save_pretrained`, with this code, which that leaves out."""
    super({name}, self).save_pretrained(save_directory, **kwargs)
    (Path(save_directory) / "{pipeline_file}").write_text(_SOURCE, encoding="utf-8")
    for name, part in self.components.items():
        if type(part).__module__ == "idgen":
            code = sys.modules["diffusers_modules.local.idgen"].__file__
            (Path(save_directory) / name / "{networks_file}").write_bytes(Path(code).read_bytes())


{name}.save_pretrained = _save_pretrained
del {bases}
'''

_TAIL_IMPORTS = ["import os", "import sys", "from pathlib import Path", "from typing import Any"]

# So that `save_pretrained` calls them ["idgen", "Class"] again, a name that both idgen and this file answer to.
_NETWORKS_TAIL = """

for _class in ({names}):
    _class.__module__ = "idgen"
"""


class NeedsIdgen(InputError):
    """The pipeline's code cannot be put into one file."""


def pipeline_code(pipeline: type) -> str:
    """The content of `PIPELINE_FILE`.

    Raises:
        NeedsIdgen: the pipeline is tied to a network's class, which would be in another file.
    """
    reached = _reach([pipeline])
    for module, _ in reached:
        if module.startswith("idgen.models."):
            raise NeedsIdgen(f"the code of {pipeline.__name__} is tied to {module}.")
    bases = [base.__name__ for base in pipeline.__mro__[1:] if base.__module__.startswith("idgen.")]
    tail = _PIPELINE_TAIL.format(
        name=pipeline.__name__, bases=", ".join(bases), pipeline_file=PIPELINE_FILE, networks_file=NETWORKS_FILE
    )
    return _write(pipeline.__name__, reached, tail, _TAIL_IMPORTS)


def networks_code(classes: Sequence[type]) -> str:
    """The content of `NETWORKS_FILE` for networks and schedulers of idgen; one file for all of a pipeline's parts."""
    names = [kind.__name__ for kind in classes]
    return _write(" and ".join(names), _reach(classes), _NETWORKS_TAIL.format(names=", ".join(names) + ","), [])


Place = tuple[str, str]
"""A module and the name of something that it defines at its top level; "" for the module itself."""


@dataclass
class _Module:
    """What a module holds at its top level."""

    name: str
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, ast.Import | ast.ImportFrom] = field(default_factory=dict)  # a statement for every name
    effects: list[ast.stmt] = field(default_factory=list)
    texts: dict[ast.stmt, str] = field(default_factory=dict)


@cache
def _module(name: str) -> _Module:
    text = inspect.getsource(importlib.import_module(name))
    module, lines = _Module(name), dict(enumerate(text.splitlines(), 1))
    before: ast.stmt | None = None
    for node in ast.parse(text).body:
        names: list[str] = []
        if isinstance(node, ast.Import):
            module.imported |= {item.asname or item.name.split(".")[0]: ast.Import([item]) for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            module.imported |= {i.asname or i.name: ast.ImportFrom(node.module, [i], 0) for i in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(before, (ast.Assign, ast.AnnAssign)):  # which it documents
                module.texts[before] += "\n" + _text(lines, node)
        elif not any(isinstance(part, ast.Name) and part.id == "TYPE_CHECKING" for part in ast.walk(node)):
            module.effects.append(node)
        module.defined |= dict.fromkeys(names, node)
        module.texts[node] = _text(lines, node)
        before = node
    return module


def _text(lines: dict[int, str], node: ast.stmt) -> str:
    """A statement's own text with the comment above it; from a class go the methods that are left out."""
    if isinstance(node, ast.ClassDef):
        for part in node.body[:]:
            if getattr(part, "name", None) in _LEFT_OUT.get(node.name, ()):
                node.body.remove(part)
                for row in _rows(part):
                    del lines[row]
    rows = _rows(node)
    first = rows.start
    while lines.get(first - 1, "").startswith("#"):
        first -= 1
    kept = [lines[row] for row in range(first, rows.stop) if row in lines]
    while not kept[-1].strip() or kept[-1].strip().startswith("#"):  # above what was left out
        kept.pop()
    return "\n".join(kept)


def _rows(node: ast.stmt) -> range:
    first = min(part.lineno for part in (node, *getattr(node, "decorator_list", [])))
    return range(first, (node.end_lineno or node.lineno) + 1)


def _reach(classes: Sequence[type]) -> list[Place]:
    """All that the classes need, in an order in which it can be executed."""
    order: dict[Place, None] = {}
    entered: set[Place] = set()

    def visit(place: Place) -> None:
        if place[1] and place not in entered:
            entered.add(place)
            visit_all(_module(place[0]), _module(place[0]).defined[place[1]])
            order[place] = None

    def visit_all(module: _Module, node: ast.stmt) -> None:
        for used in _uses(module, node):
            if not isinstance(used, str):
                visit(used)

    for kind in classes:
        visit((kind.__module__, kind.__name__))
    for module in _modules(order):
        for node in module.effects:
            visit_all(module, node)
    return list(order)


def _modules(places: Iterable[Place]) -> list[_Module]:
    return [_module(name) for name in sorted({module for module, _ in places})]


def _uses(module: _Module, node: ast.stmt) -> Iterator[Place | str]:
    """What a definition uses: of idgen, by its name or by its module's as in `arguments.seed`, or by an import."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            if (found := _meaning(module, part.id)) is not None:
                yield found
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            found = _meaning(module, part.value.id)
            # Where the module does not define it, a local name hides the module's.
            if isinstance(found, tuple) and not found[1] and part.attr in _module(found[0]).defined:
                yield found[0], part.attr
        elif isinstance(part, ast.ImportFrom) and (part.module or "").startswith("idgen"):
            raise NeedsIdgen(f"code that imports {part.module} when it runs cannot be put into one file.")


def _meaning(module: _Module, name: str) -> Place | str | None:
    """What a module's global name stands for: a place in idgen, or the import from another package; None: no global."""
    if name in module.defined:
        return module.name, name
    node = module.imported.get(name)
    if node is None:
        return None
    home = str(node.module) if isinstance(node, ast.ImportFrom) else node.names[0].name
    if home.split(".")[0] != "idgen":
        return ast.unparse(node)
    if isinstance(node, ast.ImportFrom) and node.names[0].asname is None:
        if name in _module(home).defined:
            return home, name
        if isinstance(found := getattr(importlib.import_module(home), name), ModuleType):
            return found.__name__, ""
    raise NeedsIdgen(f"{module.name} imports {node.names[0].name} in a way that cannot be put into one file.")


def _write(what: str, places: Sequence[Place], tail: str, imports: Sequence[str]) -> str:
    """The file: what was reached, and at the end the statements of these modules that define nothing."""
    modules = _modules(places)
    nodes = [(_module(module), _module(module).defined[name]) for module, name in places]
    effects = [(module, node) for module in modules for node in module.effects]
    used = {each for module, node in nodes + effects for each in _uses(module, node)}
    homes = {each[0]: each[0].split(".")[-1] for each in used if isinstance(each, tuple) and not each[1]}
    statements = {*imports, *(each for each in used if isinstance(each, str))}
    statements |= {"from types import SimpleNamespace"} if homes else set()
    names = [*(name for _, name in places), *homes.values(), *(text.split()[-1] for text in statements)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise NeedsIdgen(f"its modules mean different things by {', '.join(sorted(twice))}.")
    texts: dict[ast.stmt, str] = {}
    for (home, name), (module, node) in zip(places, nodes, strict=True):
        texts.setdefault(node, module.texts[node])
        if home in homes:  # others know it as an attribute of its module
            texts[node] += f"\n\n\n{homes[home]}.{name} = {name}"
    texts |= {node: module.texts[node] for module, node in effects}
    lines = sorted(statements, key=lambda text: (text.startswith("from"), text.lower()))
    lines += ["", *(f"{name} = SimpleNamespace()" for name in sorted(homes.values()))]
    head = _HEAD.format(
        what=what,
        version=__version__,
        modules=",\n".join(module.name for module in modules),
        imports="\n".join(lines).rstrip(),
    )
    return head + "\n\n" + "\n\n\n".join(texts.values()) + "\n" + tail
