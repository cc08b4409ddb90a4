"""The shape of the house, read from its source: arrows, names, sizes and what an import costs."""

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import pytest
from cases import CASES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxfound"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Imports run from a row to the rows above it, never back, and not between rooms of one row.
FLOORS = (
    {"_show"},
    {"_types", "_checks", "_cache", "_config", "_threads"},
    {"numerics"},
    {"models", "nn", "metrics", "data"},
    {"model_selection", "parallel", "export", "inspect", "streaming"},
    {"estimators"},
    {"experiments"},
    {"cli"},
    {"__main__"},
)
FRONT_DOOR = "estimators"  # what `import jaxfound as jf` leads to
OWNERS = {"sklearn": ("estimators/", "experiments/"), "flax": ("nn/", "estimators/neural.py")}
MOST_LINES = 400
CORE = ("numerics", "models")
FOREIGN_NAMES = {"X", "Y", "sample_weight", "random_state", "y_true", "y_pred", "params_"}
SUPPRESSIONS = re.compile(r"#\s*(type:\s*ignore|noqa|pyright:)")


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def each(paths=MODULES):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def tree_of(path):
    return ast.parse(path.read_text("utf-8"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """The full names of what a module imports, inside functions too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path):
    return (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.Lambda))


# --- arrows -----------------------------------------------------------------------------------


def floor(room):
    (found,) = (i for i, rooms in enumerate(FLOORS) if room in rooms)
    return found


@each([path for path in MODULES if path != PACKAGE / "__init__.py"])
def test_imports_run_one_way(path):
    here = room_of(path)
    for name in imports(path):
        package, _, inner = name.partition(".")
        there = inner.partition(".")[0]
        if there not in set().union(*FLOORS):
            there = FRONT_DOOR
        if package == "jaxfound" and there != here:
            assert floor(there) < floor(here), f"{here} imports {name}"


@each()
@pytest.mark.parametrize("library", OWNERS)
def test_a_heavy_library_has_its_rooms(path, library):
    if not name_of(path).startswith(OWNERS[library]):
        assert library not in {name.partition(".")[0] for name in imports(path)}


def test_the_package_imports_nothing_heavy():
    code = (
        "import sys, jaxfound; "
        "print(*{'sklearn', 'flax', 'optax', 'matplotlib', 'scipy', 'rich'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


# --- jit --------------------------------------------------------------------------------------


def is_jit(node):
    return getattr(node, "attr", getattr(node, "id", None)) in ("jit", "pjit", "pmap")


def inner_nodes(node, inside=False):
    """Everything inside a class or a function; what decorates one at module level is outside."""
    scope = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        inner = inside or (scope and child not in getattr(node, "decorator_list", ()))
        if inner:
            yield child
        yield from inner_nodes(child, inner)


@each()
def test_jit_only_at_module_level(path):
    assert [node.lineno for node in inner_nodes(tree_of(path)) if is_jit(node)] == []


# --- names ------------------------------------------------------------------------------------


def targets(statement):
    """The names that a statement of a module defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


@each([path for path in MODULES if path.name != "__main__.py"])
def test_all_names_what_is_public(path):
    tree = tree_of(path)
    defined = {name for statement in tree.body for name in targets(statement)}
    assert "__all__" in defined
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    public = {name for name in defined if not name.startswith("_") and not name.isupper()}
    assert public <= set(module.__all__)
    for name in module.__all__:
        getattr(module, name)


@each([path for path in MODULES if room_of(path) in CORE])
def test_the_core_has_its_own_vocabulary(path):
    for function in functions(path):
        args = function.args
        named = {arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
        assert not named & FOREIGN_NAMES


MODELS = [
    importlib.import_module(f"jaxfound.models.{path.stem}")
    for path in (PACKAGE / "models").glob("[a-z]*.py")
]


HARD = (".tree", ".forest")


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("objective", ["params", "x", "y", "weight", "hyper"]),
        ("fit", ["x", "y", "weight", "hyper", "key"]),
        ("predict", ["params", "x"]),
    ],
)
@pytest.mark.parametrize(
    "model", [m for m in MODELS if hasattr(m, "predict")], ids=lambda m: m.__name__
)
def test_every_model_keeps_the_contract(model, function, names):
    if function == "objective" and model.__name__.endswith(HARD):
        assert not hasattr(model, function)  # a greedy growth minimises nothing that can be written
        return
    found = inspect.signature(getattr(model, function)).parameters
    assert [n for n, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == names
    assert ("config" in found) == (function != "predict")
    for settings in (model.Params, model.Hyper):
        assert issubclass(settings, tuple)
        assert settings._fields
    assert dataclasses.is_dataclass(model.Config)
    assert hash(model.Config()) == hash(model.Config())


# --- sizes and suppressions -------------------------------------------------------------------

TESTS = sorted(Path(__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_are_short_and_suppress_nothing(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < MOST_LINES
    assert [line for line in lines if SUPPRESSIONS.search(line)] == []


# --- platforms --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in CASES if not c.twin], ids=lambda c: c.id)
def test_a_fit_and_a_prediction_lower_for_every_platform(case):
    """Without the platforms at hand: a primitive that one of them lacks shows here."""
    x, y, weight = case.arrays("float32")

    def fit_and_predict(x, y, weight, hyper):
        params, info = case.fit(x, y, weight, hyper)
        return case.predict(params, x), info

    exported = jax.export.export(jax.jit(fit_and_predict), platforms=("cpu", "cuda", "tpu"))(
        x, y, weight, case.hyper_as("float32")
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
