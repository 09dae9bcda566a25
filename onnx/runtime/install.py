#!/usr/bin/env python3
"""Lays down the pinned ONNX Runtime library in a folder of its own; with --cuda also what its CUDA provider loads.

Invariant: the folder is complete, every library in it from a wheel whose SHA-256 is pinned here, or it is as it was.

`latentdb runtime install` embeds this file and hands it to `python3 -I -`, so nothing here may ask for `__file__`.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from typing import Dict, NamedTuple

VERSION = "1.31.1"
# The wheels' Python is fixed, whatever runs this file: one wheel a platform, so one hash a platform.
PYTHON_TAGS = ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]
GLIBC = (2, 28)


class Wheel(NamedTuple):
    """One pinned file of the package index, and what is taken out of it."""

    project: str
    version: str
    tag: str
    sha256: str
    megabytes: int
    takes: Dict[str, str]  # name in the folder -> entry of the wheel


def runtime(project, tag, sha256, megabytes, takes):
    """A wheel of ONNX Runtime itself. Its library gets the plain name: it is only ever opened by path."""
    entries = {name: "onnxruntime/capi/" + entry for name, entry in takes.items()}
    entries["LICENSE-onnxruntime.txt"] = "onnxruntime/LICENSE"
    entries["ThirdPartyNotices-onnxruntime.txt"] = "onnxruntime/ThirdPartyNotices.txt"
    return Wheel(project, VERSION, tag, sha256, megabytes, entries)


def nvidia(project, version, tag, sha256, megabytes, folder, names, licence):
    """A wheel of NVIDIA's; the files keep their names, which are their SONAMEs."""
    entries = {name: "nvidia/%s/lib/%s" % (folder, name) for name in names}
    if licence:
        dist_info = "%s-%s.dist-info" % (project.replace("-", "_"), version)
        entries[licence] = dist_info + "/licenses/License.txt"
    return Wheel(project, version, tag, sha256, megabytes, entries)


LINUX = {
    "libonnxruntime.so": "libonnxruntime.so." + VERSION,
    "libonnxruntime_providers_shared.so": "libonnxruntime_providers_shared.so",
}
LINUX_CUDA = dict(LINUX, **{"libonnxruntime_providers_cuda.so": "libonnxruntime_providers_cuda.so"})
MACOS = {"libonnxruntime.dylib": "libonnxruntime.%s.dylib" % VERSION}
WINDOWS = {name: name for name in ("onnxruntime.dll", "onnxruntime_providers_shared.dll")}

