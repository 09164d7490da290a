"""Arguments of options, checked against the signature of their factory before anything is built."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from typing_extensions import Unpack

from nni_wcnas.settings.document import Document
from nni_wcnas.settings.problems import Problem, did_you_mean

__all__ = ['Strict', 'arguments_of', 'check_arguments', 'defaults_of', 'validate']

Arguments = dict[str, tuple[Any, Any]]
"""Annotation and default of each argument; the default is ``...`` where there is none."""


class Strict(BaseModel):
    """A pydantic model of a map with known keys, without conversion of types."""

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True)


@cache
def arguments_of(factory: Callable[..., Any]) -> Arguments:
    """Return the keyword arguments of a factory, those of a typed ``**options`` included.

    Parameters
    ----------
    factory
        A class or function; wrappers of NNI around it are seen through.

    Returns
    -------
    dict
        Annotation and default by name. The result is cached: do not change it.
    """
    found: Arguments = {}
    init = _own_init(factory)
    # Annotations are text, as every module has `from __future__ import annotations`; they are evaluated with the names
    # of the module that wrote them.
    for name, parameter in inspect.signature(
        init, eval_str=True, globals=_module_of(init), locals={'Unpack': Unpack}
    ).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            # Unpack[Options] of a TypedDict; none of its keys has to be given.
            for options in get_args(parameter.annotation):
                found |= {key: (hint, None) for key, hint in get_type_hints(options).items()}
        elif name != 'self':
            found[name] = (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
    return found


def defaults_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the default values of a factory's arguments that a settings file can spell; a tuple is a list there."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, (_, value) in arguments_of(factory).items()
        if isinstance(value, (bool, int, float, str, tuple)) and value is not ...
    }


def check_arguments(
    document: Document,
    path: tuple[str | int, ...],
    given: Mapping[str, Any],
    arguments: Arguments,
    supplied: Iterable[str] = (),
) -> list[Problem]:
    """Check the names and types of the arguments that are written at ``path``.

    Parameters
    ----------
    document
        The document that they were written in.
    path
        Keys that lead to the map of arguments.
    given
        The arguments as written.
    arguments
        The arguments that the factory takes, as :func:`arguments_of` gives them.
    supplied
        Arguments that need not be given, as they are filled in from elsewhere.

    Returns
    -------
    list of Problem
        Unknown and missing arguments, and wrong types; empty where there are none.
    """
    fields: dict[str, Any] = {}
    for name, (annotation, default) in arguments.items():
        # An argument that takes an object is left to its factory; pydantic could not check it.
        plain = annotation if _is_plain(annotation) else Any
        # A name with an underscore is a private attribute to pydantic; the factory's own is no key of a settings file.
        fields[f'_{name}' if name.startswith('_') else name] = (
            plain,
            ... if default is ... and name not in supplied else None,
        )
    model = create_model(
        'Arguments', __config__=ConfigDict(extra='forbid', strict=True, protected_namespaces=()), **fields
    )
    return validate(model, document, path, given)[1]


def validate(
    model: type[BaseModel], document: Document, path: tuple[str | int, ...], given: Mapping[str, Any]
) -> tuple[Any, list[Problem]]:
    """Run a pydantic model over plain values; its errors become problems with a place.

    Parameters
    ----------
    model
        The model.
    document
        The document that the values were written in.
    path
        Keys that lead to them.
    given
        The values.

    Returns
    -------
    tuple
        The model of the values, None where there are problems; and the problems.
    """
    try:
        # Through JSON: pydantic is strict there too, but takes lists for tuples and text for paths, which YAML cannot
        # tell apart either.
        return model.model_validate_json(json.dumps(given)), []
    except ValidationError as error:
        problems = [_problem(model, document, path, detail) for detail in error.errors(include_url=False)]
        # Of a value that may be of several types, pydantic says for each why it is not that. The first reason stays.
        return None, list({problem.key: problem for problem in reversed(problems)}.values())[::-1]


# By pydantic's type of error: what was expected, in the user's words.
_EXPECTED = {
    'int_type': 'a whole number',
    'int_from_float': 'a whole number',
    'int_parsing': 'a whole number',
    'float_type': 'a number',
    'bool_type': 'true or false',
    'string_type': 'text',
    'list_type': 'a list',
    'tuple_type': 'a list',
    'dict_type': 'a map of keys',
    'path_type': 'a path',
    'model_type': 'a map of keys',
    'none_required': 'empty',
    'model_attributes_type': 'a map of keys',
}
# By pydantic's type of error: how the limit is put in words.
_LIMITS = {
    'greater_than': 'more than',
    'greater_than_equal': 'at least',
    'less_than': 'less than',
    'less_than_equal': 'at most',
}


def _problem(model: type[BaseModel], document: Document, path: tuple[str | int, ...], detail: Any) -> Problem:
    """Put one of pydantic's errors in a sentence, with its place."""
    kind, value, context = detail['type'], detail['input'], detail.get('ctx', {})
    where = (*path, *_known_part(document, path, detail['loc']))
    if kind == 'extra_forbidden':
        return document.problem(
            f'is not a known key here; {did_you_mean(detail["loc"][-1], _fields_at(model, detail["loc"][:-1]))}', *where
        )
    if kind == 'missing':
        return document.problem('is missing; add it', *where)
    if kind in _EXPECTED:
        return document.problem(f'must be {_EXPECTED[kind]}, not {value!r}; change it', *where)
    if kind in _LIMITS:
        limit = next(iter(context.values()))
        return document.problem(f'must be {_LIMITS[kind]} {limit}, not {value!r}; change it', *where)
    if kind == 'literal_error':
        # pydantic writes the known values as `'a', 'b' or 'c'`.
        known = context['expected'].replace("'", '').replace(' or ', ', ').split(', ')
        return document.problem(f'{value!r} is not one of {", ".join(known)}; {did_you_mean(value, known)}', *where)
    return document.problem(f'{detail["msg"][:1].lower()}{detail["msg"][1:]}, not {value!r}; change it', *where)


