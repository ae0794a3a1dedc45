"""Rules against harm to people: violence, missing consent, self-harm, trade in people, hate, threats."""

from typing import Final

from domain.compliance_rule import Rule

HARM_RULES: Final = (
    Rule(
        id="violence",
        clause="prohibited-content",
        remedy="Leave out violence, torture, death and injury.",
        phrases={
            "any": (
                "snuff",
                "necro ?(phil*|fil*)",
                "nekro ?phil*",
                "gore",
                "vore",
                "mutilat*",
                "mutila(cion|cao|zione|cion)s?",
            ),
            "en": (
                "(cut|carve|slice|gut|rip|split) (you|her|him|them) (wide )?open",
                "(watch|see|make) (you|her|him|them) bleed( out)?",
                "(beat|hit|punch|whip|cut|slap|stab|flog) (you|me|her|him|them) (up |so hard |hard )?(until|till|"
                "to) (you |she |he |i |they )?"
                "(bleed*|blood|death|pass*|scream in pain|a pulp|unconscious)",
                "tortur(e|ing|ed) (session|scene|video|play|dungeon|chamber|slave|content|clip)s?",
                "tortur(e|ing) (you|me|her|him|them) (until|slowly|for real|to death|tonight)",
                "(genital|cock and ball|real|extreme) torture",
                "(chok*|strangl*|suffocat*|smother*) (you |me |her |him )(until|till|to|unconscious)",
                "(strangl*|suffocat*) (me|you|her|him)",
                "(want to|gonna|going to|will|i'?ll|would love to|let me) (slowly )?(kill|murder|stab|shoot|strangle|"
                "slaughter|behead|dismember) (you|her|him|them|me|everyone)",
                "(real|fake|drink|drinking) blood (play|and|drink*|video|content)",
                "blood ?play",
                "knife ?play",
                "(dead|corpse) ?(body|girl)? (play|roleplay|sex|fantasy|video)",
                "corpse",
                "(behead*|dismember*|castrat(e|ed|ion)|disembowel*|cannibal*)",
                "breath play until",
                "(break|broke|breaking) (your|her|his|my) (bones|neck|jaw|nose)",
                "murder (you|fantasy|video|scene)",
                "domestic violence",
            ),
            "fr": (
                "(frapper|taper|battre|fouetter|frappe|cogner)… (jusqu'au|jusqu'à ce|à) ?(sang|mort|que)",
                "(séance|scène|vidéo|jeu|chambre|esclave) de torture",
                "torturer",
                "tortur(e|é)e? (moi|toi|devant|en direct)",
                "je (vais|veux|peux) (te|la|le|vous) (tuer|étrangler|égorger|poignarder|torturer)",
                "étrangle(r|( |-)moi)",
                "(cadavre|décapit*|égorg*|cannibal*|démembr*)",
                "je te tue(rai)?( lentement)?$",
            ),
            "es": (
                "(te|la|lo|os) (voy|quiero|vamos|puedo) (a )?(matar|estrangular|apuñalar|torturar|degollar)",
                "tortura (en vivo|en directo|real|sexual|extrema)",
                "(sesión|vídeo|video|escena|sala) de tortura",
                "(golpe*|peg*|azot*) hasta (sangrar|que sangres|la muerte|morir|desmay*)",
                "estrangular*",
                "(cadáver|decapita*|caníbal*|descuartiza*)",
            ),
            "de": (
                "(schlag*|prügel*|peitsch*) (ich )?(dich|mich|sie|ihn)( so lange)?,? bis (du|ich|sie|er) (blut*|"
                "ohnmächtig*|bewusstlos*|nicht mehr)",
                "(schlag*|prügel*|peitsch*) (dich |mich |sie |ihn )*(blutig|bis (du|zum|aufs) (blut*|tod|ohnmacht)|"
                "bewusstlos|krankenhausreif|tot)",
                "(foltern|folterung|folter (vor|video|kammer|szene|spiele?|sklav*|session|live)|folterkammer)",
                "(ich )?(bring|bringe|schlitz|stech) (dich|sie|ihn|euch) (um|auf|ab|tot)$",
                "(ich )?(werde|will|könnte) (dich|sie|ihn) (umbringen|töten|erwürgen|erstechen|foltern|ermorden)",
                "(leiche*|enthaupt*|kannibal*|verstümmel*|erwürg*)",
            ),
            "it": (
                "(ti|la|lo) (uccid[eo]|ammazz[oa]|strangol[oa]|accoltell[oa]|tortur[oa])( piano| lentamente)?$",
                "(voglio|vado a) (uccidert|ammazzart|torturart)i",
                "tortura (dal vivo|in diretta|reale|estrema)",
                "(picchi*|frust*) (a sangue|fino a|a morte)",
                "(cadavere|decapita*|cannibal*)",
            ),
            "pt": (
                "(vou|quero) (te|ela|ele) (matar|estrangular|esfaquear|torturar)",
                "tortura (ao vivo|real|extrema)",
                "(bat*|espanc*) até (sangrar|a morte|desmaiar)",
                "(cadáver|decapita*|canibal*|esquarteja*)",
            ),
        },
        harmless=(
            "(kill|killing|murder|slay) (me|you) (with|softly|,? with) (your|that|this|the|laughter|kindness|his)*",
            "(gore|vore) (vidal|tex|mountain)",
            "bloody hell",
            "gore ?tex",
            "blood orange*",
            "mein tod",
            "corpse (bride|pose|party)",
            "(will|going to|gonna|i'?ll) kill me( one day)?",
        ),
    ),
    Rule(
        id="non-consent",
        clause="prohibited-content",
        remedy="Everything must be consensual, in play and in fiction too.",
        phrases={
            "any": ("non ?con", "con ?non ?con"),
            "en": (
                "(she|he|they) (never|didn'?t|did not|hadn'?t|hasn'?t|wouldn'?t) (once |really |even )?(say|said|"
                "give|gave|give me|agree*|want*|consent*)( (a )?yes|( to)? (it|this|that|me)| permission| "
                "consent)*,? (but|and|so|yet|still) (i|he|she|they|we) (did|took|went|kept|carried|continued|fucked|"
                "had|filmed|got|forced|made|didn'?t|never|still|just)",
                "(she|he|they) (kept|was|were) (saying|telling me|telling him|begging|begging me|begging him|"
                "screaming|crying|yelling)( to)? (stop|no),? (but|and|so|yet) (i|he|she|they|we) (did|took|went|kept|"
                "carried|continued|fucked|had|filmed|got|forced|made|didn'?t|never|still|just)",
                "(said|told me|begged me|asked me|screamed)( to)? (no|stop),? (but|and|yet) (i|he|we) (kept|did it|"
                "went on|carried|continued|didn'?t (stop|care|listen))",
                "(didn'?t|did not|don'?t|won'?t|never) (stop|care|listen) (when|although|though|even though|that|if|"
                "even if) (she|he|they) (said|says|begged|cried|screamed|told)",
                "rape",
                "raped",
                "rapes",
                "raping",
                "rapists?",
                "cnc( (play|scene|fantasy|kink))?",
                "non ?consen*",
                "(without|against|no|lack of|doesn'?t need) (her|his|my|your|their|any|the|giving|proper)? ?(consent|"
                "permission to touch|will)",
                "forced (sex*|fuck*|oral|entry|orgasm*|feminization|bi|impregnation|marriage|stripping|nudity|"
                "to (do it|have|strip|undress|submit|fuck|suck|perform|obey))",
                "(she|he|i|they) (said|say|says|said:?) no (and|but) (he|she|i|they)",
                "forc(es|ed|e|ing) (her|him|them) (into|onto|down|to (have|do|strip|undress|suck|submit))",
                "(although|though|even if|but) (she|he) (says?|said) no",
                "(molest|grop|assault)(ed|ing|er|s)?( (her|him|fantasy|on|me))?",
                "sexual(ly)? assault*",
                "(sleeping|unconscious|passed out|asleep|sedated) (victim|girl|girlfriend|wife|sex|fuck*|slut|"
                "roommate)",
                "sleep ?sex",
                "somnophil*",
                "(while|when) (she|he|i|you) (was|were|am|is|are) (asleep|sleeping|unconscious|passed out|"
                "knocked out),? ?(he|they|someone|without|i (filmed|touched|took))",
                "(kidnap|abduct)(ped|ed|ping|ing|tion)? (fantasy|play|scene|roleplay|and|you|her|video|me)",
                "coerced?",
                "gang ?rape*",
                "date ?rape*",
                "sexual (slave|slavery|abuse)",
                "taken by force",
            ),
            "fr": (
                "(elle|il) (ne voulait|voulait|n'a|ne disait|disait|a dit|m'a dit|n'était)( pas| jamais| non)( dit "
                "oui| voulu| d'accord| oui)?,? (mais|et) (je|j'|on|il) ?(l'|le |la |ai |a |ne |n'ai )*(ai |a )?(fait|"
                "pris*|continu*|forc*|baisé*|filmé*|pas arrêt*|m'en)",
                "viols?",
                "viol(er|ée|ées|eur|eurs|é)",
                "sans (son|ton|mon|leur|aucun|votre|le) (consentement|accord)",
                "non (consent*|consensuel*)",
                "contre (sa|ma|ta|leur) (volonté|gré)",
                "(forcée?s?|obligée?s?) à (le faire|coucher|se déshabiller|baiser|avaler|obéir|sucer)",
                "(sexe|rapport|relation|baise) forcée?",
                "agression sexuelle",
                "(pendant|quand) qu?'?(elle|il) dormait",
            ),
            "es": (
                "(dijo|decía|dice|gritaba) que (no|parara|pare),? (pero|y|aunque) (yo )?(seguí*|lo hice|la|no paré|"
                "continué|sigo|igual|me dio igual)",
                "(ella|él|nunca|no) (nunca |no )?(dijo que sí|quería|quiso),? (pero|y) (yo )?(lo hice|la|seguí|igual|"
                "me dio igual)",
                "viola(r|ción|ciones|da|das|dor|ron|me|rte)",
                "sin (su|tu|mi|el|ningún) (consentimiento|permiso de ella)",
                "no (consentid[oa]s?|consensua(l|do|da))",
                "contra (su|mi|tu) voluntad",
                "(sexo|relación|acto) forzad[oa]",
                "(forzad[oa]|obligad[oa]) a (hacerlo|desnudarse|tener|chupar|follar)",
                "agresión sexual",
                "mientras (ella |él )?dormía",
            ),
            "de": (
                "(sie|er) (hat|hatte) (nein|stopp|nie ja|nicht ja) gesagt,? (aber|und) (ich|das|es|wir) (hab*|war "
                "mir egal|hat mich nicht|mach*|bin|nahm)",
                "(sie|er) sagte (nein|stopp),? (aber|und|doch) (ich|das|es) (hab*|war mir egal|mach*|nahm|tat)",
                "(sie|er) wollte (es |das )?nicht,? (aber|und|doch) ich (hab*|mach*|nahm|tat|bin)",
                "vergewaltig*",
                "ohne (ihre|seine|meine|deine|jede|ihr) (zustimmung|einwilligung|einverständnis|erlaubnis)",
                "gegen (ihren|seinen|meinen|deinen) willen",
                "(erzwungene[rnsm]?|gezwungene[rnsm]?) (sex|geschlechtsverkehr|akt|orgasmus)",
                "(zum|zu) (sex|ausziehen|blasen|ficken) (gezwungen|zwingen)",
                "nicht ?einvernehmlich*",
                "sexuelle (nötigung|gewalt|belästigung|missbrauch)",
                "(während|als) (sie|er) (schlief|bewusstlos war|geschlafen hat)",
                "missbrauch(t|en)?",
            ),
            "it": (
                "stupr*",
                "violenz[ae] sessual[ei]",
                "senza (il )?(suo |tuo |mio |alcun )?consenso",
                "contro la (sua|mia|tua) volontà",
                "(sesso|rapporto) forzato",
                "non consensuale?",
                "mentre dormiva",
            ),
            "pt": (
                "estupr*",
                "sem (o )?(seu |meu |teu |dela |nenhum )?consentimento( dela)?",
                "contra a (vontade dela|sua vontade|minha vontade)",
                "(sexo|relação) forçad[oa]",
                "não consensual",
                "abuso sexual",
                "enquanto ela dormia",
            ),
        },
        harmless=(
            "against my will(power)? (i )?(ate|eat|bought|buy)",
            "rapeseed oil",
            "le violet",
            "viole d(e gambe|'amour)",
            "with(out)? no consent(,)? no (content|game)",
            "no consent,? no",
        ),
    ),
    Rule(
        id="self-harm",
        clause="prohibited-content",
        remedy="Leave out self-harm and suicide; pass worrying conversations to a person.",
        phrases={
            "en": (
                "suicide",
                "suicidal",
                "self ?(harm*|injur*|mutilat*)",
                "(kill|hang|hurt|cut|cutting|drown|poison|burn|hurting) (yourself|urself|myself)( (for me|again|"
                "tonight|on))?",
                "(i )?(want|going|plan) to (die|end (it all|my life))",
                "(end|ending|take|took) (my|your) (own )?life",
                "go (hang|kill|drown) (yourself|urself)",
                "starv(e|ing) (yourself|myself)",
                "pro ?(ana|mia)",
                "thinspo*",
                "cut(ting)? (my|your) (wrists|veins|arms)",
                "kys",
            ),
            "fr": (
                "en finir avec (la|ma|cette) vie",
                "suicid(e|er|aire|é|ée|ez)(( |-)toi)?",
                "(me|te|se) (suicid*|scarifi*|taillader?|ouvrir les veines|pendre)",
                "scarifi*",
                "auto ?mutil*",
                "(mettre fin à|finir) (mes|tes) jours",
                "(envie de|je veux) mourir$",
                "tue( |-)toi",
            ),
            "es": (
                "me (corto|corté|estoy cortando) (cuando|los brazos|las piernas|la piel|a veces|otra vez)",
                "suicid(io|ate|arse|arme|a|arte|o|arnos)",
                "(me|te) (corto|cortas|corté|cortar) (las )?(venas|muñecas)",
                "autolesi[oó]n*",
                "(quitarme|quitarte) la vida",
                "mátate",
                "quiero morir(me)?$",
            ),
            "de": (
                "(selbst|frei)mord*",
                "freitod",
                "suizid*",
                "(bring|bringe) (dich|mich) (doch )?(selbst )?um$",
                "(ritze?|ritzt|ritzen|schneide?) (mich|dich)( selbst| wieder)?( selber)?",
                "selbst ?verletz*",
                "(will|möchte) (nur noch )?sterben$",
                "erhäng (dich|mich)",
                "(pulsadern|adern) (auf)?schneiden",
            ),
            "it": (
                "suicid(ati|io|armi|a|arsi)",
                "autolesion*",
                "(mi|ti) taglio le vene",
                "(togliermi|togliti) la vita",
                "ammazzati",
                "voglio morire$",
            ),
            "pt": (
                "suicíd(io|a)",
                "se mata$",
                "auto ?mutila*",
                "cort(o|ar) os pulsos",
                "tirar (a )?minha vida",
                "quero morrer$",
                "suicidar( se)?",
            ),
        },
        harmless=("suicide squad*", "(suicide|kill) (doors?|grip|myself laughing)", "(career|social) suicide"),
    ),
    Rule(
        id="trafficking",
        clause="prohibited-content",
        remedy="Nothing that refers to trade in or exploitation of people may be sent.",
        phrases={
            "en": (
                "(sells?|selling|sold|rents?|renting|lend) (you |him |them )?(a|an|one|this|another) (young |fresh |"
                "new |foreign |pretty )*(girl|woman|boy|virgin|slave) (for|to|with|cheap|by)",
                "(human|sex|child|person) ?traffick*",
                "traffick(ed|ing|er) (girls?|women|people|victims?)",
                "(girls?|women|boys?|men|people|humans?|wives|slaves?) (for sale|shipped to you|to buy|"
                "available to buy|trade)",
                "(sells?|selling|sold|buys?|buying|rents?|trades?) (my |young |some |fresh |you )?(girls|women|boys|"
                "slaves|"
                "people|humans|wives|virgins?)",
                "forced (labou?r|prostitution|marriage)",
                "sex ?(slaves?|slavery)",
                "slaves? (for sale|auction|market|trade)",
                "(my|a|the|your) pimp (keeps|takes|said|wants|says|makes|is|will|has|beats|sells)",
                "modern slavery",
            ),
            "fr": (
                "(vends?|vendons|vendre|vendent|loue|louons) (des|une|les|deux|trois|nos|mes) (jeunes )?(filles?|"
                "femmes?|esclaves?|vierges?)",
                "traite (des|d'|de) (êtres|femmes|humains|personnes|blanches)",
                "(filles?|femmes?|esclaves?) (à vendre|en vente)",
                "(proxénèt|souteneur|maquereau)(e|es|isme)?",
                "esclave sexuel*",
                "trafic (d'êtres humains|de femmes|de personnes)",
                "travail forcé",
            ),
            "es": (
                "trata de (personas|blancas|mujeres|blanca)",
                "(chicas?|mujeres?|niñas|esclavas?) (en|a la) venta",
                "proxenet*",
                "(esclav[ao] sexual)",
                "tráfico de (personas|mujeres)",
                "mi chulo",
                "trabajo forzado",
            ),
            "de": (
                "(mädchen|frauen|sklavin(nen)?)… (zu verkaufen|zum verkauf|zu vermieten|abzugeben)",
                "(menschen|frauen|mädchen) ?handel*",
                "(mädchen|frauen|sklavin(nen)?|sklaven) (zu|zum) verkauf(en)?",
                "zuhälter*",
                "(zwangs ?prostitution|zwangs ?arbeit)",
                "sexsklav*",
            ),
            "it": (
                "tratta di (esseri umani|persone|donne|bianche)",
                "(ragazze|donne|schiave) in vendita",
                "(pappone|protettore|magnaccia) (si|prende|vuole)",
                "schiav[ae] sessual[ei]",
            ),
            "pt": (
                "tráfico (de pessoas|humano|de mulheres)",
                "(garotas|mulheres|meninas) (à|a) venda",
                "cafet(ão|ina)",
                "escrav[ao] sexual",
            ),
        },
        harmless=("pimp my", "slave to (the|my|love|this)", "(selling|sold) (people|women) (short|dreams)"),
    ),
    Rule(
        id="hate",
        clause="prohibited-content",
        remedy="Say nothing that demeans or threatens people for what they are.",
        phrases={
            "any": (
                "heil hitler",
                "sieg heil",
                "white power",
                "14 ?88",
                "nigg(er|a)s?",
                "fag+ots?",
                "kike",
                "wetback",
                "chink",
                "sub ?human*",
            ),
            "en": (
                "(i )?(hate|despise|kill|gas|exterminate|deport|hang|burn|shoot|death to) (all |every |the |those |"
                "these |dirty )*"
                "(jews?|muslims?|gays?|blacks?|black people|immigrants?|trans( people)?|lesbians?|christians?|arabs?|"
                "asians?|mexicans?|foreigners?|homosexuals?|refugees?|indians?|gypsies)",
                "(jews?|muslims?|gays?|blacks?|immigrants?|foreigners|refugees) (should|must|have to|need to|out|"
                "are (vermin|animals|scum|parasites|rats|filth|dirty))",
                "(dirty|filthy|stupid|fucking) (jew|arab|muslim|mexican|immigrant|black|foreigner|gypsy)s?",
                "(race war|white supremacy|ethnic cleansing|master race)",
                "(scum|vermin|parasites) like (all )?(the )?(immigrants|jews|muslims|gays|blacks|foreigners|refugees)",
                "retards?",
            ),
            "fr": (
                "(juifs?|arabes?|noirs?|musulmans?|gays?|homos?|étrangers?|immigrés?|réfugiés) (sont|c'est) (tous "
                ")?(de la |des )?(vermine|racaille|parasites?|rats|animaux|déchets?|sous( |-)hommes|merdes?)",
                "(mort|à mort|mort à|dehors) (aux|les|tous les) (juifs?|arabes?|noirs?|musulmans?|gays?|homos?|"
                "étrangers?|immigrés?|pédés?)",
                "sales? (arabes?|juifs?|juive|noirs?|pédés?|nègres?|bougnoules?|gouines?|étrangers?)",
                "(je )?(déteste|hais|déteste tous|brûl*|gazer) (tous |toutes )?(les )(arabes|juifs|noirs|musulmans|"
                "gays|homos|étrangers|immigrés)",
                "(bougnoules?|youpins?)",
            ),
            "es": (
                "(judíos|negros|moros|musulmanes|gays|inmigrantes|gitanos|extranjeros|refugiados) son (todos "
                ")?(unos? |unas )?(basura|escoria|ratas|parásitos|animales|plaga)",
                "muerte a (los|las|todos los) (judíos|negros|moros|musulmanes|gays|maricones|inmigrantes|homosexuales)",
                "(odio|detesto|maten|hay que matar) a (todos )?(los|las) (judíos|negros|moros|musulmanes|gays|"
                "inmigrantes|homosexuales|gitanos)",
                "(sucio|maldito|puto|mierda de|putos|malditos) (judío|moro|negro|inmigrante|sudaca|gitano|maricón)e?s?",
                "(moros|negros|inmigrantes|judíos) fuera",
            ),
            "de": (
                "(juden|ausländer|flüchtlinge|muslime|türken|schwule|asylanten|neger|zigeuner) (raus|vergasen|"
                "ins gas|sind (abschaum|dreck|tiere|ungeziefer|parasiten))",
                "tod (den|allen) (juden|ausländern|muslimen|schwulen|flüchtlingen)",
                "(ich hasse|hasse) (alle )?(juden|ausländer|muslime|türken|schwule|schwarzen?|flüchtlinge|zigeuner)",
                "(dreckige[rsn]?|scheiß) ?(juden?|ausländer|türken?|kanaken?|schwuchtel|neger|zigeuner)n?",
                "(kanaken?|neger)",
            ),
            "it": (
                "morte (agli|ai) (ebrei|neri|negri|immigrati|gay|musulmani|arabi)",
                "(odio|detesto) (tutti )?(gli|i) (ebrei|neri|negri|immigrati|gay|musulmani|arabi|zingari)",
                "(sporc[oa]|maledett[oa]|schifos[oa]) (negr[oa]|ebre[oa]|arab[oa]|immigrat[oa]|froci[oa])",
            ),
            "pt": (
                "morte (aos|a todos os) (judeus|negros|gays|imigrantes|muçulmanos)",
                "(odeio|detesto) (todos )?(os|as) (judeus|negros|gays|imigrantes|muçulmanos)",
                "(maldito|sujo|nojento) (judeu|preto|negro|imigrante|viado)",
            ),
        },
    ),
    Rule(
        id="threats",
        clause="prohibited-content",
        remedy="Do not threaten, expose or blackmail, not in play either.",
        phrases={
            "en": (
                "(pay|tip|send)( me)?( now| more| up)? or (everyone|everybody|all|the whole) (at|in|of|you|will|gets|"
                "sees|knows|finds|your)",
                "(pay|tip|send)( me)?( now| more| up)? or (i'?ll|i will|else|i|i'?m gonna|your (wife|boss|family))",
                "(i'?ll|i will|i'?m going to|i am going to|i could|gonna|i can) (expose|dox*|ruin|destroy|report|"
                "out) you",
                "(i'?ll|i will|i'?m going to|i am going to|i could|gonna|i can) (leak|publish|release|post|ruin|"
                "destroy|expose) "
                "(all )?your (life|pictures|pics|photos|videos?|nudes|secrets?|chats?|messages|reputation|"
                "screenshots)",
                "(send|show|tell|forward) (this|it|these|them|everything|the (screenshots|pics|chat)) to your (wife|"
                "boss|husband|girlfriend|family|mother|parents|employer|kids)",
                "(tell|inform|call) your (wife|boss|husband|girlfriend|employer|family) (about|everything|what|"
                "unless|that you|if you don'?t)",
                "i know where (you|u|your (family|kids|wife|mother)) (live|lives|work|sleep|are$)",
                "(i|we) (have|got|know|found) your (home )?(address|location|full name|real name|family)( be careful|"
                " watch out)?",
                "(black ?mail|extort*) (you|me|him|fantas*|game|task|session|contract|play|fetish|slave|kink|content|"
                "video)s?",
                "(extort|blackmail)(ion|ing|ed) ?(you|game|fantasy|session|fetish|play|contract)?",
                "(ruin|destroy|wreck) your (life|marriage|career|family|reputation)",
                "or your (wife|boss|husband|girlfriend|family|employer|parents|mother|kids) (will|gets?|finds?|sees?|"
                "learns?|is going|hears?)",
                "watch your back",
                "you('?ll| will) (pay|be sorry|regret) (for this|for that|for what)",
                "(home ?wreck*|exposure|outing) (fetish|game|contract|task|session)",
            ),
            "fr": (
                "(paie|paye|paies)( |-)?(moi )?(ou|sinon) j'",
                "(envoie|dis|raconte|montre) tout à (ta|ton|tes) (femme|copine|famille|patron|mari|parents|employeur)",
                "(tout dire|tout raconter|dire tout|raconter tout|envoyer (tout|ça|tes photos)) à ta (femme|copine|"
                "patronne|mère|famille)|à ton (patron|mari)",
                "(tout |le )?(dire|raconter|montrer|envoyer) (tout )?à (ta|ton|tes) (femme|copine|famille|patron|"
                "mari|parents|employeur)",
                "je sais où (tu|ta famille|vous) (habites?|travailles?|vis|habitez|dors)",
                "(paie|paye|paies)( |-)?(moi )?(ou|sinon) (je|tout|ta)",
                "(publie|publier|diffuse|diffuser|balance|balancer) (tes|toutes tes) (photos|vidéos|messages|nudes)",
                "chantage*( (coquin|sexuel|fantasme))?",
                "(ruiner|détruire) ta (vie|réputation|famille)",
            ),
            "es": (
                "(si|como) no (me )?(pagas|das dinero),? (le|lo|les|se|la|tu|publico|mando|cuento)",
                "(mando|cuento|digo|enseño|envío) todo a tu (mujer|esposa|jefe|novia|familia|marido)",
                "(contar|decir|enseñar|mandar)(le|selo)?( todo| esto| lo)? a tu (mujer|esposa|jefe|novia|familia|"
                "marido)",
                "sé dónde (vives|trabajas|vive tu)",
                "(paga|págame) o (publico|lo cuento|le|todo|tu)",
                "(publico|publicaré|filtro|filtraré|voy a publicar|subo|difundo) (tus|todas tus) (fotos|vídeos|"
                "videos|mensajes)",
                "(chantaje|chantajear|chantajearte|extorsión|extorsionar)(te)?",
                "(arruinar|destruir)(te)? (tu |la )vida",
            ),
            "de": (
                "wenn du nicht (zahlst|bezahlst|überweist),? (schick*|erfahr*|sag*|veröffentlich*|weiß|zeig*)",
                "(sag*|erzähl*|schick*|zeig*) (ich )?(es |das |alles |ich )*(deiner|deinem|deinen) (frau|chef|"
                "freundin|familie|mann|mutter|eltern|arbeitgeber)",
                "ich weiß,? wo du (wohnst|arbeitest|lebst|schläfst)",
                "(zahl|zahle|bezahl)( mir| endlich)? oder (ich|deine|alle)",
                "(veröffentlich*|verbreit*|leak*|poste?) (ich )?(deine|alle deine|die) (bilder|fotos|videos|"
                "nachrichten|nacktbilder|chats)",
                "erpress(en|ung|e|t|er|ungs*)( spiel| fetisch| dich)?",
                "(zerstör*|ruinier*) (ich )?(dein|deine) (leben|ehe|ruf|karriere)",
            ),
            "it": (
                "so dove (abiti|lavori|vivi)",
                "(dico|dirò|racconto|mando) tutto a tua (moglie|madre|famiglia)",
                "(paga|pagami) o (pubblico|dico|lo)",
                "(pubblico|pubblicherò|diffondo) le tue (foto|immagini)",
                "(ricatt(o|arti|are|i)|estorsione)",
            ),
            "pt": (
                "(eu )?sei onde (você|tu|vc) (mora|moras|trabalha|vive)",
                "(conto|contar|mando|mostrar) tudo (pra|para) (sua|tua) (esposa|mulher|família)",
                "(paga|pague) ou (eu|publico|conto)",
                "(publico|vazo|vou publicar|vou vazar) (suas|as tuas|tuas) (fotos|vídeos)",
                "(chantagem|chantagear|extorsão)",
            ),
        },
        harmless=(
            "(i'?ll|i will|i can|gonna) (post|publish|release|leak|expose|report) (the|this|all|all the) (new|next|"
            "full|rest|set|results?|truth|secret (set|series|recipe)|"
            "video|second|teaser|pictures|photos|sneak)*",
            "(i'?ll|i will|i can) (report|post) (the|this|all)",
            "i know where you (are|were) (coming|headed|going)",
        ),
    ),
)
