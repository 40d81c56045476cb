import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Features and synthetic corpora of the tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
