"""facts.py - What is true in a story at the moment, and the words that say it.

Every method that returns text marks its tokens with the kind of knowledge and the fact that they need; trie.py reads
the marks.
"""

from collections.abc import Iterable
from typing import Final

from toy_gpt_train.world.trie import Decision, Memory

GIRLS: Final = ("Mina", "Anna", "Lily", "Nora", "Ella", "Rosa")
BOYS: Final = ("Tom", "Ben", "Sam", "Leo", "Max", "Finn")
NAMES: Final = (*GIRLS, *BOYS)
COLORS: Final = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink", "purple", "gray")
SINGLE: Final = ("ball", "kite", "book", "hat", "cup", "drum", "boat", "bell", "doll", "lamp", "car", "bag")
SEVERAL: Final = ("shells", "stones", "pencils", "flowers", "ribbons", "boots")
THINGS: Final = (*SINGLE, *SEVERAL)
# A place: the word before it, and what one does there.
PLACES: Final = {
    "garden": ("in", "dig"),
    "kitchen": ("in", "eat"),
    "park": ("in", "run"),
    "forest": ("in", "climb"),
    "library": ("in", "read"),
    "meadow": ("in", "dance"),
    "barn": ("in", "sleep"),
    "tower": ("in", "sing"),
    "lake": ("at", "swim"),
    "river": ("at", "fish"),
    "market": ("at", "shop"),
    "school": ("at", "learn"),
}
SPOTS: Final = ("under the bed", "under the table", "behind the door", "behind the tree", "in the box", "in the basket")


def one_of(words: Iterable[str], before: str = "", after: str = "") -> Decision:
    """Return the decision for one word, all equally likely."""
    return [(1, f"{before} {word} {after}", word) for word in words]


def only(text: str) -> Decision:
    """Return the decision that leaves no choice."""
    return [(1, text, None)]


class Facts:
    """Who the story is about, who is where, who has what, and what it looks like."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.place: dict[str, str] = {}  # of a child
        self.number: dict[str, str] = {}  # of a thing: "a", or how many there are
        self.color: dict[str, str] = {}
        self.holder: dict[str, str | None] = {}  # None while it is hidden
        self.spot: dict[str, str] = {}  # where it was hidden
        self.hider: dict[str, str] = {}  # who did that
        self.hero = self.friend = self.wish = ""
        self.asked: set[str] = set()  # questions with their answers

    # --- what becomes true; the last token that says so is remembered ----------------------------------------

    def put(self, child: str, place: str) -> None:
        """A child is at a place now."""
        self.place[child] = place
        self.memory.tell(f"{child}.place", place)

    def make(self, thing: str, number: str, color: str) -> None:
        """There is a thing, or several that stay together."""
        self.number[thing] = number
        self.memory.tell(f"{thing}.number", number)
        self.paint(thing, color)

    def paint(self, thing: str, color: str) -> None:
        """A thing has this color now."""
        self.color[thing] = color
        self.memory.tell(f"{thing}.color", color)

    def give(self, thing: str, child: str) -> None:
        """A child has a thing now."""
        self.holder[thing] = child
        self.memory.tell(f"{thing}.holder", child)

    def hide(self, thing: str, spot: str, child: str) -> None:
        """A child has hidden a thing."""
        self.holder[thing], self.spot[thing], self.hider[thing] = None, spot, child
        self.memory.tell(f"{thing}.spot", spot.split()[-1])

    # --- what is true ----------------------------------------------------------------------------------------

    def things_of(self, child: str | None) -> list[str]:
        """What a child has; of None: what is hidden."""
        return [thing for thing, holder in self.holder.items() if holder == child]

    def other(self, child: str) -> str:
        """The other child."""
        return self.friend if child == self.hero else self.hero

    def hidden_from(self, child: str) -> list[str]:
        """What the other child has hidden."""
        return [thing for thing in self.things_of(None) if self.hider[thing] != child]

    def unused(self, colors: Iterable[str]) -> list[str]:
        """The colors that nothing has."""
        return [color for color in colors if color not in self.color.values()]

    def is_together(self) -> bool:
        """Whether the children are at the same place."""
        return len(set(self.place.values())) == 1

    def is_plural(self, thing: str) -> bool:
        """Whether there are several."""
        return thing in SEVERAL

    # --- the words for it ------------------------------------------------------------------------------------

    def name(self, child: str) -> str:
        """Mina."""
        return f"{child}~name~{child}"

    def she(self, child: str) -> str:
        """She, or he."""
        return f"{'she' if child in GIRLS else 'he'}~pronoun~{child}"

    def her(self, child: str) -> str:
        """Her, or his."""
        return f"{'her' if child in GIRLS else 'his'}~pronoun~{child}"

    def where(self, child: str) -> str:
        """In the garden."""
        place = self.place[child]
        fact = f"place~{child}.place"
        return f"{PLACES[place][0]}~{fact} the {place}~{fact}"

    def noun(self, thing: str) -> str:
        """Ball, or shells."""
        return f"{thing}~thing~{thing}"

    def colored(self, thing: str) -> str:
        """Red."""
        return f"{self.color[thing]}~color~{thing}.color"

    def some(self, thing: str) -> str:
        """A red ball, or two red balls."""
        return f"{self.number[thing]}~number~{thing}.number {self.colored(thing)} {self.noun(thing)}"

    def the(self, thing: str) -> str:
        """The ball, or the shells."""
        return f"the {self.noun(thing)}"

    def has(self, thing: str) -> str:
        """Mina: who has it."""
        return f"{self.holder[thing]}~holder~{thing}.holder"

    def hidden(self, thing: str) -> str:
        """Under the bed."""
        fact = f"place~{thing}.spot"
        before, _, noun = self.spot[thing].split()
        return f"{before}~{fact} the {noun}~{fact}"

    def is_(self, thing: str) -> str:
        """Is, or are."""
        return f"{'are' if self.is_plural(thing) else 'is'}~number~{thing}"
