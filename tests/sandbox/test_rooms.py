"""The sandbox is in the package and out of the way: whoever looks for a file of the product finds no other."""

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "syncctl"


def test_no_name_in_the_sandbox_is_also_one_of_a_room_or_file_of_the_product() -> None:
    modules = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    named = [module.parts for module in modules if not module.name.startswith("__")]
    inside = {name for room, *names in named if room == "sandbox" for name in names}
    outside = {name for room, *names in named if room != "sandbox" for name in (room, *names)}
    assert {"store", "apiserver"} < inside
    assert {"cli", "db", "plan"} < outside
    assert inside & outside == set()
