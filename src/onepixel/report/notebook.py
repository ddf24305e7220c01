"""A verdict in a notebook: a few lines of HTML without scripts, the exhibit inside."""

import base64
from html import escape

from onepixel.detectors.verdict import Verdict
from onepixel.pictures import PICTURES, Picture
from onepixel.report import words
from onepixel.report.exhibit import shown
from onepixel.report.figures import CLEAN, TROJANED

SIDE = 96
"""Width of an exhibit's images on the page, in CSS pixels."""


def verdict_html(verdict: Verdict) -> str:
    """The decision, its numbers and the suspect, and an exhibit's images with what the classifier says of them."""
    colour = TROJANED if verdict.decision == "trojaned" else CLEAN
    sentences = [words.reason(verdict), words.suspicion(verdict), words.p_value(verdict), words.probability(verdict)]
    parts = [
        f'<div style="border-left: 6px solid {colour}; padding: 0.2em 1em">',
        f'<strong style="color: {colour}; font-size: 1.3em">{escape(words.headline(verdict))}</strong>',
        f"<div>{escape(verdict.classifier)}</div>",
        f"<p>{escape(' '.join(sentences))}</p>",
    ]
    if verdict.exhibit is not None:
        parts.append(f"<p>{escape(words.exhibit(verdict.exhibit))}</p><table>")
        for image in shown(verdict.exhibit):
            cells = "".join(
                f'<td><img src="data:image/png;base64,{base64.b64encode(content).decode()}" alt="{escape(alt)}" '
                f'width="{SIDE}" style="image-rendering: pixelated"><br>{escape(said)}</td>'
                for content, alt, said in (
                    (image.before, image.before_alt, image.says_before),
                    (image.after, image.after_alt, image.says_after),
                )
            )
            parts.append(f'<tr><th scope="row">{escape(image.name)}</th>{cells}</tr>')
        parts.append("</table>")
    return "".join([*parts, "</div>"])


PICTURES.add(Picture("notebook", verdict_html))
