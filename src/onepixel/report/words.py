"""A verdict in plain sentences, for the report, the picture and whoever else has to say it."""

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
"""What no verdict tells, whichever way it went."""


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
    """Which class and pixel stand out."""
    row, column = verdict.pixel
    return (
        f"Class {verdict.target_class} is the most suspicious one, and in it the pixel in row {row}, column {column}."
    )


def p_value(verdict: Verdict) -> str:
    """What the p-value means, or why there is none."""
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
