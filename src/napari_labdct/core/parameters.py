"""One parameter object a job: the form, the command line, the recipe and the docs read it.

A job's settings are a frozen dataclass derived from `Settings` whose fields carry a
`Param` in ``typing.Annotated``::

    @dataclass(frozen=True, kw_only=True)
    class RoutineSettings(Settings):
        sigma_px: Annotated[float, Param("Gaussian SD", unit="px", min=0.3, max=25)] = 6.0
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from .errors import SettingsError, listed, quoted


@dataclass(frozen=True)
class Param:
    """How one setting is shown to people.

    Parameters
    ----------
    label : str
        Name in the form, in the words of the field.
    unit : str
        Unit shown behind the number.
    min, max : float, optional
        Smallest and largest value allowed, both included.
    step : float, optional
        Step of the form's spin box.
    help : str
        Tooltip, ``--help`` text and docs.
    choices : tuple of str
        The only values allowed.
    advanced : bool
        Hidden in the form until "More" is opened.
    earlier : str
        Name of the setting in the release before; it is still read, in files and as a flag.
    """

    label: str
    unit: str = ""
    min: float | None = None
    max: float | None = None
    step: float | None = None
    help: str = ""
    choices: tuple[str, ...] = ()
    advanced: bool = False
    earlier: str = ""


@dataclass(frozen=True)
class Field:
    """One field of a `Settings` class: its name, plain type, default and `Param`."""

    name: str
    type: type
    optional: bool
    default: Any
    param: Param

    @property
    def flag(self) -> str:
        """The command-line flag, for example ``--median-window``."""
        return _flag(self.name)


def _plain_type(annotation: Any) -> tuple[type, bool]:
    """Split ``float | None`` into ``(float, True)``."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = [a for a in typing.get_args(annotation) if a is not type(None)]
        return kinds[0], True
    return annotation, False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all parameter objects; refuses values out of range when it is made.

    Raises
    ------
    SettingsError
        A value is of the wrong type, out of range or not among the choices.
    """

    job: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            checked = _check(field, getattr(self, field.name))
            object.__setattr__(self, field.name, checked)

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed (and checked)."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The values as plain types, ready for JSON or YAML."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make settings from plain values; unknown names are refused.

        Raises
        ------
        SettingsError
            A name is not a setting of this job, or a value is refused.
        """
        if not isinstance(values, dict):
            raise SettingsError(f"Settings must be names and values, not {quoted(values)}.")
        known = {f.name for f in dataclasses.fields(cls)}
        today = {f.param.earlier: f.name for f in fields_of(cls) if f.param.earlier}
        values = {today.get(name, name): value for name, value in values.items()}
        for name in values:
            if name not in known:
                raise SettingsError(
                    f"{quoted(name)} is not a setting of {cls.job or cls.__name__}; "
                    f"the settings are {listed(sorted(known))}."
                )
        return cls(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


#: Of whole numbers, beyond which no float can be made of them.
_LARGEST = sys.float_info.max


def _check(field: Field, value: Any) -> Any:
    """Return the value as the field's type, or raise a sentence that names the field."""
    param = field.param
    label = f"{param.label} ({field.name})"
    if value is None:
        if field.optional:
            return None
        raise SettingsError(f"{label} needs a value.")
    if field.type in (int, float):
        try:
            number = field.type(_decimal(value))
        except (TypeError, ValueError, OverflowError):
            raise SettingsError(f"{label} must be a number, not {quoted(value)}.") from None
        if isinstance(value, bool) or not abs(number) < math.inf or abs(number) > _LARGEST:
            raise SettingsError(f"{label} must be a finite number, not {quoted(value)}.")
        if field.type is int and float(value) != number:
            raise SettingsError(f"{label} must be a whole number, not {quoted(value)}.")
        low, high = param.min, param.max
        if (low is not None and number < low) or (high is not None and number > high):
            unit = f" {param.unit}" if param.unit else ""
            raise SettingsError(f"{label} is {number:g}{unit}; it must be {_span(param)}{unit}.")
        return number
    if field.type is str and isinstance(value, (bool, list, tuple, dict)):
        raise SettingsError(f"{label} must be text, not {quoted(value)}.")
    if field.type is bool and not isinstance(value, bool):
        raise SettingsError(f"{label} must be true or false, not {quoted(value)}.")
    if param.choices and value not in param.choices:
        raise SettingsError(
            f"{label} is {quoted(value)}; it must be one of {', '.join(param.choices)}."
        )
    return value


def _decimal(value: Any) -> Any:
    """`value`, or, if it is a word such as ``13,4``, with its decimal comma as a point."""
    if isinstance(value, str) and value.count(",") == 1 and "." not in value:
        return value.replace(",", ".")
    return value


def _span(param: Param) -> str:
    """The allowed range in words."""
    if param.max is None:
        return "" if param.min is None else f"at least {param.min:g}"
    return f"at most {param.max:g}" if param.min is None else f"{param.min:g} to {param.max:g}"


def fields_of(cls: type[Settings]) -> list[Field]:
    """The fields of a settings class that carry a `Param`, in order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        param = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Param)), None)
        if param is None:
            continue
        kind, optional = _plain_type(typing.get_args(hint)[0])
        default = None if field.default is dataclasses.MISSING else field.default
        found.append(Field(field.name, kind, optional, default, param))
    return found


def add_arguments(
    parser: argparse.ArgumentParser,
    cls: type[Settings],
    only: Collection[str] | None = None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Give a parser one flag for every number, word or switch of a settings class.

    Parameters
    ----------
    parser : ArgumentParser
    cls : type
    only : collection of str, optional
        Names of the settings that get a flag; all if not given.
    defaults : mapping of str to str, optional
        What the help says of a setting that the command itself finds if the flag is not given.
    """
    group = parser.add_argument_group(f"{cls.job or cls.__name__} settings")
    for field in fields_of(cls):
        if only is not None and field.name not in only:
            continue
        param = field.param
        unit = f" [{param.unit}]" if param.unit else ""
        usual = defaults.get(field.name, field.default)
        said = "" if usual is None or usual == "" else f" (default: {_in_words(usual)})"
        text = f"{param.label}{unit}. {param.help}".rstrip().replace("%", "%%")
        text += said.replace("%", "%%")
        if field.type is bool:
            group.add_argument(
                field.flag, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        elif field.type in (int, float, str):
            group.add_argument(
                field.flag,
                type=field.type,
                default=None,
                help=text,
                choices=param.choices or None,
                metavar=None if param.choices else field.name.upper(),
            )
            if param.earlier:
                add_earlier_flag(parser, _flag(param.earlier), field.flag, type=field.type)


def _in_words(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_earlier_flag(
    parser: argparse._ActionsContainer,
    earlier: str,
    today: str,
    *,
    instead_of: argparse.Action | None = None,
    **how: Any,
) -> None:
    """Take a flag under the name it had in the release before, too; the help does not show it.

    Parameters
    ----------
    parser : ArgumentParser or a group of it
    earlier, today : str
        The flags, with their hyphens.
    instead_of : Action, optional
        The flag of today, if it is required: the earlier one will do.
    **how
        As for `ArgumentParser.add_argument`.
    """

    class Earlier(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            print(f"Note: {earlier} is called {today} now.", file=sys.stderr)  # noqa: T201
            setattr(namespace, self.dest, values)
            if instead_of is not None:
                instead_of.required = False

    dest = today[2:].replace("-", "_")
    parser.add_argument(
        earlier, action=Earlier, dest=dest, default=None, help=argparse.SUPPRESS, **how
    )


def from_namespace(cls: type[Settings], namespace: argparse.Namespace) -> Settings:
    """Settings from parsed arguments; flags that were not given keep their default."""
    names = {f.name for f in fields_of(cls)}
    given = {k: v for k, v in vars(namespace).items() if k in names and v is not None}
    return cls(**given)


def arguments_of(
    settings: Settings, usual: Settings | None = None, always: Collection[str] = ()
) -> list[str]:
    """The flags that give these settings: `add_arguments` the other way round.

    Parameters
    ----------
    settings : Settings
    usual : Settings, optional
        What need not be said; the defaults if not given.
    always : collection of str
        Names that are said all the same.
    """
    usual = type(settings)() if usual is None else usual
    words = []
    for field in fields_of(type(settings)):
        value = getattr(settings, field.name)
        usually = field.name not in always and value == getattr(usual, field.name)
        if usually or value is None:
            continue
        if field.type is bool:
            words.append(field.flag if value else f"--no-{field.flag[2:]}")
        else:
            words.append(f"{field.flag}={value}")
    return words


def markdown_table(cls: type[Settings]) -> str:
    """The settings of a job as a Markdown table for the docs."""
    lines = ["| setting | label | unit | range | default | meaning |", "|---|---|---|---|---|---|"]
    for field in fields_of(cls):
        p = field.param
        span = ", ".join(p.choices) or _span(p)
        default = "" if field.default is None else field.default
        lines.append(f"| `{field.name}` | {p.label} | {p.unit} | {span} | {default} | {p.help} |")
    return "\n".join(lines)
