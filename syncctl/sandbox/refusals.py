"""What the API refuses, as the real server words it.

Every refusal is one `ApiError`; its `body()` is the Status JSON that goes over the wire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from syncctl.sandbox.objects import Json


class ApiError(Exception):
    """A request that is refused: HTTP status, machine-readable reason, sentence, and details of the Status object."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        details: Json | None = None,
        *,
        continue_token: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details
        self.continue_token = continue_token

    def as_status(self) -> Json:
        """The Status object, fields in the real server's order."""
        metadata = {"continue": self.continue_token} if self.continue_token else {}
        answer: Json = {"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure"}
        answer["message"] = self.message
        answer["reason"] = self.reason
        if self.details is not None:
            answer["details"] = self.details
        answer["code"] = self.status
        return answer

    def body(self) -> bytes:
        return msgspec.json.encode(self.as_status())


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field of an object; several make a 422."""

    reason: str
    field: str
    message: str


def invalid_value(field: str, value: object, detail: str) -> Problem:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Problem("FieldValueInvalid", field, f"Invalid value: {shown}: {detail}")


def required_value(field: str, detail: str = "") -> Problem:
    return Problem("FieldValueRequired", field, f"Required value: {detail}" if detail else "Required value")


def forbidden_value(field: str, detail: str) -> Problem:
    return Problem("FieldValueForbidden", field, f"Forbidden: {detail}")


def duplicate_value(field: str, value: str) -> Problem:
    return Problem("FieldValueDuplicate", field, f'Duplicate value: "{value}"')


def unsupported_value(field: str, value: str, supported: Sequence[str]) -> Problem:
    allowed = ", ".join(f'"{one}"' for one in supported)
    return Problem("FieldValueNotSupported", field, f'Unsupported value: "{value}": supported values: {allowed}')


def too_long(field: str, limit: int) -> Problem:
    return Problem("FieldValueTooLong", field, f"Too long: may not be more than {limit} bytes")


def invalid_object(kind: str, name: str, problems: Sequence[Problem]) -> ApiError:
    """422 with one cause for each problem."""
    sentences = list(dict.fromkeys(f"{problem.field}: {problem.message}" for problem in problems))
    listed = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    causes = [{"reason": one.reason, "message": one.message, "field": one.field} for one in problems]
    details = {"name": name, "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_found(plural: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(plural: str, name: str, *, terminating: bool) -> ApiError:
    """409; a namesake that is still terminating holds its name, and the sentence says so."""
    message = f'{plural} "{name}" already exists'
    if terminating:
        message = f"object is being deleted: {message}"
    return ApiError(409, "AlreadyExists", message, {"name": name, "kind": plural})


def conflict(kind: str, name: str, why: str) -> ApiError:
    details = {"name": name, "kind": kind}
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": {why}', details)


def forbidden(plural: str, name: str, why: str, causes: list[Json] | None = None) -> ApiError:
    details: Json = {"name": name, "kind": plural}
    if causes:
        details["causes"] = causes
    return ApiError(403, "Forbidden", f'{plural} "{name}" is forbidden: {why}', details)


def expired(message: str, continue_token: str = "") -> ApiError:
    """410: what the caller refers to is gone from memory, so it must start over."""
    return ApiError(410, "Expired", message, continue_token=continue_token)


def too_large_version(asked: int, current: int) -> ApiError:
    message = f"Too large resource version: {asked}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(504, "Timeout", f"Timeout: {message}", {"causes": [cause], "retryAfterSeconds": 1})


def unsupported_media_type() -> ApiError:
    return ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")