def _known_part(
    document: Document, path: tuple[str | int, ...], location: tuple[int | str, ...]
) -> tuple[int | str, ...]:
    """Return pydantic's location of an error without the names of union members that pydantic appends to it.

    Parameters
    ----------
    document
        The document; only what was written has a place in it.
    path
        Keys that lead to the model's values.
    location
        Pydantic's location below them.
    """
    for length in range(len(location), 0, -1):
        if (*path, *location[:length]) in document.places:
            return location[:length]
    return location[:1]


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the known keys of the model at a location inside another model."""
    for key in location:
        annotation = model.model_fields[str(key)].annotation
        models = [
            part
            for part in (annotation, *get_args(annotation))
            if inspect.isclass(part) and issubclass(part, BaseModel)
        ]
        model = models[0]  # An optional section is a union with None.
    return list(model.model_fields)


def _own_init(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable with the signature that the author wrote, under the wrappers of ``nni.trace`` and NNI."""
    # NNI's model spaces keep the original `__init__` under this name; a traced class has a `__wrapped__`.
    inner = getattr(factory, '_init_wrapped', None)
    if inner is not None:
        return inner
    return getattr(factory, '__wrapped__', None) or factory


def _module_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the names of the module in which a factory's annotations were written.

    Not the globals of the function: to unpickle an object of a class that NNI traces gives the class new functions, and
    those know no names that only annotations use.
    """
    function = factory.__init__ if inspect.isclass(factory) else factory  # type: ignore[misc]
    return vars(sys.modules[getattr(function, '__module__', factory.__module__)])


def _is_plain(annotation: Any) -> bool:
    """Tell whether pydantic can check a value of a settings file against an annotation: plain types and unions."""
    if annotation in (bool, int, float, str, Path, type(None), Any):
        return True
    if get_origin(annotation) is Literal:
        return True
    # The arguments of a union, list, map or tuple; `...` is that of tuple[int, ...].
    parts = [part for part in get_args(annotation) if part is not ...]
    return bool(parts) and all(_is_plain(part) for part in parts)
