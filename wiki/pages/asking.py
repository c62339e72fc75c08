"""Extracts the subject words of a question, in its own language.

Manuals say "one" and "the reader", people say "I" and "my": in German, "ich" may be on a single
page of a wiki, the acknowledgements. Its IDF would then outweigh the subject, so it is dropped.
Pages keep all their words, in any language.
"""

from collections import Counter
from functools import lru_cache

from wiki.pages.words import STOP_WORDS, content_words, stem, words

_LISTS = {
    "German": """aber als also am an auch auf aus bei beim bin bis bitte da damit dann das dass dem
    den denn der des dessen die dies diese diesem diesen dieser dieses doch dort du durch ein eine
    einem einen einer eines er es etwas euch euer für gibt habe haben hat hatte ich ihm ihn ihnen
    ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder jedes jetzt kann kannst kein
    keine keinen können könnte mache machen macht man mein meine meinem meinen meiner mich mir mit
    muss müssen nach nicht noch nun nur ob oder ohne sein seine seinem seinen seiner selbst sich sie
    sind so soll sollen sollte solche über um und uns unser unsere unserem unseren unter vom von vor
    wann war waren warum was weil welche welchem welchen welcher welches wenn wer werde werden wie
    wieder will wir wird wo woher wohin womit wurde zu zum zur zwischen""",
    "French": """afin ai ainsi après au aucun aussi autre aux avant avec avez avoir avons bien ça
    car ce ceci cela ces cet cette ceux chez comme comment dans de depuis des doit doivent donc dont
    du elle elles en encore entre est et était être eux faire fait faut font ici il ils je la là le
    les leur leurs lors lorsque lui ma mais me même mes moi mon ne ni non nos notre nous on ont ou
    où par parce pas peut peuvent peux plus pour pourquoi puis qu quand que quel quelle quelles
    quels qui quoi sa sans se sera ses si son sont sous sur ta te tes toi ton tous tout toute toutes
    très tu un une vers vos votre vous""",
    "Spanish": """al algo algún alguna algunos antes así aún aunque bajo cada como con cual cuales
    cualquier cuando cuánta cuántas cuánto cuántos de debe debo del desde donde durante el ella
    ellas ellos en entre era es esa esas ese eso esos está están esta estas este esto estos estoy
    fue ha hace hacer hacia hago han hasta hay he la las le les lo los más me mediante mi mientras
    mis mucho muy nada ni no nos nosotros nuestra nuestro os otra otro otros para pero poder por
    porque puede pueden puedo pues que quien quiero se sea según ser si sido sin sobre son su sus
    también tan te tener tengo tiene toda todas todo todos tu tus un una unas uno unos usted ustedes
    va ya yo""",
    "Italian": """ad agli ai al alla alle allo anche ancora avere che chi ci cioè come con cosa cui
    da dagli dai dal dalla dalle dallo degli dei del della delle dello deve devo di dopo dove ed era
    essere faccio fare gli ha hai hanno ho il in io la le lei li lo loro lui ma me mi mia mie miei
    mio ne negli nei nel nella nelle nello noi non nostra nostro ogni oppure per perché però più può
    posso possono prima quale quali quando quanto quella quelle quelli quello questa queste questi
    questo qui se sei si sia siamo sono su sua sue sugli sui sul sulla sulle suo tra tu tua tuo
    tutta tutte tutti tutto un una uno vi voi""",
    "Portuguese": """ao aos aquela aquele as até cada com como da das de dela dele deles depois deve
    devo do dos ela elas ele eles em entre era essa essas esse esses está estão esta estas este
    estes eu faço fazer foi há isso isto já lhe mais mas me mesmo meu meus minha minhas muito na não
    nas nem no nos nós nossa nosso num numa onde os ou para pela pelas pelo pelos pode podem por
    porque posso qual quais qualquer quando quanto que quem são se sem ser seu seus só sua suas
    também te tem tenho ter tudo um uma umas uns você vocês""",
    "Dutch": """aan af al alleen als ben bij dan dat de deze die dit doe doen door een en er gaan
    geen haar had heb hebben heeft hem het hier hij hoe hun ik in is ja je jij jouw jullie kan kun
    kunnen maar me meer men met mij mijn moet moeten na naar niet nog nu of om onder ons onze ook op
    over te tegen toch toen tot uit uw van veel voor waar waarom wanneer want waren was wat we wel
    welk welke werd wie wij wil word worden wordt ze zelf zich zij zijn zo zonder zou""",
    "Polish": """aby ale bardzo bez bo by być był była było co coś czego czy dla dlaczego do gdy
    gdzie go ich ile im ja jak jaka jaki jakie jako je jego jej jest jestem jeśli już kiedy kto
    która które którego której który lub ma mam mi mnie mogę moja moje mój może można mu my na nad
    nam nas nasz nich nie niej nim od on ona one oni oraz po pod przed przez przy są się skąd swoje
    ta tak także tam te tego tej ten to tu ty tych tylko tym was we według więc wszystkie za zrobić
    że żeby""",
    "Swedish": """alla allt att av bara behöver blir de den denna det detta dig din ditt du där
    eller en ett finns för från får fått går gör ha hade han har hur här i in inte jag kan ku man
    med men
    mig min mina mitt måste ni nu någon något när och om oss på sedan sig sin ska skall som så till
    upp ut utan vad var varför vart vem vi vid vilka vilken vilket vill är över""",
    "Turkish": """ama ancak artık bana bazı bazı ben beni benim bir biz bu bunu bunun daha de değil
    diye edebilirim ederim en gibi hangi hem hep her için ile ise kadar ki kim mi mı mu mü nasıl ne
    neden nedir nerede nereden nereye niçin niye olan olarak olur onu onun sonra şey şu var ve veya
    ya yapabilirim yaparım yapılır yok zaman""",
    "Czech": """aby ale ani ano asi bez bude být byl byla bylo co což další do ho jak jaká jaké jaký
    jako je jeho její jejich jen jestli ještě ji jsem jsi jsou já k kde kdo kdy když která které
    který lze má mám mi mě můj může můžu mohu na nad nebo není než od pak po pod podle pokud pro
    proč před při s se si svůj ta tak také tam tato tedy ten tento to toto tu už ve však všechny z
    za ze že""",
    "Russian": """а без более бы был была были было быть в вам вас весь во вот все всех всё вы где
    да делать для до его ее если есть еще ещё её же за и из или им их к как какая какие каким какой
    ко когда кто ли либо мне моего моей может можно мои мой моя мы на над надо нам нас наш не него
    нее нет ни них но ну нужно о об он она они от очень по под после при про с своего свой сделать
    себя сейчас со так такой там тебя то того тоже только том тот ты у уже чем через что чтобы эта
    эти это этого этой этом этот я""",
    "Danish": """af alle alt andre at bare blev bliver da de deres det dette dig din dit du efter
    eller en er et fik findes for fordi fra får før gør ham han har hvad hvem hver hvilke hvilken
    hvilket hvis hvor hvordan hvorfor hvornår i ikke ind ingen jeg jer kan kunne man mange med meget
    men mig min mine mit må nogen noget nogle nu når og også om op os over på sammen sig sin sine
    skal skulle som så til ud uden under var vi vil ville være været""",
    "Norwegian": """alle alt andre av at bare ble blir da de dem den denne der dere deres det dette
    deg din ditt du eller en enn er et etter finnes for fordi fra få får før gjør ha hadde han har
    hun hva hvem hver hvilke hvilken hvilket hvis hvor hvordan hvorfor i ikke ingen inn jeg kan
    kunne man mange med meg men min mine mitt mye må noe noen nå når og også om opp oss over på seg
    sin skal som så til under ut uten var ved vi vil være vært""",
    "Finnish": """aina ei eivät ennen entä että ehkä en eli enemmän hän häntä ilman itse ja jo joka
    jolla jonka jos josta jotka jotta kaikki kanssa kautta kuin kuinka kun kuten kyllä me mihin mikä
    mikäli mikään millä millainen milloin minkä minne minulla minun minä missä mistä mitä miksi
    miten mukaan mutta myös ne niin niiden niitä noin nyt näiden nämä näin ole olen oli olla olisi
    on onko ollut ovat saa se sekä sen siellä sillä sinun sinä sitten sitä tai tämä tämän tässä tätä
    toinen tulee vaan vai vain vaikka varten voi voin voiko voit voidaan voivat yli""",
    "Hungarian": """az azt azon azért ahol ahogy aki ami amely amelyek be csak de egy egyik ehhez
    ekkor el ennek és ez ezek ezen ezért ezt fel ha hogy hogyan hol honnan hova igen ilyen is itt ki
    kell kellene le lehet lehetséges lesz majd meg mely melyik mert mi miatt miért milyen mikor
    mint minden mit mivel már még nagyon ne nekem nem nincs nélkül olyan ott pedig saját szerint tud
    tudok tudom új úgy után vagy vagyok valamint van vannak volt volna én össze""",
    "Romanian": """aceasta această aceste acest acestea acestui al ale am ar are asta astfel au avea
    ca care când cât ce cea cel cele cere cine cu cum da dacă de deci decât despre din după ei el
    ele este eu face fac fi fie fiecare fost fără iar îl îmi în între îți la le lor lui mai mea mei
    meu mi ne nici nu nostru o ori orice pe pentru poate pot prin să sale sau se și sub sunt tot
    toate unde un una unei unor unui vă vor""",
    "Greek": """αν αλλά ανά από αυτά αυτή αυτό αυτός για δεν είναι είχε ένα έναν ένας έχει έχω έχουν
    ή η θα και κάθε κάνω κάτι κατά μας με μέσα μετά μη μην μια μόνο μου μπορεί μπορείτε μπορώ να ο
    οι όλα όπως όταν ότι ου πιο ποια ποιο ποιος που πού πρέπει πριν προς πώς σας σε στα στη στην
    στις στο στον στους σου τα της τη την τι τις το τον του τους των χωρίς ως""",
}
_STOP_WORDS = {language: frozenset(words(text)) for language, text in _LISTS.items()}
# The index stores a language by its place here: append others, and raise the index's VERSION.
LANGUAGES = ("", *_LISTS)
_LANGUAGES_OF: dict[str, tuple[str, ...]] = {}
for _language, _stop_words in _STOP_WORDS.items():
    for _word in _stop_words:
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _language)
# A single one may be a word of another language: "pas", "de", "der".
_LEAST = 2
# Stop words that are words in English texts, too: only of these, "face care" is no Romanian.
_ALSO_ENGLISH = STOP_WORDS | frozenset(
    words("""bare bin care cat come comment con cos del die dies dig door dos em era face far font
    go ham hat hem ind kde man men met min mine mint mit non num one os pan par per plus pot pro
    proc sale sans sea sin son sub sue take tan ten till todo ton var vi want war word""")
)
# Characters at either end of a question that are used for the search. People paste logs of
# megabytes, with their question before or after: all 8 MiB of a request would take 13 s.
_ENDS = 5_000
# Content words at either end that are searched for: of thousands of words, each would be looked
# up, and its postings read.
_WORDS = 500
# Longer words are no words: correcting one letter of 20,000 would make a million words of it.
_LONGEST = 100
# Characters that suffice to detect the language.
_ENOUGH = 4000


