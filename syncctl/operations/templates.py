"""Templates that the fleet once had: pods are made by them still."""

import functools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from syncctl.core.errors import DatabaseError, InvalidInput
from syncctl.core.fields import Former
from syncctl.core.manifest import PodTemplate
from syncctl.core.template import template_of
from syncctl.db import changelog
from syncctl.db.engine import Engine, reading


def former_templates(engine: Engine) -> Former:
    """Return what knows templates that the fleet once had, by the change log; it is read when that matters first."""

    @functools.cache
    def known() -> dict[str, PodTemplate]:
        try:
            with reading(engine) as connection:
                found = list(changelog.find_changes(connection, table="fleet"))
        except DatabaseError:
            # Whoever may not read the log sees digests.
            return {}
        texts = {text for change in found for text in (_template_in(change.before), _template_in(change.after))}
        templates = []
        for text in texts - {None}:
            with suppress(InvalidInput):
                templates.append(template_of(str(text)))
        return {template.digest[:16]: template for template in templates}

    return lambda digest: known().get(digest)


def _template_in(values: Mapping[str, Any] | None) -> str | None:
    return (values or {}).get("pod_template")
