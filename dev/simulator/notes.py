"""What the simulated text model writes: short morning notes, in any language that it is asked for."""

from typing import Final

# What it is told to keep to.
_SHORTEST, _LONGEST = 80, 120

_FRAMES: Final = {
    "en": (
        "I woke up with {value} stuck in my head. It won't let go of me, even now with {thing}.",
        "All night I dreamt about {value}, no idea why. It's still with me now, along with {thing}.",
        "Woke up to {value}, don't ask me why, and to {thing}.",
        "It's so quiet here this morning. I keep thinking about {value} while I'm sitting with {thing}.",
        "Still half asleep, and it was {value} again before anything else. Now for {thing}.",
    ),
    "es": (
        "Me he despertado con {value} en la cabeza, y todavía me acompaña ahora con {thing}.",
        "He soñado toda la noche con {value}, no sé por qué. Ahí sigue, junto con {thing}.",
        "Qué silencio hay en casa. No dejo de pensar en {value} mientras disfruto de {thing}.",
    ),
    "fr": (
        "Au réveil, j'avais {value} en tête, va savoir pourquoi, et ça reste là avec {thing}.",
        "Toute la nuit, j'ai rêvé de {value}, sans raison. Et c'est encore là avec {thing}.",
    ),
    "de": (
        "Ich bin mit {value} im Kopf aufgewacht, keine Ahnung warum, und nun sitze ich hier mit {thing}.",
        "Heute Nacht kam im Traum {value} vor, ganz seltsam. Das bleibt mir noch bei {thing}.",
    ),
    "it": (
        "Stamattina al risveglio avevo in testa {value}, chissà perché, e adesso sto qui con {thing}.",
        "Stanotte ho sognato {value}, una cosa strana. E adesso sono ancora qui con {thing}.",
    ),
    "pt": (
        "Acordei com {value} na cabeça, sei lá por quê, e isso continua comigo agora com {thing}.",
        "Sonhei a noite toda com {value}, do nada. E ainda estou pensando nisso com {thing}.",
    ),
    "ru": (
        "Открываю глаза, а в голове {value}, непонятно почему. И до сих пор со мной, а рядом {thing}.",
        "Всю ночь мне снилось что-то странное, и главным там было {value}. А теперь утро и {thing}.",
    ),
    "zh": (
        "今天早上一睁开眼睛，脑子里冒出来的就是{value}，也不知道为什么，躺在床上想了好半天都没有想明白。"
        "现在窗外的天慢慢亮起来，我端着{thing}坐在这里，它还是赖在心里不肯走，真是挺奇怪的一个早晨。",
    ),
    "ja": (
        "今朝、目が覚めたとたんに{value}が頭に浮かんできて、理由はまったくわからないんだけど、ずっとそこにある感じ。"
        "{thing}を手にしている今も、まだ消えずに残っていて、なんだか不思議な朝だなと思っている。",
    ),
    "ko": (
        "눈을 뜨자마자 {value} 생각이 머릿속에 떠올랐는데 왜 그런지는 나도 모르겠어. "
        "{thing} 앞에 앉아 있는 지금까지도 사라지지 않고 계속 맴돌아서 참 신기한 아침이네.",
    ),
}
_THINGS: Final = {
    "en": (
        "my tea", "the coffee", "some toast", "the radio on", "warm socks", "the cat here",
        "a glass of water", "the window open", "my porridge", "a yawn", "the kettle on", "an orange",
        "my blanket", "cold feet", "the birds outside", "the light coming in",
    ),
    "es": (
        "el café", "el té", "la tostada", "la ventana abierta", "una naranja", "la manta", "la luz del alba",
        "el gato al lado", "un vaso de agua", "la radio bajita",
    ),
    "fr": ("le café", "le thé", "la tartine", "le chat", "la fenêtre ouverte", "un verre d'eau", "la radio"),
    "de": ("dem Kaffee", "dem Tee", "dem Toast", "der Katze", "einem Glas Wasser", "dem Radio"),
    "it": ("il caffè", "il tè", "il pane tostato", "il gatto", "la finestra aperta", "la radio accesa"),
    "pt": ("o café", "o chá", "a torrada", "o gato", "a janela aberta", "o rádio ligado"),
    "ru": ("чай", "кофе", "тёплый плед", "кошка", "открытое окно", "стакан воды"),
    "zh": ("一杯茶", "一杯咖啡", "一碗粥", "一杯温水", "一杯牛奶"),
    "ja": ("お茶", "コーヒー", "牛乳", "みかん", "毛布"),
    "ko": ("차", "커피", "우유", "토스트", "창문"),
}  # fmt: skip


def note(value: str, language: str, number: int) -> str:
    """Another one for each number, until all that fit have been written."""
    tongue = language[:2] if language[:2] in _FRAMES else "en"
    written = [
        frame.replace("{thing}", thing).replace("{value}", value)
        for thing in _THINGS[tongue]
        for frame in _FRAMES[tongue]
    ]
    fitting = [text for text in written if _SHORTEST <= len(text) <= _LONGEST]
    return (fitting or written)[number % len(fitting or written)]
