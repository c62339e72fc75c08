"""Refusals in a writer's own words, in English, German, French and Spanish.

Words are compared by class: words for the sources, for saying, for information and for knowing,
beside a negation. So the rules hold for sentences that nobody has seen, and take time linear in the
text.

A refusal is about the sources or the writer: "the documentation does not list it". A negation about
a part of the product is a claim: "the activity log does not list it".
"""

import re
from collections.abc import Iterator
from itertools import pairwise


def _class(words: str) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(words.split())})$")


OTHER, MAYBE, SURE = range(3)
LONGEST = 100  # words of a clause: beyond them it is not read
_SHORTENED = re.compile(r"\b(ca|wo)n't\b|n't\b|\b(can)not\b")
_MINE = re.compile(
    r"\bwhat (?:i have|i was given|i can see)\b|\bwas mir vorliegt\b|\bce que j'ai\b"
    r"|\blo que tengo\b"
)
_PHRASAL = re.compile(r"\b(?:go|get) into\b|\b(come|came|comes) up\b")
_TOKEN = re.compile(r"[^\W_]+")
_BEGINS = re.compile(
    r"[;:()]| - |,? ?\b(?:but|however|though|although|mais|toutefois|pero|unless|aunque"
    r"|obwohl|wobei|bien que)\b"
    r"|, (?=(?:\S+ ){0,4}(?:aber|jedoch|allerdings)\b)"
)
_AGAINST = re.compile(
    r"\b(?:aber|jedoch|allerdings|dafür|though|en revanche|toutefois|en cambio|sin embargo"
    r"|unless|even if)\b"
)
_TOO = re.compile(
    r"\b(?:not|nicht|n|no)\b(?: \w+){0,2} (?:enough|sufficient|genügend|genug|assez|suffisamment"
    r"|suficientes?|aus)\b"
)
_IS_FOR = re.compile(r"\b(?:is|are) (?:\w+ )?(?:for|about|on)\b")
_TITLE = re.compile(r"[\"„«“][^\"„“”«»]{3,80}[\"“”»]")
_CONCESSION = re.compile(
    r"\W*(?:although|though|while|whereas|even if|even though|même si|bien que|si les|aunque"
    r"|si bien|obwohl|auch wenn)\b",
    re.IGNORECASE,
)
# "The list of the pages"
_PART_OF = re.compile(r"\b(?:of the|of these|des|de las?|de los|of|de|von)$")
NEGATION = _class(
    r"""no not nothing none never nowhere neither nor without unable impossible nicht nichts
    kein\w* nirgend\w* weder nie niemals ohne unmöglich ne n pas rien aucune? jamais ni sans
    nulle nada ningun\w* ningún nunca tampoco sin imposible"""
)
SOURCE = _class(
    r"""documentation docs? pages? articles? wikis? contexts? excerpts? extracts? sources?
    materials? handbook manual sections? documents knowledge guides? passages? snippets?
    dokumentation doku seiten? artikeln? kontext ausschnitt\w* quellen? leitfaden handbuch
    unterlagen abschnitt\w* dokumenten? wissensdatenbank hilfeartikeln? hilfeseiten hilfetexten?
    referenz inhalte? auszüg\w* contexte extraits? éléments manuel contenu documentación
    páginas? artículos? contexto extractos? fuentes? secci\w+ documentos contenido conocimientos
    connaissances guía fragmentos? knowledgebase texts? content information texten? texto
    información informationen informations? material\w* pasajes passages entry notes notas
    versionshinweisen? referencia référence"""
)
THERE = _class(
    r"""here there dazu darüber hierzu hierüber dort darin hierauf davon darauf hier ici ahí
    aquí allí"""
)
THIS = _class(
    r"""that this it its they them which das dies dieses diese es sie ellos ellas cela ça ceci y
    en ce c ils elles elle eso esto ello ese este"""
)
SAY = _class(
    r"""says? mentions? covers? address(?:es)? describes? explains? contains? includes?
    discuss(?:es)? specif(?:y|ies) states? tells? lists? provides? offers? answers? deals?
    touch(?:es)? indicates? helps? defines? clarif(?:y|ies) details? refers? talks? relates?
    gives? makes? determine confirm appears? comes?up sag(?:t|en) erwähn\w* nenn\w* behandel\w*
    beschreib\w* erklär\w* enthält enthalten erläuter\w* deck(?:t|en) geh(?:t|en) sprich\w*
    sprech\w* liefer\w* biete\w* beantwort\w* gib\w* geb\w* hilft helfen verr[aä]t\w* erfähr\w*
    erfahr\w* steh\w* thematisier\w* befass\w* kommt kommen tauch\w* listet entnehm\w* nehmen
    macht dit disent mentionn\w* couvr\w* abord\w* décri\w* expliqu\w* contien\w* contenir
    compren\w* compor\w* discut\w* précis\w* indiqu\w* traite\w* parl\w* donne\w? donnent
    entr\w* aide fourni\w* apport\w* évoqu\w* énumèr\w* répond\w* permet\w* figur\w* apparaî\w*
    concern\w* détaill\w* fait font trouv\w* entran? ayuda dicen? menciona\w* cubr\w* describ\w*
    explica\w* incluy\w* trat\w* habla\w* especific\w* aclar\w* indica\w* ofrec\w* aporta\w*
    detalla\w* enumera\w* contempla\w* recog\w* responde\w* permit\w* figura\w* aparec\w*
    hace\w* encuentra\w* äußer\w* prononc\w* pronunci\w* dan outlines? shows? elaborates?
    speaks? zeig\w*"""
)
# Only texts and people do so; a list or a log also contains, lists or covers.
_SPEAK = _class(
    r"""says? mentions? address(?:es)? describes? explains? discuss(?:es)? specif(?:y|ies)
    states? tells? clarif(?:y|ies) defines? details? answers? helps? relates? talks? sag(?:t|en)
    erwähn\w* beschreib\w* erklär\w* erläuter\w* behandel\w* thematisier\w* verr[aä]t\w*
    beantwort\w* hilft helfen dit disent mentionn\w* expliqu\w* décri\w* précis\w* indiqu\w*
    abord\w* évoqu\w* parl\w* répond\w* aide traite\w* dicen? menciona\w* explica\w* describ\w*
    indica\w* especific\w* aclar\w* habla\w* trat\w* responde\w* ayuda äußer\w* prononc\w*
    pronunci\w*"""
)
SAID = _class(
    r"""said mentioned covered addressed described explained discussed specified stated answered
    treated made determined documented detailed clarified indicated referenced erwähnt behandelt
    beschrieben erklärt erläutert angegeben dokumentiert genannt gesagt vermerkt aufgeführt
    angesprochen abgedeckt thematisiert beantwortet mentionnée?s? couverte?s? abordée?s?
    décrite?s? expliquée?s? précisée?s? indiquée?s? dite?s? traitée?s? évoquée?s? documentée?s?
    donné détaillée?s? mencionad\w* cubiert\w* abordad\w* descrit\w* explicad\w* documentad\w*
    especificad\w* dich\w* tratad\w* indicad\w*"""
)
# "Erwähnt es nicht" is the present tense.
_FINITE = _class(r"(?:erwähn|behandel|erklär|erläuter|thematisier|beantworte)t")
# "No se menciona"
_SAID_OF_ITSELF = _class(
    r"""mencionan? describen? tratan? indican? abordan? explican? dan? hablan? dicen?
    especifican? aclaran?"""
)
# They say so only of the sources: a colleague may not be available, either.
FOUND = _class(
    r"""read seen learned gathered inferred found available present contained included part
    given listed provided gefunden finden findet verfügbar vorhanden enthalten teil zu
    trouvée?s? disponibles? présente?s? partie trouve trouvent encontrad\w* disponible\w*
    presente\w* parte encuentran?"""
)
INFORMATION = _class(
    r"""information info details? mention reference instructions? guidance explanation answers?
    hints? procedure statement documentation word informationen angaben? hinweise? anleitung\w*
    anweisung\w* antwort erklärung bezug rede details treffer auskunft dokumentation
    informations? renseignements? explication détails? référence réponse indication résultat
    aussagen? información informaciones datos detalles? instrucciones mención referencias?
    explicación respuesta indicaci\w+ resultados? documentación mencion"""
)
A_PART = _class(
    r"""entry entries eintrag\w* entrée entrada topic pages? articles? sections? documents?
    docs? seiten? artikel abschnitt dokumente? excerpts? páginas? artículo sección documentos?
    article method? procedimiento procédure weg vorgehen documented dokumentierten documentée
    documentado méthode método"""
)
KNOW = _class(
    r"""verify establish verifizieren prüfen vérifier verificar find found locate see know have
    answer help tell provide determine confirm say identify access able unable give guess
    explain spot discover certain sure finde\w* gefunden sehe\w* weiß habe\w* beantworten helfen
    sagen nennen feststellen bestätigen erklären geben liegen liegt verfüge\w* entdecken
    bestimmen erfahre möglich zugriff raten erhalten trouv\w* vois voir sais savoir dispose ai
    ait répondre aider dire fournir déterminer confirmer identifier expliquer donner accès
    mesure arrive possible pouvoir peux deviner pu encontr\w* encuentr\w* localizar veo ver sé
    saber tengo tener dispongo responder ayudar\w* decir dar determinar confirmar\w* identificar
    explicar\w* acceso condiciones consigo puedo pude podido adivinar obtuve hallado posible
    logro logré"""
)
SELF = _class(
    r"""i my me i'm ich mir mich j je m moi mes puedo pude tengo encontré encontrado encuentro
    veo sé dispongo consigo obtuve he mis lamento logré busqué"""
)
MISSING = _class(
    r"""omits? omitted empty aus sous omet\w* omit\w* left open lacks? lacking short exceeds?
    missing silent insufficient unclear outside beyond scope unable impossible fehl(?:t|en)
    übersteigt schweigt offen unklar außerhalb manque\w* dépass\w* absente?s? muett?e?
    insuffisante?s? cadre ignore falta\w* excede silencio insuficiente\w* fuera desconozco"""
)
# Words of `MISSING` that say something else in other company.
_LIMIT = _class(r"outside beyond exceeds? übersteigt außerhalb dépass\w* excede fuera")
_SCOPE = _class(r"scope umfang rahmen cadre portée alcance ámbito")
_AFTER = {
    "short": _class("stops? stopped falls?"),
    "missing": _class("is are was were s"),
    "empty": _class("appear"),
    "aus": _class("lässt lassen"),
    "sous": _class("passe passent"),
    "left": _class("is are"),
    "scope": _class("out"),
    "open": _class("leaves? left"),
    "offen": _class("lässt lassen bleibt bleiben"),
    "cadre": _class("hors sort sortent"),
    "ignore": _class("je j"),
}
# Words of sentences that say what the sources have instead, or where else to look.
ABOUT = _class(
    r"""cover\w* describ\w* focus\w* deal\w* discuss\w* mention\w* about limited talk\w* closest
    related list\w* end\w* only walks? help called refers? points relate\w* explain\w*
    beschreib\w* behandel\w* handel\w* richt\w* nur beschränk\w* verwandte nächsten endet sehe
    trait\w* décri\w* port\w* parl\w* adress\w* limit\w* connexes proches énumèr\w* s seulement
    arrête évoqu\w* expliqu\w* trata\w* habla\w* sobre limita\w* relacionad\w* cercan\w*
    enumera\w* dirigid\w* solo termina menciona\w* explica\w*"""
)
ELSEWHERE = _class(
    r"""trackers? issues? maintainers? developers? contact\w* reach consult\w* ask\w* check\w*
    support administrators? admins? forum tickets? desk colleagues? team vendor website hr
    rephras\w* elsewhere managers? lead kontaktier\w* wende\w* frag\w* administrator\w*
    kolleg\w* personalabteilung teamleitung vorgesetzt\w* it formulier\w* helpdesk hersteller\w*
    eröffn\w* it- meld\w* community adress\w* demand\w* administrat\w* collègue ressources rh
    équipe assistance reformul\w* ouvrir communauté informatique éditeur pregunt\w*
    administrad\w* soporte compañero responsable recursos equipo asistencia abrir comunidad
    informática foro"""
)
# How advice and offers begin; what a product does is not said so.
ADVICE = _class(
    r"""please may might perhaps maybe suggest recommend consider feel let would could try
    should glad happy bitte vielleicht empfehl\w* eventuell möglicherweise gern gerne würde
    hilft helfe weiterhelfen am frag sprich parlez habla weiß veuillez pourr\w* recommande
    suggère peut-être peut n'hésitez hésitez pensez souhaitez vous ravi pouvez devraient
    contactez adressez demandez puis puede puedes pueden quizá quizás tal recomiendo sugiero
    considera póngase contacta consulte gusto pregunta debería contacte quieres will best kann
    könnte können besten pourra podrá"""
)
_CONDITION = _class(r"if when unless wenn falls si s cuando lorsque sofern")
# "Ist kein Wert angegeben, ..."
_CONDITIONAL = _class(
    r"""if when unless where wherever wenn falls sofern ist sind wird werden wurden? si s cuando
    lorsqu\w*"""
)
# Documentation in any company; pages and articles are also parts of products.
_PLAIN = _class(
    r"""documentation docs? wikis? contexts? excerpts? extracts? knowledge handbook manual
    passages snippets? dokumentation doku kontext ausschnitt\w* handbuch unterlagen auszüg\w*
    wissensdatenbank hilfeartikeln? versionshinweisen? connaissances? contexte extraits manuel
    documentación contexto extractos? fragmentos? knowledgebase pasajes conocimientos"""
)
_WHOLE = _class(
    r"""no none neither any topic subject thema tema sujet rest part parts section in page pages
    kein\w* aucune? ningun\w* nada rien nothing one each all two either pas hay existe avoir il
    ninguna"""
)
_VERB_OR_NOUN = _class(r"list state cover detail answer document offer name")
_DOCUMENTATION = _class(
    r"""documentation docs contexts? dokumentation doku kontext documentación contexto contexte"""
)
_VAGUE = _class(r"contents? inhalte? contenu contenido")
_DETERMINER = _class(
    r"""the this these those that your our my any no neither either each every all both jeder?
    jedes chaque cada other which what das die der den dem des diesen? dieser? dieses deine[nr]?
    ihre[nr]? ihren? meine[nr]? unsere[nr]? alle[nr]? kein\w* la le les l cette ces cet vos
    votre mes mon nos aucune? toutes el los las esta estas este estos tus? mis? sus? ningun\w*
    ningún mir mich uns"""
)
_SUPPLIED = _class(
    r"""provided available supplied given retrieved shared current existing official relevant
    above found received following help product user own only single same linked attached
    accessible indexed two three four few knowledge base faq reference sample bereitgestellten
    vorliegenden verfügbaren vorhandenen gegebenen mitgelieferten zugänglichen gefundenen
    erhaltenen angegebenen genannten gezeigten übergebenen stehenden aktuellen zwei drei beiden
    offiziellen fournies? trouvée?s? reçue?s? présentes deux trois dos tres proporcionad\w*
    encontrad\w* recibid\w* disponibles? facilitad\w* presentes?"""
)
# What may follow a noun that nothing else is built on; "page history" is another thing.
_FOLLOWS_NOUN = _class(
    r"""do does did is are was were has have had can could may might will would must should not
    no only also just never still neither nor and or but that which who i we you in on at about
    for of from to with by as than here above below itself themselves alone either so there what
    whether how why provided given supplied available shared retrieved seems? leaves? say stop
    stops lacks? \w+ly \w+ed"""
)
_DUTY = _class(
    r"""must should may dürf\w* darf müssen muss sollen doit doivent debe deben puede pueden"""
)
# A claim although its subject is a page: "it notes that ...", documents "that you opened".
_CONTENT = _class(r"that you dass du ihr vous puedes bleiben restent siguen stay señala")
_ACTIONS = _class(
    r"""open click choose select press run enter copy set install use archive öffne\w* klick\w*
    wähle? drücke? starte\w* setz\w* scanne? installier\w* archivier\w* lass ouvrez cliquez
    choisissez appuyez lancez copiez installez scannez archivez laissez utilisez abre haz elige
    pulsa ejecuta copia instala escanea archiva deja usa"""
)
_TREAT = _class(
    r"""explain\w* cover\w* describ\w* deal\w* discuss\w* trat\w* trait\w* expli\w* behandel\w*
    befass\w* dedicated devoted gewidmet\w* consacr\w* dedicad\w*"""
)
_GIVEN = _class(
    r"""provided available included given vor verfügbar fournies? disponibles? proporcionan?"""
)
_BELONG = _class(r"topics? subject thema sujet tema gehör\w* pertenec\w* belongs?")
_CLEAR = _class(r"answerable beantwortbar clear klar claro clair clairement ersichtlich hervor")
_POSSIBLE = _class(r"possible möglich posible lässt")
_ANSWER = _class(
    r"""infer derive ableiten entnehmen schließen déduire deducir answer determine say tell
    antwort beantworten feststellen sagen répondre déterminer dire responder determinar decir"""
)
_IN = _class(
    r"""in within im dans en aus entre auf con with mit avec teil part partie parte from by
    anhand partir"""
)
_WITHIN = _class(r"in within on by im auf dans sur par en por")
_PLACE = _class(r"im in auf")
_MANNER = _class(r"anleitung\w* detail\w* any name connection full what details")
_ANY = _class(r"an? any single dedicated separate eine? einen une? una? kein\w* de d existen?")
# "if no value is given"
_SUPPOSED = _class(r"if unless wenn falls sofern si")
_ENGLISH_WORD = _class(r"the not does do is are")
_RESULTS = _class(r"results? treffer")
_WHETHER = _class(r"whether ob si if how wie")
_SEEMS = _class(r"seems? semble parece scheint")
# Verbs of saying that say nothing about sources unless these are named.
_BROAD = _class(
    r"""appears? contains? includes? comes?up gives? makes? offers? provides? deals?
    touch(?:es)? determine confirm enthält enthalten geh(?:t|en) gib\w* geb\w* steh\w* komm\w*
    tauch\w* biete\w* liefer\w* nehmen macht contien\w* contenir compren\w* compor\w* donn\w*
    fourni\w* apport\w* permet\w* figur\w* apparaî\w* concern\w* fait font trouv\w* cubr\w*
    incluy\w* ofrec\w* aporta\w* permit\w* figura\w* aparec\w* hace\w* encuentra\w* covers?
    shows? zeig\w* dan?"""
)
_AUXILIARY = _class(
    r"""does do did is are was were can could has have hat haben ist sind wird werden kann lo la
    le les se ne n just also even either simply really auch aber jedoch"""
)
_IS = _class(r"is are was were left remains? as bleibt bleiben ist")
_UNSAID = _class(
    r"""un(?:answered|documented|mentioned|addressed|stated)
    un(?:dokumentiert|beantwortet|erwähnt)"""
)
_NEAREST = _class(r"only closest nearest")
_GET = _class(r"get sees? show store bekommen erhalten sehen reçoivent reciben")
_WITHOUT = _class(r"without ohne sans sin")
_MAKE = _class(r"makes? machen? macht fait font hace\w*")
_APPEAR = _class(r"appears? apparaî\w* aparec\w* figur\w*")
# In English what is not said stands behind the negation.
_ENGLISH = _class(
    r"""says? said tells? mention\w* explain\w* list\w* state\w? cover\w* contain\w* includ\w*
    found available present given provide\w* offer\w* answer\w* describ\w* appears? determine
    confirm"""
)
_HAVE = _class(r"have has given hat avoir tener tiene")
_MORE = _class(r"more mehr davantage más")
_OFFER = _class(r"help glad happy assist gern gerne helfe weiterhelfen ravie? aider gusto ayud\w*")
_REFERS = _class(r"it they this these sie es er ils? elles? ello ellos ellas no tampoco")
_THERE_IS = _class(r"is gibt a hay existe")
_HELP = _class(r"help assistance hilfe unterstützung aide ayuda information auskunft")
_PRONOUN = _class(r"it they sie es er ils elles il elle ellos ellas")
_ONLY = _class(r"about handeln only nur seulement solo points?")
_LOOK = _class(r"try look siehe schau\w* voyez regardez mira")
_PERHAPS = _class(
    r"""perhaps maybe recommend suggest consider vielleicht eventuell möglicherweise empfehl\w*
    recommande suggère quizás? recomiendo sugiero"""
)
_QUANTIFIER = _class(r"none no neither nothing kein\w* nichts aucune? rien ningun\w* ningún nada")
_NO = _class(r"no none neither kein\w* aucune? ningun\w* ningún")
_NOTHING = _class(r"nothing nichts rien nada")
_ON = _class(
    r"""about on regarding concerning zum zur zu über sur concernant sobre acerca darüber dazu
    hierzu"""
)
_SORRY = _class(
    r"""sorry apolog\w* unfortunately regrettably thanks? leid entschuldig\w* leider danke
    désolée? excus\w* malheureusement merci siento disculp\w* lamentablemente gracias"""
)
_WHERE = _class(r"where how whether why when wie wo warum ob comment où pourquoi cómo dónde on")
_YOU = _class(r"you du sie vous puedes")
_ASKED = _class(r"ask\w* frag\w* demand\w* pregunt\w*")
_RELATIVE = _class(
    r"""which what that who as if when where so und and die der das was wie wonach welche\w* ob
    wenn qui que dont ce si comme et lo cual como y"""
)


