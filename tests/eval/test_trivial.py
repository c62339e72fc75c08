from eval.systems.trivial import best_overlap
from gateway.answering.grounding.sentences import MOST


def test_the_sentence_with_most_words_of_the_question_is_found_however_long_the_page_is() -> None:
    filler = " ".join(f"The machine has part {number} in it." for number in range(MOST))
    page = f"# Coffee\n\n{filler}\n\n## Care\n\nPress the blue button to descale it."
    asked = "How do I descale the machine with a button?"
    assert (
        best_overlap(["# Tea\n\nPress it.", page], asked) == "Press the blue button to descale it."
    )
