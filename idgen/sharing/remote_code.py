"""A pipeline's code in one file, for people without idgen: put together from idgen's own modules at every push.

diffusers runs such files only where the caller says `trust_remote_code=True`. There is no second copy to maintain: what
is written are the definitions that the pipeline reaches, as they stand in the modules, in an order in which they can be
executed, without the imports between them.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from idgen.ground.errors import InputError
from idgen.ground.version import __version__

PIPELINE_FILE, NETWORKS_FILE = "pipeline.py", "idgen.py"
"""The pipeline's code in a repository's root, and that of networks and schedulers in the folder of each: there
diffusers looks for a part that model_index.json says is of the library idgen."""

# Loading is left to diffusers: it has fetched everything and made the parts before it makes the pipeline.
_LEFT_OUT = {"IdentityPipeline": ("from_pretrained", "_load_network", "download", "push_to_hub")}
_NOT_CALLED = "register"  # which makes a pipeline known to diffusers as idgen's

_HEAD = '''"""{what}

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
    return _write(f"{pipeline.__name__} in one file, without idgen.", reached, tail, _TAIL_IMPORTS)


def networks_code(classes: Sequence[type]) -> str:
    """The content of `NETWORKS_FILE` for networks and schedulers of idgen; one file for all of a pipeline's parts."""
    tail = _NETWORKS_TAIL.format(names=" ".join(f"{kind.__name__}," for kind in classes))
    names = " and ".join(kind.__name__ for kind in classes)
    return _write(f"{names} in one file, without idgen.", _reach(classes), tail, [])


Place = tuple[str, str]
"""A module and the name of something that it defines at its top level."""


@dataclass
class _Module:
    """What a module's source holds at its top level."""

    name: str
    lines: list[str]
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, ast.Import | ast.ImportFrom] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    ends: dict[ast.stmt, int] = field(default_factory=dict)  # last line, with the text that documents an assignment