def gaps(sentence: str, of_sources: bool = False) -> bool:
    """Does a sentence say that there is no answer? `of_sources`: the sentence before it names the
    sources, so "it" and "they" may be these."""
    return any(gap for _, _, gap in _judged(sentence, of_sources))


def is_sure(sentence: str) -> bool:
    """Does a sentence with a gap name the sources or the writer?"""
    words = tokens(sentence)
    return names_sources(words) or any(map(SELF.match, words))


def names_sources(words: list[str]) -> bool:
    return any(SOURCE.match(w) and _sureness(words, n) == SURE for n, w in enumerate(words))


def asserts(sentence: str, of_sources: bool = False) -> bool:
    """Does a sentence beside a refusal say something about the product? `of_sources` as in
    `gaps`."""
    if sentence.rstrip(" *_\"'»”)").endswith(("?", ":")):
        return False
    for part, words, is_gap in _judged(sentence, of_sources):
        if is_gap:
            if any(map(_goes_on, part.split(",")[1:])):
                return True
            continue
        if (
            len(words) < 4
            or part.lstrip().startswith("//")
            or is_aside(words)
            or any(map(_SORRY.match, words))
        ):
            continue
        points = any(SOURCE.match(w) or SAY.match(w) or _LOOK.match(w) for w in words)
        points |= any(map(ADVICE.match, words[:3]))
        if points and _TITLE.search(part) and not _acts(words):
            continue
        if words[0] in ("i", "ich", "je", "j", "he", "no") or "i" in words[1:3]:
            continue
        return True
    return False


