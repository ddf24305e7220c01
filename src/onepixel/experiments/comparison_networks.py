"""Which networks methods are compared on: those of a population and clean ones like them, which all methods judged."""

from collections.abc import Mapping, Set

from onepixel.experiments.leaving_out import pool_of
from onepixel.experiments.method_records import ACCURACY, OURS, Judgement
from onepixel.experiments.reach_records import alike
from onepixel.experiments.signature_records import BY_SIGNATURE
from onepixel.methods import METHODS

FEWEST = 2
"""Clean, and trojaned, networks without which a population has no row, and a threshold is not fixed."""

SHARE = 0.5
"""A method that judged a smaller share than this of the trojaned, or clean, networks that others judged has no row."""

FIRST = next(iter(OURS))
"""Which of our searches says what networks a row is about."""

TESTED_WHOLE = ("-attack-", "-stamped-all-classes")
"""In the names of populations without pools that no threshold comes from: they are tested, all of them, as final ones.

Of some of them, our detector was looked at on the first few networks; the page counts those."""

Key = tuple[str, int]
Rows = Mapping[Key, Judgement]


def populations(table: Mapping[str, Rows]) -> list[str]:
    """Populations of trojaned networks that anything was said of."""
    return sorted({one.population for said in table.values() for one in said.values() if one.role == "trojaned"})


def in_common(table: Mapping[str, Rows], population: str) -> tuple[set[Key], list[str]]:
    """The networks that a population is tested on, and who judged all of them, in the table's order.

    Those that our own detector judged by gradient, where it judged any; each method, and what else was measured, joins
    where it leaves enough of them, who judged most first. What judged no stamped network keeps none from the others.
    Nobody, if no method judged any of the population.
    """
    wanted = {method: networks_for(said, population) for method, said in table.items() if method in METHODS}
    wanted = {method: keys for method, keys in wanted.items() if any(key[0] == population for key in keys)}
    if not wanted:
        return set(), []
    wanted = dict(sorted(wanted.items(), key=lambda item: -len(item[1])))
    common = set().union(*wanted.values())
    wanted |= {own: backdoored_or_clean(table[own]) for own in (*OURS, *BY_SIGNATURE, ACCURACY) if own in table}
    if any(key[0] == population for key in wanted.get(FIRST, ())):
        common &= wanted[FIRST]
    joined = set()
    for method, keys in wanted.items():
        aside = stamped(common)
        both = common & (keys if keys & aside else keys | aside)
        if enough(both, population) and min(shares(both, common, population)) >= SHARE:
            joined.add(method)
            common = both
    return common, [method for method in table if method in joined]


def backdoored_or_clean(said: Rows) -> set[Key]:
    """All networks but those that lost the attacked class altogether: there is no backdoor to find, whoever looks."""
    return {key for key, one in said.items() if one.role != "lost"}


def enough(keys: Set[Key], population: str) -> bool:
    """Whether so many networks of a population, and so many beside it, are among these that they have a row."""
    return min(numbers(keys, population)) >= FEWEST


def shares(keys: Set[Key], of: Set[Key], population: str) -> list[float]:
    """Which share of a population's own networks among others are these, and of clean ones beside it."""
    return [one / every for one, every in zip(numbers(keys, population), numbers(of, population), strict=True) if every]


def numbers(keys: Set[Key], population: str) -> tuple[int, int]:
    """How many networks are a population's own, and how many clean ones are beside it."""
    own = sum(key[0] == population for key in keys)
    return own, len(keys - stamped(keys)) - own


def stamped(keys: Set[Key]) -> set[Key]:
    """Networks that were trained on stamped images without a backdoor."""
    return {key for key in keys if "-stamped" in key[0]}


def networks_for(said: Rows, population: str) -> set[Key]:
    """The networks that a population is tested on: its own, and the clean and stamped ones that are like them.

    Those are of the same kind and pool, and trained as long. Of a population that was partly looked at, only the other
    part is tested.
    """
    pool = tested_pool(said, population)
    return {
        key
        for key, one in said.items()
        if side_of(one) == pool
        and (one.population == population or (one.role != "trojaned" and alike(one.population, population)))
    }


def tested_pool(said: Rows, population: str) -> str:
    """Which of a population's networks are tested: final ones where there are any."""
    final = any(side_of(one) == "final" for one in said.values() if one.population == population)
    return "final" if final else "development"


def side_of(network: Judgement) -> str:
    """Its pool; populations of attacks and stamped ones have none and are tested as final ones."""
    whole = any(part in network.population for part in TESTED_WHOLE)
    return "final" if whole else pool_of(network)
