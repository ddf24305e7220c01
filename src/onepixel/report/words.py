"""A verdict in plain sentences, for the report, the picture and whoever else has to say it."""

from onepixel.detectors.exhibit import Exhibit, Place
from onepixel.detectors.verdict import Verdict

UNUSUAL = 0.05
"""Below this p-value a score is called unusual for a clean model, whatever the threshold says."""

CANNOT_SAY = (
    "That a model is clean. An attack of a family the detector was never tested on may leave no trace in a signature.",
    "What the trigger looks like or where it is. Class and pixel say where one pixel moves the answers most "
    "suspiciously: a place to look first. They are named even when nothing was found, since something always comes "
    "first.",
    "What an attacker did who knew of this test and trained the model to pass it.",
)
"""What no verdict from a signature tells, whichever way it went."""

CANNOT_SAY_FROM_IMAGES = (
    "That a model is clean. An attack of a family that was not tested may leave no trace.",
    "That the patch shown is the attacker's trigger: it is a change that works like one. Target and place are named "
    "even when nothing was found, since something always comes first.",
    "What an attacker did who knew of this test and trained the model to pass it.",
)
"""The same for a verdict from images."""


def cannot_say(verdict: Verdict) -> tuple[str, ...]:
    """What this verdict does not tell."""
    return CANNOT_SAY_FROM_IMAGES if verdict.method == "universal" else CANNOT_SAY


def headline(verdict: Verdict) -> str:
    """The decision, as a title."""
    return "Trojaned" if verdict.decision == "trojaned" else "No evidence of a backdoor"


def reason(verdict: Verdict) -> str:
    """Why the decision is what it is: score against threshold."""
    score, threshold = f"{verdict.score:.3g}", f"{verdict.threshold:.3g}"
    if verdict.decision == "trojaned":
        return (
            f"The score of {score} reaches the detector's threshold of {threshold}: the classifier is called trojaned."
        )
    return (
        f"The score of {score} stays below the detector's threshold of {threshold}: "
        "no evidence was found of the attack families this detector was tested on."
    )


def suspicion(verdict: Verdict) -> str:
    """Which class and which pixel or place stand out."""
    suspect = f"Class {verdict.target_class} is the most suspicious one"
    if verdict.method == "universal":
        sources = verdict.source_classes
        whose = f" as a target for images of {classes(sources)}" if sources else " as a target"
        where = ""
        if verdict.place:
            where = f", with a patch in {place(verdict.place)}"
        elif verdict.exhibit is not None:
            where = f", with a change of the whole image ({verdict.exhibit.family})"
        return f"{suspect}{whose}{where}."
    if verdict.pixel is None:
        return f"{suspect}."
    row, column = verdict.pixel
    return f"{suspect}, and in it the pixel in row {row}, column {column}."


def classes(numbers: tuple[int, ...]) -> str:
    """Some classes in words."""
    if len(numbers) == 1:
        return f"class {numbers[0]}"
    return f"classes {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def place(where: Place) -> str:
    """A place as its rows and columns, counted from 0 at the top left."""
    top, left, height, width = where
    return f"rows {top} to {top + height - 1}, columns {left} to {left + width - 1}"


def exhibit(shown: Exhibit) -> str:
    """What an exhibit shows."""
    where = f" in {place(shown.place)}" if shown.place else ""
    return (
        f"{len(shown)} of your own images, unchanged and with one and the same change ({shown.family}){where}. With it "
        f"the classifier says class {shown.target_class}. {driven(shown)}Ask it yourself: the changed images are in "
        "the JSON output."
    )


def driven(shown: Exhibit) -> str:
    """Of how many images an exhibit's change was tried on, it drives how many."""
    if not shown.tried:
        return ""
    return f"It was tried on {shown.tried} images that the search had not used; {shown.driven} go to that class. "


def p_value(verdict: Verdict) -> str:
    """What the p-value means, or why there is none."""
    if verdict.p_value is not None and verdict.method == "universal":
        return (
            f"p = {verdict.p_value:.2g}: of clean models as they were calibrated on, in the worst of their kinds, at "
            f"most {100 * verdict.p_value:.2g} % score this high. "
            "This is not the probability that the model is innocent."
        )
    if verdict.p_value is None:
        return (
            "There is no p-value, because this detector was not calibrated on clean models; "
            "the decision rests on the threshold alone."
        )
    return (
        f"p = {verdict.p_value:.2g}: an innocent model, exchangeable with those the detector was calibrated on, "
        f"would get a score that ranks this high at most {100 * verdict.p_value:.2g} % of the time. "
        "This is not the probability that the model is innocent."
    )


def probability(verdict: Verdict) -> str:
    """What the probability means, with its prior, or why there is none."""
    if verdict.probability is None or verdict.prior is None:
        return "There is no probability of a backdoor, because the detector has no scores of known models."
    return (
        f"The probability that the model is trojaned is {verdict.probability:.2g}, if {100 * verdict.prior:g} % "
        "of such models are (the prior). It is told from known models' scores, left out when the detector was made."
    )


def disagreement(verdict: Verdict) -> str | None:
    """A caution where threshold and p-value point different ways, else None."""
    if verdict.p_value is None:
        return None
    if verdict.decision == "trojaned" and verdict.p_value > UNUSUAL:
        return "Clean models score this high now and then: look again with more evidence before you blame anyone."
    if verdict.decision != "trojaned" and verdict.p_value <= UNUSUAL:
        return "The score stays below the threshold, yet is unusual for a clean model: this one deserves a second look."
    return None


def exit_status(verdict: Verdict) -> str:
    """What a pipeline gets to see."""
    meaning = "trojaned" if verdict.exit_status else "no evidence of a backdoor"
    return f"The command line ends with exit status {verdict.exit_status} ({meaning})."