def parts(text: str) -> list[str]:
    """The clauses of a sentence."""
    if _CONCESSION.match(text):
        text = text.replace(", ", "; ", 1)
    return [part for part in _BEGINS.split(text) if part and tokens(part)]


def tokens(text: str) -> list[str]:
    """The words of a text, lower case; shortened negations are written out."""
    in_full = _SHORTENED.sub(_in_full, _PHRASAL.sub(_phrasal, _MINE.sub("docs", text.lower())))
    return _TOKEN.findall(in_full)[:LONGEST]


def _phrasal(verb: re.Match[str]) -> str:
    return "appear" if verb[1] else "explain"


def _in_full(short: re.Match[str]) -> str:
    return "can not " if short[1] or short[2] else " not "


def _judged(sentence: str, of_sources: bool) -> Iterator[tuple[str, list[str], bool]]:
    """Each clause, its words, and whether it has a gap."""
    subject: list[str] = []
    for part in parts(sentence):
        shown = _TITLE.sub(" title ", part)
        words = tokens(shown)
        judged = words
        if _CONDITIONAL.match(words[0]) and "," in shown:
            judged = tokens(shown.partition(",")[2]) or words
        # "It does not list them" follows a sentence about the page.
        follows = bool(subject) or (of_sources and bool(_REFERS.match(judged[0])))
        is_gap = has_gap(judged) or (follows and has_gap(["docs", *judged]))
        of_sources = False
        is_of_sources = any(SOURCE.match(w) and not _VAGUE.match(w) for w in words[:6])
        says = any(ABOUT.match(w) or SAY.match(w) for w in words)
        # "They describe teams, (but) not spaces."
        rest = (
            tokens(part.rpartition(",")[2])
            if is_of_sources and says and "," in part
            else words
            if subject
            else []
        )
        is_short = len(rest) < 8 or any(map(_WHERE.match, rest[1:3]))
        is_gap |= is_short and any(map(NEGATION.match, rest[:3]))
        if is_of_sources and (says or any(_ON.match(w) or SELF.match(w) for w in words)):
            subject = ["docs"]
        yield part, words, is_gap


