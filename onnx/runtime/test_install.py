"""Runs the installer against a made-up `pip` and tiny wheels: no network, no real library.

Guards the installer's invariant: after every outcome the folder is complete or as it was, and nothing else is left.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import zipfile
from unittest import mock

import install

HERE = pathlib.Path(__file__).resolve().parent
WHERE = "linux x86_64"

# What `python3 -m pip` runs here. `calls` counts downloads; `behaviour` says how this one goes.
FAKE_PIP = """
import os, pathlib, shutil, sys, time
stage = pathlib.Path(os.environ["FAKE_PIP_STAGE"])
if sys.argv[1] == "--version":
    sys.exit("no module named pip" if (stage / "absent").exists() else 0)
project = sys.argv[2].split("==")[0]
with open(stage / "calls", "a") as calls:
    calls.write(project + "\\n")
into = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
into.mkdir(exist_ok=True)
behaviour = (stage / "behaviour").read_text()
if behaviour == "fail":
    print("WARNING: retrying\\nERROR: could not resolve the host", file=sys.stderr)
    sys.exit(1)
if behaviour == "full":
    sys.exit("ERROR: [Errno 28] No space left on device")
if behaviour == "hang":
    (into / "half.whl").write_text("half")
    (stage / "pip-process").write_text(str(os.getpid()))
    time.sleep(60)
