"""What a text says, however it is spelled.

``normalise`` gives the plain form that rules are written for. ``readings`` adds the other ways in which a person would
read the text: l33t, s p a c e d, dot.ted, streeetched, m*sked, a number in words. A rule that matches any reading
matches the text. Confusable letters follow Unicode Technical Standard 39, as far as Latin words are concerned.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and signs that show nothing, besides format characters and marks."""

_LOOKALIKES = {
    "a": "αаɑᴀ∂ΑАᎪ",
    "b": "βвьʙɓΒВᏴ฿",
    "c": "сϲᴄƈςСᏟ¢",
    "d": "ԁᴅɗđĐᎠ",
    "e": "еεєҽᴇɛəΕЕᎬ",
    "f": "ƒꜰғϝ",
    "g": "ɡɢցǥᏀ",
    "h": "һнʜհΗНᎻħ",
    "i": "іιıɪΙІᎥӀ¡",
    "j": "јᴊЈᎫ",
    "k": "κкᴋΚКᏦ",
    "l": "ʟłӏŁᏞ£",
    "m": "мᴍΜМᎷ",
    "n": "ηпɴոռŋΝᏁ",
    "o": "оοσᴏøօØОΟ",
    "p": "рρᴘΡРᏢ",
    "q": "ԛʠ",
    "r": "гʀɾᎡ",
    "s": "ѕꜱʂЅᏚ",
    "t": "тτᴛŧΤТᎢ†",
    "u": "υᴜμսʋц",
    "v": "νѵᴠѴᏙ",
    "w": "ԝᴡωшɯᎳ",
    "x": "хχΧХ×",
    "y": "уγʏүΥУУ¥",
    "z": "ᴢʐΖᏃ",
    "ss": "ß",
    "ae": "æÆ",
    "oe": "œŒ",
    "'": "’‘ʼ´`′＇",
    "-": "‐‑‒–—−",
}
_ENCLOSED_ALPHABETS = (0x1F150, 0x1F170)
"""White letters on black circles and squares, which have no compatibility form."""


class _Folding(dict[int, str | None]):
    """What each character becomes, worked out when it is first seen (``None``: nothing)."""

    def __missing__(self, code: int) -> str | None:
        self[code] = folded = self._fold(code)
        return folded

    @staticmethod
    def _fold(code: int) -> str | None:
        sign = chr(code)
        category = unicodedata.category(sign)
        if category in {"Cf", "Mn", "Me"} or sign in _INVISIBLE:
            return None
        for first in _ENCLOSED_ALPHABETS:
            if first <= code < first + 26:
                return chr(code - first + ord("a"))
        if category == "Nd":
            return str(unicodedata.digit(sign))
        return sign


_FOLDING = _Folding({ord(like): plain for plain, likes in _LOOKALIKES.items() for like in likes})