def has_gap(words: list[str]) -> bool:
    """Does a clause say that the sources, or the writer, have no answer?"""
    negated = [at for at, word in enumerate(words) if NEGATION.match(word)]
    missing = _is_missing(words)
    if any(_UNSAID.match(b) and _IS.match(a) for a, b in pairwise(words)):
        return True
    if "only" in words and "i" in words and any(map(_HAVE.match, words)):
        return True  # "I was only given the article about sending"
    if not (negated or missing) or _CONDITION.match(words[0]):
        return False
    nouns = {at: _sureness(words, at) for at, word in enumerate(words) if SOURCE.match(word)}
    sources = [at for at, sure in nouns.items() if sure == SURE]
    if missing and (
        sources or any(KNOW.match(w) or INFORMATION.match(w) for w in words) or _points(words[:3])
    ):
        return True
    for at in negated:
        before, after = words[:at], words[at + 1 : at + 5]
        near = [*before[-7:], *after]
        if before[-2:] in (["you", "can"], ["you", "could"]):
            continue
        if any(map(_DUTY.match, before[-7:])) or any(map(_SUPPOSED.match, before[-7:])):
            continue
        if not _WITHOUT.match(words[at]) and any(
            _is_said(words, n) for n in range(max(0, at - 3), min(at + 5, len(words)))
        ):
            return True
        if _QUANTIFIER.match(words[at]) and any(map(_RESULTS.match, after[:2])):
            return True
        is_mine = any(map(SELF.match, before[-7:] + after[:1]))
        is_ours = bool(sources) or is_mine or _points(near)
        object_at = next((n for n, w in enumerate(after[:3], at + 1) if INFORMATION.match(w)), 0)
        is_verb = words[at] == "not" and object_at == at + 1
        if object_at and not is_verb and not _is_handled(words, at):
            # "The report contains no details"
            verbs = words[max(0, at - 7) : object_at] if before else []
            if is_ours or not any(
                _GET.match(w) or (_BROAD.match(w) and not _MAKE.match(w)) for w in verbs
            ):
                return True
        if is_mine and any(map(KNOW.match, near)):
            return True
        if _QUANTIFIER.match(words[at]) or after[:1] == ["something"]:
            after = words[at + 1 : at + 8]
            near = [*before[-7:], *after]
            follows = words[at + 1 : at + 15]
            is_said = any(SAID.match(w) or FOUND.match(w) for w in follows)
            if is_said and _place(words, sources):
                return True
        if _NOTHING.match(words[at]) and not _is_handled(words, at):
            follows = words[at + 1 : at + 11]
            is_mine = any(map(SELF.match, follows)) and any(map(SAY.match, follows))
            if is_mine or any(SOURCE.match(w) or _ON.match(w) for w in follows):
                return True
        if any(_DOCUMENTATION.match(words[n]) and _is_place(words, n) for n in sources):
            return True  # "It is not named in the docs"
        if any(n > at and any(map(SAY.match, words[n + 1 : n + 3])) for n in sources):
            return True  # "It does not look as if the docs answered it"
        if sources and any(map(_BELONG.match, near)):
            return True
        if any(map(INFORMATION.match, before)) and any(map(_GIVEN.match, after)):
            return True
        if _lacks_part(words, at, sources):
            return True
        if any(map(_CLEAR.match, near)) and (sources or any(map(_WHETHER.match, words))):
            return True
        if any(map(_POSSIBLE.match, near)) and (
            any(map(_ANSWER.match, words)) or _place(words, sources)
        ):
            return True
        later = [*(word for word in before[-7:] if not _ENGLISH.match(word)), *after]
        said = [word for word in later if SAY.match(word)]
        if _are_subject(words, at, sources) or any(map(THERE.match, [*before, *after])):
            said = said if sources else [word for word in said if not _BROAD.match(word)]
            if any(not _APPEAR.match(w) or _place(words, sources) for w in said):
                return True
        is_named = any(n < at for n, sure in nouns.items() if sure == MAYBE)
        if is_named or _refers(words, at):
            may = bool(before) and before[-1] in ("can", "could")
            if not may and any(_SPEAK.match(w) or _TREAT.match(w) for w in said):
                return True
        if any(map(FOUND.match, later)) and _place(words, sources):
            return True
        if words[-1] in ("given", "stated") and at >= len(words) - 4:
            return True
        if sources and _TOO.search(" ".join(words)):
            return True
    return False


