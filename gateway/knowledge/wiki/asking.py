"""Extracts the subject words of a question, in its own language.

Manuals say "one" and "the reader", people say "I" and "my": in German, "ich" may be on a single
page of a wiki, the acknowledgements. Its IDF would then outweigh the subject, so it is dropped.
Pages keep all their words, in any language.
"""

from gateway.knowledge.wiki.words import STOP_WORDS, content_words, stem, words

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
    "Russian": """без более бы был была были было быть вам вас весь во вот все всё всех вы где да
    делать для до его ее её если есть еще ещё же за из или им их как какая какие какой каким ко
    когда кто ли либо мне моего моей может можно мои мой моя мы на над надо нам нас наш не него нее
    нет ни них но нужно ну об он она они от очень по под после при про свой своего себя сделать
    сейчас со так такой там тебя то того тоже только том тот ты уже чем через что чтобы эта эти это
    этого этой этом этот""",
}
_STOP_WORDS = {language: frozenset(words(text)) for language, text in _LISTS.items()}
# A single match may be a word of another language: "die", "comment", "son".
_LEAST = 2
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
    said = [
        word for word in content_words(question) if word not in dropped and len(word) <= _LONGEST
    ]
    return said if len(said) <= 2 * _WORDS else said[:_WORDS] + said[-_WORDS:]


def asked_stems(question: str) -> list[str]:
    """The stems of `asked_words`, in order, with repetitions."""
    return [stem(word) for word in asked_words(question)]


def language(text: str) -> str:
    """The language of `text`, if its stop words are listed; "" for English and others."""
    spoken = words(text[:_ENOUGH])
    most = max(_LEAST - 1, sum(word in STOP_WORDS for word in spoken))
    best = ""
    for name, stop_words in _STOP_WORDS.items():
        count = sum(word in stop_words for word in spoken)
        if count > most:
            most, best = count, name
    return best


def is_english(text: str, least: float = 1.0) -> bool:
    """Whether `text` may be English: `least` of its letters are, and it is not in another
    language."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(map(str.isascii, letters)) >= least * len(letters) and not language(text)


def ends(text: str) -> str:
    """The beginning and end of a question, which suffice to search for it."""
    return text if len(text) <= 2 * _ENDS else f"{text[:_ENDS]} {text[-_ENDS:]}"
