"""The rules in each script: where a word begins and ends, what a topic's word is, where a sentence stops."""

import pytest

from services.content.domain import Routine, mentions, names_topic, repair, sentences
from services.content.lexicon import load_lexicon

LEXICON = load_lexicon()
LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "ru", "zh", "ja", "ko")


@pytest.mark.parametrize(
    ("text", "value", "times"),
    [
        ("今天我梦到张伟了", "张伟", 1),
        ("梦见红心七，还是红心七", "红心七", 2),
        ("夢で七を見た", "七", 1),
        ("夢で十七を見た", "七", 0),
        ("レオの夢", "レオ", 1),
        ("レオナルドの夢", "レオ", 0),
        ("今朝はさくらが咲いた", "さくら", 1),
        ("さくらだった", "さくら", 1),
        ("さくらんぼ", "さくら", 0),
        ("민수를 만났다", "민수", 1),
        ("민수였어", "민수", 1),
        ("민수정이 왔다", "민수", 0),
        ("김민수", "민수", 0),
        ("Leo가 왔다", "Leo", 1),
        ("Leoを見た", "Leo", 1),
        ("梦到Leo了", "Leo", 1),
        ("梦到Leonardo了", "Leo", 0),
        ("1987年", "1987", 1),
        ("Анны нет", "Анна", 0),
        ("АННА здесь", "Анна", 1),
        ("l'as de pique", "as de pique", 1),
    ],
)
def test_a_value_is_said_as_a_word_of_its_own_in_every_script(text: str, value: str, times: int) -> None:
    assert mentions(text, value) == times


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("routine", Routine)
def test_every_topic_has_words_in_every_language(routine: Routine, language: str) -> None:
    assert LEXICON.topics[routine][language]
    assert LEXICON.topics[routine]["en"] <= LEXICON.giveaways(routine, language)


@pytest.mark.parametrize(
    ("routine", "language", "text"),
    [
        (Routine.CARDS, "ru", "играли картами"),
        (Routine.CARDS, "de", "ein altes Kartenspiel"),
        (Routine.CARDS, "zh", "我抽到一张牌"),
        (Routine.CARDS, "zh", "我抽到一张CARD"),
        (Routine.CARDS, "ja", "カードを引いた"),
        (Routine.CARDS, "ko", "카드를 뽑았다"),
        (Routine.MOVIES, "de", "mein Lieblingsfilm"),
        (Routine.MOVIES, "ru", "в кинотеатре"),
        (Routine.MOVIES, "ko", "영화의 장면"),
        (Routine.STAR_SIGNS, "ru", "гороскопы"),
        (Routine.STAR_SIGNS, "ja", "星占いで"),
        (Routine.PHOBIAS, "de", "vor lauter Ängsten"),
        (Routine.PHOBIAS, "ru", "я боюсь этого"),
        (Routine.YEARS, "ru", "столько лет"),
        (Routine.YEARS, "zh", "那年夏天"),
        (Routine.NAMES, "ko", "이름이 뭐더라"),
        (Routine.TEXT_INPUT, "ja", "あの言葉が"),
        (Routine.NUMBERS, "fr", "un numéro"),
    ],
)
def test_a_topic_is_found_in_the_forms_it_takes(routine: Routine, language: str, text: str) -> None:
    assert names_topic(text, LEXICON.giveaways(routine, language))


@pytest.mark.parametrize(
    ("routine", "language", "text"),
    [
        (Routine.CARDS, "en", "a cardboard box"),
        (Routine.CARDS, "de", "Kartoffeln schälen"),
        (Routine.CARDS, "ru", "картина на стене, картофель"),
        (Routine.CARDS, "ja", "カートを押す"),
        (Routine.STAR_SIGNS, "zh", "星期天的早上"),
        (Routine.MOVIES, "ru", "кислое молоко"),
        (Routine.NAMES, "zh", "有名的茶"),
    ],
)
def test_a_word_that_only_looks_like_the_topic_does_not_name_it(
    routine: Routine, language: str, text: str
) -> None:
    assert names_topic(text, LEXICON.giveaways(routine, language)) == []


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("favourite animals", "a strange animal"),
        ("любимые животные", "о животных"),
        ("Lieblingstiere", "mein Lieblingstier"),
        ("Häuser", "zwei alte Hauser"),
        ("我最喜欢的动物", "梦到一只动物"),
        ("好きな動物", "動物の夢"),
        ("좋아하는 동물은", "동물을 봤다"),
        ("countries", "that country"),
    ],
)
def test_a_free_topic_is_found_in_the_forms_it_takes(topic: str, said: str) -> None:
    assert names_topic(said, LEXICON.significant(topic))


@pytest.mark.parametrize(
    ("topic", "routine"),
    [
        ("ein Film", Routine.MOVIES),
        ("любимый фильм", Routine.CUSTOM),
        ("电影", Routine.MOVIES),
        ("映画", Routine.MOVIES),
        ("영화", Routine.MOVIES),
        ("une carte", Routine.CARDS),
    ],
)
def test_a_free_topic_means_a_routine_in_any_language(topic: str, routine: Routine) -> None:
    assert LEXICON.routine_of(topic) is routine


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("I saw Dr. Lee. He waved.", "en", 2),
        ("We met at 7 a.m. and left.", "en", 1),
        ("We met at 7 a.m. Then we left.", "en", 2),
        ("No. 5 is mine.", "en", 1),
        ("Oh no. Then I left.", "en", 2),
        ("It was 7. Then 8.", "en", 2),
        ("Am 3. Mai war es still.", "de", 1),
        ("Ich mag z. B. Tee. Und Kaffee.", "de", 2),
        ("Чай и т. д. уже готов.", "ru", 1),
        ("El Sr. López llegó.", "es", 1),
        ("M. Petit est venu.", "fr", 1),
        ("3,5 kg et 2.5 km.", "fr", 1),
        ("一。二！三？", "zh", 3),
        ("そう……かな。", "ja", 1),
        ("좋아. 정말? 응.", "ko", 3),
    ],
)
def test_a_sentence_ends_where_people_hear_it_end(text: str, language: str, count: int) -> None:
    assert sentences(text, language) == count


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("语音备忘：我梦到Leo了。", "我梦到Leo了。"),
        ("「Leoの夢」を見た。", "Leoの夢を見た。"),
        ("《Leo》很好看。", "Leo很好看。"),
        ("Note vocale : Leo est là.", "Leo est là."),
        ("«Лео» и Leo.", "Лео и Leo."),
        ("・Leoの夢", "Leoの夢"),
        ("①Leo의 꿈", "Leo의 꿈"),
        ("(yawns) I saw Leo.", "I saw Leo."),
        ("（打哈欠）我梦到Leo了。", "我梦到Leo了。"),
        ("big🌞Leo", "big Leo"),
        ("1) tea 2) Leo", "1) tea 2) Leo"),
    ],
)
def test_repair_knows_the_marks_of_every_script(text: str, repaired: str) -> None:
    assert repair(text, "Leo") == repaired
