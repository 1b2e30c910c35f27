"""The language of texts decides the instruction and the card."""

import pytest

from poet.data.language import detect, instruction_for
from poet_tokenizer import DEFAULT_INSTRUCTION

TEXTS = {
    "en": "The lantern of the harbor is small and it waits for a ship that is in the fog.",
    "de": "Der kleine Hafen ist still und das Licht wartet auf ein Schiff, das nicht kommt.",
    "fr": "La lanterne est petite et elle attend un bateau dans la nuit, que le vent pousse.",
    "zh": "小港燈微照水明，孤舟未到客愁生。",
    "ja": "港の灯りは小さくて、船を待っている。",
    "ko": "항구의 등불은 작다",
    "ru": "Фонарь в порту мал, и он ждёт, что корабль придёт из тумана, как и вчера.",
    None: "Zxq vrt plm.",
}


@pytest.mark.parametrize("code", TEXTS)
def test_the_language_is_found(code):
    assert detect([TEXTS[code]]).code == code


def test_the_instruction_is_in_the_script_of_the_texts():
    traditional, simplified = detect([TEXTS["zh"]]), detect(["小港灯微照水明，孤舟云边远来时"])
    assert instruction_for(traditional) == DEFAULT_INSTRUCTION
    assert instruction_for(simplified) == "请用以下题目写一首诗"
    assert instruction_for(detect([TEXTS["en"]])) == "Write a poem with this title: "
    assert instruction_for(detect([TEXTS["de"]])) == ""


def test_texts_without_letters_have_no_language():
    assert detect(["1234"]).code is None
