"""Every output goes through one door: regular files are replaced whole, everything else is written into."""

import json
import os
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import onepixel
from onepixel.architectures.digits_cnn import DigitsCNN
from onepixel.cli import main
from onepixel.errors import BudgetError, UsageError
from onepixel.files import atomic_path, write_text
from onepixel.printable import escaped


def test_link_stays_a_link_and_what_it_names_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "report.html", tmp_path / "link.html"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "real" / "made")
    write_text(dangling, "made")
    assert dangling.is_symlink()
    assert (tmp_path / "real" / "made").read_text() == "made"
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["made", "report.html"]


def test_pipe_is_written_into_and_stays_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join(10)
    assert read == ["through"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_device_is_an_error_and_stays_a_device() -> None:
    write_text("/dev/null", "gone")
    with pytest.raises(UsageError, match="Cannot write /dev/full: No space left"):
        write_text("/dev/full", "too much")
    assert Path("/dev/full").is_char_device()
    assert not Path("/dev/full").is_file()
    assert Path("/dev/null").is_char_device()


def test_nothing_is_written_where_the_block_fails(tmp_path: Path) -> None:
    for name in ("plain", "pipe"):
        (tmp_path / name).write_text("old") if name == "plain" else os.mkfifo(tmp_path / name)
        with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / name) as temporary:
            temporary.write_text(f"half {1 / 0}")
    assert (tmp_path / "plain").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "plain"]


def test_every_output_of_signature_goes_through_links(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(DigitsCNN(10).state_dict(), tmp_path / "m.pth")
    for name in ("out", "plot.png"):
        (tmp_path / name).symlink_to(tmp_path / f"real-{name}")
    words = ["signature", str(tmp_path / "m.pth"), "--architecture", "digits_cnn", "--normalize", "none", "--quiet"]
    words += ["--values", "2", "--out", str(tmp_path / "out"), "--plot", str(tmp_path / "plot.png")]
    assert main(words) == 0
    for name in ("out", "plot.png"):
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / f"real-{name}").stat().st_size > 100


def test_file_names_are_shown_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped("a\nb\x1b[2J\u2028\udc80é") == "a\\nb\\x1b[2J\\u2028\\udc80é"
    name = "model\nonepixel: no evidence of a backdoor.pth"
    torch.manual_seed(0)
    torch.save(DigitsCNN(10).state_dict(), tmp_path / name)
    classifier = onepixel.load_classifier(tmp_path / name, architecture="digits_cnn", normalize="none")
    assert classifier.name == name.replace("\n", "\\n")
    out = tmp_path / "a\nb"
    words = ["signature", str(tmp_path / name), "--architecture", "digits_cnn", "--normalize", "none", "--quiet"]
    assert main([*words, "--values", "2", "--out", str(out)]) == 0
    assert "a\\nb: 10 classes" in capsys.readouterr().out
    assert json.dumps(onepixel.Signature.load(out).classifier) == json.dumps(classifier.name)
    assert main(["signature", str(tmp_path / "no\nfile"), "--out", str(out)]) == 2
    assert "no\\nfile" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["exhaustive", "adaptive"])
def test_budget_is_named_as_it_was_given_for_all_default_images_together(engine: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    classifier = onepixel.as_classifier(module, input_shape=(1, 8, 8))
    images = torch.rand(10, 1, 8, 8).numpy()
    with pytest.raises(BudgetError, match=r"needs [0-9,]{6,} queries or more but the budget is 3,005") as raised:
        onepixel.signature(classifier, default_image=images, engine=engine, budget=3005)
    needed = int(str(raised.value).split()[3].replace(",", ""))
    assert needed > 10 * 64 * 13
    with pytest.raises(BudgetError, match="budget is 3"):
        onepixel.signature(classifier, default_image=images, engine=engine, budget=3)