def _sureness(words: list[str], at: int) -> int:
    """SURE: a noun means the sources. OTHER: a part of the product, as in "page history"."""
    follows = words[at + 1 : at + 2]
    if at and INFORMATION.match(words[at]) and NEGATION.match(words[at - 1]):
        return OTHER  # "it has no information on it"
    is_english = any(map(_ENGLISH_WORD.match, words))
    if follows and _VERB_OR_NOUN.match(follows[0]) and not words[at].endswith("s"):
        return OTHER  # "the page list"
    if (
        is_english
        and follows
        and not _FOLLOWS_NOUN.match(follows[0])
        and not any(
            c.match(follows[0])
            for c in (
                SAY,
                SAID,
                FOUND,
                ABOUT,
                MISSING,
                THIS,
                NEGATION,
                SOURCE,
                _SUPPLIED,
            )
        )
    ):
        return OTHER
    first = _first(words, at)
    if _PLAIN.match(words[at]) or first < at or any(map(_SUPPLIED.match, follows)):
        return SURE
    before = words[max(0, at - 4) : at]
    if _PART_OF.search(" ".join(before)) and not any(map(_WHOLE.match, before)):
        return OTHER
    if before and _DETERMINER.match(before[-1]) and not _VAGUE.match(words[at]):
        # "La page d'erreur"
        return MAYBE if follows and follows[0] in ("d", "de", "del") else SURE
    is_any = any(_DETERMINER.match(w) or _ANY.match(w) for w in before)
    return MAYBE if is_any or (follows and _ON.match(follows[0])) else OTHER


