"""Builds pydiff._native (C++, once per instruction set) and compiles autograd/tape.py with Cython.

Switches, from the environment: PYDIFF_OPENMP=auto|on|off; PYDIFF_SANITIZE=address,undefined|thread;
PYDIFF_NATIVE=1: -march=native outside the kernels, for one's own machine only; PYDIFF_ISAS=v2,v3:
which kernels to build; PYDIFF_WERROR=0: for compilers that warn about more; CXX, CXXFLAGS,
LDFLAGS. Everything else is in pyproject.toml.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
CSRC = Path("csrc")
TAPE = Path("pydiff/autograd/tape.py")

FLAGS = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra"]
ISA_FLAGS = {
    "v2": ["-march=x86-64-v2"],
    # prefetchw is no part of v3; a processor that lacks it skips it.
    "v3": ["-march=x86-64-v3", "-mprfchw"],
    "v4": ["-march=x86-64-v4", "-mprfchw", "-mprefer-vector-width=512"],
    "neon": [],
    "scalar": [],
}
X86, ARM = ("v2", "v3", "v4"), ("neon",)
NATIVE_ISAS = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}


def say(message: str) -> None:
    print(f"pydiff: {message}", file=sys.stderr, flush=True)


def run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise CompileError(f"{shlex.join(command)}\n{result.stdout}{result.stderr}")


def compiler() -> list[str]:
    """CXX, or the first C++ compiler found."""
    given = shlex.split(os.environ.get("CXX", ""))
    for candidate in [given] if given else [["g++"], ["c++"], ["clang++"]]:
        if shutil.which(candidate[0]):
            return candidate
    wanted = given[0] if given else "g++"
    raise SystemExit(
        f"pydiff: no C++ compiler: {wanted} was not found. Install g++ 9 or newer (Debian, Ubuntu: "
        "apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install) or set CXX."
    )


def isas() -> list[str]:
    chosen = os.environ.get("PYDIFF_ISAS")
    names = chosen.split(",") if chosen else NATIVE_ISAS.get(platform.machine(), ("scalar",))
    for name in names:
        if name not in ISA_FLAGS:
            raise SystemExit(f"pydiff: PYDIFF_ISAS: {name!r} is none of {', '.join(ISA_FLAGS)}")
    return list(names)


def openmp_works(cxx: list[str]) -> bool:
    program = "#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(program)
        try:
            run([*cxx, "-fopenmp", str(source), "-o", str(source.with_suffix(""))])
        except CompileError:
            return False
    return True


def openmp_flags(cxx: list[str]) -> list[str]:
    """Compile and link flags for OpenMP; without it, threads come from core/parallel.cpp's pool.

    `auto` takes the pool: it is as fast as libgomp on an idle machine and several times as fast on
    a busy one (docs/performance.md), survives fork, and adds no second OpenMP runtime to a process.
    """
    wanted = os.environ.get("PYDIFF_OPENMP", "auto")
    if wanted not in ("auto", "on", "off"):
        raise SystemExit(f"pydiff: PYDIFF_OPENMP={wanted!r}; allowed: auto, on, off")
    if wanted == "on" and not openmp_works(cxx):
        raise SystemExit(f"pydiff: PYDIFF_OPENMP=on, but {cxx[0]} -fopenmp cannot link a program")
    if wanted == "on":
        return ["-fopenmp", "-DPYDIFF_OPENMP"]
    say("* building without OpenMP: kernels run on pydiff's own thread pool")
    return ["-pthread"]


def sanitizers() -> list[str]:
    return [name for name in os.environ.get("PYDIFF_SANITIZE", "").split(",") if name]


def sanitizer_flags() -> list[str]:
    names = sanitizers()
    if not names:
        return []
    return [f"-fsanitize={','.join(names)}", "-fno-sanitize-recover=all", "-g1"]


class Job:
    """One object file: how to compile it, and whether it is older than what it was made of."""

    def __init__(self, command: list[str], source: Path, target: Path) -> None:
        depfile = target.with_suffix(".d")
        self.target, self.depfile = target, depfile
        self.stamp = target.with_suffix(".cmd")
        self.command = [*command, "-MMD", "-MF", str(depfile), "-c", str(source), "-o", str(target)]

    def is_current(self) -> bool:
        try:
            if self.stamp.read_text() != shlex.join(self.command):
                return False
            words = self.depfile.read_text().replace("\\\n", " ").split()[1:]
            made = self.target.stat().st_mtime_ns
            return all(os.stat(word).st_mtime_ns <= made for word in words)
        except OSError:
            return False

    def run(self) -> None:
        if self.is_current():
            return
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.unlink(missing_ok=True)
        run(self.command)
        self.stamp.write_text(shlex.join(self.command))


def jobs(cxx: list[str], openmp: list[str], objects: Path) -> list[Job]:
    """Every object of the module: kernels per instruction set, the rest with baseline flags."""
    import pybind11

    names = isas()
    user = shlex.split(os.environ.get("CXXFLAGS", ""))
    common = [*cxx, *FLAGS, f"-I{CSRC}", *sanitizer_flags(), *user]
    if os.environ.get("PYDIFF_WERROR", "1") != "0":
        common.append("-Werror")
    # No -march: a processor below v2 must reach the message that says so.
    native = ["-march=native"] if os.environ.get("PYDIFF_NATIVE") == "1" else []
    baseline = [*common, "-O2", *native]
    for_each = f"-DPYDIFF_FOR_EACH_ISA(X)={' '.join(f'X({name})' for name in names)}"
    core = [*baseline, *openmp, for_each]
    python = sysconfig.get_path("include")
    bindings = [*baseline, "-isystem", pybind11.get_include(), "-isystem", python]
    bindings.append(f'-DPYDIFF_SANITIZE="{",".join(sanitizers())}"')

    optimised = "-O1" if sanitizers() else "-O3"  # -O3 with sanitizers compiles for many minutes
    # The slowest first: bindings, then kernels.
    result = [Job(bindings, f, objects / f"bindings/{f.stem}.o") for f in sources("bindings")]
    for name in names:
        kernel = [*common, optimised, *ISA_FLAGS[name], f"-DPYDIFF_ISA={name}"]
        result += [Job(kernel, f, objects / f"{name}/{f.stem}.o") for f in sources("kernels")]
        table = [*baseline, f"-DPYDIFF_ISA={name}"]
        result.append(Job(table, CSRC / "isa/table.cpp", objects / f"tables/{name}.o"))
    for folder in ("core", "plan"):
        result += [Job(core, f, objects / f"{folder}/{f.stem}.o") for f in sources(folder)]
    return result


def sources(folder: str) -> list[Path]:
    return sorted((CSRC / folder).glob("*.cpp"))


class BuildExt(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or True  # the tape beside the kernels

    def build_extension(self, ext: Extension) -> None:
        if ext.name == "pydiff._native":
            self.build_native(Path(self.get_ext_fullpath(ext.name)))
        else:
            super().build_extension(ext)

    def build_native(self, target: Path) -> None:
        cxx = compiler()
        openmp = openmp_flags(cxx)
        work = jobs(cxx, openmp, Path(self.build_temp, "native"))
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(Job.run, work))
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        threads = "-fopenmp" if "-fopenmp" in openmp else "-pthread"
        user = shlex.split(os.environ.get("LDFLAGS", ""))
        fresh = target.with_suffix(".tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        link = [*cxx, *(shared or ["-shared"]), *(str(job.target) for job in work)]
        run([*link, threads, *sanitizer_flags(), *user, "-o", str(fresh)])
        os.replace(fresh, target)

    def copy_extensions_to_source(self) -> None:
        """For --inplace: a process that has the old file loaded keeps it, unharmed."""
        for ext in self.extensions:
            built = Path(self.build_lib, self.get_ext_filename(ext.name))
            if ext.name == "pydiff._native" and not sanitizers():
                check_links(built)
            target = ROOT / self.get_ext_filename(ext.name)
            fresh = target.with_suffix(".tmp")
            shutil.copy2(built, fresh)
            os.replace(fresh, target)


def check_links(built: Path) -> None:
    """Every symbol must resolve. Not an import: that needs numpy, which a build lacks."""
    run([sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(built)])


def extensions() -> list[Extension]:
    found = [Extension("pydiff._native", sources=[])]
    if TAPE.exists():
        from Cython.Build import cythonize

        tape = Extension("pydiff.autograd.tape", [str(TAPE)], extra_compile_args=["-O2", "-g0"])
        found += cythonize([tape], language_level=3, quiet=True)
    return found


os.chdir(ROOT)
setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