shutil.copy(stage / (project + ".whl"), into / (project + "-1-any.whl"))
"""


class Install(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.stage = pathlib.Path(temporary.name, "stage")
        self.parent = pathlib.Path(temporary.name, "parent")
        self.folder = self.parent / "runtime"
        (self.stage / "pip").mkdir(parents=True)
        self.parent.mkdir()
        (self.stage / "pip" / "__init__.py").write_text("")
        (self.stage / "pip" / "__main__.py").write_text(FAKE_PIP)
        self.environment = {"PYTHONPATH": str(self.stage), "FAKE_PIP_STAGE": str(self.stage)}
        self.pip_will("succeed")
        self.wheels = {
            (WHERE, "cpu"): [self.wheel("core", {"core.so": "the core"})],
            (WHERE, "cuda"): [self.wheel("gpu", {"core.so": "the core, for gpus"}), self.wheel("nv", {"nv.so": "nv"})],
        }

    def wheel(self, project, files, extra=()):
        """Makes a wheel that pip can get, and its pin."""
        path = self.stage / (project + ".whl")
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr("package/" + name, text)
            for name in extra:
                archive.writestr(name, "more")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return install.Wheel(project, "1", "any", digest, 1, {name: "package/" + name for name in files})

    def pip_will(self, behaviour):
        (self.stage / "behaviour").write_text(behaviour)

    def pip_calls(self):
        calls = self.stage / "calls"
        return calls.read_text().split() if calls.exists() else []

    def take_pip_away(self, venv):
        """`python3 -m pip` fails; `venv` stands in for `python3 -m venv`, which takes seconds."""
        (self.stage / "absent").touch()
        (self.stage / "venv").mkdir()
        (self.stage / "venv" / "__init__.py").touch()
        (self.stage / "venv" / "__main__.py").write_text(textwrap.dedent(venv))

    def run_installer(self, *options, where=WHERE):
        """The exit status and what stderr says."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, self.environment))
            stack.enter_context(mock.patch.object(install, "WHEELS", self.wheels))
            if where:
                stack.enter_context(mock.patch.object(install, "platform_name", lambda: where))
            said = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            return install.main([str(self.folder), *options]), said.getvalue()

    def installed(self):
        return {path.name: path.read_text() for path in self.folder.iterdir() if path.name != "installed.json"}

    def assert_nothing_left(self, *expected):
        self.assertEqual(sorted(os.listdir(self.parent)), sorted(expected))

    def assert_fails(self, outcome, *fragments):
        status, said = outcome
        self.assertEqual(status, 1, said)
        self.assertRegex(said, r"(?m)^error: .+[^.]$")
        self.assertRegex(said, r"(?m)^hint: .+[^.]$")
        for fragment in fragments:
            self.assertIn(fragment, said)

    def test_a_fresh_install_lays_down_files_and_manifest(self):
        status, said = self.run_installer()
        self.assertEqual(status, 0, said)
        self.assertIn("downloading core 1 (1 MB) for linux x86_64", said)
        self.assertEqual(self.installed(), {"core.so": "the core"})
        manifest = json.loads((self.folder / "installed.json").read_text())
        self.assertEqual(manifest, {
            "onnxruntime": install.VERSION,
            "flavor": "cpu",
            "preload": [],
            "wheels": {"core-1-any.whl": self.wheels[WHERE, "cpu"][0].sha256},
            "files": {"core.so": 8},
        })
        self.assert_nothing_left("runtime")

    def test_missing_parent_folders_are_made(self):
        self.folder = self.parent / "a" / "b"
        self.assertEqual(self.run_installer()[0], 0)
        self.assertEqual(self.installed(), {"core.so": "the core"})

    def test_an_empty_folder_is_used(self):
        self.folder.mkdir()
        self.assertEqual(self.run_installer()[0], 0)
        self.assert_nothing_left("runtime")

    def test_a_second_run_calls_no_pip(self):
        self.run_installer()
        status, said = self.run_installer()
        self.assertEqual(status, 0)
        self.assertIn("already installed", said)
        self.assertEqual(self.pip_calls(), ["core"])

    def test_force_installs_again(self):
        self.run_installer()
        self.assertEqual(self.run_installer("--force")[0], 0)
        self.assertEqual(self.pip_calls(), ["core", "core"])
        self.assert_nothing_left("runtime")

    def test_a_damaged_install_is_replaced(self):
        self.run_installer()
        (self.folder / "core.so").write_text("cut")
        self.assertEqual(self.run_installer()[0], 0)
        self.assertEqual(self.installed(), {"core.so": "the core"})

    def test_an_install_that_lacks_a_file_taken_by_now_is_replaced(self):
        self.run_installer()
        self.wheels[WHERE, "cpu"][0].takes["again.so"] = "package/core.so"
        self.assertEqual(self.run_installer()[0], 0)
        self.assertEqual(self.installed(), {"core.so": "the core", "again.so": "the core"})

    def test_an_install_from_other_pins_is_replaced(self):
        self.run_installer()
        self.wheels[WHERE, "cpu"] = [self.wheel("core", {"core.so": "newer"})]
        self.assertEqual(self.run_installer()[0], 0)
        self.assertEqual(self.installed(), {"core.so": "newer"})

    def test_a_cuda_install_does_for_a_plain_request_but_not_the_other_way_round(self):
        self.run_installer()
        self.assertEqual(self.run_installer("--cuda")[0], 0)
        self.assertEqual(self.installed(), {"core.so": "the core, for gpus", "nv.so": "nv"})
        self.assertIn("(cuda) is already installed", self.run_installer()[1])
        self.assertEqual(self.pip_calls(), ["core", "gpu", "nv"])

    def test_a_wheel_with_another_hash_leaves_nothing(self):
        self.wheels[WHERE, "cpu"][0] = self.wheels[WHERE, "cpu"][0]._replace(sha256="0" * 64)
        self.assert_fails(self.run_installer(), "core-1-any.whl has sha256", "0" * 64)
        self.assert_nothing_left()

    def test_a_failing_pip_is_quoted_and_the_earlier_install_stays(self):
        self.run_installer()
        self.pip_will("fail")
        outcome = self.run_installer("--cuda")
        self.assert_fails(outcome, "pip could not download gpu 1", "ERROR: could not resolve the host")
        self.assertEqual(self.installed(), {"core.so": "the core"})
        self.assert_nothing_left("runtime")

    def test_a_full_disk_is_named_as_such(self):
        self.pip_will("full")
        self.assert_fails(self.run_installer(), "No space left", "hint: free some space")
        self.assert_nothing_left()

    def test_a_swap_that_fails_puts_the_earlier_install_back(self):
        self.run_installer()
        rename = os.rename

        def failing(source, target):
            if os.path.basename(source) == "fresh":
                raise PermissionError(13, "in use", target)
            rename(source, target)

        with mock.patch.object(os, "rename", failing):
            self.assert_fails(self.run_installer("--force"), "runtime: in use")
        self.assertEqual(self.installed(), {"core.so": "the core"})
        self.assert_nothing_left("runtime")

    def start(self, *options):
        """The installer as its own process, with the table of this test."""
        driver = textwrap.dedent("""
            import sys, install
            install.WHEELS = {(%r, "cpu"): [install.Wheel(*%r)]}
            install.platform_name = lambda: %r
            sys.exit(install.main(sys.argv[1:]))
        """) % (WHERE, tuple(self.wheels[WHERE, "cpu"][0]), WHERE)
        environment = dict(os.environ, **self.environment)
        environment["PYTHONPATH"] += os.pathsep + str(HERE)
        process = subprocess.Popen([sys.executable, "-c", driver, str(self.folder), *options], env=environment,
                                   stderr=subprocess.PIPE, universal_newlines=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def start_and_wait_for_a_half_download(self):
        self.pip_will("hang")
        process = self.start()
        note = self.stage / "pip-process"
        deadline = time.monotonic() + 20
        while not (note.exists() and note.read_text()):
            self.assertLess(time.monotonic(), deadline, "pip never started")
            time.sleep(0.02)
        return process, int(note.read_text())

    @unittest.skipIf(os.name == "nt", "windows ends a process without asking it")
    def test_sigterm_in_a_download_leaves_nothing_and_ends_pip(self):
        process, pip = self.start_and_wait_for_a_half_download()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
        self.assertEqual(process.returncode, 128 + signal.SIGTERM, said)
        self.assertIn("error: stopped by signal 15", said)
        self.assert_nothing_left()
        with self.assertRaises(ProcessLookupError):
            os.kill(pip, 0)

    @unittest.skipIf(os.name == "nt", "windows ends a process without asking it")
    def test_what_a_killed_run_left_is_removed_by_the_next(self):
        process, pip = self.start_and_wait_for_a_half_download()
        process.kill()
        process.wait()
        os.kill(pip, signal.SIGKILL)
        self.assertEqual(len(os.listdir(self.parent)), 1)
        self.pip_will("succeed")
        self.assertEqual(self.run_installer()[0], 0)
        self.assert_nothing_left("runtime")

    def test_the_temporary_folder_of_a_live_run_is_left_alone(self):
        process, _pip = self.start_and_wait_for_a_half_download()
        self.pip_will("succeed")
        self.assertEqual(self.run_installer()[0], 0)
        self.assertEqual(len(os.listdir(self.parent)), 2)
        process.terminate()
        process.communicate(timeout=20)

    def test_concurrent_runs_all_succeed(self):
        processes = [self.start("--force") for _ in range(6)]
        said = [process.communicate(timeout=60)[1] for process in processes]
        self.assertEqual([process.returncode for process in processes], [0] * 6, said)
        self.assertEqual(self.installed(), {"core.so": "the core"})
        self.assert_nothing_left("runtime")

    def test_a_folder_of_someone_elses_is_refused(self):
        self.folder.mkdir()
        for name, text in (("photo", "mine"), ("installed.json", "[1]"), ("installed.json", "{")):
            (self.folder / name).write_text(text)
            self.assert_fails(self.run_installer("--force"), "was not made by this installer")
            self.assertEqual((self.folder / name).read_text(), text)
        self.assertEqual(self.pip_calls(), [])

    def test_a_file_in_the_way_is_refused(self):
        self.folder.write_text("mine")
        self.assert_fails(self.run_installer(), "was not made by this installer")
        self.assertEqual(self.folder.read_text(), "mine")

    def test_a_wheel_entry_that_leads_outside_is_refused(self):
        for entry in ("package/../../escaped", "/escaped", "C:/escaped", "..\\escaped"):
            self.wheels[WHERE, "cpu"] = [self.wheel("core", {"core.so": "the core"}, [entry])]
            self.assert_fails(self.run_installer(), entry, "leads outside")
            self.assert_nothing_left()

    def test_a_wheel_without_the_library_is_refused(self):
        wheel = self.wheels[WHERE, "cpu"][0]
        self.wheels[WHERE, "cpu"] = [wheel._replace(takes={"core.so": "package/other.so"})]
        self.assert_fails(self.run_installer(), "holds no package/other.so")
        self.assert_nothing_left()

    def test_platforms_without_a_pin_are_named(self):
        for system, machine, its_libc, named in (
            ("Linux", "x86_64", ("", ""), "linux x86_64 without glibc"),
            ("Linux", "x86_64", ("glibc", "2.17"), "glibc 2.17"),
            ("Linux", "riscv64", ("glibc", "2.36"), "linux riscv64"),
            ("Windows", "ARM64", ("", ""), "windows arm64"),
            ("Darwin", "x86_64", ("", ""), "macos x86_64"),
        ):
            with mock.patch("platform.system", lambda: system), mock.patch("platform.machine", lambda: machine), \
                    mock.patch("platform.libc_ver", lambda: its_libc):
                self.assert_fails(self.run_installer(where=None), "has no build for", named)
        self.assertEqual(self.pip_calls(), [])

    def test_cuda_is_refused_where_it_is_not_pinned(self):
        self.wheels["windows x86_64", "cpu"] = self.wheels[WHERE, "cpu"]
        outcome = self.run_installer("--cuda", where="windows x86_64")
        self.assert_fails(outcome, "no CUDA libraries are pinned for windows x86_64")

    def test_without_pip_and_without_venv_the_hint_says_what_to_install(self):
        self.take_pip_away(venv="raise SystemExit(1)")
        self.assert_fails(self.run_installer(), "has no pip", "python3-pip")
        self.assert_nothing_left()

    def test_without_pip_a_throw_away_environment_gets_the_wheel(self):
        self.take_pip_away(venv="""
            import os, pathlib, sys
            windows = os.name == "nt"
            python = pathlib.Path(sys.argv[1], "Scripts" if windows else "bin", "python.exe" if windows else "python")
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
        """)
        status, said = self.run_installer()
        self.assertEqual(status, 0, said)
        self.assertEqual(self.installed(), {"core.so": "the core"})
        self.assert_nothing_left("runtime")


class Pins(unittest.TestCase):
    def test_every_wheel_is_pinned_by_a_hash_and_every_file_comes_from_one_wheel(self):
        for key, wheels in install.WHEELS.items():
            with self.subTest(key):
                names = [name for wheel in wheels for name in wheel.takes]
                self.assertEqual(len(names), len(set(names)))
                self.assertTrue(all(name == os.path.basename(name) for name in names))
                self.assertLessEqual(set(install.PRELOAD[key[1]]), set(names))
                for wheel in wheels:
                    self.assertRegex(wheel.sha256, "^[0-9a-f]{64}$")


if __name__ == "__main__":
    unittest.main()
