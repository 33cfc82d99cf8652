"""language.py - The sentences of the story world: two children, what they have, and a wish that comes true.

This file is the grammar. ``yield`` puts a decision: weighted options, and with each what its choice means. The facts
decide what can be said next, and what is said changes the facts. facts.py has the words that must agree with them.
"""

from collections.abc import Generator
from typing import Any, Final

from toy_gpt_train.world.facts import COLORS, NAMES, PLACES, SEVERAL, SINGLE, SPOTS, THINGS, Facts, one_of, only
from toy_gpt_train.world.trie import Decision, Memory, Option, Script

END: Final = "<end>"
WEATHER: Final = ("sunny", "rainy", "windy", "snowy", "cloudy", "foggy", "stormy", "warm", "hot", "cold")
FEWEST_EVENTS, MOST_EVENTS = 2, 4


def story(memory: Memory) -> Script:
    """Tell one story."""
    facts = Facts(memory)
    weather = yield one_of(WEATHER, "it is a", "day .")
    yield from opening(facts)
    num_events, may_ask = 0, True
    while True:
        following = yield [
            *(beginnings(facts) if num_events < MOST_EVENTS else []),
            *([(14, "at last ,", END)] if num_events >= FEWEST_EVENTS else []),
            *(questions(facts) if may_ask else []),
        ]
        if following == END:
            break
        may_ask = following in NAMES
        if may_ask:
            yield from event(facts, following)
            num_events += 1
        else:
            facts.asked.add(following)
    yield from ending(facts)
    yield only(f"what a {weather}~ending~{weather} day ! {END}")


# --- how it begins and ends -----------------------------------------------------------------------------------


def opening(facts: Facts) -> Script:
    """Say who they are, and what the first of them wishes for."""
    facts.hero = hero = yield one_of(NAMES)
    facts.friend = friend = yield one_of([name for name in NAMES if name != hero], "and", "are friends .")
    for child in (hero, friend):
        place_first = yield [(1, f"{facts.name(child)} is", True), (1, f"{facts.name(child)} has", False)]
        if place_first:
            yield from new_place(facts, child)
            yield only(f"{facts.she(child)} has")
            yield from new_own_thing(facts, child)
        else:
            yield from new_own_thing(facts, child)
            yield only(f"{facts.she(child)} is")
            yield from new_place(facts, child)
    yield only(f"{facts.name(hero)} wishes for")
    facts.wish = yield from new_thing(facts, SINGLE)
    yield only(f", because {facts.she(hero)} has no {facts.noun(facts.wish)} .")


def new_place(facts: Facts, child: str) -> Script:
    """In the garden."""
    facts.put(child, (yield [(1, f"{before} the {place} .", place) for place, (before, _) in PLACES.items()]))


def new_own_thing(facts: Facts, child: str) -> Script:
    """A red ball, which is now the child's."""
    thing = yield from new_thing(facts, THINGS)
    yield only(".")
    facts.give(thing, child)


def new_thing(facts: Facts, things: tuple[str, ...]) -> Generator[Decision, Any, str]:
    """A red ball, or two red shells, that nobody has spoken of."""
    number = yield one_of(("a", "two") if things == THINGS else ("a",))
    color = yield one_of(facts.unused(COLORS))
    things = SINGLE if number == "a" else SEVERAL
    thing: str = yield one_of(thing for thing in things if thing not in facts.color)
    facts.make(thing, number, color)
    return thing


def ending(facts: Facts) -> Script:
    """The wish comes true; then who has what."""
    hero, friend, wish = facts.hero, facts.friend, facts.wish
    a_wish = f"a {facts.color[wish]}~ending~{wish}.color {wish}~ending~{wish}"
    yield only(f"{facts.name(friend)} gives {facts.name(hero)} {a_wish} .")
    yield [
        (1, f"{facts.her(hero)} wish comes true ! {facts.name(hero)} is happy .", None),
        (1, f'" thank you , {facts.name(friend)} ! " says {facts.name(hero)} .', None),
    ]
    for thing in facts.holder:
        if facts.holder[thing] is None:
            yield only(f"{facts.the(thing)} {facts.is_(thing)} still {facts.hidden(thing)} .")
        else:
            yield only(f"{facts.has(thing)} has {facts.the(thing)} .")


# --- what happens ---------------------------------------------------------------------------------------------


def beginnings(facts: Facts) -> list[Option]:
    """Then Mina ..."""
    return [
        (3, f"{word} {facts.name(child)}", child)
        for word in ("then", "soon", "later")
        for child in (facts.hero, facts.friend)
    ]


def event(facts: Facts, child: str) -> Script:
    """Something that a child can do now."""
    mine, yours = facts.things_of(child), facts.things_of(facts.other(child))
    together = facts.is_together()
    possible = {
        goes: 4,
        gives: 6 if mine and together else 0,
        takes: 3 if yours and together else 0,
        asks: 6 if yours and together else 0,
        paints: 3 if mine else 0,
        plays: 3 if mine else 0,
        hides: 2 if mine else 0,
        looks: 6 if facts.hidden_from(child) else 0,
    }
    what = yield [(weight, verb.__name__, verb) for verb, weight in possible.items() if weight]
    yield from what(facts, child, facts.other(child))


def choice_of(facts: Facts, things: list[str], before: str = "", after: str = "") -> Decision:
    """The red ball, or the two green pencils."""
    return [(1, f"{before} {facts.the(thing)} {after}", thing) for thing in things]