def asked_words(question: str) -> list[str]:
    """The content words of a question, without those that carry no subject in its language."""
    question = ends(question)
    dropped = _STOP_WORDS.get(language(question), frozenset())
    words = [
        word for word in content_words(question) if word not in dropped and len(word) <= _LONGEST
    ]
    return words if len(words) <= 2 * _WORDS else words[:_WORDS] + words[-_WORDS:]


def asked_stems(question: str, language: str = "") -> list[str]:
    """The stems of `asked_words` in a language, in order, with repetitions."""
    return [stem(word, language) for word in asked_words(question)]


@lru_cache(maxsize=2048)  # as for `words.stem_set`
def subject_stems(text: str, language: str) -> frozenset[str]:
    """The distinct stems of a text in a language, without those of its stop words."""
    dropped = _STOP_WORDS.get(language, frozenset())
    return frozenset(stem(word, language) for word in content_words(text) if word not in dropped)


def language(text: str) -> str:
    """The language of `text`, if its stop words are listed; "" for English and others."""
    return _language_of(text[:_ENOUGH])


@lru_cache(maxsize=256)  # a question is asked about its language several times
def _language_of(text: str) -> str:
    counts: Counter[str] = Counter()
    distinct: Counter[str] = Counter()
    foreign: Counter[str] = Counter()
    most = 0
    for word, count in Counter(words(text)).items():
        if len(word) == 1 and word.isascii():
            continue  # a word in many languages, and a letter in tables
        most += count * (word in STOP_WORDS)
        for name in _LANGUAGES_OF.get(word, ()):
            counts[name] += count
            distinct[name] += 1
            foreign[name] += word not in _ALSO_ENGLISH
    best = ""
    for name in _STOP_WORDS:  # of languages with as many, the first
        if distinct[name] >= _LEAST and foreign[name] and counts[name] > most:
            most, best = counts[name], name
    return best


def is_english(text: str, least: float = 1.0) -> bool:
    """Whether `text` may be English: `least` of its letters are, and it is not in another
    language."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(map(str.isascii, letters)) >= least * len(letters) and not language(text)


def ends(text: str) -> str:
    """The beginning and end of a question, which suffice to search for it."""
    return text if len(text) <= 2 * _ENDS else f"{text[:_ENDS]} {text[-_ENDS:]}"
