"""Ages below 18, as people tell them: "I'm 17", "she just turned sixteen", "acabo de cumplir 17", "16 geworden".

Expressions over a reading (``compliance_text``), so without accents and apostrophes. A bare number is an age when a
person has it and the sentence ends there or goes on as after an age; 16 photos, 17 minutes and 16 weeks are none.
"""

from typing import Final

_DIGITS = r"1[0-7]"
_EN = rf"(?:{_DIGITS}|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
_FR = rf"(?:{_DIGITS}|onze|douze|treize|quatorze|quinze|seize|dix.?sept)"
_ES = rf"(?:{_DIGITS}|once|doce|trece|catorce|quince|dieciseis|diecisiete)"
_DE = rf"(?:{_DIGITS}|elf|zwolf|dreizehn|vierzehn|funfzehn|sechzehn|siebzehn)"
_IT = rf"(?:{_DIGITS}|undici|dodici|tredici|quattordici|quindici|sedici|diciassette)"
_PT = rf"(?:{_DIGITS}|onze|doze|treze|catorze|quinze|dezesseis|dezasseis|dezessete|dezassete)"

_ALONE = r"\b(?!\s?(?:%|\+|[.:/,]\d|\w|€|\$))"
"""Nothing is counted: the clause ends after the number."""

_MONTH_EN = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_ON_EN = (
    rf"\b,? (?:and(?! a half \w| \d)|but|so(?! far)|now|today|yesterday|tomorrow|already|last (?:week|"
    rf"month|year|{_MONTH_EN}|"
    r"summer|winter|spring|autumn|fall|night|\w+day)|this (?:week|month|year|summer|winter|spring|\w+day)|"
    r"next (?:week|month|year|summer|\w+day)|a (?:week|month|year|day|few \w+) ago|"
    r"(?:two|three|\d) (?:days|weeks|months) ago|when|then|back then|soon|because|cause|cuz|though|too|"
    rf"in (?:{_MONTH_EN}|a (?:week|month|few)|(?:two|three|\d) (?:weeks|months))|"
    r"on (?:\w+day|my|her|his)|with (?:long|big|no|blonde|braces))\b"
)
_ON_FR = (
    r"\b,? (?:et(?! demi)|mais|hier|aujourd|demain|la semaine|le mois|cette|cet|en \w+|depuis|il y a|bientot|"
    r"maintenant)\b"
)
_ON_ES = (
    r"\b,? (?:y(?! medi)|pero|hoy|ayer|manana|la semana|el (?:mes|lunes|martes|sabado|domingo)|este|esta|hace|ahora|ya|"
    r"pronto)\b"
)
_ON_DE = r"\b,? (?:und(?! ein)|aber|also|heute|gestern|morgen|seit|letzte\w?|diese\w?|jetzt|bald)\b"

_NOW_EN = (
    r"(?: (?:just|only|barely|still|already|actually|now|almost|nearly|really|about|recently|finally|newly|like))?"
)
_ONLY_EN = r"(?:just|only|barely|recently|freshly|newly|finally)"
_NOT_YEARS_EN = (
    r"\b(?! ?(?:%|\+|[.:/,]\d|[a-z]?\d|€|\$|more|new|hot|of|(?:(?!last|this|next)\w+ )?(?:am|pm|o ?clock|"
    r"noon|midnight|pages?|photos?|pics?|"
    r"pictures|videos?|clips?|sets?|heads?|minutes?|mins?|hours?|hrs?|seconds?|days?|weeks?|months?|times|degrees|"
    r"followers|subs|fans|subscribers|k|km|miles|percent|dollars?|bucks|euros?|pounds|thousand|hundred|cards|items|"
    r"things|messages|posts|likes|pancakes)\b))"
)

AGE_PATTERNS: Final = (
    # English: who is of the age, who turned it, who will be
    rf"\b(?:i ?m|i am|i was|(?:she|he) ?s|(?:she|he|who) (?:is|was)|they ?(?:re| are| were)|aged){_NOW_EN} {_EN}"
    rf"(?:{_ALONE}|{_ON_EN})",
    rf"\b(?:i|she|he|they|who|we)(?: ?ve| have| has| had| ?d)?{_NOW_EN} turn(?:ed|s|ing)? {_EN}{_NOT_YEARS_EN}",
    rf"\b(?:i ?m|i am|she ?s|he ?s|i was|(?:she|he|who) (?:is|was)){_NOW_EN} turning {_EN}{_NOT_YEARS_EN}",
    rf"\b{_ONLY_EN} turn(?:ed|ing) {_EN}{_NOT_YEARS_EN}",
    rf"\b(?:(?:i|she|he) ?(?:ll| will) be|(?:gonna|going to|about to) (?:be|turn)) {_EN}(?:{_ALONE}|{_ON_EN})",
    rf"\b(?:only|just|barely|girl of|turned) {_DIGITS}{_ALONE}",
    # French
    rf"\b(?:vien[st]|venai[st])(?: tout juste| juste| a peine)? (?:d ?|de )(?:avoir|feter|faire|"
    rf"souffler)(?: mes| ses)? {_FR}"
    rf"(?:{_ALONE}|{_ON_FR})",
    rf"\b(?:tout juste|a peine|fete|eu|feter)(?: mes| ses)? {_FR}(?:{_ALONE}|{_ON_FR})",
    rf"\b{_FR} (?:piges|printemps|balais|(?:petits|petites|jeunes|tendres) (?:ans|annees|printemps))\b",
    # Spanish
    rf"\b(?:cumpl(?:o|i|e|io|ir|ido|ire|ira|iendo)|hice|acabo de hacer)(?: los| mis| sus| ya| apenas| solo)? {_ES}"
    rf"(?:{_ALONE}|{_ON_ES})",
    rf"\b(?:tengo|tiene|tenia|tienes)(?: solo| apenas| ya| aun| todavia| casi| recien)? {_ES}(?:{_ALONE}|{_ON_ES})",
    rf"\b{_ES} (?:anit[oi]s|anyos|abriles|primaveras|(?:anos|anitos) (?:recien )?cumplidos)\b",
    rf"\b{_ES} (?:recien |ya )?cumplidos\b",
    # German
    rf"\b(?<!sind ){_DE}(?: jahre)? (?:geworden|jahrchen|lenze)\b",
    r"\b(?:bin|werde|ich (?:war|wurde)|(?:sie|er|die|freundin|schwester|tochter) (?:ist|war|wird|wurde))(?: ich)?"
    r"(?: (?:erst|gerade|grade|eben|noch|schon|knapp|bald|jetzt|mal|nur|fast|endlich|morgen|heute|gestern)){0,3}"
    rf" {_DE}(?:{_ALONE}|{_ON_DE})",
    # Italian and Portuguese
    rf"\bsono (?:appena |solo )?{_DIGITS}{_ALONE}|\bho (?:solo|appena) {_DIGITS}{_ALONE}",
    rf"\b(?:compi(?:uto|ere|o|ro|e))(?: da poco| i| appena)? {_IT}{_ALONE}",
    rf"\b{_IT} ann(?:etti|ucci)\b",
    rf"\b(?:fiz|faco|fazer|fez|completei|completar)(?: meus| os)? {_PT}{_ALONE}",
    rf"\b{_PT} aninhos\b",
)
