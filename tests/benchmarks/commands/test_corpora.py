import numpy as np
import pytest
import soundfile


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


def manifest(folder, rows):
    (folder / "my.csv").write_text(f"path,speaker,label\n{rows}")
    return "corpora", "manifest", "--root", folder / "my.csv"


def sound(path):
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(8_000), 16_000)


def test_a_folder_of_which_nothing_can_be_used_has_status_2_and_says_where_it_looked(dsnet, tmp_path):
    status, out, errors = dsnet(*manifest(tmp_path, "a.wav,ann,sad\nb.wav,bob,happy\n"))
    assert status == 2
    assert errors == [f"dsnet: nothing in {tmp_path / 'my.csv'} can be used; the lines above say why"]
    assert f"missing (looked for in {tmp_path}): 2: a.wav, b.wav" in out


def test_what_the_recordings_are_like_and_what_gives_the_class_away_is_shown(dsnet, small_root):
    status, out, errors = dsnet("corpora", "synthetic", "--root", small_root, "--shortcuts")
    assert (status, errors) == (0, [])
    assert "duration: 0." in out
    assert "class told by duration alone: UAR" in out


def test_words_for_labels_are_given_on_the_command_line(dsnet, tmp_path):
    sound(tmp_path / "a.wav")
    call = manifest(tmp_path, "a.wav,ann,gioia\n")
    assert "unknown labels: 'gioia'" in dsnet(*call)[2][0]
    status, out, errors = dsnet(*call, "--map", "gioia=happy")
    assert (status, errors) == (0, [])
    assert "1 utterances of 1 speakers" in out


@pytest.mark.parametrize("words", [("gioia",), ("gioia=happy", "--map", "gioia=sad")])
def test_a_map_that_is_none_is_refused(dsnet, tmp_path, words):
    status, _, errors = dsnet(*manifest(tmp_path, "a.wav,ann,gioia\n"), "--map", *words)
    assert status == 2
    assert "expected WORD=LABEL, each word once" in errors[0]


def test_names_with_escape_codes_and_newlines_are_quoted(dsnet, tmp_path):
    sound(tmp_path / "a.wav")
    (tmp_path / "03-01-05-01-01-01-01.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    (tmp_path / "a.wav").rename(tmp_path / "evil\x1b[2J\n.wav")  # a name that the corpus does not know
    status, out, _ = dsnet("corpora", "ravdess", "--root", tmp_path)
    assert status == 0
    assert "\x1b" not in out
    assert "evil\\x1b[2J\\n.wav" in out


def test_ased_carries_its_warning(dsnet):
    assert "WARNING: Something other than the voice gives its classes away" in dsnet("corpora", "ased")[1]