def _refers(words: list[str], at: int) -> bool:
    """Is the subject of a negation, or of a verb of speaking behind it, a pronoun?"""
    behind = at
    while behind and _AUXILIARY.match(words[behind - 1]):
        behind -= 1
    return bool(behind and THIS.match(words[behind - 1])) or any(
        THIS.match(a) and SAY.match(b) for a, b in pairwise(words[at + 1 : at + 6])
    )


def _points(words: list[str]) -> bool:
    return any(THERE.match(word) or THIS.match(word) for word in words)


def _is_said(words: list[str], at: int) -> bool:
    """ "It is not mentioned"; "it is not mentioned in the log" is about the product."""
    of_itself = at > 0 and words[at - 1] == "se" and _SAID_OF_ITSELF.match(words[at])
    if not (of_itself or SAID.match(words[at])):
        return False
    if _FINITE.match(words[at]) and not any(map(NEGATION.match, words[max(0, at - 5) : at])):
        return False
    # "Wird im Protokoll nicht erwähnt": in German the place is before the verb.
    behind = words[at + 1 : at + 8]
    before = words[max(0, at - 5) : at] if "nicht" in words else []
    for place in (behind, *(before[n:] for n, w in enumerate(before) if _PLACE.match(w))):
        if place and _WITHIN.match(place[0]):
            is_named = any(SOURCE.match(w) or _MANNER.match(w) for w in place)
            return is_named or _points(place)
    return True