@cache
def _module(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    text = Path(spec.origin).read_text(encoding="utf-8")
    module, before = _Module(name, text.splitlines()), None
    for node in ast.parse(text).body:
        names: list[str] = []
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module.imported |= {(item.asname or item.name).split(".")[0]: node for item in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(before, (ast.Assign, ast.AnnAssign)):
                module.ends[before] = node.end_lineno or node.lineno
        elif not {"TYPE_CHECKING", _NOT_CALLED} & {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}:
            module.effects.append(node)
        module.defined |= dict.fromkeys(names, node)
        before = node
    return module


def _reach(classes: Sequence[type]) -> list[Place]:
    """All that the classes need, in an order in which it can be executed."""
    order: dict[Place, None] = {}
    entered: set[Place] = set()

    def visit(place: Place) -> None:
        if place not in entered:
            entered.add(place)
            module = _module(place[0])
            visit_all(module, module.defined[place[1]])
            order[place] = None

    def visit_all(module: _Module, node: ast.stmt) -> None:
        for place in _places(module, node):
            visit(place)

    for kind in classes:
        visit((kind.__module__, kind.__name__))
    for module in _modules(order):
        for node in module.effects:
            visit_all(module, node)
    return list(order)


def _places(module: _Module, node: ast.stmt) -> Iterator[Place]:
    """What of idgen a definition uses: by its name, or by its module's as in `arguments.seed`."""
    for part in ast.walk(_kept(node)):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            if (place := _find(module, part.id)) is not None:
                yield place
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            home = _home(module, part.value.id)
            if home is not None and part.attr in _module(home).defined:  # else a local name hides the module's
                yield home, part.attr
        elif isinstance(part, ast.ImportFrom) and (part.module or "").startswith("idgen"):
            raise NeedsIdgen(f"code that imports {part.module} when it runs cannot be put into one file.")


def _home(module: _Module, name: str) -> str | None:
    """The module that a name stands for: after `from idgen.ground import files`, idgen.ground.files for "files"."""
    node = module.imported.get(name)
    if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "idgen":
        return None
    package, home = importlib.util.find_spec(str(node.module)), f"{node.module}.{name}"
    is_package = package is not None and package.submodule_search_locations is not None
    return home if is_package and importlib.util.find_spec(home) is not None else None


def _modules(places: Iterable[Place]) -> list[_Module]:
    return [_module(name) for name in sorted({module for module, _ in places})]


def _find(module: _Module, name: str) -> Place | None:
    """Where idgen defines a module's global name; None where it is no global or comes from another package."""
    if name in module.defined:
        return module.name, name
    node = module.imported.get(name)
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("idgen.") and _home(module, name) is None:
        source = _module(str(node.module))
        original = next(item.name for item in node.names if (item.asname or item.name) == name)
        if original != name or original not in source.defined:
            raise NeedsIdgen(f"{module.name} imports {original} in a way that cannot be put into one file.")
        return source.name, name
    return None


def _kept(node: ast.stmt) -> ast.stmt:
    """A class without the methods that are left out."""
    if not isinstance(node, ast.ClassDef):
        return node
    left_out = _LEFT_OUT.get(node.name, ())
    body = [part for part in node.body if getattr(part, "name", None) not in left_out]
    return ast.ClassDef(**{**dict(ast.iter_fields(node)), "body": body})


def _names(node: ast.stmt) -> set[str]:
    """The global names, and more, that a definition uses."""
    kept = ast.walk(_kept(node))
    return {part.id for part in kept if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}


def _write(what: str, places: Sequence[Place], tail: str, imports: Sequence[str]) -> str:
    """The file: what was reached, and at the end the statements of these modules that define nothing."""
    defined: dict[str, str] = {}
    parts: list[str] = []
    needed: dict[str, str] = {line.split()[-1]: line for line in imports}
    written: set[ast.stmt] = set()
    nodes = [(_module(module), _module(module).defined[name]) for module, name in places]
    homes = {_home(module, name) for module, node in nodes for name in _names(node)}

    def put(module: _Module, node: ast.stmt) -> None:
        for name in _names(node):
            if (line := _import(module, name)) is not None and needed.setdefault(name, line) != line:
                raise NeedsIdgen(f"two modules mean different things by {name!r}.")
        parts.append(_source(module, node))
        written.add(node)

    for module_name, name in places:
        module = _module(module_name)
        if defined.setdefault(name, module_name) != module_name:
            raise NeedsIdgen(f"both {module_name} and {defined[name]} define {name!r}.")
        if module.defined[name] not in written:
            put(module, module.defined[name])
        if module_name in homes:  # others know it as an attribute of its module
            parts[-1] += f"\n\n\n{module_name.split('.')[-1]}.{name} = {name}"
    for module in _modules(places):
        for node in module.effects:
            put(module, node)
    for name in defined.keys() & needed.keys():
        raise NeedsIdgen(f"{defined[name]} defines {name!r}, which another module imports.")
    modules = ",\n".join(module.name for module in _modules(places))
    head = _HEAD.format(what=what, version=__version__, modules=modules, imports=_imports(needed.values()))
    return head + "\n\n" + "\n\n\n".join(parts) + "\n" + tail


def _imports(lines: Iterable[str]) -> str:
    """Statements of one name each, as `_import` makes them, in order and together for each module."""
    from_: dict[str, list[str]] = {}
    whole: list[str] = []
    spaces: list[str] = []
    for line in sorted(set(lines), key=str.lower):
        if line.startswith("from "):
            _, module, _, item = line.split(" ", 3)
            from_.setdefault(module, []).append(item)
        else:
            (whole if line.startswith("import ") else spaces).append(line)
    if spaces:
        from_.setdefault("types", []).append("SimpleNamespace")
    several = [f"from {module} import {', '.join(items)}" for module, items in sorted(from_.items())]
    return "\n".join([*whole, *several, *([""] if spaces else []), *spaces])


def _import(module: _Module, name: str) -> str | None:
    """The statement that imports a name from another package, or that stands for a module of idgen."""
    node = module.imported.get(name)
    if node is None or name in module.defined or _find(module, name) is not None:
        return None
    if _home(module, name) is not None:
        return f"{name} = SimpleNamespace()"
    item = next(item for item in node.names if (item.asname or item.name).split(".")[0] == name)
    if isinstance(node, ast.Import):
        if item.name.startswith("idgen"):
            raise NeedsIdgen(f"{module.name} uses {item.name} as a module, which cannot be put into one file.")
        return ast.unparse(ast.Import([item]))
    return ast.unparse(ast.ImportFrom(node.module, [item], 0))


def _source(module: _Module, node: ast.stmt) -> str:
    """A statement's own text, with the comment above it."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(part.lineno for part in decorators)])
    while first > 1 and module.lines[first - 2].startswith("#"):
        first -= 1
    last = module.ends.get(node, node.end_lineno or node.lineno)
    hidden: set[int] = set()
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            if getattr(part, "name", None) in _LEFT_OUT.get(node.name, ()):
                begin = min([part.lineno, *(other.lineno for other in getattr(part, "decorator_list", []))])
                hidden |= set(range(begin, (part.end_lineno or part.lineno) + 1))
    kept = [module.lines[row - 1] for row in range(first, last + 1) if row not in hidden]
    while not kept[-1].strip() or kept[-1].strip().startswith("#"):  # above what was left out
        kept.pop()
    return "\n".join(kept)
