"""`load_classifier`: how what a stranger sent is opened, in this process, in a sandbox, or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from onepixel.errors import UsageError
from onepixel.opening import Limits, open_file
from onepixel.opening.folders import find_model
from onepixel.opening.hub import SCHEME, fetched
from onepixel.opening.recognise import DATA_FORMATS, SANDBOX_ONLY, recognise
from onepixel.opening.refusals import refuse
from onepixel.opening.request import (
    Normalization,
    Request,
    SaidBy,
    checked_normalization,
    checked_outputs,
    checked_range,
    checked_shape,
)
from onepixel.printable import escaped

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier
    from onepixel.opening.endpoint.settings import EndpointSettings

Sandboxing = Literal["programs", "use", "require"]
"""Which files are opened in a sandbox: programs only; all, where there is a sandbox; all, or they are refused."""


def load_classifier(
    path_or_url: str | Path,
    *,
    architecture: str | None = None,
    input_shape: Sequence[int] | None = None,
    outputs: Literal["logits", "probabilities"] | None = None,
    normalize: Normalization | Any = None,
    key: str | None = None,
    pixel_range: Sequence[float] | None = None,
    output: str | None = None,
    sandbox: Sandboxing = "programs",
    limits: Limits | None = None,
    endpoint: "EndpointSettings | None" = None,
) -> "Classifier":
    """Open a model file, or connect to an Open Inference Protocol v2 endpoint, as a `Classifier`.

    A file's format is told by its content. Data (ONNX, safetensors, PyTorch state dicts, skops) is opened in this
    process, or in a sandbox if you ask; checkpoints and whole networks that torch.save pickled are read as data, in a
    sandbox where there is one; programs (TorchScript, `torch.export`) are opened in a sandbox or not at all; other
    pickles are never opened. What the file leaves open has to be said, and what was assumed
    is in the classifier's `assumptions`.

    Parameters
    ----------
    path_or_url : str or Path
        A file, a folder with a model in it, `hf://OWNER/NAME[@REVISION][/FILE]`, or `http://host/v2/models/NAME`.
    architecture : str, optional
        For weights: a name of `onepixel.architectures`, or "module:function" of your own code.
    input_shape : (C, H, W), optional
        Needed where the file does not declare it.
    outputs : {"logits", "probabilities"}, optional
        Needed unless a final softmax is visible.
    normalize : (means, standard deviations) or "none", optional
        What is subtracted and divided before the network sees an image in [0, 1]; needed unless the file says it.
    key : str, optional
        For a file that holds several sets of weights: which, such as "ema" or "state.generator".
    pixel_range : (lowest, highest), optional
        What a black and a white pixel are to the network, if not 0 and 1: (0, 255), say, or (-1, 1).
    output : str, optional
        Which answer of a network that gives several: its name, or its number from 0 on.
    sandbox : {"programs", "use", "require"}
        "programs": a sandbox for programs only; "use": for every file, where the machine has one; "require": for
        every file, or the file is refused.
    limits : Limits, optional
        What opening and asking may cost.
    endpoint : EndpointSettings, optional
        How an endpoint is asked: batches, concurrency, time, budget, journal.

    Returns
    -------
    Classifier
        With `assumptions`, a tuple of sentences, and `examples`, the path of the images that a contest's folder brings,
        or None.

    Raises
    ------
    UsageError
        If there is no such file, something has to be said first, or a package is not installed.
    ModelFileError
        If the file is never opened, damaged, hostile, or needs a sandbox that this machine does not have.
    UndecidedError
        If the answers cannot be used.

    Examples
    --------
    >>> import onepixel
    >>> onepixel.load_classifier("model.onnx", outputs="logits", normalize=((0.1307,), (0.3081,)))  # doctest: +SKIP
    """
    if sandbox not in ("programs", "use", "require"):
        raise UsageError(f"Expected one of programs, use, require for sandbox but got {sandbox!r}.")
    source = str(path_or_url)
    if source.startswith(("http://", "https://")):
        from onepixel.opening.endpoint.classifier import EndpointClassifier
        from onepixel.opening.endpoint.settings import EndpointSettings

        return EndpointClassifier(
            source,
            endpoint or EndpointSettings(),
            input_shape=checked_shape(input_shape),
            outputs=checked_outputs(outputs),
            normalize=checked_normalization(normalize),
            pixel_range=checked_range(pixel_range),
            output=output,
        )
    if endpoint is not None:
        raise UsageError("endpoint settings belong to a URL, not to a file.")
    limits = limits or Limits()
    notes: tuple[str, ...] = ()
    examples: Path | None = None
    architecture_by = range_by = SaidBy.USER
    path, file = fetched(source) if source.startswith(SCHEME) else (Path(path_or_url), None)
    if path.is_dir():
        found = find_model(path, file)
        examples = None if found.examples is None else path / found.examples
        path, notes = path / found.model, found.notes
        input_shape = input_shape or found.input_shape
        if not architecture:
            architecture, architecture_by = found.architecture, SaidBy.FOLDER
        if normalize is None and pixel_range is None:
            normalize, pixel_range, range_by = found.normalize, found.pixel_range, SaidBy.FOLDER
    form = recognise(path, limits)
    refuse(escaped(path.name), form)
    request = Request.make(
        path,
        form,
        architecture=architecture,
        input_shape=input_shape,
        outputs=outputs,
        normalize=normalize,
        key=key,
        pixel_range=pixel_range,
        output=output,
        architecture_by=architecture_by,
        range_by=range_by,
    )
    classifier: Any
    if form in DATA_FORMATS and sandbox == "programs":
        classifier = open_file(request, limits)
    else:
        from onepixel.sandbox.open import open_sandboxed

        classifier = open_sandboxed(request, limits, required=sandbox == "require" or form in SANDBOX_ONLY)
    classifier.assumptions = (*classifier.assumptions, *notes)
    classifier.examples = examples
    return cast("Classifier", classifier)
