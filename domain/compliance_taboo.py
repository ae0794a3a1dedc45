"""Rules against sexual topics that the platform prohibits between consenting adults too."""

from typing import Final

from domain.compliance_rule import Rule

_RELATIVE = (
    "(sis|sister|bro|brother|sibling|mom|mum|mommy|mother|dad|father|cousin|niece|nephew|aunt|auntie|uncle|daughter|"
    "son)"
)

TABOO_RULES: Final = (
    Rule(
        id="incest",
        clause="prohibited-content",
        remedy="Leave out family members and family roles.",
        phrases={
            "any": ("incest*", "inzest*", "inceste?", "incesto"),
            "en": (
                _RELATIVE + " (role ?play*|rp|fantas*|kink|taboo|pov|porn|sex|joi)",
                "(role ?play*|pretend*|fantasi[sz]e)( that| like)? (i'?m|i am|you'?re|you are|we'?re|we are|as|being|"
                "with|of|about)( your| my| a| the| his| her)? ((kid|little|baby|big|older|younger|twin|half|foster|"
                "hot|naughty) )?(step ?)?" + _RELATIVE + "s?",
                "step ?(sis|sister|bro|brother|mom|mum|dad|daughter|son) (walks? in|catch(es)?|finds? me|sneaks|"
                "joins|seduc*|next door)",
                "step ?(mom|mum|mommy|mother|sis|sister|bro|brother|dad|daddy|father|son|daughter|family|"
                "sibling)s? ?(and (me|i|her|his)|fantas*|role ?play*|play|"
                "caught|scene|story|video|content|stuck|taboo|tonight|sex|porn|series|slut|dream*|kink|who)",
                "(your|naughty|horny|hot|be your|slutty|dirty|sexy|my) step ?(mom|mum|mommy|mother|sis|sister|bro|"
                "brother|dad|daddy|father|son|daughter)"
                " ?(tonight|and me|wants|needs|caught|fantas*|is (so )?(horny|naughty|home alone|wet))",
                "(be|play|as) your step ?(mom|sis|sister|daughter|son|bro|mother|mommy|dad)",
                "(mother|mom|mommy|father|dad|daddy|brother|sister|uncle|aunt|grandpa|grandma|daughter|son)s? (and|&|"
                "/|-)? ?"
                "(son|daughter|sister|brother|niece|nephew|sibling|grandson|granddaughter)s? (role ?play*|fantas*|"
                "sex|taboo|fun|scene|video|porn|love making|together on)",
                "family (taboo|fun time|sex|fantasy|porn|secrets taboo)",
                "(real|actual|biological|twin) (sisters|brothers|siblings|twins|mother|mom|cousins?) (together|"
                "on video|video|having|fuck*|kiss*|making out|play*)",
                "(fuck|sleep with|sex with|suck|bang|naked with)(ing|ed)? (my|your|her|"
                "his) (own )?(real )?(step ?)?(mom|mother|mum|dad|father|sister|sis|brother|bro|"
                "cousin|uncle|aunt|son|daughter|niece|nephew)",
                "(taboo|forbidden) (family|mother|sister|brother|daddy daughter)",
            ),
            "fr": (
                "jeu de rôle… (frère|sœur|père|mère|cousine?|tante|oncle|nièce|beau ?père|belle ?mère)",
                "((petite|grande|demi) )?(sœur|cousine|tante|nièce) (en )?(jeu de rôle|tabou|fantasme)",
                "(fantasme|jeu de rôle|vidéo|scène|histoire)s? (de|avec|sur) (ta |ma |la )?(belle ?(mère|sœur|fille)|"
                "demi ?sœur|mère|sœur|fille|cousine|tante)",
                "(père|mère|frère|papa|maman) et (sa |son |ma |mon )?(fille|fils|sœur)s?,? ?(jeu de rôle|fantasme|"
                "tabou|sexe|au lit|en vidéo)",
                "(tabou|secrets?) (en |de )famille",
                "(belle ?sœur|belle ?mère|demi ?sœur|belle ?fille) (coquine|chaude|sexy|tabou|salope|en chaleur)",
            ),
            "es": (
                "juego de rol… (herman(a|o|ita|ito)|hermanastr[ao]|madre|padre|prim[ao]|tí[ao]|sobrina)",
                "(hermana|hermanita|prima|tía|sobrina)( pequeña| mayor)? (en )?(juego de rol|tabú|fantasía)",
                "(fantasía|juego de rol|vídeo|video|escena|historia)s? (con|de|sobre) (tu |mi |la )?(hermanastr[ao]|"
                "madrastra|padrastro|hijastra|hermana|madre|mamá|hija|prima|tía)",
                "(madre|padre|mamá|papá|hermano) (e|y) (su )?(hijo|hija|hermana),? (tabú|juego de rol|sexo|fantasía|"
                "en la cama)",
                "(hermanastra|madrastra|hijastra) (caliente|traviesa|sexy|cachonda)",
                "tabú (familiar|en familia)",
            ),
            "de": (
                "rollenspiel… (stief ?)?(schwester*|bruder|mutter|tochter|vater|cousine|tante|nichte|onkel)",
                "((kleine|große|jüngere|ältere|stief) ?)?(schwester|cousine|tante|nichte) ?(rollenspiel|fantasie|tabu)",
                "stief ?(schwester|mutter|tochter|bruder|vater|sohn|mama|schwesterchen) ?(fantasie|rollenspiel|spiel|"
                "geschichte|video|szene|tabu|sex|porno|story)n?",
                "(geile|heiße|versaute|freche) stief ?(schwester|mutter|tochter|mama)",
                "(vater|mutter|bruder|papa|mama) (und|mit) (tochter|sohn|schwester) (rollenspiel|fantasie|sex|tabu|"
                "spiele?|video)",
                "(familien ?tabu|tabu in der familie)",
            ),
            "it": (
                "(fantasia|gioco di ruolo|video|storia)e? (della|con la|sulla|di) (tua |mia )?(sorellastra|matrigna|"
                "figliastra|sorella|madre|mamma|figlia|cugina)",
                "(sorellastra|matrigna) (calda|sexy|porca|tabù)",
                "(padre|madre) e figli[ao] (gioco|tabù|sesso|fantasia)",
            ),
            "pt": (
                "(fantasia|vídeo|história|cena) (de|com|da) (a |sua |minha )?(madrasta|enteada|meia irmã|irmã|mãe|"
                "prima|tia)",
                "(madrasta|enteada) (safada|gostosa|tabu)",
                "(pai|mãe) e filh[ao] (tabu|sexo|fantasia)",
            ),
        },
    ),
    Rule(
        id="bestiality",
        clause="prohibited-content",
        remedy="Leave out animals in any sexual context.",
        phrases={
            "any": ("bestial*", "zoo ?phil*", "zoo ?fil*", "zoo ?porn*", "k9 (sex|fun|play|slut|love)"),
            "en": (
                "(girl|woman|guy|man|wife|slut) and (her|his|my|a|the) (dog|horse|pony|donkey|stallion),? ?(the |an? "
                ")?(uncut|uncensored|sex|porn|xxx|explicit|naked|nude)",
                "(sex|fuck*|blow ?job|mate|mating|sleep|suck*|knot*) (with |by |from )?(a |an |my |your |his |"
                "the )?(dog|horse|animal|pony|goat|pig|donkey|stallion|cat)s?$",
                "(animal|dog|horse|pet) (sex|porn|fuck*|lover porn|cock|penis)",
                "sex with (a |an |my |your )?(dog|horse|animal|pony|goat|pig|donkey)s?",
                "knotted by",
            ),
            "fr": (
                "(sexe|baise*|coucher|rapport) (avec |par )?(un |des |mon |les |le )?(chiens?|cheval|animal|animaux|"
                "bêtes?)",
                "bestialité",
            ),
            "es": ("(sexo|follar|coger) (con )?(un |mi |el )?(perros?|caballos?|animal|animales)", "bestialismo"),
            "de": (
                "(sex|ficken|verkehr) mit (einem |meinem |dem )?(hund|pferd|tier|tieren|hunden)",
                "sodomie mit tieren",
                "tier ?sex",
                "tier ?porno*",
            ),
            "it": ("(sesso|scopare) con (un |il )?(cane|cavallo|animale|animali|cani)", "bestialità"),
            "pt": ("(sexo|transar) com (um |o )?(cachorro|cavalo|animal|animais)", "bestialidade"),
        },
        harmless=("animal prints?",),
    ),
    Rule(
        id="intoxication",
        clause="prohibited-content",
        remedy="Leave out hypnosis, drunkenness and drugging: everybody must be able to consent.",
        phrases={
            "any": (
                "hypno",
                "hypno(sis|tis*|tiz*|domme?|slave|kink|tist*)",
                "hypnose",
                "hypnotis(er|e|é|ée|iere?)",
                "chloroform*",
                "rohypnol",
                "roofie*",
                "roofied",
            ),
            "en": (
                "(so|too|totally|completely) (drunk|wasted|high|hammered) (that )?(i|she|he) (don'?t|didn'?t|can'?t|"
                "couldn'?t|doesn'?t) (even )?(remember|know what)",
                "(erotic|my|sleep|trance|under my|under) (hypno*|trance)",
                "mesmeri[sz]e (and|you|me|your)",
                "mind ?(control|fuck)",
                "brain ?wash*",
                "(drunk|wasted|drugged|stoned|tipsy|intoxicated|hammered|sedated)… ?(sex|on (cam|camera|video|stream|"
                "live)|and (filmed|naked|helpless|horny|horny|fucked)|"
                "content|video|girl|slut|show|fuck*|strip*)",
                "(so|too|very|really) (drunk|wasted|high) (and|that) (i )?(filmed|let|did|stripped|undressed|fucked)",
                "drugged",
                "spik(e|ed|ing) (your|her|his|my|the) drink",
                "passed out drunk",
                "black ?out drunk",
                "date rape drug",
            ),
            "fr": (
                "hypnoti[sz]*",
                "hypnose*",
                "(ivre|bourrée?|saoule?|soûle?|défoncée?) (morte )?(devant la|à la|en|sur|et (nue|filmée)) ?(caméra|"
                "vidéo|live|direct|cam)",
                "droguée?s?( à (son|mon|ton) insu)?",
                "lavage de cerveau",
            ),
            "es": (
                "hipno(sis|ti[sz]*)",
                "(borracha|borracho|drogada|drogado|ebria|colocada) (en|ante|frente|y (desnuda|grabada|"
                "filmada)) ?(la )?(cámara|vídeo|video|directo|live|cam)",
                "drogad[ao]s?",
                "lavado de cerebro",
                "burundanga",
            ),
            "de": (
                "hypnos*",
                "hypnotisier*",
                "(betrunken|besoffen|bekifft|zugedröhnt|high|volltrunken)e?[rsn]? (vor|auf|in|und) (der |die |"
                "laufender |nackt )?(kamera|cam|video|gefilmt|gefickt|sex|livestream)",
                "unter drogen( gesetzt)?",
                "(k ?o ?tropfen|betäub*)",
                "gehirnwäsche",
            ),
            "it": (
                "ipno(si|tizz*|tic*)",
                "(ubriac[ao]|drogat[ao]|sbronza) (in|davanti alla|e (nuda|filmata)) ?(video|telecamera|diretta|cam)",
                "drogat[ae]",
                "lavaggio del cervello",
            ),
            "pt": (
                "hipno(se|ti[sz]*)",
                "(bêbada|bêbado|drogada|drogado|chapada) (na|em|no|e (nua|filmada)) ?(câmera|vídeo|live|cam)",
                "drogad[ao]s?",
                "boa noite cinderela",
                "lavagem cerebral",
            ),
        },
        harmless=(
            "hypnoti[cz](ing)? (song|voice|eyes?|music|rhythm|beat|view|smile|dance|sound|waves?|sea|look|melody|"
            "scent)",
            "(hipnóti(co|ca)|hypnotique) (canción|voz|mirada|voix|regard|chanson)?",
        ),
    ),
    Rule(
        id="bodily-waste",
        clause="prohibited-content",
        remedy="Leave out urine, excrement and vomit.",
        phrases={
            "any": (
                "scat",
                "scat ?(porn|play|video|fetish|lover)",
                "copro ?(phil*|fil*)",
                "uro ?(phil*|lagni*)",
                "scatophil*",
                "scatologi*",
                "eme?to ?phil*",
            ),
            "en": (
                "golden ?showers?",
                "water ?sports? (content|video|play|fetish|session|scene|fun|kink|on)",
                "into watersports",
                "(pee|peeing|piss|pissing|wee|urinat*|poop|pooping|shit|shitting|puk(e|ing)|vomit*) (on|in|into|over|"
                "for) (you|me|your|my|myself|yourself|herself|himself|her|him|camera|cam|face|mouth)",
                "(drink|drinking|taste|swallow|buy) (my|your|her|his|the|some) (piss|pee|urine|golden nectar)",
                "(piss|pee|poop|shit|vomit|puke|enema|scat|fart and poop|brown|toilet) (video|play|content|fetish|"
                "clip|slave|shower|show|drinking|porn|eating)s?",
                "(human )?toilet slave",
                "eat (my|your) (shit|poop)",
                "brown ?shower",
            ),
            "fr": (
                "(te|me|se|lui|vous) (fais|faire|fait) (pipi|caca) (dessus|dans)",
                "(pluie|douche) dorée$",
                "(une|la|ma|ta|prendre une|envie d'une|sous ma|offrir une) (pluie|douche) dorée",
                "(faire |te faire )?(pipi|pisser|uriner|chier|vomir|caca) (sur|dans|sous|devant) (toi|moi|ta|ma|la|"
                "ton|mon|elle)( (bouche|caméra|visage))?",
                "(vidéo|plan|jeu|jeux) (de |d')?(pipi|caca|uro|scato|vomi|pisse)",
                "uro (et|ou|&) scato",
                "scato*",
                "(boire|bois) (ma|mon|ton|ta) (pisse|pipi|urine)",
            ),
            "es": (
                "lluvia dorada$",
                "(hacer|quiero|una|darte|tu|mi) lluvia dorada",
                "(vídeo|video|juego)s? (de |con )?(caca|pis|orina|mierda|vómito|pipí)",
                "(mear|orinar|cagar|vomitar|hacer pis|mearme|meo|mearte|cagarte) (encima|en|sobre) (de )?(ti|mi|tu|"
                "la|boca|cara|mí)",
                "(beber|bebe|tomar) (mi|tu) (orina|pis|meada)",
            ),
            "de": (
                "(pinkle?|pinkel|pisse?|kacke?) (dir|ihm|ihr|mir) (ins|auf|in|über|an)",
                "natur ?sekt",
                "(ns|kaviar|sekt) (und|&|\\+) (kv|ns|sekt|kaviar|natursekt) (spiele?|fetisch|video|session)",
                "kaviar ?(spiele?|fetisch|video|porno)",
                "(auf|in|über) (dich|mich|dein*|mein*|sie) ?(gesicht|mund)? ?(pinkeln|pissen|kacken|scheißen|"
                "urinieren|kotzen)",
                "(pinkel|piss|pipi|kack|kotz|urin) ?(video|spiele?|fetisch|clip|show|porno)s?",
                "(trink*) (meine?n?|deine?n?) (pisse|urin|pipi|natursekt)",
                "(pinkle|pisse|kacke) (auf|dir|dich|vor)",
                "goldene dusche",
            ),
            "it": (
                "pioggia dorata$",
                "(una|la mia|tua|farti una) pioggia dorata",
                "(pisciare|pipì|urinare|cacare|vomitare) (su|in|addosso|sopra) (di )?(te|me|bocca|faccia)",
                "(bere|bevi) (la mia|il mio) (piscio|pipì|urina)",
            ),
            "pt": (
                "chuva dourada$",
                "(uma|minha|sua|fazer) chuva dourada",
                "(xixi|mijar|mijo|cagar|cocô|vomitar) (em|na|no|sobre|em cima) (de )?(você|mim|sua|minha|boca|cara)",
                "beber (meu|seu) (xixi|mijo)",
            ),
        },
        harmless=(
            "pipi dessus de rire",
            "(pee|piss)(ed|ing)? (in )?myself laughing",
            "scat (singing|singer|music|jazz|vocals|song)",
            "(sing*|jazz) scat",
            "peed? (my|in my) pants",
            "(pluie|douche) dorée par",
            "(lluvia dorada|pluie dorée|pioggia dorata|chuva dourada) (del|de l'|d'|do|dell')",
        ),
    ),
)
