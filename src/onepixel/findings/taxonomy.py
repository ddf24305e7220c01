"""What others call a backdoor: identifiers of MITRE ATLAS and of OWASP's list for machine learning."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Reference:
    """One entry of a public list."""

    source: str
    id: str
    name: str
    url: str


ATLAS, OWASP = "MITRE ATLAS", "OWASP Machine Learning Security Top Ten"

REFERENCES = (
    Reference(ATLAS, "AML.T0018", "Manipulate AI Model", "https://atlas.mitre.org/techniques/AML.T0018"),
    Reference(ATLAS, "AML.T0020", "Poison Training Data", "https://atlas.mitre.org/techniques/AML.T0020"),
    Reference(
        OWASP,
        "ML10:2023",
        "Model Poisoning",
        "https://owasp.org/www-project-machine-learning-security-top-10/docs/ML10_2023-Model_Poisoning",
    ),
)
"""What a finding of a backdoor is an instance of: the model was manipulated, most often by way of its training data."""


def references() -> list[dict[str, str]]:
    """The same in JSON types."""
    return [asdict(reference) for reference in REFERENCES]
