"""Rules against drugs, weapons, stolen and forged goods, and pictures of people who have not agreed."""

from typing import Final

from domain.compliance_rule import Rule

CRIME_RULES: Final = (
    Rule(
        id="drugs",
        clause="prohibited-content",
        remedy="Leave out drugs and their use.",
        phrases={
            "any": (
                "coca?ine?",
                "cocaina",
                "mdma",
                "lsd",
                "ghb",
                "meth",
                "crystal meth*",
                "meth ?amphetamin*",
                "amphetamin*",
                "anfetamin*",
                "heroine?",
                "heroina",
                "fentan[iy]l*",
                "ket[ae]min*",
                "marihuana",
                "marijuana",
                "cannabis",
                "haschisch",
                "hashish",
                "oxy(contin|codone)",
                "xanax",
                "quaaludes?",
                "extas[iy]s?",
                "opium",
                "crack pipe",
                "poppers",
            ),
            "en": (
                "(do|doing|did|some|snort*|line of|lines of|bag of|gram of|on|sell|selling|buy) (coke|blow|molly|"
                "ecstasy|speed|acid|shrooms|crack|"
                "weed|pot|edibles|ket|snow|pills|drugs)( (together|for sale|with me|tonight|here))?",
                "(coke|weed|molly|ecstasy|shrooms|acid|edibles|pills|drugs|magic mushrooms|mushrooms) (for sale|"
                "dealer|party|trip|delivered|delivery|and chill)",
                "(want|need|got|have|take|took|taking|bring) (some |any )?(molly|ecstasy|shrooms|weed|drugs)",
                "(get|getting|got|so|be) (high|stoned) (with me|together|on (camera|cam|weed|stream|live)|off)",
                "(smok*|roll*|light*) (a |some |another )?(joint|blunt|weed|pot|meth|crack|bong)",
                "bong hits?",
                "stoned",
                "magic mushrooms",
                "drug dealer",
                "tripping on",
            ),
            "fr": (
                "(vends?|livre|deale) (de la |du |des )?(bonne )?(beuh|weed|shit|coke|cannabis|herbe|mdma|exta*|"
                "ecsta*|kétamine|kéta)",
                "(fum*|roul*|partag*) (un|des|quelques) (joints?|pétards?|bédo)",
                "(prendre|sniff*|rail de|ligne de|trace de|vends? de la|prends?) (de la |une )?(coke|drogue|came|c|"
                "poudre|md)",
                "(de la|vends? de l')(beuh|weed|came|herbe à vendre)",
                "héroïne",
                "ecstasy",
                "champignons hallucinogènes",
            ),
            "es": (
                "(met*|esnif*|hac*)( nos| me)? (una|unas|rayas?) ?(raya|rayas|línea|líneas)?",
                "(fum*|liar*) (un )?(porro|canuto|maría|hierba)s?",
                "(vend*|compr*|ten[gd]o|toma) (coca|drogas?|hierba|pastillas|éxtasis|farlopa|perico)",
                "éxtasis",
                "farlopa",
                "porros?",
            ),
            "de": (
                "kokain*",
                "koks(en)?",
                "(gras|pillen|drogen|speed|pilze|weed) (zu verkaufen|kaufen|verkauf*|rauchen|nehmen|dealen|ziehen)",
                "(rauch*|kiff*|dreh*|zieh*) (wir |einen |eine |ein |bisschen )*(joint|gras|line|bong|tüte)",
                "kiff(en|st|e)",
                "ecstasy",
                "(auf|nehmen|nimmst|unter) drogen",
                "zauberpilze",
                "(einen|den|ein paar|noch) joints?( zu)? (rauchen|drehen|bauen)",
                "gras( zu)? rauchen",
            ),
            "it": (
                "eroina",
                "(fum*|rollare) (una |un )?(canna|erba|spinello)",
                "(tirare|fare) (una )?(striscia|riga)( di (coca|neve))?",
                "(vendo|compro|ho) (della |dell')?(coca|erba|droga|fumo|pasticche)",
            ),
            "pt": (
                "maconha",
                "(fum*|bol*) (um )?(baseado|beck)",
                "(cheir*) (pó|uma carreira|cocaína)",
                "(vendo|compro|tenho|usar) (drogas?|bala|pó|erva)",
            ),
        },
        patterns=(r"\b(?:mdma|lsd|ghb)\b",),
        harmless=(
            "coke (and|zero|light|with|or) (popcorn|ice|lemon|pizza|a straw|fries|zero|light)",
            "rum and coke",
            "heroine of (my|the|this|her|a|your)",
            "(super|my|your|our|the|a) heroine",
            "una heroína",
            "(the|high on|on) speed",
            "on (acid jazz|pot luck)",
            "(some|buy|on) pot(s| of| plants?)",
            "on snow",
            "some speed",
        ),
    ),
    Rule(
        id="weapons",
        clause="prohibited-content",
        remedy="Leave out weapons and explosives.",
        phrases={
            "any": ("ar ?15s?", "ak ?47s?", "glocks?( 1[79])?", "kalash?nik*"),
            "en": (
                "(sell*|buy*|bought|got|order|ship*|trade) (you )?(a |an |my |some |any |illegal |unregistered )*"
                "(guns?|pistols?|rifles?|firearms?|weapons?|handguns?|ammo|ammunition|explosives|grenades?|"
                "silencers?|switchblade)",
                "(guns?|pistols?|rifles?|firearms?|weapons?|ammo|ammunition|explosives|grenades?) (for sale|cheap|"
                "available|shipped)",
                "(fire ?arms?|ghost guns?|loaded (gun|pistol)|assault rifle)s?",
                "(build|make|making|building|plant|detonate) (a |an )?(bomb|explosives?|pipe bomb)",
                "(get|find|sell|bring) you an? (gun|pistol|rifle|weapon|firearm)",
                "(pipe|nail|car|letter) bombs?",
                "explosives",
            ),
            "fr": (
                "armes? à feu",
                "(vend*|achèt*|achet*) (un |une |des |mon |ma )*(pistolets?|flingues?|armes?|fusils?|munitions|"
                "explosifs?|grenades?)",
                "(pistolets?|flingues?|fusils?|munitions|explosifs?) à vendre",
                "(fabriqu*|pos*|constru*) (une )?bombe( artisanale)?",
            ),
            "es": (
                "armas? de fuego",
                "(vend*|compr*) (una |un |unas |mi )?(pistolas?|armas?|rifles?|fusil*|municion*|explosivos?|granadas?)",
                "(pistolas?|rifles?|municiones|explosivos) (en venta|baratas?|a la venta)",
                "(fabricar|hacer|poner) una bomba( casera)?",
            ),
            "de": (
                "schuss ?waffen?",
                "(verkauf*|kauf*) (eine |meine |ein |mein |dir )*(pistolen?|waffen?|gewehre?|munition|sprengstoff|"
                "granaten?)",
                "(pistolen?|waffen?|gewehre?|munition|sprengstoff) (zu verkaufen|kaufen|billig)",
                "(bombe|rohrbombe) (bauen|basteln|legen)",
                "rohrbomben?",
                "sprengstoff",
            ),
            "it": (
                "arm[ai] da fuoco",
                "(vend*|compr*) (una |un |delle )?(pistol[ae]|arm[ai]|fucil[ei]|munizioni|esplosivi?)",
                "(costruire|fare) una bomba",
            ),
            "pt": (
                "armas? de fogo",
                "(vend*|compr*) (uma |um )?(pistolas?|armas?|revólver*|munição|explosivos?|fuzil)",
                "fazer uma bomba",
            ),
        },
        harmless=("(water|nerf|glue|nail|hot glue|massage|finger) (guns?|pistols?)",),
    ),
    Rule(
        id="third-party-content",
        clause="prohibited-content",
        remedy="Show and mention only people who have agreed to it.",
        phrases={
            "any": ("deep ?fake*", "deep ?nude*"),
            "en": (
                "(doesn'?t|does not|don'?t|do not|didn'?t|has no idea)( know)? (that )?(i|we) (post|posted|film|"
                "filmed|record|recorded|share|shared|upload|uploaded|sell|took|leak|leaked)… (of|with) (her|him|them)$",
                "revenge ?porn",
                "(leaked|stolen|hacked) (nudes?|pics?|pictures?|photos?|videos?|tapes?|content|only ?fans|"
                "images?) (of|from)",
                "(leaked|stolen|hacked) (nudes?|sex ?tapes?|celeb*|onlyfans)",
                "(hidden|spy|secret|toilet|shower) ?cam(era)?s? (in|footage|video|of|clip|content|porn|show*|at|"
                "recording)s?",
                "spy ?cam*",
                "(film|record|photograph|tap|video)(ed|ing|s)? (her|him|them|someone|people|my (neighbou?r|roommate|"
                "sister|ex)) (secretly|without (her|him|them|their|his|knowing|consent|permission))",
                "secretly (filmed|recorded|filming|recording|taped|photographed)",
                "without (her|him|them|their|his|my) (knowing|knowledge|noticing)",
                "up ?skirt*",
                "down ?blouse*",
                "(voyeur|peeping) (cam|video|footage|clip|pics|content|tom video)s?",
                "(ai|fake) nudes? of",
            ),
            "fr": (
                "(porno? )?(vengeance|revenge) porn*",
                "(filmée?s?|photographiée?s?|enregistrée?s?) (en cachette|en secret|à (son|leur|mon) insu|"
                "sans (le savoir|qu'elle))",
                "à (son|leur) insu",
                "caméras? (cachée|espion|secrète)s? (dans|sous|aux|pour|chez|en)",
                "(photos|vidéos|nudes) (volées|piratées|fuitées|leakées)( de (mon|ma|son|une))?",
            ),
            "es": (
                "(porno )?(venganza|vengativo) porn*",
                "(fotos|vídeos|videos|imágenes|packs?) (filtrad[oa]s|robad[oa]s|hackead[oa]s)( de)?",
                "cámaras? (oculta|espía|escondida)s? (en|de|del|bajo)",
                "(grabad[oa]s?|filmad[oa]s?|fotografiad[oa]s?) (a escondidas|en secreto|sin que (lo )?(sepa|supiera)|"
                "sin saberlo)",
            ),
            "de": (
                "rache ?porno*",
                "(heimlich|versteckt|unbemerkt|ohne ihr wissen|ohne sein wissen) (gefilmt|fotografiert|aufgenommen|"
                "gefilmte*|aufgenommene*)",
                "(versteckte[rn]?|geheime|spionage) ?kameras? (in|im|unter|auf|bei|aufnahmen?|video)",
                "spanner ?(cam|video|kamera|fotos?|aufnahme*)s?",
                "(geleakte|gestohlene|gehackte|geklaute) (nacktbilder|bilder|fotos|videos|nudes)",
                "ohne (ihr|sein|deren) wissen",
            ),
            "it": (
                "(filmat[ae]|registrat[ae]|fotografat[ae]|ripres[ae]) (di nascosto|in segreto|a sua insaputa|"
                "senza saperlo)",
                "telecamer[ae] nascost[ae]",
                "(foto|video) (rubat[ei]|trapelat[ei]) (di|della)",
                "revenge porn",
            ),
            "pt": (
                "câmeras? (escondida|oculta|espiã)s?",
                "(filmad[ao]|gravad[ao]) (escondid[ao]|sem saber|às escondidas)",
                "(fotos|vídeos|nudes) (vazad[ao]s|roubad[ao]s)( (de|da))?",
                "pornô? de vingança",
            ),
        },
        harmless=("(candid|hidden) camera (prank|show|moments?)s?", "caméra cachée (drôle|marrante)", "no leaks"),
    ),
    Rule(
        id="illegal-goods",
        clause="prohibited-content",
        remedy="Leave out stolen, forged and illegal goods and services.",
        phrases={
            "en": (
                "(stolen|cloned|hacked|fake|dumped) (credit |debit |bank )?(cards?|accounts?|cvv|identit(y|ies)|"
                "money|bills|cheques)( (for sale|cheap|available))?",
                "(fake|forged|false|counterfeit) (passports?|ids?|documents?|papers|driving licen[sc]es?|"
                "driver'?s? licen[sc]es?|visas?|diplomas?|money|bills|notes|cash|currency|dollars|euros)",
                "counterfeit*",
                "(hack|hacking) (any|your|his|her|into|someone'?s?|an?) ?(account|phone|instagram|facebook|e ?mail|"
                "bank|snap)?",
                "hackers? for hire",
                "money ?launder*",
                "launder(ing)? money",
                "(carding|cvv) (shop|tutorial|dumps?|method|for sale)",
                "ponzi",
                "(hit ?man|contract killer)",
            ),
            "fr": (
                "(faux|fausse) (papiers?|passeports?|permis|billets?|cartes? d'identité|documents?|diplômes?|monnaie)",
                "(cartes?|comptes?) (bancaires?|de crédit|bleues?)? ?(volée?|clonée?|piratée?)s?",
                "fausse monnaie",
                "blanchi(r|ment) (d'|de l')?argent",
                "pirater (un|ton|son|n'importe quel) compte",
            ),
            "es": (
                "(pasaportes?|documentos?|billetes?|carnets?|títulos?|dinero|identificaci[oó]n*) fals[oa]s?",
                "(tarjetas?|cuentas?) (de crédito |bancarias? )?(robad|clonad|hackead)as?",
                "(lavar|lavado|blanquear|blanqueo) (de )?dinero",
                "hackear (cualquier|una|tu|su) cuenta",
                "sicarios?",
            ),
            "de": (
                "(gefälschte|falsche)[rn]? (ausweis*|pässe|pass|reisepass|dokumente?|papiere|führerschein*|"
                "geldscheine?|zeugnisse?)",
                "falschgeld",
                "(gestohlene|geklaute|geklonte|gehackte)[rn]? (kreditkarten?|karten|konten|accounts?)",
                "geldwäsche",
                "(konto|account)s? hacken",
                "auftragskiller",
            ),
            "it": (
                "(documenti|passaporti|soldi|patenti) fals[ie]",
                "(carte|conti) (di credito )?(rubat|clonat)[ei]",
                "riciclaggio di denaro",
                "hackerare",
            ),
            "pt": (
                "(documentos?|passaportes?|notas?|carteiras?|dinheiro) fals[oa]s?",
                "(cartões|contas) (de crédito )?(roubad|clonad|hackead)[oa]s",
                "lavagem de dinheiro",
                "hackear",
            ),
        },
        harmless=(
            "fake (ids?|bills?) of (my|the)",
            "fake accounts?( (of me|pretending|under my|with my|are))?",
            "fake id card? joke",
        ),
    ),
)
