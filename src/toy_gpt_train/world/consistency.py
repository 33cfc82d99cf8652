"""consistency.py - Does a text remember what it said? A number for what models write.

The text may be broken English. Sentences of the story world are recognized, the rest is ignored. What is told becomes a
fact of the story; a question whose answer is a fact, the wish that comes true, and who has what at the end are
compared with them.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from toy_gpt_train.world.facts import COLORS, NAMES, PLACES, SPOTS, THINGS
from toy_gpt_train.world.language import END

_QUOTE: Final = '"'
_WORDS: Final = {
    "N": "|".join(NAMES),
    "W": "|".join((*NAMES, "she", "he")),
    "C": "|".join(COLORS),
    "T": "|".join(THINGS),
    "P": "|".join(f"{before} the {place}" for place, (before, _) in PLACES.items()),
    "G": "|".join(PLACES),
    "S": "|".join(SPOTS),
}


class Story:
    """What a story has told so far."""

    def __init__(self) -> None:
        self.subject = ""  # who was named first in the last sentence that began with a name
        self.place: dict[str, str] = {}
        self.holder: dict[str, str] = {}
        self.look: dict[str, str] = {}  # "a red", or "two red"
        self.spot: dict[str, str] = {}
        self.wish: dict[str, str] = {}

    def child(self, word: str) -> str:
        """Return whom a word stands for."""
        return self.subject if word in ("she", "he") else word

    def has(self, word: str, number: str, color: str, thing: str) -> None:
        """A child has a thing, or two."""
        self.holder[thing], self.look[thing] = self.child(word), f"{number} {color}"

    def paint(self, thing: str, color: str) -> None:
        """A thing has this color now."""
        if thing in self.look:
            self.look[thing] = f"{self.look[thing].split()[0]} {color}"

    def hide(self, thing: str, spot: str) -> None:
        """Nobody has the thing now."""
        self.holder[thing], self.spot[thing] = "", spot

    def all_of(self, child: str) -> str:
        """Return all that a child has, in words."""
        things = [f"{self.look[thing]} {thing}" for thing, holder in self.holder.items() if holder == child]
        return " and ".join(things) or "nothing"

    def hear(self, sentence: str) -> None:
        """Take in a sentence, without its end mark; a form that is none of the world's tells nothing.

        Example:
            >>> story = Story()
            >>> story.hear("Mina has a red ball")
            >>> story.hear("then Mina gives the ball to Tom")
            >>> story.all_of("Tom")
            'a red ball'
        """
        for form, tell in _TELLING:
            for told in form.finditer(sentence):
                tell(self, *told.groups())
        if sentence.split(" ", 1)[0] in NAMES:
            self.subject = sentence.split(" ", 1)[0]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\b[NWCTPGS]\b", lambda match: f"({_WORDS[match[0]]})", text))


# What a sentence tells: its form, and what becomes true. A form may stand anywhere in the sentence.
_TELLING: Final[tuple[tuple[re.Pattern[str], Callable[..., None]], ...]] = tuple(
    (_pattern(form), tell)
    for form, tell in (
        ("^W is P", lambda s, child, place: s.place.update({s.child(child): place})),
        ("^W has (a|two) C T$", Story.has),
        ("N goes to the G", lambda s, child, place: s.place.update({child: f"{PLACES[place][0]} the {place}"})),
        ("N goes to N , who is P$", lambda s, child, other, place: s.place.update({child: place, other: place})),
        ("gives the T to N", lambda s, thing, child: s.holder.update({thing: child})),
        ("N takes the T from N", lambda s, child, thing, other: s.holder.update({thing: child})),
        ("N paints the T C", lambda s, child, thing, color: s.paint(thing, color)),
        ("N hides the T S", lambda s, child, thing, spot: s.hide(thing, spot)),
        ("N looks S and finds the T$", lambda s, child, spot, thing: s.holder.update({thing: child})),
        ("^N wishes for a C T", lambda s, child, color, thing: s.wish.update({child: f"a {color} {thing}"})),
    )
)
_WHERE, _CALL, _WHO, _COLOR, _SPOT, _HAVE, _WISH = map(
    _pattern,
    (
        *("^where is N$", "^where are you , N$", "^who has the T$", "^what color (is|are) the T$"),
        *("^where (is|are) the T$", "^what does N have$", "^what does N wish for$"),
    ),
)


def _answer(story: Story, question: str) -> str | None:
    """Return the right answer to a question, or None if it is none, or nobody has told."""
    if (asked := _WHERE.match(question)) and asked[1] in story.place:
        return f"{asked[1]} is {story.place[asked[1]]}"
    if (asked := _CALL.match(question)) and asked[1] in story.place:
        return f"I am {story.place[asked[1]]}"
    if (asked := _WHO.match(question)) and story.holder.get(asked[1]):
        return f"{story.holder[asked[1]]} has the {asked[1]}"
    if (asked := _COLOR.match(question)) and asked[2] in story.look:
        return f"the {asked[2]} {asked[1]} {story.look[asked[2]].split()[1]}"
    if (asked := _SPOT.match(question)) and story.holder.get(asked[2]) == "":
        return f"the {asked[2]} {asked[1]} {story.spot[asked[2]]}"
    if (asked := _HAVE.match(question)) and story.holder.keys() == story.look.keys() and story.holder:
        return f"{asked[1]} has {story.all_of(asked[1])}"
    if (asked := _WISH.match(question)) and asked[1] in story.wish:
        return f"{asked[1]} wishes for {story.wish[asked[1]]}"
    return None


_COMES_TRUE: Final = _pattern("^at last , N gives N (.+)$")
_HAS_AT_END: Final = _pattern("^N has the T$")
_STILL: Final = _pattern("^the T (is|are) still (.+)$")


def _judge(sentences: Iterable[str]) -> Iterator[bool]:
    """Yield for each answer of one story whether it is right."""
    story, expected, at_last = Story(), None, False
    for sentence in sentences:
        if expected is not None:
            if sentence.startswith("asks "):
                continue
            yield sentence == expected
            expected = None
            continue  # WHY: an answer tells nothing new, and a wrong one is no fact
        if (true := _COMES_TRUE.match(sentence)) and true[2] in story.wish:
            at_last = True
            yield true[3] == story.wish[true[2]]
        elif at_last and (has := _HAS_AT_END.match(sentence)) and has[2] in story.holder:
            yield story.holder[has[2]] == has[1]
        elif at_last and (still := _STILL.match(sentence)) and still[1] in story.holder:
            yield story.holder[still[1]] == "" and story.spot[still[1]] == still[3]
        else:
            story.hear(sentence)
            expected = _answer(story, sentence)


def _sentences(tokens: Iterable[str]) -> Iterator[list[str]]:
    """Yield the sentences of each story, without quotation marks and end marks."""
    story: list[str] = []
    sentence: list[str] = []
    for token in tokens:
        if token in (".", "?", "!", END):
            if sentence:
                story.append(" ".join(sentence))
                sentence = []
            if token == END:
                yield story
                story = []
        elif token != _QUOTE:
            sentence.append(token)
    yield story


def consistency(tokens: Iterable[str]) -> tuple[int, int]:
    """Return how many answers of a text agree with what it has told before, and how many there are.

    Example:
        >>> consistency("Mina has a red ball . who has the ball ? Tom has the ball .".split())
        (0, 1)
    """
    judged = [is_right for story in _sentences(tokens) for is_right in _judge(story)]
    return sum(judged), len(judged)
