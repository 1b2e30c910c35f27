"""Whether a poem is attributed to an author, by its pairs of characters."""

from poet.alignment.attribution import AuthorClassifier
from poet.alignment.author import AuthorSplit
from poet.data.poems import Poem


def poems(*texts: str) -> list[Poem]:
    return [Poem("", (text,)) for text in texts]


AUTHOR = poems(*["春風春風春，春風春風春。"] * 3)
OTHERS = poems(*["秋月秋月秋，秋月秋月秋。"] * 3)


def classifier(others: list[Poem], calibration_poems: int) -> AuthorClassifier:
    split = AuthorSplit("李白", AUTHOR, [], others, [])
    return AuthorClassifier(split, seed=0, calibration_poems=calibration_poems)


def test_a_poem_is_attributed_to_the_author_whose_pairs_it_repeats():
    by_author = classifier(OTHERS, calibration_poems=0).is_by_author
    assert by_author("春風春山中，山中山中山。")
    assert not by_author("秋月秋山中，山中山中山。")
    assert not by_author("山中山中山，山中山中山。")  # unknown pairs: a score of 0


def rare_line(number: int) -> str:
    """Returns a line of five characters that no other line has."""
    return "".join(chr(0x5000 + 5 * number + i) for i in range(5))


def test_a_poem_must_score_above_nearly_all_poems_of_others():
    weak = f"春風山中山，{rare_line(0)}。"  # one pair of the author's
    others = poems(*[f"春風{rare_line(i)[:3]}，{rare_line(i + 50)}。" for i in range(1, 44)])
    assert classifier(others, calibration_poems=0).is_by_author(weak)
    assert not classifier(others, calibration_poems=40).is_by_author(weak)
    assert classifier(others, calibration_poems=40).is_by_author(AUTHOR[0].text)
