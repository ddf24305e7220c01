"""Folders and archives as they arrive: the model is found, what lies beside it is used, and no code is."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import onepixel
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening import Format, Limits
from onepixel.opening.archives import unpacked
from onepixel.opening.hub import HubName, hub_name
from onepixel.opening.recognise import recognise
from onepixel.opening.request import Request, SaidBy
from onepixel.signatures import Signature
from opening import model_files
from opening.conftest import Refused
from opening.model_files import SHAPE, Payload, network
from opening.test_checkpoints import FEW, opened, same


@pytest.fixture(scope="module")
def expected() -> Signature:
    return onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), **FEW)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return model_files.write_state_dict(network(), tmp_path_factory.mktemp("weights") / "m").read_bytes()


def zipped(contents: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(contents: dict[str, bytes], compression: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda weights: zipped({"readme.txt": b"hello", "run/net.pth": weights, "__MACOSX/._net.pth": b"x"}),
    "tar": lambda weights: tarred({"a/net.pth": weights, "a/optimizer.pt": b"x"}),
    "tar.gz": lambda weights: tarred({"net.pth": weights}, "gz"),
    "a zip in a zip": lambda weights: zipped({"net.pt": zipped({"inner.pth": weights})}),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_archive_with_one_model_gives_its_signature(
    packing: str, weights: bytes, tmp_path: Path, expected: Signature
) -> None:
    (tmp_path / "m").write_bytes(PACKINGS[packing](weights))
    assert recognise(tmp_path / "m", Limits()) is Format.PACKED
    assert same(opened(tmp_path / "m", architecture="lenet5"), expected)


@pytest.mark.parametrize("form", ["onnx", "safetensors", "torchscript", "exported"])
def test_every_format_is_opened_from_an_archive(form: str, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(gzip.compress(files[form].read_bytes()))
    said = {"safetensors": {"architecture": "lenet5"}}.get(form, {"outputs": "logits", "input_shape": SHAPE})
    images = torch.rand(2, *SHAPE)
    answers = opened(tmp_path / "m", **said)(images)
    torch.testing.assert_close(answers, network()(images).detach(), rtol=1e-4, atol=1e-4)


def test_archive_is_unpacked_in_the_sandbox(weights: bytes, tmp_path: Path, expected: Signature) -> None:
    (tmp_path / "m").write_bytes(gzip.compress(weights))
    classifier: Any = onepixel.load_classifier(tmp_path / "m", architecture="lenet5", normalize="none")
    assert "sandbox" in classifier.assumptions[0]
    assert "The file was decompressed." in classifier.assumptions
    assert same(classifier, expected)
    classifier.close()


def unpack(path: Path, limits: Limits | None = None) -> Any:
    limits = limits or Limits()
    return unpacked(Request.make(path, recognise(path, limits)), limits)


def test_bombs_climbing_names_links_and_pickles_in_archives_are_refused(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / "m"
    pickled = model_files.payload_by_reduce(marker)
    for contents, sentence in (
        (gzip.compress(bytes(1 << 26)), "unpacks to more than"),
        (gzip.compress(gzip.compress(bytes(1 << 28))), "unpacks"),
        (lzma.compress(bytes(1 << 26)), "unpacks to more than"),
        (tarred({"../../outside.pth": b"x" * 100}), "climbs out"),
        (tarred({"/etc/passwd.pth": b"x" * 100}), "climbs out"),
        (zipped({"..\\outside.pth": b"x" * 100}), "climbs out"),
        (zipped({"model.pkl": pickled}), "archive whose model.pkl is a pickle"),
        (gzip.compress(pickled), "archive whose contents is a pickle"),
        (zipped({"readme.txt": b"x"}), "holds no model file"),
        (tarred({}), "holds no model file"),
        (gzip.compress(b"hello" * 100)[:-20], "unpacking it"),
    ):
        path.write_bytes(contents)
        with pytest.raises(ModelFileError, match=sentence):
            unpack(path)
    nested = b"x" * 2000
    for _ in range(6):
        nested = gzip.compress(nested)
    path.write_bytes(nested)
    with pytest.raises(ModelFileError, match="archives inside one another"):
        unpack(path)
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("model.pth")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ModelFileError, match="holds no model file"):
        unpack(path)
    path.write_bytes(zipped({"a.pth": b"x", "b.pth": b"y"}))
    with pytest.raises(UsageError, match=r"2 model files \(a.pth, b.pth\)"):
        unpack(path)
    assert not marker.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["m"]


def test_zip_bomb_is_refused_from_the_command_line(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "m").write_bytes(zipped({"m.pth": bytes(1 << 26)}))
    assert "unpacks from" in refused(tmp_path / "m")


def write_json(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(content))


def hugging_face_folder(folder: Path, module: nn.Module, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(module.state_dict(), folder / "model.safetensors")
    settings = {"input_size": [3, 64, 64], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    write_json(
        folder / "config.json", architecture=name, num_classes=5, pretrained_cfg=settings, label_names=["a", "b"]
    )
    return folder


def test_hugging_face_folder_of_timm_says_everything_itself(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model("resnet10t", pretrained=False, num_classes=5).eval()
    classifier: Any = onepixel.load_classifier(hugging_face_folder(tmp_path / "hf", module, "resnet10t"))
    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    expected = module((images - mean) / std).detach()
    torch.testing.assert_close(classifier(images), expected, rtol=1e-4, atol=1e-4)
    assert "Labels of the folder: a, b." in classifier.assumptions
    put = "The weights were put into the architecture timm:resnet10t, as"
    assert f"{put} the folder says." in classifier.assumptions
    classifier = onepixel.load_classifier(tmp_path / "hf", architecture="timm:resnet10t")
    assert f"{put} you said." in classifier.assumptions


def test_who_said_what_goes_into_the_sandbox_with_the_request(tmp_path: Path) -> None:
    told: Any = {"architecture": "lenet5", "architecture_by": SaidBy.FOLDER, "range_by": SaidBy.FOLDER}
    request = Request.make(tmp_path / "model", Format.SAFETENSORS, **told)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_preprocessor_says_size_scale_and_normalisation(tmp_path: Path) -> None:
    module = network()
    folder = tmp_path / "hf"
    folder.mkdir()
    save_file(module.state_dict(), folder / "model.safetensors")
    write_json(
        folder / "config.json", architectures=["SomeNetForImageClassification"], id2label={"0": "cat", "1": "dog"}
    )
    size = {"height": 28, "width": 28}
    write_json(folder / "preprocessor_config.json", size=size, image_mean=[0.1307], image_std=[0.3081])
    images = torch.rand(2, *SHAPE)
    classifier: Any = onepixel.load_classifier(folder, architecture="lenet5")
    expected = module((images - 0.1307) / 0.3081).detach()
    torch.testing.assert_close(classifier(images), expected, rtol=1e-4, atol=1e-4)
    assert any("SomeNetForImageClassification" in said and "optimum-cli" in said for said in classifier.assumptions)
    write_json(folder / "preprocessor_config.json", size=28, image_mean=[0.5], do_normalize=False, do_rescale=False)
    classifier = onepixel.load_classifier(folder, architecture="lenet5")
    torch.testing.assert_close(classifier(images), module(images * 255).detach(), rtol=1e-4, atol=1e-3)
    # Where there is no mean, config.json says how many channels there are.
    write_json(folder / "preprocessor_config.json", size=size, do_normalize=False)
    write_json(folder / "config.json", num_channels=1, image_size=28)
    classifier = onepixel.load_classifier(folder, architecture="lenet5")
    torch.testing.assert_close(classifier(images), module(images).detach(), rtol=1e-4, atol=1e-4)
    # What the user says comes first.
    classifier = onepixel.load_classifier(folder, architecture="lenet5", normalize="none")
    torch.testing.assert_close(classifier(images), module(images).detach(), rtol=1e-4, atol=1e-4)


def test_sharded_weights_are_put_together(tmp_path: Path, expected: Signature) -> None:
    weights = network().state_dict()
    halves = {"a.safetensors": list(weights)[:4], "b.safetensors": list(weights)[4:]}
    for file, names in halves.items():
        save_file({name: weights[name] for name in names}, tmp_path / file)
    places = {name: file for file, names in halves.items() for name in names}
    index = tmp_path / "model.safetensors.index.json"
    write_json(index, metadata={}, weight_map=places)
    for path in (index, tmp_path):
        classifier = onepixel.load_classifier(path, architecture="lenet5", normalize="none")
        assert same(classifier, expected)
    said: dict[str, Any] = {"architecture": "lenet5", "normalize": "none"}
    for file, sentence in (
        ("../a.safetensors", "outside its own folder"),
        ("/etc/passwd", "outside"),
        ("c", "not there"),
    ):
        write_json(index, weight_map={**places, "x": file})
        with pytest.raises(ModelFileError, match=sentence):
            onepixel.load_classifier(index, **said)
    write_json(index, weight_map={**places, "more": "a.safetensors"})
    with pytest.raises(ModelFileError, match="lacks more, which the index says it holds"):
        onepixel.load_classifier(index, **said)
    with pytest.raises(ModelFileError, match="more than the 5000 that are allowed"):
        onepixel.load_classifier(index, limits=Limits(file_bytes=5000), **said)


def test_mlflow_folder_and_contest_folder(tmp_path: Path, expected: Signature) -> None:
    flow = tmp_path / "flow"
    (flow / "data").mkdir(parents=True)
    torch.save(network(), flow / "data" / "model.pth")
    (flow / "data" / "pickle_module_info.txt").write_text("mlflow.pytorch.pickle_module")
    (flow / "MLmodel").write_text(
        'flavors:\n  pytorch:\n    model_data: data\nsignature:\n  inputs: \'[{"type": "tensor", '
        '"tensor-spec": {"dtype": "float32", "shape": [-1, 1, 28, 28]}}]\'\n'
    )
    contest = tmp_path / "id-00000001"
    (contest / "clean-example-data").mkdir(parents=True)
    torch.save(network(), contest / "model.pt")
    (contest / "ground_truth.csv").write_text("1")
    (contest / "clean-example-data" / "class_0_example_0.png").write_bytes(b"")
    for folder, words in ((flow, "size is that of the folder's MLmodel"), (contest, "1 example images lie in")):
        classifier: Any = onepixel.load_classifier(folder, normalize="none")
        assert same(classifier, expected)
        assert any(words in said for said in classifier.assumptions)
        classifier.close()


def test_folder_with_code_uses_none_of_it(tmp_path: Path, marker: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    save_file(network().state_dict(), folder / "model.safetensors")
    for name in ("modeling_net.py", "setup.py", "sitecustomize.py", "torch.py"):
        (folder / name).write_text(f"open({str(marker)!r}, 'w')\n")
    torch.save(Payload(marker), folder / "optimizer.pt")
    write_json(folder / "config.json", auto_map={"AutoModel": "modeling_net.Net"}, model_type="net")
    classifier: Any = onepixel.load_classifier(folder, architecture="lenet5", normalize="none")
    assert not marker.exists()
    assert any("auto_map" in said for said in classifier.assumptions)
    assert any("brings code (modeling_net.py and more), which was not used" in said for said in classifier.assumptions)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="holds no model file"):
        onepixel.load_classifier(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"x")
    (tmp_path / "b.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"2 model files \(a.onnx, b.onnx\)"):
        onepixel.load_classifier(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"SavedModel.*tf2onnx.convert --saved-model"):
        onepixel.load_classifier(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model.onnx").write_bytes(b"x")
    for content in ("[" * 100_000, "{", "[]", "x" * (1 << 21)):
        (damaged / "config.json").write_text(content)
        with pytest.raises(ModelFileError, match=r"config.json is no small JSON object"):
            onepixel.load_classifier(damaged)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hf://timm/resnet18.a1_in1k", HubName("timm/resnet18.a1_in1k", None, None)),
        ("hf://owner/name@v1.0", HubName("owner/name", "v1.0", None)),
        ("hf://owner/name/onnx/model.onnx", HubName("owner/name", None, "onnx/model.onnx")),
        ("hf://owner/name@main/model.onnx", HubName("owner/name", "main", "model.onnx")),
    ],
)
def test_names_on_the_hub(words: str, expected: HubName) -> None:
    assert hub_name(words) == expected


@pytest.mark.parametrize("words", ["hf://", "hf://owner", "hf://o/n/../../x", "hf://o n/x", "hf://o/n@a@b"])
def test_what_is_no_name_on_the_hub(words: str) -> None:
    with pytest.raises(UsageError, match="Expected hf://OWNER/NAME"):
        onepixel.load_classifier(words)


def test_model_on_the_hub_is_opened_from_the_local_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Signature
) -> None:
    pytest.importorskip("huggingface_hub")
    revision = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--owner--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(revision)
    snapshot, blobs = cached / "snapshots" / revision, cached / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file(network().state_dict(), blobs / "1")
    (snapshot / "model.safetensors").symlink_to(blobs / "1")
    write_json(snapshot / "config.json", model_type="net")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said: dict[str, Any] = {"architecture": "lenet5", "normalize": "none"}
    for words in ("hf://owner/name", f"hf://owner/name@{revision}", "hf://owner/name/model.safetensors"):
        assert same(onepixel.load_classifier(words, **said), expected)
    classifier: Any = onepixel.load_classifier("hf://owner/name/model.safetensors", **said)
    assert "The model is model.safetensors in the folder" in classifier.assumptions[-1]
    for words in ("hf://owner/other", "hf://owner/name/other.onnx"):
        with pytest.raises(UsageError, match="There is no"):
            onepixel.load_classifier(words, **said)


def test_what_the_folder_says_of_intensities_is_not_put_into_the_users_mouth(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", architectures=["LeNet"], image_size=28, num_channels=1)
    write_json(tmp_path / "preprocessor_config.json", size=28, do_normalize=False)
    classifier: Any = onepixel.load_classifier(tmp_path, architecture="lenet5", outputs="logits")
    said = " ".join(classifier.assumptions)
    assert "from 0 to 1 as they are, as the folder says." in said
    assert "from 0 to 1 as they are, as you said." not in said
    assert not classifier.range_unsure
    write_json(tmp_path / "preprocessor_config.json", size=28, image_mean=[0.5], image_std=[0.2])
    classifier = onepixel.load_classifier(tmp_path, architecture="lenet5", outputs="logits")
    assert "normalised with mean 0.5 and standard deviation 0.2, as the folder says." in " ".join(
        classifier.assumptions
    )
    classifier = onepixel.load_classifier(tmp_path, architecture="lenet5", outputs="logits", normalize="none")
    assert "The network sees intensities from 0 to 1 as they are, as you said." in classifier.assumptions
    assert classifier.range_unsure
