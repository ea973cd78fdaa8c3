import pytest

from groupcam.ui.latest import LatestWins


def chosen(latest: LatestWins, session: str, choice: str) -> int:
    token = latest.choose(session, choice)
    assert token is not None
    return token


def test_a_new_choice_makes_the_run_before_it_stale() -> None:
    latest = LatestWins()

    first = chosen(latest, "visitor", "32 groups")
    second = chosen(latest, "visitor", "16 groups")

    assert not latest.is_fresh("visitor", first)
    assert latest.is_fresh("visitor", second)


def test_the_same_choice_again_gets_no_token() -> None:
    latest = LatestWins()
    token = chosen(latest, "visitor", "32 groups")

    assert latest.choose("visitor", "32 groups") is None
    assert latest.is_fresh("visitor", token)


def test_a_choice_starts_once() -> None:
    latest = LatestWins()
    token = chosen(latest, "visitor", "32 groups")

    assert latest.claim("visitor", token)
    assert not latest.claim("visitor", token)


def test_a_stale_choice_does_not_start() -> None:
    latest = LatestWins()
    stale = chosen(latest, "visitor", "32 groups")
    chosen(latest, "visitor", "16 groups")

    assert not latest.claim("visitor", stale)


def test_visitors_do_not_disturb_each_other() -> None:
    latest = LatestWins()
    token = chosen(latest, "one visitor", "32 groups")

    other = chosen(latest, "another", "32 groups")

    assert token != other
    assert latest.claim("one visitor", token)
    assert not latest.claim("one visitor", other)
    assert latest.claim("another", other)


def test_a_forgotten_choice_is_stale_and_may_be_made_again() -> None:
    latest = LatestWins()
    token = chosen(latest, "visitor", "32 groups")
    latest.claim("visitor", token)

    latest.forget("visitor")

    assert not latest.is_fresh("visitor", token)
    assert latest.claim("visitor", chosen(latest, "visitor", "32 groups"))


def test_an_unknown_visitor_can_be_forgotten() -> None:
    LatestWins().forget("nobody")


def test_made_up_visitors_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groupcam.ui.latest.MOST_VISITORS", 3)
    latest = LatestWins()
    tokens = {name: latest.choose(name, "choice") for name in "abcd"}

    fresh = [name for name, token in tokens.items() if latest.is_fresh(name, token or 0)]

    assert fresh == ["b", "c", "d"]