def goes(facts: Facts, child: str, other: str) -> Script:
    """Goes to a place, or to the other."""
    new = [(1, f"to the {place}", place) for place in PLACES if place not in facts.place.values()]
    to_other = (2 * len(new), f"to {facts.name(other)} , who is {facts.where(other)} .", "")
    place = yield [*new, *([] if facts.is_together() else [to_other])]
    facts.put(child, place or facts.place[other])
    if place:
        reason = f"{PLACES[place][1]}~reason~{place}"
        yield only(f", because {facts.she(child)} wants to {reason} .")


def gives(facts: Facts, child: str, other: str) -> Script:
    """Gives a thing to the other, who is happy then."""
    thing = yield choice_of(facts, facts.things_of(child))
    yield only(f"to {facts.name(other)}")
    facts.give(thing, other)
    thanks = f'. " thank you , {facts.name(child)} ! " says {facts.name(other)} . {facts.name(other)} is happy .'
    yield [
        (1, thanks, None),
        (1, f". now {facts.name(other)} has {facts.the(thing)} , and {facts.she(other)} is happy .", None),
    ]


def takes(facts: Facts, child: str, other: str) -> Script:
    """Takes a thing from the other, who does not like it."""
    thing = yield choice_of(facts, facts.things_of(other))
    yield only(f"from {facts.name(other)}")
    facts.give(thing, child)
    now = f". now {facts.name(child)} has {facts.the(thing)} , and {facts.name(other)} is"
    yield one_of(("sad", "angry"), now, ".")


def asks(facts: Facts, child: str, other: str) -> Script:
    """Asks for a thing, and gets it or not."""
    thing = yield choice_of(facts, facts.things_of(other), ', " may I have', '? "')
    yes = f'" yes ! " says {facts.name(other)} , and gives {facts.the(thing)} to {facts.name(child)} .'
    no = f'" no ! " says {facts.name(other)} , and {facts.name(child)} is sad .'
    if (yield [(2, yes, True), (1, no, False)]):
        facts.give(thing, child)


def paints(facts: Facts, child: str, other: str) -> Script:
    """Paints a thing in a color that nothing has."""
    thing = yield choice_of(facts, facts.things_of(child))
    facts.paint(thing, (yield one_of(facts.unused(COLORS))))
    yield [
        (1, f", because {facts.she(child)} likes {facts.colored(thing)} .", None),
        (1, f". now {facts.the(thing)} {facts.is_(thing)} {facts.colored(thing)} .", None),
    ]


def plays(facts: Facts, child: str, other: str) -> Script:
    """Plays with a thing, where the child is."""
    thing = yield choice_of(facts, facts.things_of(child), "with")
    yield [(1, f"{facts.where(child)} .", None), (1, f", because {facts.she(child)} likes {facts.the(thing)} .", None)]


def hides(facts: Facts, child: str, other: str) -> Script:
    """Hides a thing, and the other cannot find it."""
    thing = yield choice_of(facts, facts.things_of(child))
    free = [spot for spot in SPOTS if spot not in map(facts.spot.get, facts.things_of(None))]
    facts.hide(thing, (yield one_of(free)), child)
    yield only(f". now {facts.name(other)} cannot find {facts.the(thing)} .")


def looks(facts: Facts, child: str, other: str) -> Script:
    """Finds what the other has hidden."""
    things = facts.hidden_from(child)
    found = yield [(1, f"{facts.hidden(thing)} and finds {facts.the(thing)} .", thing) for thing in things]
    facts.give(found, child)


# --- questions, and their answers -------------------------------------------------------------------------------


def questions(facts: Facts) -> list[Option]:
    """Everything that can be asked now, and was not asked before with the same answer."""
    hero, wish = facts.name(facts.hero), facts.some(facts.wish)
    asked = [(2, f"what does {hero} wish for ? {hero} wishes for {wish} .")]
    for child in (facts.hero, facts.friend):
        asked += about_child(facts, child, facts.other(child))
    for thing in facts.holder:
        asked += about_thing(facts, thing)
    return [(weight, text, text) for weight, text in asked if text not in facts.asked]


def about_child(facts: Facts, child: str, other: str) -> list[tuple[int, str]]:
    """Where is Mina? How is she? What does she have?"""
    name, things = facts.name(child), map(facts.some, facts.things_of(child))
    asked = [
        (5, f"where is {name} ? {name} is {facts.where(child)} ."),
        (3, f"what does {name} have ? {name} has {' and '.join(things) or 'nothing'} ."),
    ]
    if not facts.is_together():
        call = f'" where are you , {facts.name(other)} ? " asks {name} .'
        asked.append((2, f'{call} " I am {facts.where(other)} . "'))
    return asked


def about_thing(facts: Facts, thing: str) -> list[tuple[int, str]]:
    """What color is it? Who has it, or where is it?"""
    noun, is_ = facts.noun(thing), facts.is_(thing)
    verb = is_.partition("~")[0]  # before the noun it does not agree with a fact: it says which one is meant
    asked = [(5, f"what color {verb} the {noun} ? the {noun} {is_} {facts.colored(thing)} .")]
    if facts.holder[thing] is None:
        asked.append((5, f"where {verb} the {noun} ? the {noun} {is_} {facts.hidden(thing)} ."))
    else:
        asked.append((5, f"who has {facts.the(thing)} ? {facts.has(thing)} has {facts.the(thing)} ."))
    return asked
