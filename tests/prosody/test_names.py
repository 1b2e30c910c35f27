"""Names of forms and rhyme groups, in each spelling that a person may type."""

import pytest

from poet.errors import UserError
from poet.prosody.characters import all_groups, group_name
from poet.prosody.names import (
    forms_table,
    read_form_name,
    read_rhyme_name,
    rhyme_label,
    rhymes_table,
)
from poet.prosody.script import to_simplified


def test_the_table_of_forms():
    rows = forms_table()
    assert len(rows) == 8 and all(len({form[column] for form in rows}) == 8 for column in range(3))
    assert rows[1][:5] == ("五言律詩", "wuyan-lüshi", "five-character regulated verse", 8, 5)
    assert (
        rows[6].min_lines == 10
        and rows[6].label == "七言排律 (seven-character long regulated verse)"
    )


@pytest.mark.parametrize("form", forms_table(), ids=lambda form: form.pinyin)
def test_each_form_has_a_name_in_three_languages(form):
    names = [form.chinese, to_simplified(form.chinese), form.pinyin, form.english]
    names += [name.upper() for name in names]
    names += [name.replace("-", " ") for name in names] + [name.replace(" ", "-") for name in names]
    names += [name.replace("ü", "u").replace("Ü", "U") for name in names]
    for name in names:
        assert read_form_name(f" {name} ") == form, name


@pytest.mark.parametrize(
    "name, chinese",
    [
        ("五律", "五言律詩"),
        ("七绝", "七言絕句"),
        ("五古", "五言古體"),
        ("七言古詩", "七言古體"),
        ("wujue", "五言絕句"),
        ("qilu", "七言律詩"),
        ("qiyan lvshi", "七言律詩"),
        ("wuyan pailyu", "五言排律"),
        ("wǔyán juéjù", "五言絕句"),
        ("qiyan gushi", "七言古體"),
        ("5-character quatrain", "五言絕句"),
        ("seven-syllable regulated poem", "七言律詩"),
        ("Seven Character Old-Style Verse", "七言古體"),
        ("five-character extended regulated verse", "五言排律"),
        ("five-character jueju", "五言絕句"),
    ],
)
def test_other_spellings_of_forms(name, chinese):
    assert read_form_name(name).chinese == chinese


@pytest.mark.parametrize(
    "name, message",
    [
        ("五言絕詩", "there is no form 五言絕詩. Did you mean 五言絕句?"),
        ("wuyan-jueyu", "Did you mean wuyan-jueju?"),
        ("five-character quatrian", "Did you mean five-character quatrain?"),
        ("seven character regulated", "Did you mean seven-character regulated verse?"),
        ("詞", "The forms are: 五言絕句, 五言律詩"),
        ("sonnet", "The forms are: five-character quatrain"),
    ],
)
def test_a_wrong_form_gets_the_nearest_name_in_its_language(name, message):
    with pytest.raises(UserError) as raised:
        read_form_name(name)
    assert message in str(raised.value)


def test_each_rhyme_group_has_a_character_an_ordinal_and_a_numbered_name():
    for group in all_groups():
        tone, ordinal = group_name(group).split("聲")
        numbered = rhyme_label(group).split("(")[1].rstrip(")")
        for name in (group, ordinal, tone + ordinal, group_name(group), numbered):
            if name != ordinal:  # 一東 and 一董 differ, but some groups share neither
                assert read_rhyme_name(name, level=True) == group
        assert read_rhyme_name(to_simplified(group), level=True) == group
    assert len({rhyme_label(group) for group in all_groups()}) == 106


def test_pinyin_names_a_level_group_if_one_has_it():
    unique = [row for row in rhymes_table() if row.pinyin not in ("dong", "yu", "xian")]
    assert len(unique) == 24
    for row in unique:
        for name in (row.pinyin, row.pinyin.upper(), row.numbered, row.numbered.replace("-", " ")):
            assert read_rhyme_name(name, level=True) == row.chinese
    assert read_rhyme_name("shangping 1 dong", level=True) == "東"
    assert read_rhyme_name("xiaping-1-xian", level=True) == "先"
    assert read_rhyme_name("ru-11-mo", level=False) == "陌" == read_rhyme_name("mo", level=True)


@pytest.mark.parametrize(
    "name, level, message",
    [
        ("dong", True, "dong is the pinyin of 2 rhyme groups: 東 (1-dong) or 冬 (2-dong)."),
        ("yu", True, "魚 (6-yu) or 虞 (7-yu)"),
        ("xian", True, "先 (1-xian) or 咸 (15-xian)"),
        ("dong", False, "東 (1-dong) or 冬 (2-dong) or 董 (shang-1-dong)"),
        (
            "donk",
            True,
            "no rhyme group donk in the 平水韻 (the rhyme book). Did you mean 東 (1-dong)",
        ),
        ("風", True, "The character 風 is in 東 (1-dong)."),
        ("聽", True, "The character 聽 is in 青 (9-qing) or 徑 (qu-25-jing)."),
        ("一真", True, "there is no rhyme group 一真"),
        ("123", True, "Name a group, such as 東 or 1-dong."),
        (" ", True, "the rhyme is empty. Name a group"),
    ],
)
def test_an_ambiguous_or_wrong_rhyme_is_refused_with_candidates(name, level, message):
    with pytest.raises(UserError) as raised:
        read_rhyme_name(name, level)
    assert message in str(raised.value)
