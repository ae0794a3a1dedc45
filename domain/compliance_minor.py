"""The rule that protects minors: nothing that refers to or suggests one, in words, ages, schools or play."""

from typing import Final

from domain.compliance_age import AGE_PATTERNS
from domain.compliance_rule import Rule

_YOUNG = r"(?:1[0-7]|[1-9])"
_WORDS = {
    "en": "(nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)",
    "fr": "(onze|douze|treize|quatorze|quinze|seize|dix sept)",
    "es": "(once|doce|trece|catorce|quince|dieciséis|diecisiete)",
    "de": "(elf|zwölf|dreizehn|vierzehn|fünfzehn|sechzehn|siebzehn)",
    "it": "(undici|dodici|tredici|quattordici|quindici|sedici|diciassette)",
    "pt": "(onze|doze|treze|catorze|quinze|dezesseis|dezasseis|dezessete|dezassete)",
}

MINOR_RULES: Final = (
    Rule(
        id="minors",
        clause="minors",
        remedy="Nothing that refers to or suggests a minor may be sent, not in play and not as a style.",
        phrases={
            "any": (
                "lolita*",
                "loli",
                "lolis",
                "loli ?con",
                "shota",
                "shota ?con",
                "jail ?bait*",
                "ddlg",
                "ddlb",
                "mdlb",
                "abdl",
                "ped[oa]",
                "p[ae]?edo*(phil*|fil*)?",
                "csam",
            ),
            "en": (
                "under ?age*",
                "minors?",
                "pre ?teen*",
                "teens?",
                "teenage*",
                "teenie*",
                "(school|schol) ?girls?",
                "school ?boys?",
                "school ?kids?",
                "(high|middle|primary|elementary|grade|junior high|jr high) ?school*( (girl|student|uniform|look|"
                "outfit|crush))?",
                "(jr|junior) high",
                "(first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|[1-9]th|1[01]th|1st|2nd|"
                "3rd) grader?s?",
                "school uniform",
                "barely ?(legal|18|eighteen)",
                "(just|only|freshly|newly|recently|finally) ?(turned|became|hit|made)? ?(legal|18|"
                "eighteen)( (yesterday|today|last|this))?",
                "(turn|turns|turning|becoming|be|am|nearly|almost|soon|close to|about to be|not even|not yet|"
                "not quite|isn'?t|under|"
                "below|younger than|before i (was|turned)|before (my)?) ?(18|eighteen)",
                "(not|isn'?t|aren'?t) (of )?(legal( age)?|18|eighteen)( yet)?",
                "legal (soon|in a (week|month))",
                "age ?(play|regression|gap with a (girl|boy))",
                "(little|young|tiny|small|innocent|sweet little|virgin) (girl|boy|daughter|child|kid|kiddo|"
                "school ?girl|lolita|minor)s?",
                "(your|daddy's|daddys) (little|baby|young) (daughter|child|kid)",
                "child ?(content|porn*|model*|like|ish look|play|star|bride|erotica|abuse|nud*)",
                "child(ish)? (body|look)",
                "(looks?|looking|dress*|act|acting|feels?|talk) like (a |an |your )?(little |young )?(kid|child|"
                "minor|teen|baby girl|school ?girl|"
                "underage|1[0-7]|" + _WORDS["en"] + ")",
                "(kids?|children|toddlers?|babies|infants?) (content|pics|pictures|photos|nudes?|videos?|in underwear)",
                "(i|she|he|who|they) (look|looks|(could )?(easily )?pass for|could be|seems?|"
                "still look) (like )?(1[0-7]|" + _WORDS["en"] + ")",
                "(i'?m|i am|she'?s|she is|he'?s|he is|they'?re|aged?|only|just|turned|was|be) "
                + _WORDS["en"]
                + "( years? old| yo| y o|$)",
                _WORDS["en"] + " ?years? ?old*",
                _WORDS["en"] + " ?(yo|y o)",
                "girl scout",
                "high ?school",
                "minor girls?",
                "pubescent",
                "prepubescent",
                "tween*",
                "tiny teens?",
            ),
            "fr": (
                "mineure?s?",
                "ados?",
                "pré ?ados?*",
                "adolescente?s?",
                "écoli(er|ère)s?",
                "lycéen*",
                "collégien*",
                "gamine?s?",
                "fillettes?",
                "petites? filles?",
                "petits? garçons?",
                "jeunes? (filles?|vierge|fillette)",
                "(pas|même pas|pas encore|bientôt|presque|tout juste|à peine|moins de|avant) (encore )?(les |mes |"
                "ses |eu )*"
                "(18|dix huit)( ans)?",
                "à peine (majeure?|légale?)",
                "(pas encore|bientôt|presque|tout juste) majeure?",
                "jeux? d'âge",
                "uniforme (d'|de |scolaire)(écolière|lycéenne|collégienne)?",
                _WORDS["fr"] + " ans",
            ),
            "es": (
                "menor(es)? de (edad|18|dieciocho)",
                "una? menor$",
                "(chica|niña|jovencita) menor",
                "colegial[ae]?s?",
                "adolescentes?",
                "quinceañer[oa]s?",
                "niñ(as|itas?)",
                "(una|la|mi|tu|de|como|soy|pequeña) niña( pequeña)?",
                "(casi|aún no|todavía no|aun no|ni|no tengo|recién|apenas|por cumplir|antes de) (cumplí |cumplidos |"
                "tengo |los )*"
                "(18|dieciocho)( años)?",
                "(recién|acabo de|apenas) (cumpl*|hacer) (los |mis )?(18|dieciocho)",
                "apenas (legal|mayor)( de edad)?",
                "jovencitas? (de )?(instituto|colegio|escuela|secundaria)",
                "(alumna|estudiante|uniforme) (de |del )?(instituto|colegio|escuela|secundaria|escolar)",
                "juegos? de edad",
                _WORDS["es"] + " (años|añitos)",
                "escolar(cita)?",
            ),
            "de": (
                "minderjährig*",
                "schul ?(mädchen|mädel|jungen?|mädels|uniform)",
                "schülerin(nen)?",
                "teen(s|ies?|ager|agerin)?",
                "(kleine[sn]?|junge[sn]?|unschuldige[sn]?) mäd(chen|el)s?",
                "kleine[rn]? (junge|bub)n?",
                "kinder ?(bilder|fotos|videos|porn*|nackt*)",
                "erst 1[0-7]$",
                "noch (nicht|keine) (ganz )?(18|achtzehn|volljährig)",
                "(gerade|grade|eben|frisch|knapp|fast|bald|endlich)( erst| mal)? (18|achtzehn|volljährig|"
                "legal)( geworden)?",
                "(unter|jünger als) (18|achtzehn)( jahren?)?",
                "vor meinem (18|achtzehnten)",
                "(nicht|noch nicht) volljährig",
                "alters ?spiele?",
                "age ?play",
                "(ich bin|sie ist|er ist|bin|erst|mit|ist) " + _WORDS["de"] + "( jahren?( alt)?|$)",
                _WORDS["de"] + " jahre",
                "(1[0-7]|" + _WORDS["de"] + ") ?jährige?[nrs]?",
            ),
            "it": (
                "minorenn[ei]",
                "ragazzin[aei]",
                "bambin[aei](tta)?",
                "scolarett[ae]",
                "adolescent[ei]",
                "(student*|alunn*|ragazz*) (delle |della |del )?(medie|scuola media|liceo|elementari)",
                "(appena|quasi|non ancora|da poco|meno di|sotto i) (i |compiuti? )?(18|diciotto|maggiorenne)( anni)?",
                "(liceale|uniforme scolastica)",
                _WORDS["it"] + " anni",
            ),
            "pt": (
                "menor de (idade|18|dezoito)",
                "novinhas?",
                "menininhas?",
                "(menina|garota|garotinha) (pequena|novinha|de escola)",
                "garotinhas?",
                "colegia(l|is)",
                "adolescentes?",
                "(quase|ainda não|nem|recém|acabei de fazer|mal fiz|menos de) (tenho |fiz |completei )*(18|"
                "dezoito)( anos)?",
                "uniforme (escolar|de colégio)",
                _WORDS["pt"] + " anos",
                "(aluna|estudante) do (colégio|ginásio|fundamental|ensino médio)",
            ),
        },
        patterns=(
            rf"\b(?<![.,/:-]){_YOUNG}\s?-?(?:years?|yrs?|yr)[\s-]?olds?\b",
            r"\b(?<![.,/:-])(?:1[0-7]|[5-9])\s?(?:yo|y/o|y\.o\.?)(?![\w-])",
            rf"\b(?<![.,/:-]){_YOUNG}\s?jahren? alt\b",
            r"\b(?<![.,/:-])1[0-7]\s?(?:ans|anos|anni)\b",
            r"\b(?:fille|fillette|garcon|enfant|bebe|agee? de|nina|nino|bambin[ao]|menin[ao]|figli[ao]|elle a|il a|"
            r"tiene|con) "
            r"(?:de |di )?[1-9]\s?(?:ans|anos|anni)\b",
            r"\b(?:madchen|junge|tochter|schulerin|frau)\W+(?:mit|von)\W+1[0-7]\b",
            *AGE_PATTERNS,
        ),
        harmless=(
            "like a (kid|child) (at|on|before) (christmas|easter|(my |her |his )?birthday)",
            "like a (kid|child) in a (candy|sweet|toy) (shop|store)",
            "(no|not for|without|any|all|against|protect*|block*) (minors?|under ?age* (people|persons|users)?)",
            "minors (not|are not|aren't|will be|do not|don't|must|dni|get|keep|please leave|go away)",
            "minors? (are )?(not )?(prohibited|forbidden|banned|allowed)",
            "(a|the|some|only|very|few|my|few|in) ?minor (changes?|details?|updates?|issues?|tweaks?|delay|key|chord|"
            "scale|bug|"
            "problem|setback|injury|surgery|thing|role|miracle|inconvenience|correction|flaw|edit|planet|league|"
            "adjustments?)",
            "(a|b|c|d|e|f|g)( flat| sharp)? minor",
            "minor (update|league|key|changes?|details?|in (art|music|history|college|math|french|psychology|film|"
            "dance|english))",
            "(my|a|with a) minor (in|at|was|at college)",
            "old school girls?",
            "(as|was|were|since|when i was) an? (teen|teenager|kid|child)( when)?",
            "teenage mutant",
            "(my |in |at |our |the )?(old )?(high|middle|primary) ?school (reunion|teacher|sweetheart|musical|"
            "friends?|days|memories)",
            "(must|have to|need to|should|has to|gotta) be (over |at least )?(18|eighteen)",
            "(be|being|is|are|am|over|if you are|if you're) (over |at least )?18 ?(\\+|or (over|older)|plus|"
            "and (over|older))",
            "(i'?m|i am|we are|everyone is|all) 18 ?(\\+|and (proud|over))",
            "(if|when) (you are|you're|ur|youre|you) (under|not|below|younger than)( yet)? (18|eighteen)",
            "(under|below) (18|eighteen)s? (is|are|you( are)?|not|must|may|will|please|forbidden|prohibited|"
            "get)( not)?",
            "(nobody|no one|noone|no|anyone|nothing|not) (under|below) (the age of )?(18|eighteen)",
            "interdit (aux|à tous les) (moins de (18|dix huit)( ans)?|mineure?s?)",
            "(interdit|pas|accès|réservé)… (aux|de|pour les) mineure?s",
            "(détail|changement|souci|rôle|mode|accord|do|ré|mi|fa|sol|la|si|retard|problème|travail) mineure?s?",
            "(un|quelques) (petit )?[a-z]+ mineurs?",
            "(moins|plus) de 18 ans (interdit|s'abstenir|dehors)",
            "(mayores|menores|prohibido|no apto|nada)( de| para| para los)* (18|menores( de edad)?)",
            "prohibido (el acceso )?a? ?menores de (edad|18)",
            "(kein|keine|nicht für|nichts für) (zutritt für |inhalte für )?minderjährige",
            "(ab|über|nur) 18",
            "unter 18 (hast|ist|sind|darf|dürfen|bitte|kein*|nicht|verboten|geht|raus)",
            "unter (18 )?(€|euro|grad|uns|dem|der|die|das|den|einer|einem|anderem|umständen)",
            "(vietato|proibido|no) (ai|para|a) (minor[ie](nni)?|menores)",
            "(proibido|não) (é )?para menores( de (18|idade))?",
            "adoro?",
            "(il y a|ça fait|depuis|pendant|après|durant|voilà|en|dans|bientôt|déjà|whisky de|rhum de|vin de|"
            "carrière de) "
            r"(plus de |près de )?(\d+|" + _WORDS["fr"] + ") ans( d'âge)?",
            r"(\d+|"
            + _WORDS["fr"]
            + ") ans (de (carrière|danse|métier|mariage|photo*|travail|scène|vie|passion|relation|présence)|"
            "d'expérience|que|qu'|ensemble|plus tard|après|avant|déjà)",
            "(hace|desde hace|durante|llevo|llevamos|en|después de|más de|tras|ron de|vino de|whisky de) "
            r"(\d+|" + _WORDS["es"] + ") (años|añitos)",
            r"(\d+|"
            + _WORDS["es"]
            + ") años (de (experiencia|carrera|baile|trabajo|casad[oa]s?|amistad)|juntos|después|antes|atrás)",
            r"(vor|seit|nach|für|in|über|letzten|nächsten) (\d+|" + _WORDS["de"] + ") jahren?",
            r"(whisk[e]?y|wein|rum|auto|hund|katze|kater|kamera|account)… \d+ jahre alt",
            r"(whisk[e]?y|wine|rum|car|dog|cat|puppy|kitten|horse|pony|tattoo|account|page|sofa|house|camera|laptop|"
            r"phone|channel|"
            r"jeans|dress|scotch|cheese|tree|bike|company|app|site|pet|parrot|turtle|fish|bunny|rabbit|plant|series|"
            r"film|movie|song|"
            r"video|couch|bed|car)s?… \d+ ?-?years? ?-?old",
            r"(she|he|it)'?s \d+ years old and (she|he|it) (runs|rules|owns|sleeps|barks|purrs)",
            r"\d+ ?-?years? ?-?old (whisk[e]?y|wine|rum|car|dog|cat|puppy|kitten|horse|tattoo|account|sofa|house|"
            r"camera|phone|jeans|"
            "dress|scotch|cheese|tree|bike|pet|song|video|photo|picture|set)",
            r"(da|da più di|per|dopo|tra|negli ultimi|circa) (\d+|" + _WORDS["it"] + ") anni",
            r"(há|faz|durante|depois de|mais de|em) (\d+|" + _WORDS["pt"] + ") anos",
            r"\d+ anos (de (experiência|carreira|casad[oa]s?|dança)|juntos|depois|atrás)",
            r"\d+ anni (di (esperienza|carriera|danza|matrimonio)|insieme|fa|dopo)",
            r"\d+ yo ?yo*",
            r"(clock|calendar|counter|thermometer|page) (has |had |just |only |is )*turn(ed|s|ing) \d+",
            "bambin[aeo] (natale)",
            "high ?school musical",
            "(inner|my) child",
            "(seventeen|sixteen|fifteen|twelve|ten|eleven|thirteen|fourteen|nine) (years|year) (ago|of|together|in|"
            "later|experience)",
            "(como|desde) (una )?niñ[ao]s? (con|pequeñ[ao])",
        ),
    ),
)
