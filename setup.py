"""Runs CMake for the native modules, and adds the page; everything else is in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()


class PageBuild(build_py):
    """Puts web/, which stands beside the package, into it. An editable installation has no need."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "tcnn_codec" / "web"
        target.mkdir(parents=True, exist_ok=True)
        for suffix in ("html", "css", "js"):
            for file in (ROOT / "web").glob(f"*.{suffix}"):
                shutil.copy(file, target)


class CMakeBuild(build_ext):
    """Builds tcnn_codec._cpu, and _cuda where it can be, with CMake and Ninja, into wherever
    setuptools wants them."""

    def build_extension(self, ext: Extension) -> None:
        if ext.optional:
            return  # built with the other one, or not
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            "-G",
            "Ninja",
            # Named, since a build folder outlives the environment that pip builds in.
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]
        for command in (configure, ["cmake", "--build", str(build)]):
            if subprocess.run(command).returncode != 0:
                raise SystemExit(
                    "error: the native module was not built, the reason stands above; it needs a "
                    "C++17 compiler and Python's headers (Debian: apt install g++ python3-dev)"
                )


setup(
    ext_modules=[
        Extension("tcnn_codec._coders", sources=[]),
        Extension("tcnn_codec._cpu", sources=[], optional=True),
        Extension("tcnn_codec._cuda", sources=[], optional=True),
    ],
    cmdclass={"build_py": PageBuild, "build_ext": CMakeBuild},
)