def _lacks_part(words: list[str], at: int, sources: list[int]) -> bool:
    """ "No page describes it", "it does not have an article on it"."""
    reach = 8 if any(map(_SEEMS.match, words)) else 6
    is_none = _NO.match(words[at]) and (words[at] != "no" or any(map(_ENGLISH_WORD.match, words)))
    if not any(
        A_PART.match(words[n])
        and (is_none or any(map(_ANY.match, words[at:n])) or (n == at + 1 and words[at] == "no"))
        and not any(_ON.match(w) or _IN.match(w) for w in words[at + 1 : n])
        for n in range(at + 1, min(at + reach, len(words)))
    ):
        return False
    if _place(words, sources):
        return True
    return any(SAY.match(w) or _TREAT.match(w) or _ON.match(w) for w in words[at : at + 11]) or (
        any(map(SOURCE.match, words[: min(at, 3)])) and _has(words, at)
    )


def _are_subject(words: list[str], at: int, sources: list[int]) -> bool:
    """Do the sources stand before the negation, in a place, or behind a verb of speaking?"""
    of_none = words[at] != "no" and _QUANTIFIER.match(words[at])
    return any(
        n < at
        or (of_none and n - at <= 4)
        or any(map(SAY.match, words[n + 1 : n + 3]))
        or _is_place(words, n)
        or any(map(_SPEAK.match, words[max(at, n - 3) : n]))
        for n in sources
    )


