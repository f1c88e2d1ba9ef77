"""B1: how fast replacements begin whose successors find the quota used up."""

from syncctl.operations.room import Room


def begun(room: Room, *names: str) -> list[str]:
    """Begin as many of these as have a turn."""
    begun = []
    for name in names:
        if room.has_turn:
            room.begin(name)
            begun.append(name)
    return begun


def test_b1_twice_as_many_begin_whenever_all_were_taken_at_once() -> None:
    room, waiting = Room(), [f"vwap-{number}" for number in range(30)]
    for expected in (1, 2, 4, 8):
        turn = begun(room, *waiting)
        assert len(turn) == expected
        for name in turn:
            room.end(name, taken=True)
            waiting.remove(name)


def test_b1_nothing_begins_while_one_is_refused_and_then_it_is_one_at_a_time_again() -> None:
    room = Room()
    for name in begun(room, "a"):
        room.end(name, taken=True)
    assert begun(room, "b", "c", "d") == ["b", "c"]
    room.refuse("b", of_quota=True)
    room.end("c", taken=True)
    assert (room.closed, room.has_turn) == (True, False)
    room.end("b", taken=True)
    assert not room.closed
    assert begun(room, "d", "e") == ["d"]


def test_b1_also_one_of_which_nobody_said_that_there_is_no_room() -> None:
    room = Room()
    room.refuse("a", of_quota=True)
    assert room.closed
    room.refuse("a", of_quota=False)
    assert not room.closed
    room.refuse("a", of_quota=True)
    room.end("a", taken=False)
    assert not room.closed


def test_b1_what_is_given_up_is_no_sign_that_there_is_room() -> None:
    room = Room()
    for name in ("a", "b", "c"):
        assert begun(room, name) == [name]
        room.end(name, taken=False)
    assert begun(room, "d", "e") == ["d"]


def test_b1_what_something_else_refuses_holds_nobody_up_and_says_nothing_of_the_quota() -> None:
    room = Room()
    assert begun(room, "a", "b") == ["a"]
    room.refuse("a", of_quota=False)
    assert begun(room, "b", "c") == ["b"]
    room.end("a", taken=True)
    room.end("b", taken=True)
    assert begun(room, "c", "d", "e") == ["c", "d"]