def normalise(text: str) -> str:
    """Lower-case text in compatibility form, without accents, marks and invisible characters, in Latin letters."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text).translate(_FOLDING).casefold()


def without_accents(text: str) -> str:
    """Words of a rule as ``normalise`` leaves them; what is not a letter stays."""
    decomposed = unicodedata.normalize("NFD", text.replace("ß", "ss").replace("œ", "oe").replace("æ", "ae"))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def by_prefix(expressions: Iterable[str]) -> str:
    """Alternatives that share their first letters, so that a position in a text fails after one comparison."""
    heads: dict[str, list[str]] = {}
    others = []
    for expression in sorted(set(expressions), reverse=True):
        if re.match(r"[a-z](?![?*+{])", expression):
            heads.setdefault(expression[0], []).append(expression[1:])
        else:
            others.append(expression)
    grouped = [head + (rest[0] if len(rest) == 1 else f"(?:{by_prefix(rest)})") for head, rest in heads.items()]
    return "|".join([*grouped, *others])


def readings(plain: str, vocabulary: "Vocabulary") -> tuple[str, ...]:
    """The ways to read normalised text: as it is, with every disguise taken off alone, and with all of them in turn.

    In a reading one space stands for all signs between words that neither end a sentence nor belong to an address, a
    number or a price. All but the first are only the part that differs from it, with the words around.
    """
    found = dict.fromkeys((plain,))
    layered = plain
    for step in (_spelled_out, _leet_i, _leet_l, _glued, _unmasked, _doubled, _unstretched):
        alone = step(plain, vocabulary)
        layered = alone if layered == plain else step(layered, vocabulary)
        found |= {alone: None, layered: None}
    found[_digits(plain)] = None
    whole, *others = dict.fromkeys(_in_words(text) for text in found)
    return (whole, *(_difference(whole, other) for other in others))


def around(text: str, start: int, end: int) -> str:
    """The whole words of ``text`` from 80 characters before ``start`` to 80 after ``end``."""
    first = text.rfind(" ", 0, max(0, start - CONTEXT)) + 1
    last = text.find(" ", end + CONTEXT)
    return text[first:] if last < 0 else text[first:last] + _GOES_ON


class Vocabulary:
    """Words that rules look for, to recognise one of which only a part is to be seen."""

    def __init__(self, words: Sequence[str]) -> None:
        self._lines = "\n".join(sorted(set(words)))
        self._within = re.compile(by_prefix(word for word in words if len(word) >= 5) or r"(?!)")
        self.completed = lru_cache(maxsize=1_024)(self._completed)

    def _completed(self, masked: str) -> str | None:
        """The first word that fits ``masked``, in which each sign that is not a letter stands for one letter."""
        pattern = "".join(sign if sign.isalpha() else "[a-z]" for sign in masked)
        found = re.search(f"^{pattern}$", self._lines, re.MULTILINE)
        return found[0] if found else None

    def inside(self, letters: str) -> Iterator[str]:
        """The words that occur in an unbroken run of letters."""
        return (found[0] for found in self._within.finditer(letters))


CONTEXT = 80
"""Characters, more than a phrase has."""
_GOES_ON = " 0"
"""Says that the sentence is not over where an excerpt is; no phrase goes on with a nought."""
_SIGNS = r"a-z0-9.,;:!?@&+€%$#/()_\-"
_BETWEEN_WORDS = re.compile(rf"[^{_SIGNS}]{{2,}}|[^{_SIGNS} ]")
_SPELLED = re.compile(r"(?<![a-z0-9@$'])[a-z0-9@$](?:[^a-z0-9@$]{1,3}[a-z0-9@$](?![a-z0-9@$])){2,}")
_SPELLED_PART = re.compile(r"([a-z0-9@$])([^a-z0-9@$]*)")
_SEPARATOR = re.compile(r"(?<=[a-z])(?:[^\w\s']|_){1,3}(?=[a-z])")
_MASKED = re.compile(r"(?<![a-z])[a-z]+(?:[*#%]{1,2}[a-z]+)+(?![a-z])")
_STRETCHED = re.compile(r"([a-z])\1{2,}")
_LEET = re.compile(r"[a-z][0-9@$!|€+(]|[0-9@$!|€+(][a-z]")
_MEASURE = re.compile(
    r"\W*\d+(?:[.,:]\d+)?(?:st|nd|rd|th|er|e|eme|h|hrs?|k|m|g|x|am|pm|mins?|secs?|s|cm|mm|km|kg|gb|mb|mp|"
    r"fps|yo|d|uhr|[ap]\.m)\d{0,2}\W*"
)
_LEET_LETTERS = {
    "0": "o",
    "3": "e",
    "4": "a",
    "5": "s",
    "6": "g",
    "7": "t",
    "8": "b",
    "9": "g",
    "@": "a",
    "$": "s",
    "€": "e",
    "+": "t",
    "(": "c",
}
_LEET_I = str.maketrans(_LEET_LETTERS | {"1": "i", "!": "i", "|": "i"})
_LEET_L = str.maketrans(_LEET_LETTERS | {"1": "l", "!": "l", "|": "l"})

_NUMBERS: dict[str, str] = {
    "0": "zero oh null nil cero",
    "1": "one un une eins uno um uma dix",
    "2": "two deux zwei zwo dos due dois duas vingt",
    "3": "three trois drei tres tre trente",
    "4": "four quatre vier cuatro quattro quatro quarante",
    "5": "five cinq funf fuenf cinco cinque cinquante",
    "6": "six sechs seis sei meia soixante",
    "7": "seven sept sieben siete sette sete",
    "8": "eight huit acht ocho otto oito",
    "9": "nine neuf neun nueve nove",
    "11": "onze eleven",
    "12": "douze twelve",
    "13": "treize thirteen",
    "14": "quatorze fourteen",
    "15": "quinze fifteen",
    "16": "seize sixteen",
    "": "double doble doppel",
}
_DIGITS_OF = {word: digits for digits, words in _NUMBERS.items() for word in words.split()}
_NUMBER_WORD = rf"(?:{by_prefix(_DIGITS_OF)}|\d{{1,4}})"
_NUMBER_RUN = re.compile(rf"(?<![a-z0-9]){_NUMBER_WORD}(?:[\s,.-]{{1,3}}{_NUMBER_WORD}(?![a-z0-9])){{5,}}")
_NUMBER_PART = re.compile(r"[a-z]+|\d+")
_DIGIT_LIKE = re.compile(r"(?<![a-z0-9])(?=[oil]{0,12}\d)[\doil]{2,}(?![a-z0-9])")
_DIGIT_OF = str.maketrans("oil", "011")


def _difference(whole: str, other: str) -> str:
    """The part of ``other`` that is not as in ``whole``, with the words around it."""
    start = _common(whole, other)
    end = len(other) - _common(whole[start:][::-1], other[start:][::-1])
    return around(other, start, end)


def _common(one: str, other: str) -> int:
    """How many characters the beginnings share."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _in_words(text: str) -> str:
    return _BETWEEN_WORDS.sub(" ", text).replace(" - ", " ")


