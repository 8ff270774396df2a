"""Who may import whom: data flows one way, and decoding stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import tcnn_codec

PACKAGE = Path(tcnn_codec.__file__).parent

#: Modules in the order data flows; each may import only what stands before it. `backends` and
#: `io` stand for everything inside them; those of PACKAGES have places of their own.
FLOW = (
    "errors",
    "bitstream.limits",
    "bitstream.varint",
    "siren",
    "config",
    "_coders",
    "_cpu",
    "_cuda",
    "native",
    "training.optimiser",
    "training.batches",
    "training.learning_rates",
    "backends",
    "training.loop",
    "io",
    "chunks",
    "metrics",
    "fit",
    "coders.quantised",
    "quantise",
    "refine",
    "coders.probability",
    "coders.payload",
    "bitstream.header",
    "bitstream.records",
    "rate",
    "coding",
    "encoder",
    "decoder",
    "compare",
    "progress",
    "doctor",
    "cli",
    "__main__",
)
PACKAGES = ("bitstream", "coders", "training")
#: Stages know no other stage: only the orchestration at the end of the list does.
STAGES = FLOW[FLOW.index("io") : FLOW.index("rate") + 1]
SHARED = FLOW[: FLOW.index("io")]
#: What one stage takes from another because it is the type they hand over.
HANDED_OVER = {
    ("quantise", "coders.quantised"),
    ("refine", "coders.quantised"),
    ("refine", "quantise"),
    ("coders.payload", "coders.quantised"),
    ("coders.payload", "coders.probability"),
    ("bitstream.records", "bitstream.header"),
}
#: What decoding must never load.
NOT_FOR_DECODING = ("torch", "tcnn_codec.fit", "tcnn_codec.encoder", "av", "decord")


def imported(path: Path) -> set[str]:
    """Modules of the package, as FLOW has them, that a source file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names]
        found |= {name_of(p[1:]) for p in parts if p[0] == "tcnn_codec" and len(p) > 1}
    return {name for name in found if name in FLOW}


def name_of(parts: Sequence[str]) -> str:
    return ".".join(parts[: 2 if parts[0] in PACKAGES else 1])


def module_of(path: Path) -> str:
    return name_of(path.relative_to(PACKAGE).with_suffix("").parts)


EMPTY = [PACKAGE / "__init__.py", *(PACKAGE / name / "__init__.py" for name in PACKAGES)]
SOURCES = [p for p in PACKAGE.rglob("*.py") if p not in EMPTY]


def test_every_module_has_a_place_in_the_flow() -> None:
    assert {module_of(path) for path in SOURCES} | {"_coders", "_cpu", "_cuda"} == set(FLOW)


def test_imports_follow_the_flow() -> None:
    for path in SOURCES:
        me = module_of(path)
        later = {name for name in imported(path) if FLOW.index(name) > FLOW.index(me)}
        assert not later, f"{path.name} imports {later}, which come after it"


def test_stages_do_not_know_each_other() -> None:
    for path in SOURCES:
        me = module_of(path)
        if me in STAGES:
            others = imported(path) - set(SHARED) - {me}
            strangers = {other for other in others if (me, other) not in HANDED_OVER}
            assert not strangers, f"{path.name} imports {strangers}"


def loaded_after(code: str, *arguments: str) -> set[str]:
    """Modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_decoding_loads_neither_torch_nor_fitting(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden" / "v1_rgb.tcnn"
    code = (
        "import sys\n"
        "from tcnn_codec.cli import run\n"
        "assert run(['decode', sys.argv[1], sys.argv[2]]) == 0\n"
        "assert run(['info', sys.argv[1]]) == 0\n"
    )
    loaded = loaded_after(code, str(golden), str(tmp_path / "out.png"))
    assert "tcnn_codec.decoder" in loaded
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
    assert "tcnn_codec.encoder" in loaded
    assert "torch" not in loaded


def test_packages_with_places_of_their_own_hold_nothing_else() -> None:
    for package in EMPTY[1:]:
        assert not imported(package), f"{package} imports"


def test_the_package_itself_loads_nothing_heavy() -> None:
    loaded = loaded_after("import tcnn_codec; assert tcnn_codec.__version__")
    assert not loaded & {"torch", "numpy", "PIL", "av", "decord", "constriction"}
