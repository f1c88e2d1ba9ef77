"""When a pass asks what is said of what it is about to write."""

from collections.abc import Collection, Mapping

import pytest

from syncctl.core.errors import DatabaseUnavailable, LeaseLost
from syncctl.core.heed import Heed, Said, Wish
from syncctl.core.model import PodKey
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.steps import Step
from syncctl.operations import heeding
from syncctl.operations.brake import Brake
from syncctl.operations.heeding import Heeding
from tests.core.builders import NOW, a_client, desired_by, key


class Database:
    """Answers what is wished, and remembers what it was asked about, with the lease and without."""

    def __init__(self) -> None:
        self.wishes: dict[int, Wish] = {}
        self.confirmed: list[list[int]] = []
        self.asked: list[list[int]] = []
        self.error: Exception | None = None

    def said(self, keys: Collection[PodKey]) -> Mapping[PodKey, Said]:
        return {each: Said(self.wishes.get(each.client_id, Wish.WANTED)) for each in keys}

    def confirm(self, keys: Collection[PodKey]) -> Mapping[PodKey, Said]:
        self.confirmed.append([each.client_id for each in keys])
        return self.said(keys)

    def ask(self, keys: Collection[PodKey]) -> Mapping[PodKey, Said]:
        self.asked.append([each.client_id for each in keys])
        if self.error:
            raise self.error
        return self.said(keys)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def pass_(database: Database) -> Heeding:
    brake = Brake(1e9, lambda: None)
    return Heeding(0, brake, database.confirm, database.ask, may_stop=True, stop_limit=0)


def steps(*numbers: int) -> list[Step]:
    plan = make_plan(desired_by(*map(a_client, numbers)), [], NOW, Others())
    return sorted(plan.drifted, key=lambda step: step.key or key(0))


def test_it_asks_once_a_batch_and_before_one_that_the_last_question_was_not_about(
    database: Database, pass_: Heeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heeding, "BATCH", 2)
    first, second, third, late = steps(1, 2, 3, 4)
    assert pass_.may_write("creating", first, lambda number: [first, second, third][:number])
    assert pass_.may_write("creating", second, lambda _: [])
    assert database.confirmed == [[1, 2]]
    assert pass_.may_write("creating", third, lambda _: [third])
    # Room in the batch, and nobody has asked about it.
    assert pass_.may_write("creating", late, lambda _: [late])
    assert database.confirmed == [[1, 2], [3], [4]]
    assert pass_.may_write("replacing", late, lambda _: [late])
    assert database.confirmed[-1] == [4]
    assert len(database.confirmed) == 4


def test_what_is_heard_in_between_counts_and_while_nobody_answers_what_was_heard_last(
    database: Database, pass_: Heeding
) -> None:
    one, other = steps(1, 2)
    pass_.confirmed([one, other])
    assert pass_.word(one) is None
    database.wishes[1] = Wish.OFF
    pass_.listen([one])
    word = pass_.word(one)
    assert word is not None
    assert word.what is Heed.STOP
    assert pass_.word(other) is None
    database.error = DatabaseUnavailable("away")
    database.wishes[2] = Wish.OFF
    pass_.listen([other])
    pass_.listen([other])
    # Asked once: each question may take as long as the database is waited for.
    assert database.asked == [[1], [2]]
    assert pass_.word(other) is None
    assert pass_.confirmed([other])
    assert pass_.word(other) is not None


def test_once_the_lease_is_lost_nothing_may_be_written(pass_: Heeding, database: Database) -> None:
    (one,) = steps(1)

    def lost(_keys: Collection[PodKey]) -> Mapping[PodKey, Said]:
        raise LeaseLost("lost")

    database.confirm = lost  # type: ignore[method-assign]
    brake = Brake(1e9, lambda: None)
    heeding_ = Heeding(0, brake, lost, database.ask, may_stop=True, stop_limit=0)
    assert not heeding_.may_write("creating", one, lambda _: [one])
    assert brake.lease_lost is not None
    heeding_.listen([one])
    assert database.asked == []
