import pytest


@pytest.mark.parametrize(
    "arguments", [(), ("ravdess",), ("synthetic", "--correlation", "0.5"), ("--correlation", "0.5", "synthetic")]
)
def test_the_word_show_may_be_left_out(dsnet, arguments):
    status, out, errors = dsnet("corpora", "show", *arguments)
    assert (status, errors) == (0, [])
    assert out
    assert dsnet("corpora", *arguments) == (status, out, errors)


def test_the_help_names_both_commands_and_every_corpus_that_can_be_fetched(dsnet):
    status, out, _ = dsnet("corpora", "--help")
    assert status == 0
    assert {"show", "fetch"} <= {line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.split()}
    assert "One of ravdess, emodb, crema-d, nemo." in dsnet("corpora", "fetch", "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("ravdess", "extra"), "extra"),
        (("--nonsense",), "--nonsense"),
        (("fetch",), "name"),
        (("fetch", "--to"), "--to"),
    ],
)
def test_a_wrong_call_names_what_is_wrong_with_status_2(dsnet, arguments, named):
    status, _, errors = dsnet("corpora", *arguments)
    assert status == 2
    assert named in errors[-1]
