"""The command line as a whole: quick, quiet when it is stopped, and every flag explained."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from napari_labdct import cli
from napari_labdct.core.jobs import Progress

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "sample_data" / "demo"


def _python(*arguments: str, **how) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # of tests that run in the background, children would ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **how,
    )  # fmt: skip


def test_help_imports_no_command():
    heavy = "numpy numba torch napari_labdct.cli.denoise napari_labdct.cli.common"
    script = (
        "import sys\nfrom napari_labdct.cli import main\ntry: main(['--help'])\n"
        f"except SystemExit: print([m for m in {heavy.split()} if m in sys.modules])"
    )
    out, err = _python("-c", script).communicate(timeout=60)
    assert out.splitlines()[-1] == "[]", err
    for line in cli.COMMANDS.values():
        assert line.split()[0] in out


def _flags(name: str) -> list[argparse.Action]:
    parser = cli.make_parser(name)
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return commands.choices[name]._actions


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_says_only_defaults_that_there_are(name):
    shown = [a for a in _flags(name) if a.help != argparse.SUPPRESS]
    assert len(shown) > 1
    for action in shown:
        assert "default: None" not in (action.help or ""), action.option_strings
        assert "default: )" not in (action.help or ""), action.option_strings


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_written_file_is_called_an_output(name):
    for action in _flags(name):
        if (
            action.dest in ("output", "write_mask", "table", "labels")
            and action.help != argparse.SUPPRESS
            and not action.choices  # a setting of this name
        ):
            assert action.help, (name, action.option_strings)
            assert action.help.startswith("output: "), (name, action.option_strings)


def test_the_earlier_names_of_flags_are_taken_and_hidden(capsys):
    def parsed(*words: str) -> argparse.Namespace:
        return cli.make_parser(words[0]).parse_args(words)

    assert parsed("denoise", "S", "-o", "c.tif", "--looks", "8").augmentations == 8
    assert "--looks is called --augmentations now" in capsys.readouterr().err
    assert parsed("evaluate", "compact", "--looks", "1", "8").augmentations == [1, 8]
    assert parsed("evaluate", "compact").augmentations == [1]
    assert parsed("denoise", "S", "-o", "c.tif", "--spots", "m.tif").write_mask == "m.tif"
    assert parsed("spots", "S", "--binary", "m.tif").write_mask == "m.tif"
    assert parsed("spots", "S", "--cleaned", "c.tif").denoised == "c.tif"
    assert "--cleaned is called --denoised now" in capsys.readouterr().err
    assert parsed("track", "S", "--cleaned", "c.tif", "-o", "t.tif").denoised == "c.tif"
    with pytest.raises(SystemExit):  # one of the two is needed
        parsed("track", "S", "-o", "t.tif")
    assert "--denoised" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["denoise", "--help"])
    shown = capsys.readouterr().out
    assert "--looks" not in shown
    assert "--spots" not in shown


def test_a_scan_does_not_swallow_what_stands_behind_it():
    words = ["compare", "--scan", "S", "A", "B", "-o", "out"]
    given = cli.make_parser("compare").parse_args(words)
    assert (given.scan, given.a, given.b) == (["S"], "A", "B")
    words = ["evaluate", "--scan", "S", "--scan", "T", "compact", "--truth", "X"]
    given = cli.make_parser("evaluate").parse_args(words)
    assert (given.scan, given.what) == (["S", "T"], ["compact"])


@pytest.mark.parametrize(
    ("name", "words"), [("denoise", "goes on where it stopped"), ("compare", "begins again")]
)
def test_ctrl_c_promises_only_what_is_kept(name, words, monkeypatch, capsys):
    def interrupted(chosen):  # as soon as a command's module is being imported
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "make_parser", interrupted)
    assert cli.main([name, "S"]) == 130
    assert capsys.readouterr().err == f"labdct: stopped; the same command {words}.\n"


def test_ctrl_c_while_modules_are_imported_is_no_traceback(tmp_path):
    """`sitecustomize` sends the signal when numba, which takes longest, is asked for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    process = _python(
        "-m", "napari_labdct", "info", str(DEMO), env={**os.environ, "PYTHONPATH": path}
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "labdct: stopped; the same command begins again.\n"


@pytest.mark.parametrize("module", ["lazy_loader", "argparse", "napari_labdct.cli.info", "yaml"])
@pytest.mark.parametrize("way", ["labdct", "python -m"])
def test_ctrl_c_in_the_first_moments_is_one_sentence(module, way, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
    )
    script = tmp_path / "labdct"  # as pip writes it
    script.write_text("import sys\nfrom napari_labdct.cli import main\nsys.exit(main())\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    start = [str(script)] if way == "labdct" else ["-m", "napari_labdct"]
    process = _python(*start, "info", str(DEMO), env={**os.environ, "PYTHONPATH": path})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "labdct: stopped; the same command begins again.\n"


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [(["--help"], ""), (["info", str(DEMO)], ""), (["info", str(DEMO)], "1")],
)
def test_a_reader_that_goes_away_is_no_fault(words, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_labdct", *words], stdout=writing, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 141


def test_ctrl_c_in_a_training_ends_with_130_and_keeps_it(tmp_path, monkeypatch, capsys):
    from napari_labdct.training import loop

    def steps(settings, folder, *_more):
        for done in range(1, 100):
            if (Path(folder) / "stop").exists():
                return
            if done == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield Progress(done, 100)
        pytest.fail("did not stop")

    monkeypatch.setattr(loop, "train", steps)
    assert cli.main(["train", str(tmp_path / "t")]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def test_the_rate_counts_only_what_was_made_now(monkeypatch):
    """Resuming after a survey of more steps than are left gave a negative rate."""
    import tqdm

    from napari_labdct.cli.common import show_progress

    bars = []

    class Bar(tqdm.tqdm):
        def close(self):
            bars.append((self.initial, self.n, self.total))
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    survey = [Progress(n, 40) for n in (0, 20, 40)]
    filled = (Progress(n, 40) for n in range(30, 38))
    show_progress((step for part in (survey, filled) for step in part), "track")
    assert bars[0] == (30, 37, 40)