def _spelled_out(text: str, vocabulary: Vocabulary) -> str:
    """``p a y p a l`` and ``p.a.y.p.a.l`` become ``paypal``, together with the known words inside of such a run."""

    def join(run: re.Match[str]) -> str:
        parts = _SPELLED_PART.findall(run[0])
        usual = min((gap for _, gap in parts[:-1]), key=len)
        joined = "".join(letter + ("" if gap == usual else gap.strip() or " ") for letter, gap in parts[:-1])
        joined += parts[-1][0]
        return " ".join([joined, *(word for word in vocabulary.inside(joined) if word != joined)])

    return _SPELLED.sub(join, text)


def _glued(text: str, _: Vocabulary) -> str:
    """``pay.pal`` becomes ``paypal``."""
    return _SEPARATOR.sub("", text)


def _unmasked(text: str, vocabulary: Vocabulary) -> str:
    """``p*yp*l`` becomes ``paypal``, when that is a known word."""
    if not any(mark in text for mark in "*#%"):
        return text
    return _MASKED.sub(lambda word: vocabulary.completed(word[0]) or word[0] if len(word[0]) <= 20 else word[0], text)


def _unstretched(text: str, _: Vocabulary) -> str:
    """``paaaypal`` becomes ``paypal``."""
    return _STRETCHED.sub(r"\1", text)


def _doubled(text: str, _: Vocabulary) -> str:
    """``schooolgirl`` becomes ``schoolgirl``."""
    return _STRETCHED.sub(r"\1\1", text)


def _leet_i(text: str, _: Vocabulary) -> str:
    """``k1k`` becomes ``kik``."""
    return _unleet(text, _LEET_I)


def _leet_l(text: str, _: Vocabulary) -> str:
    """``paypa1`` becomes ``paypal``."""
    return _unleet(text, _LEET_L)


def _unleet(text: str, letters: dict[int, str]) -> str:
    if not _LEET.search(text):
        return text
    return " ".join(word if word.isalpha() else _unleet_word(word, letters) for word in text.split(" "))


def _unleet_word(word: str, letters: dict[int, str]) -> str:
    core = word.rstrip("!|+$.,?)")
    if not _LEET.search(core) or _MEASURE.fullmatch(core):
        return word
    return core.translate(letters) + word[len(core) :]


def _digits(text: str) -> str:
    """``o7700 9oo`` and a number that is written in at least six words become digits."""

    def in_digits(run: re.Match[str]) -> str:
        return " ".join(filter(None, (_DIGITS_OF.get(part, part) for part in _NUMBER_PART.findall(run[0]))))

    return _NUMBER_RUN.sub(in_digits, _DIGIT_LIKE.sub(lambda word: word[0].translate(_DIGIT_OF), text))
