"""Make no pod anywhere but at the fleet's home. Pure.

A fleet has one home, the namespace where its pods were made. In any other one all of its pods seem to be missing; no
pod is made there, for each would run twice.
"""

from syncctl.core import names
from syncctl.core.facts import Facts, Held, Notes, Refusal, Rules
from syncctl.core.steps import Hold, HoldKind, Plan, Step

OF_GO_SERVICE = "default"
"""Where the Go service makes all its pods; it has no setting for that."""


def matters(plan: Plan, facts: Facts, rules: Rules) -> bool:
    """Whether it matters where this is: only to who makes pods, and once to a fleet whose pods are here already."""
    unsettled = rules.move_here or (facts.home is None and plan.live > 0)
    return unsettled or bool(_making(plan))


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:
    """Hold all that would make a pod in another place than the fleet's home. A fleet without one is at home here."""
    known, here = facts.home, facts.here
    if known is None and facts.go_service and not (plan.live or rules.move_here) and facts.namespace != OF_GO_SERVICE:
        return _beside_the_go_service(plan, facts)
    if here is None or (known is not None and here.uid == known.uid):
        return Held()
    if known is None or rules.move_here:
        return Held(notes=Notes(new_home=here))
    if not (making := _making(plan)):
        return Held()
    made = f"the pods of this fleet were made in {known.name}"
    if known.name == here.name:
        # A namespace made again, or another cluster at the same address: only the uids tell.
        measured = f"{made} when its uid was {known.uid}; here it is {here.uid}"
    else:
        measured = f"{made}; here is {here.name}"
    pods = names.pods(len(making))
    listed = names.listed([step.name for step in making])
    message = f"refused to make {pods}: {measured}; if those still run, each would run twice: {listed}"
    hint = (
        "name the right --context and --namespace; if the fleet has really moved (to a new namespace or cluster) and"
        " nothing of it runs there any more: `syncctl sync once --move-here`"
    )
    holds = {step.name: Hold(HoldKind.REFUSED, measured) for step in making}
    return Held(holds, (Refusal(message, hint),))


def _beside_the_go_service(plan: Plan, facts: Facts) -> Held:
    """Hold all that would make a pod of a fleet whose pods the Go service has made, and which is not where they are."""
    if not (making := _making(plan)):
        return Held()
    why = f"the Go service makes its pods in namespace {OF_GO_SERVICE}, and this is {facts.cluster}"
    listed = names.listed([step.name for step in making])
    message = f"refused to make {names.pods(len(making))}: {why}; if those still run, each would run twice: {listed}"
    hint = (
        f"adopt them where they are: `syncctl sync once --namespace {OF_GO_SERVICE} --adopt`;"
        " or, when nothing of the Go service runs any more, make this the fleet's home: `syncctl sync once --move-here`"
    )
    return Held({step.name: Hold(HoldKind.REFUSED, why) for step in making}, (Refusal(message, hint),))


def _making(plan: Plan) -> list[Step]:
    return [step for step in plan.drifted if step.held is None and step.may_make_pod]
