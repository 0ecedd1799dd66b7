"""The field types of `settings`: a map from a closed list of names to texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from dbtether.api.fields import Rule
from dbtether.api.identifiers import text_problem
from dbtether.api.model import SHAPE_ERROR, VALUE_ERROR, error_of, lines_of
from dbtether.api.settings import DATABASE_SETTINGS, USER_SETTINGS, Setting, setting_problem

MAX_SETTING_TEXT = 256


def _text_problem(value: str) -> str | None:
    if not value:
        return "is empty; leave the setting out to have the server's default"
    return text_problem(value)


@dataclass(frozen=True, eq=False)
class _KnownSettings:
    """Every key is in the closed list and every value is written as its setting wants."""

    known: Mapping[str, Setting]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._run, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "maxProperties": len(self.known)}

    def _run(self, values: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(values, dict):
            return handler(values)
        lines = [line for name, value in values.items() if (line := self._line(name, value)) is not None]
        try:
            found = handler(values)
        except ValidationError as error:
            lines.extend(lines_of(error))
        if lines:
            raise ValidationError.from_exception_data("settings", lines)
        return found

    def _line(self, name: str, value: Any) -> InitErrorDetails | None:
        setting = self.known.get(name)
        if setting is None:
            error = error_of(SHAPE_ERROR, f"this setting is not allowed here; {self._hint(name)}")
        elif isinstance(value, str) and value and (problem := setting_problem(setting, value)) is not None:
            error = error_of(VALUE_ERROR, problem)
        else:
            return None
        return InitErrorDetails(type=error, loc=(name,), input=value)

    def _hint(self, name: str) -> str:
        by_lower = {known.lower(): known for known in self.known}
        near = get_close_matches(name.lower()[:64], by_lower, 1)
        if near:
            return f'did you mean "{by_lower[near[0]]}"?'
        return "allowed are settings such as statement_timeout and work_mem; the documentation lists them all"


SettingValue = Annotated[str, Rule(_text_problem, {"minLength": 1, "maxLength": MAX_SETTING_TEXT})]
DatabaseSettings = Annotated[dict[str, SettingValue], _KnownSettings(DATABASE_SETTINGS)]
UserSettings = Annotated[dict[str, SettingValue], _KnownSettings(USER_SETTINGS)]
