"""Who may import whom: data flows one way, and decoding stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import tcnn_codec

PACKAGE = Path(tcnn_codec.__file__).parent

#: Modules in the order data flows; each may import only what stands before it. `io` and
#: `families.siren.backends` stand for everything inside them.
FLOW = (
    "errors",
    "dtypes",
    "checks",
    "grid",
    "picture",
    "layout",
    "bitstream.limits",
    "bitstream.varint",
    "bitstream.fields",
    "_coders",
    "_cpu",
    "_cuda",
    "native",
    "coders.quantised",
    "coders.payload",
    "training.learning_rates",
    "training.optimiser",
    "training.codes",
    "training.batches",
    "training.job",
    "training.loop",
    "families.contract",
    "families.siren.spec",
    "families.siren.options",
    "families.siren.sizes",
    "families.siren.start",
    "families.siren.payload",
    "families.siren.quantise",
    "families.siren.backends",
    "families.siren.renderer",
    "families.siren.fit",
    "families.siren.rounding",
    "families.siren.difference",
    "families.siren.family",
    "families.siren.fitter",
    "families",
    "config",
    "bitstream.header",
    "bitstream.records",
    "metrics",
    "io",
    "encoding.chunks",
    "encoding.scenes",
    "encoding.jobs",
    "encoding.executors",
    "encoding.rate",
    "encoding.coding",
    "encoding.plan",
    "encoding.encoder",
    "decoding.decoder",
    "decoding.info",
    "decoding.eval",
    "progress",
    "doctor",
    "view",
    "console",
    "arguments",
    "cli",
    "__main__",
)
UNITS = ("io", "families.siren.backends")
#: Which folders a folder may import, beside the modules at the top that stand before it in FLOW.
FOLDERS = {
    "bitstream": {"families"},
    "coders": {"bitstream"},
    "training": set[str](),
    "families": {"coders", "training", "bitstream"},
    "io": set[str](),
    "encoding": {"bitstream", "families", "training", "io"},
    "decoding": {"bitstream", "families", "io"},
}
#: These import nothing of another folder, so that it makes no circle to import them from anywhere.
#: It is all of `bitstream` that families and coders see: what the format allows.
LEAVES = ("bitstream.limits", "bitstream.varint")
#: What decoding must never load.
NOT_FOR_DECODING = (
    *("torch", "av", "decord"),
    *("tcnn_codec.training", "tcnn_codec.encoding"),
    *("tcnn_codec.families.siren.fit", "tcnn_codec.families.siren.fitter"),
    "tcnn_codec.families.siren.rounding",
)


def imported(path: Path, *, for_types: bool = False) -> set[str]:
    """Modules of the package, as FLOW has them, that a source file imports, anywhere in it.

    for_types: those too that it imports for type checkers alone.
    """
    tree, skipped = ast.parse(path.read_text()), set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= set(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        if for_types or node not in skipped:
            found |= {name_of(n.split(".")[1:]) for n in names if n.startswith("tcnn_codec.")}
    return found - {""}


def name_of(parts: Sequence[str]) -> str:
    """The module of FLOW that these parts of a dotted name begin with, or no name."""
    for end in range(len(parts), 0, -1):
        if (name := ".".join(parts[:end])) in FLOW:
            return name
    return ""


def module_of(path: Path) -> str:
    """The place in FLOW of a source file, or no name."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    units = [unit for unit in UNITS if f"{name}.".startswith(f"{unit}.")]
    return units[0] if units else name if name in FLOW else ""


def folder_of(name: str) -> str:
    """The folder of a module of FLOW; nothing for those at the top."""
    folder = name.split(".")[0]
    return folder if folder in FOLDERS else ""


SOURCES = [p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py"]
#: Packages that only have a docstring.
EMPTY = [p for p in SOURCES if p.name == "__init__.py" and not module_of(p)]
MODULES = [path for path in SOURCES if path not in EMPTY]


def test_every_module_has_a_place_in_the_flow() -> None:
    assert {module_of(path) for path in MODULES} | {"_coders", "_cpu", "_cuda"} == set(FLOW)


def test_imports_follow_the_flow() -> None:
    for path in MODULES:
        me = module_of(path)
        later = {name for name in imported(path) if FLOW.index(name) > FLOW.index(me)}
        assert not later, f"{path} imports {later}, which come after it"


def test_folders_import_only_what_lies_below() -> None:
    for path in MODULES:
        me = module_of(path)
        folder = folder_of(me)
        if not folder:
            continue
        others = {folder_of(name) for name in imported(path) - set(LEAVES)} - {"", folder}
        assert not others - FOLDERS[folder], f"{path} imports {others - FOLDERS[folder]}"
    for leaf in LEAVES:
        path = PACKAGE.joinpath(*leaf.split(".")).with_suffix(".py")
        assert {folder_of(name) for name in imported(path)} <= {""}


def test_only_the_registry_knows_a_family_by_name() -> None:
    """No family imports another, and nothing else names one, in code or in words."""
    families = [p.name for p in (PACKAGE / "families").iterdir() if (p / "__init__.py").exists()]
    assert families
    for path in SOURCES:
        for family in families:
            at_home = PACKAGE / "families" / family in path.parents
            if at_home or path in (PACKAGE / "families" / "__init__.py",):
                continue
            assert family not in path.read_text().lower(), f"{path} names {family}"


def loaded_after(code: str, *arguments: str) -> set[str]:
    """Modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_decoding_loads_neither_torch_nor_fitting(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden" / "v3_rgb.tcnn"
    code = (
        "import sys\n"
        "from tcnn_codec.cli import run\n"
        "assert run(['decode', sys.argv[1], sys.argv[2]]) == 0\n"
        "assert run(['info', sys.argv[1]]) == 0\n"
    )
    loaded = loaded_after(code, str(golden), str(tmp_path / "out.png"))
    assert "tcnn_codec.decoding.decoder" in loaded
    assert not loaded & set(NOT_FOR_DECODING)


def test_encoding_on_the_cpu_loads_no_torch(tmp_path: Path) -> None:
    picture = Path(__file__).parents[1] / "demo" / "photo.png"
    code = (
        "import sys\n"
        "from tcnn_codec.cli import run\n"
        "options = ['--width', '4', '--steps', '2', '--quiet', '--backend', 'cpu']\n"
        "assert run(['encode', sys.argv[1], sys.argv[2], *options]) == 0\n"
    )
    loaded = loaded_after(code, str(picture), str(tmp_path / "x.tcnn"))
    assert "tcnn_codec.encoding.encoder" in loaded
    assert "torch" not in loaded


def test_packages_without_a_place_hold_nothing() -> None:
    for package in EMPTY:
        assert len(ast.parse(package.read_text()).body) == 1, f"{package} is more than a docstring"


def test_the_package_itself_loads_nothing_heavy() -> None:
    loaded = loaded_after("import tcnn_codec; assert tcnn_codec.__version__")
    assert not loaded & {"torch", "numpy", "PIL", "av", "decord"}
