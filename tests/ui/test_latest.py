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