WHEELS = {
    ("linux x86_64", "cpu"): [
        runtime("onnxruntime", "manylinux_2_28_x86_64",
                "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536", 24, LINUX),
    ],
    ("linux aarch64", "cpu"): [
        runtime("onnxruntime", "manylinux_2_28_aarch64",
                "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc", 21, LINUX),
    ],
    ("macos arm64", "cpu"): [
        runtime("onnxruntime", "macosx_14_0_arm64",
                "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c", 21, MACOS),
    ],
    ("windows x86_64", "cpu"): [
        runtime("onnxruntime", "win_amd64",
                "ae8a9a351efda685cc59a66226cdefaa37a126c1d66872ca23a2de9425326130", 15, WINDOWS),
    ],
    # CUDA 13.0, the toolkit this runtime was built with, so that every driver that can run it will do (R580 and later).
    ("linux x86_64", "cuda"): [
        runtime("onnxruntime-gpu", "manylinux_2_28_x86_64",
                "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7", 256, LINUX_CUDA),
        nvidia("nvidia-cuda-runtime", "13.0.96", "manylinux2014_x86_64",
               "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", 2,
               "cu13", ["libcudart.so.13"], "LICENSE-cuda.txt"),
        nvidia("nvidia-cuda-nvrtc", "13.0.88", "manylinux2010_x86_64",
               "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", 90,
               "cu13", ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"], None),
        nvidia("nvidia-cublas", "13.1.0.3", "manylinux_2_27_x86_64",
               "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171", 423,
               "cu13", ["libcublasLt.so.13", "libcublas.so.13"], None),
        nvidia("nvidia-curand", "10.4.0.35", "manylinux_2_27_x86_64",
               "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc", 60,
               "cu13", ["libcurand.so.10"], None),
        nvidia("nvidia-cudnn-cu13", "9.20.0.48", "manylinux_2_27_x86_64",
               "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304", 366,
               "cudnn", ["libcudnn.so.9"] + ["libcudnn_%s.so.9" % part for part in (
                   "graph", "ops", "cnn", "adv", "heuristic", "engines_precompiled", "engines_runtime_compiled")],
               "LICENSE-cudnn.txt"),
    ],
}

# The CUDA provider and libnvrtc have no RUNPATH: they find the libraries they name only where those are loaded already.
# cuDNN's own parts are found by its RUNPATH, $ORIGIN.
PRELOAD = {
    "cpu": [],
    "cuda": ["libcudart.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13",
             "libcurand.so.10", "libcudnn.so.9"],
}

MANIFEST_KEYS = {"onnxruntime", "flavor", "preload", "wheels", "files"}

OTHER_WAY = "install ONNX Runtime 1.21 or newer another way and name its library in ORT_DYLIB_PATH"
SPACE = "free some space (it takes 0.1 GB while it runs, with --cuda 2.5 GB), or choose a folder on another disk"
REPORT = "the pins of this installer are wrong: report it to the project, or " + OTHER_WAY
NETWORK = "look at the network and at pip's settings (python3 -m pip config list), then try again"


class Failure(Exception):
    """What went wrong, and what to do about it."""

    def __init__(self, message, hint):
        super().__init__(message)
        self.hint = hint


class Stopped(BaseException):
    """A signal asks to stop; no handler of errors swallows it."""


def main(argv):
    parser = argparse.ArgumentParser(
        prog="install.py", description="install ONNX Runtime %s as a shared library into DIR" % VERSION)
    parser.add_argument("dir", metavar="DIR", help="folder of the library's own; made, or replaced as a whole")
    parser.add_argument("--cuda", action="store_true", help="with the CUDA provider and its libraries (1.2 GB)")
    parser.add_argument("--force", action="store_true", help="install again even where the install is intact")
    args = parser.parse_args(argv)
    try:
        with stoppable() as shut_out_signals:
            install(os.path.realpath(args.dir), "cuda" if args.cuda else "cpu", args.force, shut_out_signals)
        return 0
    except Stopped as stopped:
        say("error: stopped by signal %d; %s is as it was" % (stopped.args[0], args.dir))
        return 128 + stopped.args[0]
    except Failure as failure:
        say("error: %s" % failure)
        say("hint: %s" % failure.hint)
    except OSError as error:
        say("error: %s: %s" % (error.filename or args.dir, error.strerror or error))
        say("hint: %s" % (SPACE if error.errno == errno.ENOSPC else "choose a folder that can be written to"))
    return 1


def install(folder, flavor, force, shut_out_signals):
    where = platform_name()
    if (where, "cpu") in WHEELS and (where, flavor) not in WHEELS:
        raise Failure("no CUDA libraries are pinned for %s" % where, "leave out --cuda, or " + OTHER_WAY)
    if (where, flavor) not in WHEELS:
        raise Failure("onnxruntime %s has no build for %s" % (VERSION, where), OTHER_WAY)
    parent, name = os.path.split(folder)
    remove_leftovers(parent, name)
    manifest = read_manifest(folder)
    if not force and is_intact(folder, manifest, where, flavor):
        say("onnxruntime %s (%s) is already installed in %s" % (VERSION, manifest["flavor"], folder))
        return
    if manifest and manifest["flavor"] != flavor:
        say("replacing the %s install in %s by a %s one" % (manifest["flavor"], folder, flavor))

    os.makedirs(parent, exist_ok=True)
    temporary = os.path.join(parent, temporary_prefix(name) + str(os.getpid()))
    try:
        fresh = os.path.join(temporary, "fresh")
        os.makedirs(fresh)
        fill(fresh, temporary, where, flavor)
        # The rest takes a moment, and is not to be left in the middle.
        shut_out_signals()
        if force or not is_intact(folder, read_manifest(folder), where, flavor):
            move_into_place(fresh, folder, os.path.join(temporary, "replaced"))
    finally:
        shut_out_signals()
        shutil.rmtree(temporary, ignore_errors=True)
    say("installed onnxruntime %s (%s) in %s" % (VERSION, flavor, folder))


def platform_name():
    """This machine's key in `WHEELS`; a system whose C library can't load the wheels is named as such."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    if system == "linux":
        libc, version = platform.libc_ver()
        if libc != "glibc":
            return "linux %s without glibc (musl?)" % machine
        if tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
            return "linux %s with glibc %s (it needs %d.%d)" % ((machine, version) + GLIBC)
    return "%s %s" % ({"darwin": "macos"}.get(system, system), machine)


def read_manifest(folder):
    """What an earlier run says it laid down; None where there is nothing. Refuses a folder of someone else's."""
    try:
        if not os.listdir(folder):
            return None
        with open(os.path.join(folder, "installed.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        if (isinstance(manifest, dict) and MANIFEST_KEYS <= set(manifest) and manifest["flavor"] in list(PRELOAD)
                and isinstance(manifest["wheels"], dict) and isinstance(manifest["files"], dict)):
            return manifest
    except FileNotFoundError:
        if not os.path.lexists(folder):
            return None
    except (NotADirectoryError, ValueError):
        pass
    raise Failure(
        "%s exists and was not made by this installer" % folder, "choose another folder, or remove this one yourself")


def is_intact(folder, manifest, where, flavor):
    """Whether the install meets the request: same pins, every file of its size. CUDA's meets a plain one too."""
    if not manifest or manifest["flavor"] not in (flavor, "cuda"):
        return False
    pinned = WHEELS.get((where, manifest["flavor"]), [])
    if (sorted(map(str, manifest["wheels"].values())) != sorted(wheel.sha256 for wheel in pinned)
            or set(manifest["files"]) != {name for wheel in pinned for name in wheel.takes}
            or manifest["preload"] != PRELOAD[manifest["flavor"]]):
        return False
    try:
        return all(os.path.getsize(os.path.join(folder, name)) == size for name, size in manifest["files"].items())
    except OSError:
        return False


def fill(fresh, temporary, where, flavor):
    """Downloads, checks and unpacks one wheel after the other; the manifest comes last."""
    python = find_pip(temporary)
    wheels = {}
    for wheel in WHEELS[where, flavor]:
        say("downloading %s %s (%d MB) for %s" % (wheel.project, wheel.version, wheel.megabytes, where))
        path = download(python, wheel, temporary)
        found = sha256(path)
        if found != wheel.sha256:
            raise Failure(
                "%s has sha256 %s, but %s is pinned" % (os.path.basename(path), found, wheel.sha256),
                "empty pip's cache (python3 -m pip cache purge), check which index pip is set to, then try again")
        unpack(path, wheel.takes, fresh)
        wheels[os.path.basename(path)] = found
        # Gone before the next one comes: less room is needed.
        os.remove(path)
    manifest = {
        "onnxruntime": VERSION,
        "flavor": flavor,
        "preload": PRELOAD[flavor],
        "wheels": wheels,
        "files": {name: os.path.getsize(os.path.join(fresh, name)) for name in sorted(os.listdir(fresh))},
    }
    with open(os.path.join(fresh, "installed.json"), "x", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.write("\n")
        sync(file)
    sync_folder(fresh)


def find_pip(temporary):
    """A Python that has pip: this one, or a throw-away environment, so that the user's own is left alone."""
    if run([sys.executable, "-m", "pip", "--version"], temporary)[0] == 0:
        return sys.executable
    environment = os.path.join(temporary, "environment")
    if run([sys.executable, "-m", "venv", environment], temporary)[0] != 0:
        raise Failure("%s has no pip, and can't make an environment with it" % sys.executable,
                      "install pip (Debian, Ubuntu: apt install python3-pip), or " + OTHER_WAY)
    return os.path.join(environment, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def download(python, wheel, temporary):
    """The path of the wheel, as the user's own pip settings get it: mirror, proxy and cache are theirs."""
    into = os.path.join(temporary, "wheel")
    watched = sys.stderr.isatty()
    bar = ["--progress-bar", "on"] if watched else ["--progress-bar", "off", "--quiet"]
    command = [python, "-m", "pip", "download", "%s==%s" % (wheel.project, wheel.version), "--dest", into, "--no-deps",
               "--only-binary=:all:", "--platform", wheel.tag, "--no-input", "--disable-pip-version-check"]
    status, errors = run(command + PYTHON_TAGS + bar, temporary, sys.stderr if watched else subprocess.DEVNULL)
    if status != 0:
        last = [line.rstrip() for line in errors.splitlines() if line.strip()][-5:]
        raise Failure("pip could not download %s %s:\n  %s" % (wheel.project, wheel.version, "\n  ".join(last)),
                      SPACE if "No space left" in errors else NETWORK)
    found = [name for name in os.listdir(into) if name.endswith(".whl")]
    if len(found) != 1:
        raise Failure("pip left %d wheels for %s, not one" % (len(found), wheel.project), NETWORK)
    return os.path.join(into, found[0])


def run(command, temporary, output=subprocess.DEVNULL):
    """Runs a command to its end and returns its status and stderr. However this is left, nothing of it goes on."""
    posix = os.name == "posix"
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        # Python looks for modules in the working folder first: not in one that anybody may write to.
        cwd=temporary,
        # pip stores what it downloads in the system's temporary folder first, which may be small.
        env=dict(os.environ, TMPDIR=temporary, TEMP=temporary, TMP=temporary),
        universal_newlines=True,
        errors="replace",
        start_new_session=posix,
    )
    try:
        errors = process.communicate()[1]
        return process.returncode, errors
    finally:
        if process.returncode is None:
            # Already over but not yet waited for: macos then says it may not be signalled.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL) if posix else process.kill()
            process.wait()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def unpack(path, takes, into):
    """Writes the entries asked for, flat, into a folder. A wheel with any entry that leads outside is refused whole."""
    wheel = os.path.basename(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.namelist()
        for entry in entries:
            parts = re.split(r"[/\\]", entry)
            if ".." in parts or parts[0] == "" or ":" in parts[0]:
                raise Failure("%s holds the entry %s, which leads outside" % (wheel, entry), REPORT)
        for name, entry in takes.items():
            if entry not in entries:
                raise Failure("%s holds no %s" % (wheel, entry), REPORT)
            with archive.open(entry) as source, open(os.path.join(into, name), "xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                sync(target)


def move_into_place(fresh, folder, replaced):
    """Renames `fresh` to `folder`; an earlier install goes below `replaced`, and comes back if that fails.

    Another run may do the same at this moment, so a folder that appears or vanishes in between means: look again.
    """
    for attempt in range(20):
        aside = "%s-%d" % (replaced, attempt)
        try:
            if read_manifest(folder) is not None:
                os.rename(folder, aside)
            elif os.path.isdir(folder):
                os.rmdir(folder)
            os.rename(fresh, folder)
            break
        except OSError as error:
            if os.path.lexists(aside) and not os.path.lexists(folder):
                os.rename(aside, folder)
            if attempt == 19 or error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise
    sync_folder(os.path.dirname(folder))


def temporary_prefix(name):
    """The host is part of it: a process number says nothing on another machine, or in another container."""
    return ".%s.installing-%s-" % (name, re.sub(r"[^A-Za-z0-9]", "_", platform.node()))


def remove_leftovers(parent, name):
    """Removes the temporary folders of runs that were killed before they could do it."""
    prefix = temporary_prefix(name)
    for entry in os.listdir(parent) if os.path.isdir(parent) else []:
        owner = entry[len(prefix):]
        if entry.startswith(prefix) and owner.isdigit() and is_over(int(owner), os.path.join(parent, entry)):
            shutil.rmtree(os.path.join(parent, entry), ignore_errors=True)


def is_over(process, path):
    if process == os.getpid():
        return True
    try:
        if os.name == "nt":
            # Windows has no signal that only asks.
            return time.time() - os.path.getmtime(path) > 24 * 60 * 60
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


@contextlib.contextmanager
def stoppable():
    """Turns the signals that end a program into `Stopped`, once; gives a function that shuts them out from then on."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # Ignored from the start means nohup, or a shell's background job.
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def shut_out():
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    def stop(number, _frame):
        shut_out()
        raise Stopped(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield shut_out
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sync(file):
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder):
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def say(message):
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