def _is_missing(words: list[str]) -> bool:
    """Does a clause say that something is missing? "A short title" and "missing pages" do not."""
    for at, word in enumerate(words):
        if not MISSING.match(word):
            continue
        if _LIMIT.match(word):
            if any(SOURCE.match(w) or _SCOPE.match(w) for w in words[at + 1 : at + 7]):
                return True
        elif (above := _AFTER.get(word)) is None or any(
            map(above.match, words[max(0, at - 4) : at])
        ):
            return True
    return False


def _place(words: list[str], sources: list[int]) -> bool:
    """Are the sources named as a place: "in the pages"?"""
    return any(_is_place(words, n) for n in sources)


def _is_place(words: list[str], at: int) -> bool:
    """ "In the provided pages", "part of the pages"; not "in comments on the pages"."""
    first = _first(words, at)
    while first and _DETERMINER.match(words[first - 1]):
        first -= 1
    before = words[max(0, first - 2) : first]
    is_of = bool(before) and before[-1] in ("of", "de", "du", "del", "des", "d")
    return any(map(_IN.match, before if is_of else before[-1:]))


def _first(words: list[str], at: int) -> int:
    """Where the adjectives of a noun begin: "available help" in "the available help pages"."""
    while at and (_SUPPLIED.match(words[at - 1]) or SOURCE.match(words[at - 1])):
        at -= 1
    return at


def _has(words: list[str], at: int) -> bool:
    return any(map(_HAVE.match, words[: at + 5])) or "a" in words[at + 1 : at + 2]


def _is_handled(words: list[str], at: int) -> bool:
    """ "No information is sent to third parties" is about the product."""
    for place, word in enumerate(words[at + 1 : at + 5], at + 1):
        if word in ("is", "are", "was", "should", "will", "wird", "werden", "n", "se"):
            rest = words[place + 1 : place + 3]
            return not any(SAID.match(w) or FOUND.match(w) for w in rest)
    return False


def is_aside(words: list[str]) -> bool:
    """Does a clause claim nothing about the product: does it describe the sources, advise where to
    look, or offer help?"""
    is_of_sources = any(SOURCE.match(w) and _sureness(words, n) for n, w in enumerate(words[:6]))
    if (is_of_sources or _PRONOUN.match(words[0])) and any(map(_ONLY.match, words[1:6])):
        return True
    describes = any(ABOUT.match(w) or SAY.match(w) for w in words)
    if describes and (
        words[0] in ("what", "all") or (words[0] == "the" and any(map(_NEAREST.match, words[1:2])))
    ):
        return True  # "The only size that it gives is ..."
    if _acts(words):
        return False
    quotes = any(word == "que" and SAY.match(verb) for verb, word in pairwise(words))
    is_content = quotes or any(map(_CONTENT.match, words[1:]))
    if is_of_sources and describes and not is_content:
        return True
    if _CONDITION.match(words[0]) and any(map(_OFFER.match, words)):
        return True
    is_likely = any(map(ADVICE.match, words[:9])) and any(map(_MORE.match, words))
    is_likely |= any(map(_PERHAPS.match, words[:9]))
    if is_likely and any(map(SOURCE.match, words)):
        return True
    if any(map(_LOOK.match, words[:7])) and any(map(SOURCE.match, words)):
        return True
    if is_of_sources and _IS_FOR.search(" ".join(words)):
        return True
    if any(map(_THERE_IS.match, words[:4])) and is_of_sources and any(map(_ON.match, words)):
        return True
    if any(map(_HELP.match, words[:4])) and any(map(ELSEWHERE.match, words)):
        return True
    advises = any(map(ADVICE.match, words[:7])) or any(map(ADVICE.match, words[-4:]))
    return advises and any(map(ELSEWHERE.match, words))


def _acts(words: list[str]) -> bool:
    """Is there an instruction, such as "open"? "How to open it" is none."""
    before = ["", *words]
    return any(
        _ACTIONS.match(w) and b not in ("to", "may") for b, w in zip(before, words, strict=False)
    )


def _goes_on(fragment: str) -> bool:
    """Does a part of a clause with a gap claim something?"""
    words = tokens(fragment)
    if len(words) < 4 or has_gap(words) or is_aside(words):
        return False
    if _AGAINST.search(fragment.lower()):
        return True
    is_asked = any(map(_ASKED.match, words))
    return any(map(_YOU.match, words)) and not (is_asked or _RELATIVE.match(words[0]))
