"""Pickles read as data: an interpreter that imports nothing, calls nothing and builds no foreign object.

A pickle is a program for a small stack machine whose only dangerous instructions are those that fetch an object by its
name and call it. Here a fetched name stays a name (`Named`), a call becomes a record of itself (`Built`), and only the
handful of calls that `torch.save` needs for tensors and plain containers are carried out, by code of our own on data
(`onepixel.opening.torch_pickle`). So what a file would have run is seen, and never happens.
"""

import pickletools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from onepixel.errors import ModelFileError

MOST_OPCODES = 5_000_000
LONGEST_KEY_TUPLE = 16
SCALARS = (str, bytes, int, float, bool, type(None))

Call = Callable[..., object]
Persistent = Callable[[object], object]


@dataclass(eq=False, frozen=True)
class Named:
    """An object of the pickling program, by its name alone; it is never looked up.

    Attributes
    ----------
    module, name : str
    """

    module: str
    name: str

    def __str__(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Built:
    """What would have been built or called, as a record.

    Attributes
    ----------
    of : object
        What would have been called: a `Named`, or another record.
    arguments : tuple
    state : object
        What would have been put into it afterwards, usually its attributes.
    items : list
        What would have been appended.
    pairs : dict
        What would have been set as with a dictionary.
    """

    of: object
    arguments: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: dict[Hashable, object] = field(default_factory=dict)


class PickleError(ModelFileError):
    """A pickle that no program would have written; the text says what is wrong with it."""


class InertReader:
    """Reads one pickle from a stream.

    Parameters
    ----------
    stream : binary file
        Read from where it stands to just behind the pickle.
    calls : mapping of (module, name) to function
        The calls that are carried out, by these functions. Each has to check its arguments itself.
    persistent : function
        From a persistent id to what stands for it, in the way of `pickle.Unpickler.persistent_load`.

    Attributes
    ----------
    skipped : dict of str to int
        What was named and not carried out, and how often it would have been called.
    """

    def __init__(
        self, stream: BinaryIO, calls: Mapping[tuple[str, str], Call], persistent: Persistent | None = None
    ) -> None:
        self._stream = stream
        self._calls = calls
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, object] = {}
        self.skipped: dict[str, int] = {}

    def read(self) -> object:
        """What the pickle describes: plain containers and scalars, what `calls` returned, `Named` and `Built`.

        Raises
        ------
        PickleError
            If it is no pickle, or too long.
        """
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(self._stream)):
                if count > MOST_OPCODES:
                    raise PickleError(f"the pickle has more than {MOST_OPCODES:,} instructions")
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except (IndexError, KeyError, TypeError, AttributeError, ValueError, OverflowError, UnicodeError) as error:
            raise PickleError("the pickle is damaged") from error
        raise PickleError("the pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in PUSHES:
            self._stack.append(argument)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[int(argument)] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[int(argument)])
        else:
            INSTRUCTIONS[name](self, argument)

    def _ignore(self, _: Any) -> None:
        """Framing says nothing about the data."""

    def _mark(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _list(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _tuple(self, _: Any) -> None:
        items = tuple(self._since_mark())
        self._stack.append(items)

    def _short_tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) != count:
            raise PickleError("the pickle is damaged")
        del self._stack[-count:]
        self._stack.append(items)

    def _dict(self, _: Any) -> None:
        made: dict[Hashable, object] = {}
        put_pairs(made, self._since_mark())
        self._stack.append(made)

    def _append(self, _: Any) -> None:
        last = self._stack.pop()
        items_of(self._stack[-1]).append(last)

    def _appends(self, _: Any) -> None:
        several = self._since_mark()
        items_of(self._stack[-1]).extend(several)

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        put_pairs(pairs_of(self._stack[-1]), [key, value])

    def _set_items(self, _: Any) -> None:
        several = self._since_mark()
        put_pairs(pairs_of(self._stack[-1]), several)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._named(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("the pickle names something with no name")
        self._stack.append(self._named(module, name))

    def _named(self, module: str, name: str) -> Named:
        if (module, name) not in self._calls:
            self.skipped.setdefault(f"{module}.{name}", 0)
        return Named(module, name)

    def _extension(self, argument: int) -> None:
        self._stack.append(self._named("copyreg", f"extension {argument}"))

    def _reduce(self, _: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        self._stack.append(self.call(called, arguments))

    def call(self, called: object, arguments: object) -> object:
        """What a call gives: of a function that is carried out its result, else a record of the call."""
        if not isinstance(arguments, tuple):
            raise PickleError("the pickle calls something without arguments")
        if isinstance(called, Named):
            function = self._calls.get((called.module, called.name))
            if function is not None:
                return function(*arguments)
            self.skipped[str(called)] = self.skipped.get(str(called), 0) + 1
        return Built(called, arguments)

    def _new(self, _: Any) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        self._stack.append(self.call(kind, arguments))

    def _new_with_keywords(self, _: Any) -> None:
        keywords, arguments, kind = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(self.call(kind, (*arguments, keywords)))

    def _instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        arguments = tuple(self._since_mark())
        self._stack.append(self.call(self._named(module, name), arguments))

    def _object(self, _: Any) -> None:
        kind, *arguments = self._since_mark()
        self._stack.append(self.call(kind, tuple(arguments)))

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, Built):
            target.state = state
        elif hasattr(target, "take_state"):
            self._stack[-1] = target.take_state(state)

    def _persistent_id(self, argument: Any) -> None:
        self._stack.append(self._stand_in(argument))

    def _persistent_from_stack(self, _: Any) -> None:
        self._stack.append(self._stand_in(self._stack.pop()))

    def _stand_in(self, identity: object) -> object:
        if self._persistent is None:
            raise PickleError("the pickle refers to something outside itself")
        return self._persistent(identity)

    def _refuse(self, _: Any) -> None:
        raise PickleError("the pickle refers to buffers outside itself")


PUSHES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    # Sets stay lists: nothing of a stranger's is hashed but plain keys.
    "EMPTY_SET": list,
}
INSTRUCTIONS: dict[str, Callable[[InertReader, Any], None]] = {
    "PROTO": InertReader._ignore,
    "FRAME": InertReader._ignore,
    "MARK": InertReader._mark,
    "POP": InertReader._pop,
    "POP_MARK": InertReader._pop_mark,
    "DUP": InertReader._duplicate,
    "MEMOIZE": InertReader._memoize,
    "LIST": InertReader._list,
    "FROZENSET": InertReader._list,
    "TUPLE": InertReader._tuple,
    "TUPLE1": lambda reader, _: reader._short_tuple(1),
    "TUPLE2": lambda reader, _: reader._short_tuple(2),
    "TUPLE3": lambda reader, _: reader._short_tuple(3),
    "DICT": InertReader._dict,
    "APPEND": InertReader._append,
    "APPENDS": InertReader._appends,
    "ADDITEMS": InertReader._appends,
    "SETITEM": InertReader._set_item,
    "SETITEMS": InertReader._set_items,
    "GLOBAL": InertReader._global,
    "STACK_GLOBAL": InertReader._stack_global,
    "EXT1": InertReader._extension,
    "EXT2": InertReader._extension,
    "EXT4": InertReader._extension,
    "REDUCE": InertReader._reduce,
    "NEWOBJ": InertReader._new,
    "NEWOBJ_EX": InertReader._new_with_keywords,
    "INST": InertReader._instance,
    "OBJ": InertReader._object,
    "BUILD": InertReader._build,
    "PERSID": InertReader._persistent_id,
    "BINPERSID": InertReader._persistent_from_stack,
    "NEXT_BUFFER": InertReader._refuse,
    "READONLY_BUFFER": InertReader._refuse,
}


def items_of(target: object) -> list[object]:
    """The list that something is appended to."""
    if isinstance(target, Built):
        return target.items
    if isinstance(target, list):
        return target
    raise PickleError("the pickle appends to something that is no list")


def pairs_of(target: object) -> dict[Hashable, object]:
    """The dictionary that something is set in."""
    if isinstance(target, Built):
        return target.pairs
    if isinstance(target, dict):
        return target
    raise PickleError("the pickle sets an item of something that is no dictionary")


def put_pairs(target: dict[Hashable, object], flat: list[Any]) -> None:
    """Put keys and values, one after the other, into a dictionary."""
    if len(flat) % 2:
        raise PickleError("the pickle is damaged")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        target[plain_key(key)] = value


def plain_key(key: object) -> Hashable:
    """A key that can be hashed without running anything of a stranger's, and without deep recursion."""
    if isinstance(key, (*SCALARS, Named, Built)):
        return key
    if isinstance(key, tuple) and len(key) <= LONGEST_KEY_TUPLE and all(isinstance(part, SCALARS) for part in key):
        return key
    # Its place in the dictionary is kept, its identity is not needed by anybody.
    return Built(None, (key,))
