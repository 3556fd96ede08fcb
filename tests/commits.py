"""Two commits of one repository that differ in every way a chunk can."""

from collections.abc import Sequence

from conftest import WorkTree
from indexes import PARTS


def functions(names: Sequence[str], seed: int = 0) -> str:
    """A file of functions, each long enough to be a chunk of its own."""
    return "\n\n".join(
        f"def {name}(value):\n"
        + "".join(f"    value = value * {n} + {seed + k}  # {name} {n}\n" for n in range(45))
        + "    return value\n"
        for k, name in enumerate(names)
    )


# In both commits: in place, and at other lines.
SHARED = ("kestrel", "osprey", "falcon", "merlin")
MOVED = ("walrus", "badger", "otter", "weasel")


def two_commits(tree: WorkTree) -> tuple[str, str]:
    """Two commits that share chunks in place, share some at other lines, and differ in others:
    edits, files that come, go and are renamed, trailing blanks, two equal functions."""
    twice = "def same(value):\n    return value\n\n\n"
    first = tree.commit(
        {
            "shared.py": functions(SHARED),
            "moved.py": functions(MOVED),
            "edited.py": PARTS,
            "gone.py": functions(["lynx", "puma"]),
            "old_name.py": functions(["heron"]),
            "blanks.py": functions(["stork"]),
            "twice.py": twice + functions(["crane"]) + "\n\n" + twice,
        },
        "first",
    )
    second = tree.commit(
        {
            "moved.py": functions(["newcomer"], 7) + "\n\n" + functions(MOVED),
            "edited.py": PARTS.replace("+ 1  #", "+ 11  #").replace("bravo", "bravissimo"),
            "gone.py": None,
            "old_name.py": None,
            "new_name.py": functions(["heron"]),
            "blanks.py": functions(["stork"]).replace("\n", "  \n", 3),
            "twice.py": functions(["crane"]) + "\n\n" + twice,
            "come.py": functions(["ibis", "egret", "bittern"]),
        },
        "second",
    )
    return first, second
