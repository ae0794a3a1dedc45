"""Texts for anybody: paid for once, given to every recipient, and so about none of them.

A plan is made without any fan's data, but its brief may name one, and a model may make up another. A text that
names or greets somebody is left out: a person then writes to whoever would have got it.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from domain.provider import ContentPlan

_WORD: Final = re.compile(r"[^\W\d_]+")
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}|[\[<(](?:\w+[ _])?name[\])>]", re.IGNORECASE)
"""A place for a name that nobody will fill in."""

_GREETING: Final = re.compile(
    r"(?:\b(?:hi|hiya|hey|heya|hello|hallo|bonjour|bonsoir|salut|coucou|hola|ciao|ol[aá])"
    # These are greetings at the beginning of a sentence only.
    r"|(?:\A|[.!?…\n])\W*(?:dear|good (?:morning|afternoon|evening|night)|liebe[rs]?|guten (?:morgen|tag|abend)"
    r"|ch[eè]re?|querid[oa]|buen[oa]s (?:d[ií]as|tardes|noches)|buongiorno|buonasera|car[oa]|bom dia"
    r"|boa (?:tarde|noite)))"
    r"(?: +(?P<who>[^\W\d_]+)|[,!]? +(?P<named>[^\W\d_]+)(?= ?(?:[,.!?:;…–—-]|\n|$)))",
    re.IGNORECASE,
)
"""A greeting and the word behind it; after a comma only one that stands alone, as "Hello, Maya!" has it."""

_ANYBODY: Final = """
all angel babe babes baby boo cutie darling dear dears everybody everyone fan fans friend friends gorgeous guys
handsome hey hello hon honey hun love lovelies lovely loves my sexy sunshine sweetheart sweetie the there to you
alle du fan fans freund freunde freundin hübscher ihr leute liebe lieber liebes liebling mein meine schatz schöner
süße süßer zusammen
amour amours bel beau chou chéri chérie chers mes mon tous toi toutes trésor vous
amor amigo amigos bebé cariño cielo corazón guapo hermoso mi mis querido todas todos vida
amore bello caro cari tesoro tutte tutti
amigas amiga gato lindo meu meus minha pessoal querida queridos vocês
"""
"""Words behind a greeting that address whoever reads them, however they are written."""


def names_in(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """The parts of ``names`` that occur in ``text``, however they are written there; each once, in order."""
    words = {word.casefold() for word in _words(text)}
    return tuple(sorted(part for part in _parts(names) if part in words))


def is_personal(text: str, names: Iterable[str], named: Iterable[str] = ()) -> bool:
    """Whether a text holds one of ``names`` or ``named``, greets somebody by a name, or has room for a name.

    ``names`` are known from the audience alone: in lower case they are rather words ("rose", "will"). Those in
    ``named`` are in the brief as well, from which a model may take them over in any case, so case makes no difference.
    A word that is taken for a name costs a person's time; a name that is taken for a word, somebody's privacy.
    """
    text = unicodedata.normalize("NFKC", text)
    if _PLACEHOLDER.search(text):
        return True
    in_brief = _parts(named)
    known = _parts(names) | in_brief
    words = [(word, word.casefold()) for word in _words(text)]
    if any(folded in in_brief or (folded in known and not word[0].islower()) for word, folded in words):
        return True
    anybody = {word.casefold() for word in _words(_ANYBODY)}
    greeted = (match["who"] or match["named"] for match in _GREETING.finditer(text))
    return any(who.casefold() in known or (not who[0].islower() and who.casefold() not in anybody) for who in greeted)


def general_text(plan: ContentPlan, language: str, names: Iterable[str], named: Iterable[str] = ()) -> str:
    """The plan's text for anybody who reads ``language``, of those that are about nobody; empty when there is none.

    ``names`` and ``named`` as in ``is_personal``.
    """
    known, in_brief = tuple(names), tuple(named)
    impersonal = tuple(each for each in plan.general_texts if not is_personal(each.text, known, in_brief))
    return plan.model_copy(update={"general_texts": impersonal}).general_text(language)


def _parts(names: Iterable[str]) -> frozenset[str]:
    """The words of names, in lower case; an initial is none."""
    return frozenset(part.casefold() for name in names for part in _words(name) if len(part) > 1)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text))
