"""Text from a stranger made fit to be shown: a name of a file, a sentence from a model file or an endpoint."""


def one_line(text: object, longest: int = 240) -> str:
    """Text from a stranger as one printable line of bounded length, so that it can neither forge nor garble output."""
    words = " ".join(str(text).split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in words)
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


def escaped(name: object) -> str:
    r"""A file's name on one line: what cannot be printed is shown as Python writes it, a line break as \n."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(name))
